"""What is open for one instance: where its connections arrive."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field

from devmesh.proxy.admin.view import Listening
from devmesh.proxy.reactor import Acceptor, Address
from devmesh.snapshot.network import INBOUND_PORT, OUTBOUND_PORT
from devmesh.snapshot.proxy import Proxy

Place = tuple[bool, str, int]
"""Where a gateway listens: on the host or inside its own namespace, the address, the port."""
_NAMES = {"outbound": ("virtualOutbound", OUTBOUND_PORT), "inbound": ("virtualInbound", INBOUND_PORT)}


@dataclass(slots=True)
class Opened:
    """The acceptors of one instance.

    Attributes:
        sidecar: By the side that it serves, ``outbound`` or ``inbound``.
        places: Where those listen, also while they do not.
        gateway: By place.
        admin: The ports on which the proxy tells of itself.
        drained: A gateway listens no more, whatever the configuration says.
    """

    sidecar: dict[str, Acceptor] = field(default_factory=dict)
    places: dict[str, Address] = field(default_factory=dict)
    gateway: dict[Place, Acceptor] = field(default_factory=dict)
    admin: list[Acceptor] = field(default_factory=list)
    drained: bool = False

    def close(self) -> None:
        """Accept nothing more."""
        for acceptor in (*self.sidecar.values(), *self.gateway.values(), *self.admin):
            acceptor.close()

    def close_gateway(self, keep: Container[Place]) -> None:
        """Close what a gateway listens on, save `keep`."""
        for place in [place for place in self.gateway if place not in keep]:
            self.gateway.pop(place).close()

    def drain(self, *, inbound_only: bool) -> None:
        """Close what new connections arrive at; a gateway's servers count as outbound (Istio)."""
        for side in ("inbound",) if inbound_only else ("inbound", "outbound"):
            if (acceptor := self.sidecar.pop(side, None)) is not None:
                acceptor.close()
        if not inbound_only:
            self.drained = True
            self.close_gateway(())

    def names(self, proxy: Proxy | None) -> Iterator[Listening]:
        """Yield what is open as Envoy would have it; one listener of ours stands for many of Istio's."""
        for side in self.sidecar:
            name, port = _NAMES[side]
            yield name, "0.0.0.0", port
        if proxy is None:
            return
        if "outbound" in self.sidecar:
            for address, port in proxy.outbound.by_address:
                yield f"{address}_{port}", address, port
            for port in proxy.outbound.by_port:
                yield f"0.0.0.0_{port}", "0.0.0.0", port
        for on_host, address, port in self.gateway:
            if not on_host:
                yield f"{address}_{port}", address, port
