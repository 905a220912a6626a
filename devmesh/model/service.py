"""A name that is called, with its ports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from devmesh.model.port import Port


class Resolution(Enum):
    """How the addresses behind a service are found (ServiceEntry's words)."""

    CLIENT_SIDE = "client-side"  # a Service with a selector: the instances are known
    STATIC = "static"
    DNS = "dns"
    DNS_ROUND_ROBIN = "dns-round-robin"
    DYNAMIC_DNS = "dynamic-dns"  # the name that each request asks for (wildcards)
    NONE = "none"  # the address that was dialled (headless Services too)


@dataclass(frozen=True, slots=True)
class Service:
    """A Kubernetes Service or one host of a ServiceEntry, as the registry knows it.

    `addresses` are its virtual ones (none for a headless Service), `ranges` whole networks of them in CIDR
    notation. `export_to` holds namespaces, or ``*`` (everywhere), ``.`` (its own).
    """

    host: str
    name: str
    namespace: str
    ports: tuple[Port, ...]
    addresses: tuple[str, ...] = ()
    resolution: Resolution = Resolution.CLIENT_SIDE
    external: bool = False
    selector: Mapping[str, str] = field(default_factory=dict, hash=False)
    export_to: tuple[str, ...] = ("*",)
    created: float = 0.0
    ranges: tuple[str, ...] = ()

    def port(self, number: int) -> Port | None:
        return next((port for port in self.ports if port.number == number), None)
