"""The rules inside a pod's namespace: who takes over which connection.

They are Istio's (``istio-iptables``: 15001, 15006, 15053, the mark 1337), with two changes. DNS comes
before the exemption of loopback, since Docker's resolver is 127.0.0.11; and mark 1338 is devmesh's
own hop: a connection made here on behalf of a client, which arrives as a stranger's would. Priority
-101 is just before Docker's own translation of its resolver's address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from devmesh.runtime.network import nftables
from devmesh.runtime.network.links import LOOPBACK
from devmesh.runtime.network.netlink import Message
from devmesh.runtime.network.nftables import Hook, Verdict, decide
from devmesh.runtime.network.selection import SIDECAR_PORTS, Network, Selection
from devmesh.snapshot.network import MARK_HOP, MARK_PROXY

TABLE = "devmesh"
# Chains that lead Services' addresses to their endpoints, with a map for each IP version.
SERVICES = {nftables.TCP: "services", nftables.UDP: "datagrams"}
_DIRECT = "direct"
_PRIORITY = -101
_TCP, _UDP = nftables.protocol_is(nftables.TCP), nftables.protocol_is(nftables.UDP)
_MULTICAST = tuple(map(ipaddress.ip_network, ("224.0.0.0/4", "255.255.255.255", "ff00::/8")))
_RESOLVER = ipaddress.ip_network("127.0.0.1")


@dataclass(frozen=True, slots=True)
class Ports:
    """Where devmesh listens in a namespace; None is nowhere, and such traffic is not taken over.

    `relay` is the way to the world for what no proxy takes over; None: the namespace has its own.
    """

    outbound: int | None = None
    inbound: int | None = None
    dns: int | None = None
    relay: int | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What addresses mean here: `pods` are reached as they are, `virtual` ones are Services' alone, and
    `host` is this machine, which the relay reaches."""

    pods: tuple[Network, ...] = ()
    virtual: tuple[Network, ...] = ()
    host: tuple[Network, ...] = ()


def pod_rules(
    ports: Ports,
    selection: Selection,
    around: Surroundings,
    *,
    own_resolver: bool = False,
    resolvers: tuple[Network, ...] = (),
    owner: str = "",
) -> list[Message]:
    """Return the messages that make a pod's table, in one batch.

    Args:
        own_resolver: What listens on 127.0.0.1:53 is the pod's own and is left alone; otherwise such
            queries come from a resolv.conf of the host's and are ours.
        resolvers: Only queries to these are taken over; empty: all. Docker's resolver, asked for a name of
            the world, asks others *from inside the namespace*: it must not be led back to us, and so to
            itself.
        owner: Shown as the table's comment.
    """
    messages = [
        nftables.add_table(TABLE, owner),
        nftables.add_base_chain(TABLE, "out", "nat", Hook.OUTPUT, _PRIORITY),
        nftables.add_base_chain(TABLE, "in", "nat", Hook.PREROUTING, _PRIORITY),
        nftables.add_chain(TABLE, _DIRECT),
    ]
    for number, (protocol, version) in enumerate(product(SERVICES, (4, 6))):
        if version == 4:
            messages.append(nftables.add_chain(TABLE, SERVICES[protocol]))
        messages.append(nftables.add_dispatch(TABLE, map_of(protocol, version), version, number + 1))
    chains: dict[str, Iterable[list[bytes]]] = {
        **{
            chain: [nftables.dispatch(map_of(protocol, version), version) for version in (4, 6)]
            for protocol, chain in SERVICES.items()
        },
        _DIRECT: _direct(ports, around),
        "out": [*_own(ports), *_dns(ports, selection, own_resolver, resolvers), *_out(ports, selection)],
        "in": _in(ports, selection),
    }
    for chain, rules in chains.items():
        messages += [nftables.add_rule(TABLE, chain, *rule) for rule in rules]
    return messages


def map_of(protocol: int, version: int) -> str:
    """Return the name of the map that knows the Services' addresses of a protocol and an IP version."""
    return f"{SERVICES[protocol]}{version}"


def _own(ports: Ports) -> Iterator[list[bytes]]:
    """Devmesh's own connections."""
    yield [*nftables.mark_is(MARK_PROXY), decide(Verdict.RETURN)]
    if ports.inbound is not None:
        yield [*nftables.mark_is(MARK_HOP), *_TCP, *nftables.redirect(ports.inbound)]


def _dns(
    ports: Ports, selection: Selection, own_resolver: bool, resolvers: tuple[Network, ...]
) -> Iterator[list[bytes]]:
    if ports.dns is None or not selection.redirect_dns:
        return
    for protocol in (_UDP, _TCP):
        if own_resolver:
            own = [*nftables.target_in(_RESOLVER), *protocol, *nftables.port_is(53)]
            yield [*own, decide(Verdict.RETURN)]
        for asked in map(nftables.target_in, resolvers) if resolvers else ([],):
            yield [*asked, *protocol, *nftables.port_is(53), *nftables.redirect(ports.dns)]


def _out(ports: Ports, selection: Selection) -> Iterator[list[bytes]]:
    directly = decide(Verdict.GOTO, _DIRECT)
    yield [*nftables.out_link_is(LOOPBACK), decide(Verdict.RETURN)]
    if ports.outbound is not None:
        for port in sorted(selection.exclude_outbound_ports):
            yield [*_TCP, *nftables.port_is(port), directly]
        for network in selection.exclude_outbound_ranges:
            yield [*nftables.target_in(network), *_TCP, directly]
        for port in sorted(selection.include_outbound_ports):
            yield [*_TCP, *nftables.port_is(port), *nftables.redirect(ports.outbound)]
        if selection.include_outbound_ranges is None:
            yield [*_TCP, *nftables.redirect(ports.outbound)]
        for network in selection.include_outbound_ranges or ():
            yield [*nftables.target_in(network), *_TCP, *nftables.redirect(ports.outbound)]
    yield [directly]


def _direct(ports: Ports, around: Surroundings) -> Iterator[list[bytes]]:
    """What no proxy takes over, UDP among it: to Services as with kube-proxy, to pods, to the world."""
    for protocol, chain in SERVICES.items():
        yield [*nftables.protocol_is(protocol), decide(Verdict.JUMP, chain)]
    if ports.relay is None:
        return
    for network in around.virtual:
        yield [*nftables.target_in(network), nftables.refuse()]
    for network in around.host:
        yield [*nftables.target_in(network), *_TCP, *nftables.redirect(ports.relay)]
    for network in (*around.pods, *_MULTICAST):
        yield [*nftables.target_in(network), decide(Verdict.RETURN)]
    yield [*_TCP, *nftables.redirect(ports.relay)]
    yield [*_UDP, nftables.refuse()]  # there is no way to the world for it: say so at once


def _in(ports: Ports, selection: Selection) -> Iterator[list[bytes]]:
    if ports.inbound is None:
        return
    yield [*nftables.in_link_is(LOOPBACK), decide(Verdict.RETURN)]
    for port in sorted(SIDECAR_PORTS | selection.exclude_inbound_ports):
        yield [*_TCP, *nftables.port_is(port), decide(Verdict.RETURN)]
    if selection.include_inbound_ports is None:
        yield [*_TCP, *nftables.redirect(ports.inbound)]
    for port in sorted(selection.include_inbound_ports or ()):
        yield [*_TCP, *nftables.port_is(port), *nftables.redirect(ports.inbound)]
