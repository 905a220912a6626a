"""Which of many routes may accept a path: those of a virtual host with more than a few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from devmesh.snapshot.match import Exact, PathPrefix, Prefix

if TYPE_CHECKING:
    from devmesh.snapshot.route import Route

WORTH = 16  # routes above which looking them up beats trying each


class RouteIndex:
    """Leads from a path to the routes that name it, or a beginning of it, in their order.

    Routes that ask for something else (a pattern, no path at all, any case) are candidates of every path.
    """

    __slots__ = ("_exact", "_lengths", "_others", "_prefixes")

    def __init__(self, routes: Sequence[Route]) -> None:
        self._exact: dict[str, list[int]] = {}
        self._prefixes: dict[str, list[int]] = {}
        self._others: list[int] = []
        for number, route in enumerate(routes):
            self._add(number, route)
        self._lengths = sorted({len(prefix) for prefix in self._prefixes})

    def _add(self, number: int, route: Route) -> None:
        places: list[tuple[dict[str, list[int]], str]] = []
        for match in route.matches:
            test = match.path
            if isinstance(test, Exact) and not test.ignore_case:
                places.append((self._exact, test.value))
            elif isinstance(test, PathPrefix) or (isinstance(test, Prefix) and not test.ignore_case):
                places.append((self._prefixes, test.value))
            else:
                places.clear()
                break
        for where, text in places:
            where.setdefault(text, []).append(number)
        if not places:
            self._others.append(number)

    def candidates(self, path: str) -> Sequence[int]:
        """Return the numbers of the routes that may accept `path`, ascending; no other does."""
        found = list(self._exact.get(path, ()))
        for length in self._lengths:
            if length > len(path):
                break
            found += self._prefixes.get(path[:length], ())
        return sorted({*found, *self._others}) if found else self._others
