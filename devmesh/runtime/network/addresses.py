"""Which pod has which address."""

from __future__ import annotations

import ipaddress


class AddressesExhausted(RuntimeError):
    """More pods than the range has addresses."""


class AddressPool:
    """Hands out the addresses of a range, each again only when all others have had their turn.

    An address that comes back soon would find connections and DNS answers that mean its last owner.
    The first one is the gateway's. IPv6 addresses have the same number as the IPv4 one in their range.
    """

    def __init__(self, v4: str = "10.244.0.0/16", v6: str = "fd00:10:244::/64") -> None:
        self.v4 = ipaddress.IPv4Network(v4)
        self.v6 = ipaddress.IPv6Network(v6)
        self._next = 2
        self._taken: set[int] = set()

    def gateway(self, version: int) -> str:
        return str(self.v4[1] if version == 4 else self.v6[1])

    def seen_from_host(self, address: str) -> str:
        """Return what an address that a pod dialled is for the host: of the gateway, the host's loopback."""
        for version, loopback in ((4, "127.0.0.1"), (6, "::1")):
            if address == self.gateway(version):
                return loopback
        return address

    def take(self) -> int:
        """Return the number of a free address.

        Raises:
            AddressesExhausted: All are taken.
        """
        last = self.v4.num_addresses - 2
        for _ in range(last):
            number = self._next
            self._next = number + 1 if number < last else 2
            if number not in self._taken:
                self._taken.add(number)
                return number
        raise AddressesExhausted(f"all addresses of {self.v4} are taken by pods")

    def give_back(self, number: int) -> None:
        self._taken.discard(number)

    def interfaces(self, number: int) -> tuple[ipaddress.IPv4Interface, ipaddress.IPv6Interface]:
        """Return the addresses of a number, with the lengths of their networks."""
        return (
            ipaddress.IPv4Interface((self.v4[number], self.v4.prefixlen)),
            ipaddress.IPv6Interface((self.v6[number], self.v6.prefixlen)),
        )

    def __contains__(self, address: str) -> bool:
        try:
            host = ipaddress.ip_address(address)
        except ValueError:
            return False
        return host in self.v4 or host in self.v6
