"""How a request finds one of a cluster's endpoints: hashing, warm-up, localities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devmesh.snapshot.cluster import Endpoint


@dataclass(frozen=True, slots=True)
class Cookie:
    """The cookie that is hashed. With a `ttl` (seconds; 0: as long as the session) it is made where a
    request has none, with `path` and `attributes` (an empty value: the name alone)."""

    name: str
    path: str = ""
    ttl: float | None = None
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Hashing:
    """Consistent hashing: what is hashed (one of the first four), and the table that it leads into.

    `size` is the ring's least number of points, or the number of places in the Maglev table.
    """

    header: str = ""
    cookie: Cookie | None = None
    source_ip: bool = False
    query: str = ""
    maglev: bool = False
    size: int = 1024


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Envoy's slow start: for `duration` seconds a new endpoint's weight grows from `minimum` (a share of
    1) to its whole; linearly with `aggression` 1, the quicker the greater that is."""

    duration: float
    minimum: float = 0.1
    aggression: float = 1.0


@dataclass(frozen=True, slots=True)
class Group:
    """The endpoints of one locality, as one client sees it (Envoy: LocalityLbEndpoints).

    The lower its `priority`, the earlier it is used; `weight` is its share among those of one priority.
    """

    endpoints: tuple[Endpoint, ...]
    priority: int = 0
    weight: int = 1
    locality: str = ""
