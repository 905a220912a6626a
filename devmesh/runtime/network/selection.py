"""Which of a pod's traffic is taken over: Istio's ``traffic.sidecar.istio.io`` annotations."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PREFIX = "traffic.sidecar.istio.io/"
# Istio never captures these: health, statistics, and the merged metrics of the sidecar itself.
SIDECAR_PORTS = frozenset({15020, 15021, 15090})


class InvalidAnnotation(ValueError):
    """A pod's annotation cannot be read: the message names it, and what it should look like."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is taken over and what is left alone; as it stands, everything is taken over.

    `include_*` None is everything (``*``); an empty set is nothing. `include_outbound_ports` are taken
    over whatever their address is.
    """

    include_inbound_ports: frozenset[int] | None = None
    exclude_inbound_ports: frozenset[int] = frozenset()
    include_outbound_ranges: tuple[Network, ...] | None = None
    exclude_outbound_ranges: tuple[Network, ...] = ()
    include_outbound_ports: frozenset[int] = frozenset()
    exclude_outbound_ports: frozenset[int] = frozenset()
    redirect_dns: bool = True

    @classmethod
    def of(cls, annotations: Mapping[str, str]) -> Selection:
        """Read a pod's annotations (Istio: resource annotations; ``*`` and "" as there).

        Raises:
            InvalidAnnotation: A port is no number from 1 to 65535, or a range no CIDR.
        """
        reader = _Reader(annotations)
        return cls(
            include_inbound_ports=reader.ports_or_all("includeInboundPorts"),
            exclude_inbound_ports=reader.ports("excludeInboundPorts"),
            include_outbound_ranges=reader.ranges_or_all("includeOutboundIPRanges"),
            exclude_outbound_ranges=reader.ranges("excludeOutboundIPRanges"),
            include_outbound_ports=reader.ports("includeOutboundPorts"),
            exclude_outbound_ports=reader.ports("excludeOutboundPorts"),
        )


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True)
class _Reader:
    annotations: Mapping[str, str] = field(hash=False)

    def _words(self, name: str) -> list[str]:
        return [word.strip() for word in self.annotations.get(PREFIX + name, "").split(",") if word.strip()]

    def ports(self, name: str) -> frozenset[int]:
        return frozenset(self._port(name, word) for word in self._words(name) if word != "*")

    def ports_or_all(self, name: str) -> frozenset[int] | None:
        missing = PREFIX + name not in self.annotations
        return None if missing or "*" in self._words(name) else self.ports(name)

    def ranges(self, name: str) -> tuple[Network, ...]:
        return tuple(self._range(name, word) for word in self._words(name) if word != "*")

    def ranges_or_all(self, name: str) -> tuple[Network, ...] | None:
        missing = PREFIX + name not in self.annotations
        return None if missing or "*" in self._words(name) else self.ranges(name)

    def _port(self, name: str, word: str) -> int:
        if word.isascii() and word.isdigit() and 0 < int(word) < 65536:
            return int(word)
        raise InvalidAnnotation(
            f"annotation {PREFIX}{name}: {word!r} is not a port: expected numbers from 1 to 65535, "
            "separated by commas"
        )

    def _range(self, name: str, word: str) -> Network:
        try:
            return ipaddress.ip_network(word, strict=False)
        except ValueError:
            raise InvalidAnnotation(
                f"annotation {PREFIX}{name}: {word!r} is not an address range: expected CIDRs such as "
                "10.0.0.0/8, separated by commas"
            ) from None
