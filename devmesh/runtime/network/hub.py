"""Where the pods' links meet: a namespace of devmesh's own, with a bridge."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import time
from contextlib import ExitStack, suppress
from functools import partial

from devmesh.runtime.network import links
from devmesh.runtime.network.addresses import AddressPool
from devmesh.runtime.network.namespaces import Namespaces
from devmesh.runtime.network.netlink import NETLINK_NETFILTER, NETLINK_ROUTE, Netlink

log = logging.getLogger(__name__)

_BRIDGE = 2  # the bridge's index in the hub
_ETH0 = 2  # the index of a pod's link, right after lo
# Istio: where the last hop to an application comes from by IPv6, on lo as 127.0.0.6 is by itself.
INBOUND_SOURCE_V6 = ipaddress.ip_interface("::6/128")
_PARAMETERS = (
    # As in a container: ports below 1024 need no privilege.
    ("net/ipv4/ip_unprivileged_port_start", "0"),
    # Finished connections are forgotten after 5 s, not 120: a load test would fill the kernel's table.
    ("net/netfilter/nf_conntrack_tcp_timeout_time_wait", "5"),
)
_IPV6_OFF = "net/ipv6/conf/lo/disable_ipv6"


class Hub:
    """One bridge; nobody but devmesh holds its namespace, so it ends with devmesh, however that ends."""

    def __init__(self, namespaces: Namespaces, addresses: AddressPool) -> None:
        self._namespaces = namespaces
        self._addresses = addresses
        self._next_link = _BRIDGE + 1
        self._netns = namespaces.create()
        with ExitStack() as undo:
            undo.callback(os.close, self._netns)
            self.has_v6 = has_ipv6(namespaces, self._netns)
            self._links = undo.enter_context(open_links(namespaces, self._netns))
            self._set_up()
            undo.pop_all()

    def close(self) -> None:
        self._links.close()
        os.close(self._netns)

    def interfaces(self, number: int) -> tuple[links.Address, ...]:
        """Return the addresses of the pod that has this number."""
        v4, v6 = self._addresses.interfaces(number)
        return (v4, v6) if self.has_v6 else (v4,)

    def plug_in(self, netns: int, number: int) -> None:
        """Connect a new namespace, with the addresses of `number`. Its link goes when the namespace does.

        Raises:
            OSError: The kernel refused.
        """
        index, self._next_link = self._next_link, self._next_link + 1
        messages = [
            links.set_up(links.LOOPBACK),
            links.add_pair("eth0", _ETH0, f"pod{index}", index, self._netns),
            links.set_up(_ETH0),
        ]
        if self.has_v6:
            messages.append(links.add_address(links.LOOPBACK, INBOUND_SOURCE_V6))
        for interface in self.interfaces(number):
            everywhere = ipaddress.ip_network("0.0.0.0/0" if interface.version == 4 else "::/0")
            messages.append(links.add_address(_ETH0, interface))
            messages.append(links.add_route(everywhere, _ETH0, self._addresses.gateway(interface.version)))
        with open_links(self._namespaces, netns) as inside:
            inside.request(messages)
            self._links.request([links.enslave(index, _BRIDGE)])
            links.settle(partial(self._namespaces.socket, netns), "eth0")
            links.settle(partial(self._namespaces.socket, self._netns), f"pod{index}")
            for name, value in _PARAMETERS:
                with suppress(OSError):  # of a module that isn't there, or not for ordinary users
                    self._namespaces.set_parameter(netns, name, value)
            if self.has_v6:
                wait_for_address(inside, str(self._addresses.interfaces(number)[1].ip))
                wait_for_address(inside, str(INBOUND_SOURCE_V6.ip))

    def _set_up(self) -> None:
        messages = [links.set_up(links.LOOPBACK), links.add_bridge("pods", _BRIDGE)]
        for version in (4, 6) if self.has_v6 else (4,):
            network = self._addresses.v4 if version == 4 else self._addresses.v6
            gateway = f"{self._addresses.gateway(version)}/{network.prefixlen}"
            messages.append(links.add_address(_BRIDGE, ipaddress.ip_interface(gateway)))
        self._links.request(messages)
        # Forwarding, with no way out: packets for the world are answered "unreachable", not swallowed.
        self._namespaces.set_parameter(self._netns, "net/ipv4/ip_forward", "1")
        if self.has_v6:
            self._namespaces.set_parameter(self._netns, "net/ipv6/conf/all/forwarding", "1")


def has_ipv6(namespaces: Namespaces, netns: int) -> bool:
    """Tell whether redirection to ::1 can work (Docker turns IPv6 off where a network has none)."""
    return namespaces.parameter(netns, _IPV6_OFF) == "0"


def wait_for_address(inside: Netlink, address: str) -> None:
    """Wait until an IPv6 address that was added is in use: the kernel does that from a work queue.

    It has been done when this is called, as a rule; a connection made before would be lost. Waits for 10 ms
    at most.
    """
    for _ in range(20):
        with suppress(OSError):
            if links.is_local(inside.request([links.get_route(address)])):
                return
        time.sleep(0.0005)


def open_links(namespaces: Namespaces, netns: int) -> Netlink:
    """Open a netlink socket for the links, addresses and routes of a namespace."""
    return Netlink(namespaces.socket(netns, socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE))


def open_rules(namespaces: Namespaces, netns: int) -> Netlink:
    """Open a netlink socket for the rules of a namespace."""
    return Netlink(namespaces.socket(netns, socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER))
