"""The servers of a gateway's Gateways, merged by port: who shares one, and who is left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from devmesh.pilot.gateway_tables import BoundServer
from devmesh.pilot.problems import Problems

Where = tuple[int, str]
"""A port of the gateway's pod, and the address there; an empty one is every address."""


@dataclass(frozen=True, slots=True)
class Merged:
    """Servers by where they listen, the oldest Gateway's first."""

    problems: Problems
    by_place: dict[Where, list[BoundServer]] = field(default_factory=dict)
    _names: dict[tuple[Where, str], BoundServer] = field(default_factory=dict)

    def add(self, target: int, server: BoundServer) -> None:
        """Add a server to those of its port.

        Istio: plain HTTP goes with plain HTTP, TLS of any kind with TLS, and opaque TCP is alone; of servers
        with TLS settings for one host the oldest Gateway's stays.
        """
        bind = "" if server.server.bind in ("0.0.0.0", "::") else server.server.bind
        where = (target, bind)
        others = self.by_place.get(where, ())
        if others and (server.kind != others[0].kind or server.kind == "tcp"):
            first = others[0]
            self._leave_out(
                server, "port", f"{_of(first)} has port {first.number} as {first.protocol} already"
            )
            return
        if server.server.tls is not None:
            for name in dict.fromkeys(host for _, host in server.hosts):
                if (taken := self._names.get((where, name))) is not None:
                    self._leave_out(server, "hosts", f"{_of(taken)} has the host {name} on this port already")
                    return
            self._names.update({(where, host): server for _, host in server.hosts})
        self.by_place.setdefault(where, []).append(server)

    def _leave_out(self, server: BoundServer, path: str, why: str) -> None:
        stored = server.gateway.stored
        where = server.gateway.origin(f"spec.servers[{server.index}].{path}").path
        self.problems.add("KIA0301", "warning", stored, where, f"{why}; this server is left out")

    def __iter__(self) -> Iterator[tuple[Where, list[BoundServer]]]:
        return iter(self.by_place.items())


def _of(server: BoundServer) -> str:
    return f"Gateway {server.gateway.namespace}/{server.gateway.name}"
