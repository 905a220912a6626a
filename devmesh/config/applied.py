"""Which documents were applied from which file, so that only what changed is applied again."""

from __future__ import annotations

from collections.abc import Mapping

from devmesh.config.database import Database, Name


class Applied:
    """For each file, the objects that came from it, with the hash of the document last applied."""

    def __init__(self, database: Database | None) -> None:
        self.database = database
        self._digests: dict[str, dict[Name, str]] = {}
        for file, name, digest in database.applied() if database else ():
            self._digests.setdefault(file, {})[name] = digest

    def files(self) -> tuple[str, ...]:
        return tuple(self._digests)

    def from_file(self, file: str) -> Mapping[Name, str]:
        """Return the hashes by object; empty for a file that was never applied."""
        return dict(self._digests.get(file, {}))

    def remember(self, file: str, name: Name, digest: str) -> None:
        self._digests.setdefault(file, {})[name] = digest
        if self.database:
            self.database.set_applied(file, name, digest)

    def forget(self, file: str, name: Name) -> None:
        names = self._digests.get(file, {})
        names.pop(name, None)
        if not names:
            self._digests.pop(file, None)
        if self.database:
            self.database.set_applied(file, name, None)
