"""How a command ends when it cannot do what was asked."""

from __future__ import annotations


class CliFailure(Exception):
    """The message is for the user: what, why, and the next thing to try. `status` is the exit status."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status
