"""What a compile has to tell, gathered while it goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from devmesh.config.finding import Finding, Severity
from devmesh.config.store import Key, Store, Stored

log = logging.getLogger(__name__)


class Problems:
    """Findings of one compile, each told once.

    Bugs are told again by later compiles for as long as the resource stays the same: what it made
    (nothing) is kept like everything that was compiled.
    """

    def __init__(self, bugs: Mapping[tuple[Key, int], Finding] | None = None) -> None:
        self.bugs = dict(bugs or {})
        self._found: dict[Finding, None] = dict.fromkeys(self.bugs.values())

    def add(self, code: str, severity: Severity, stored: Stored, path: str, message: str) -> None:
        """Tell of something in `stored`."""
        key = stored.key
        finding = Finding(code, severity, message, key.kind.kind, key.namespace, key.name, path)
        self._found[finding] = None

    def extend(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self._found[finding] = None

    @contextmanager
    def contained(self, stored: Stored) -> Iterator[None]:
        """Keep a bug to the resource that shows it: the rest of the mesh is compiled without it."""
        try:
            yield
        except Exception as error:
            log.exception("cannot compile %s", stored.key)
            self._bug(
                stored,
                f"devmesh could not compile this resource, which is left out ({type(error).__name__}: "
                f"{error}); please report it as a bug, with the resource",
            )

    def _bug(self, stored: Stored, message: str) -> None:
        key = stored.key
        finding = Finding("DM0001", "error", message, key.kind.kind, key.namespace, key.name)
        self.bugs[key, stored.version] = finding
        self._found[finding] = None

    @classmethod
    def after(cls, previous: Problems | None, store: Store) -> Problems:
        """Begin a compile with the bugs of the last one whose resources have not changed."""
        bugs = previous.bugs if previous else {}
        current = {
            (key, version): finding
            for (key, version), finding in bugs.items()
            if (stored := store.by_key(key)) is not None and stored.version == version
        }
        return cls(current)

    def all(self) -> tuple[Finding, ...]:
        """Return the findings, errors first."""
        rank = {"error": 0, "warning": 1, "info": 2}
        return tuple(
            sorted(self._found, key=lambda f: (rank[f.severity], f.kind, f.namespace, f.name, f.path))
        )
