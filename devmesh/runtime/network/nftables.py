"""Rules of nf_tables, as the kernel takes them (Linux, include/uapi/linux/netfilter/nf_tables.h).

An expression is bytes; a rule is expressions in a row, each of which may end it; a batch of messages is
carried out whole or not at all. Values travel in registers: `KEY` here, with 32-bit ones after it.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Sequence
from enum import IntEnum

from devmesh.runtime.network.netlink import (
    ACK,
    APPEND,
    CREATE,
    EXCLUSIVE,
    Message,
    attribute,
    be32,
    nested,
    text,
)

INET = 1  # NFPROTO_INET: a table for IPv4 and IPv6
KEY = 8  # NFT_REG32_00
TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP

_SUBSYSTEM = 10
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NEWTABLE, _DELTABLE, _NEWCHAIN, _DELCHAIN, _NEWRULE, _DELRULE = 0, 2, 3, 5, 6, 8
_NEWSET, _NEWSETELEM, _DELSETELEM = 9, 12, 14
_VERDICT_REGISTER = 0
_VERDICT_TYPE = 0xFFFFFF00
_ANONYMOUS, _CONSTANT, _MAP = 0x1, 0x2, 0x8
_TYPE_IPV4, _TYPE_IPV6, _TYPE_PORT, _TYPE_INTEGER = 7, 8, 13, 4  # nft(8)'s own numbers, for its listing
_PORT_UNREACHABLE = 1

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Hook(IntEnum):
    PREROUTING = 0
    OUTPUT = 3


class Verdict(IntEnum):
    RETURN = -5
    GOTO = -4
    JUMP = -3
    DROP = 0
    ACCEPT = 1


def _message(kind: int, flags: int, payload: bytes, what: str) -> Message:
    return Message(_SUBSYSTEM << 8 | kind, flags, struct.pack("!BBH", INET, 0, 0) + payload, what)


def batch(messages: Sequence[Message]) -> list[Message]:
    """Wrap `messages` so that they are carried out together, and acknowledged by the last."""
    head = struct.pack("!BBH", 0, 0, _SUBSYSTEM)
    last = messages[-1]
    acknowledged = Message(last.kind, last.flags | ACK, last.payload, last.what)
    begin, end = Message(_BATCH_BEGIN, 0, head, "begin batch"), Message(_BATCH_END, 0, head, "end batch")
    return [begin, *messages[:-1], acknowledged, end]


def add_table(table: str, comment: str = "") -> Message:
    """Make a table, unless it is there; `comment` is shown by ``nft list ruleset``."""
    payload = text(1, table)
    if comment:
        note = comment.encode()[:120] + b"\0"
        payload += attribute(6, struct.pack("=BB", 0, len(note)) + note)
    return _message(_NEWTABLE, CREATE, payload, f"add table {table}")


def delete_table(table: str) -> Message:
    return _message(_DELTABLE, 0, text(1, table), f"delete table {table}")


def add_chain(table: str, chain: str) -> Message:
    """Make a chain that others go to."""
    return _message(_NEWCHAIN, CREATE, text(1, table) + text(3, chain), f"add chain {chain}")


def add_base_chain(table: str, chain: str, kind: str, hook: Hook, priority: int) -> Message:
    """Make a chain that the kernel calls; `kind` is nat, filter or route."""
    where = nested(4, be32(1, hook), attribute(2, struct.pack("!i", priority)))
    payload = text(1, table) + text(3, chain) + where + text(7, kind)
    return _message(_NEWCHAIN, CREATE, payload, f"add chain {chain}")


def delete_chain(table: str, chain: str) -> Message:
    return _message(_DELCHAIN, 0, text(1, table) + text(3, chain), f"delete chain {chain}")


def flush_chain(table: str, chain: str) -> Message:
    """Delete all rules of a chain."""
    return _message(_DELRULE, 0, text(1, table) + text(2, chain), f"flush chain {chain}")


def add_rule(table: str, chain: str, *expressions: bytes) -> Message:
    body = b"".join(nested(1, expression) for expression in expressions)
    payload = text(1, table) + text(2, chain) + nested(4, body)
    return _message(_NEWRULE, CREATE | APPEND, payload, f"add a rule to {chain}")


def _expression(name: str, *attributes: bytes) -> bytes:
    return text(1, name) + nested(2, *attributes)


def _value(kind: int, data: bytes) -> bytes:
    return nested(kind, attribute(1, data))


def _compare(data: bytes, *, equal: bool = True) -> bytes:
    return _expression("cmp", be32(1, KEY), be32(2, 0 if equal else 1), _value(3, data))


def _meta(key: int) -> bytes:
    return _expression("meta", be32(1, KEY), be32(2, key))


def _payload(base: int, offset: int, size: int, register: int = KEY) -> bytes:
    return _expression("payload", be32(1, register), be32(2, base), be32(3, offset), be32(4, size))


def _masked(size: int, mask: bytes) -> bytes:
    zeros = _value(5, bytes(size))
    return _expression("bitwise", be32(1, KEY), be32(2, KEY), be32(3, size), _value(4, mask), zeros)


def mark_is(mark: int, mask: int = 0xFFF) -> list[bytes]:
    """``meta mark & mask == mark``"""
    return [_meta(3), _masked(4, struct.pack("=I", mask)), _compare(struct.pack("=I", mark))]


def protocol_is(protocol: int) -> list[bytes]:
    """``meta l4proto protocol``"""
    return [_meta(16), _compare(struct.pack("=B", protocol))]


def out_link_is(index: int) -> list[bytes]:
    """``oif index``"""
    return [_meta(5), _compare(struct.pack("=I", index))]


def in_link_is(index: int) -> list[bytes]:
    """``iif index``"""
    return [_meta(4), _compare(struct.pack("=I", index))]


def port_is(port: int) -> list[bytes]:
    """``th dport port``; the protocol must have been tested."""
    return [_payload(2, 2, 2), _compare(struct.pack("!H", port))]


def _version_is(version: int) -> list[bytes]:
    return [_meta(15), _compare(struct.pack("=B", socket.AF_INET if version == 4 else socket.AF_INET6))]


def _target(version: int) -> bytes:
    return _payload(1, 16, 4) if version == 4 else _payload(1, 24, 16)


def target_in(network: Network) -> list[bytes]:
    """``ip daddr network`` (or ip6)"""
    expressions = [*_version_is(network.version), _target(network.version)]
    if network.prefixlen < network.max_prefixlen:
        expressions.append(_masked(len(network.netmask.packed), network.netmask.packed))
    return [*expressions, _compare(network.network_address.packed)]


def _verdict_data(kind: int, verdict: Verdict, chain: str = "") -> bytes:
    code = attribute(1, struct.pack("!i", verdict))
    return nested(kind, nested(2, code, text(2, chain)) if chain else nested(2, code))


def decide(verdict: Verdict, chain: str = "") -> bytes:
    """End the rule; JUMP and GOTO name a chain."""
    return _expression("immediate", be32(1, _VERDICT_REGISTER), _verdict_data(2, verdict, chain))


def redirect(port: int) -> list[bytes]:
    """``redirect to :port``: to this namespace itself (127.0.0.1 or ::1 on the way out)."""
    load = _expression("immediate", be32(1, KEY), _value(2, struct.pack("!H", port)))
    return [load, _expression("redir", be32(1, KEY))]


def refuse() -> bytes:
    """``reject with icmpx port-unreachable``: a TCP client sees connection refused."""
    return _expression("reject", be32(1, 2), attribute(2, struct.pack("=B", _PORT_UNREACHABLE)))


def _socket_address(address: Address, port: int) -> bytes:
    return address.packed + struct.pack("!HH", port, 0)


def _address_type(version: int) -> int:
    return (_TYPE_IPV4 if version == 4 else _TYPE_IPV6) << 6 | _TYPE_PORT


def _address_size(version: int) -> int:
    return 8 if version == 4 else 20


def _translate(version: int) -> bytes:
    """``dnat to`` the address and port in the registers from `KEY` on."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    port = KEY + _address_size(version) // 4 - 1
    return _expression("nat", be32(1, 1), be32(2, family), be32(3, KEY), be32(5, port))


def send_to_one_of(
    table: str, chain: str, targets: Sequence[tuple[Address, int]], set_id: int
) -> list[Message]:
    """Add a rule that sends each connection to a random one of `targets`, all of one IP version.

    `set_id` is any number that no other call in the same batch has.
    """
    version = targets[0][0].version
    if len(targets) == 1:
        load = _expression("immediate", be32(1, KEY), _value(2, _socket_address(*targets[0])))
        return [add_rule(table, chain, load, _translate(version))]
    name = "__map%d"
    description = nested(9, be32(1, len(targets)))
    kind = be32(4, _TYPE_INTEGER) + be32(5, 4) + be32(6, _address_type(version))
    made = text(1, table) + text(2, name) + be32(3, _ANONYMOUS | _CONSTANT | _MAP) + kind
    made += be32(7, _address_size(version)) + description + be32(10, set_id)
    elements = [
        nested(1, _value(1, struct.pack("=I", index)), _value(2, _socket_address(*target)))
        for index, target in enumerate(targets)
    ]
    filled = text(1, table) + text(2, name) + be32(4, set_id) + nested(3, *elements)
    draw = _expression("numgen", be32(1, KEY), be32(2, len(targets)), be32(3, 1), be32(4, 0))
    find = _expression("lookup", text(1, name), be32(2, KEY), be32(3, KEY), be32(4, set_id))
    return [
        _message(_NEWSET, CREATE | EXCLUSIVE, made, f"add the map of {chain}"),
        _message(_NEWSETELEM, CREATE | EXCLUSIVE, filled, f"fill the map of {chain}"),
        add_rule(table, chain, draw, find, _translate(version)),
    ]


def add_dispatch(table: str, name: str, version: int, set_id: int) -> Message:
    """Make a map from (address, port) to a verdict, empty."""
    kind = be32(4, _address_type(version)) + be32(5, _address_size(version)) + be32(6, _VERDICT_TYPE)
    payload = text(1, table) + text(2, name) + be32(3, _MAP) + kind + be32(7, 0) + be32(10, set_id)
    return _message(_NEWSET, CREATE, payload, f"add map {name}")


def dispatch(name: str, version: int) -> list[bytes]:
    """``ip daddr . th dport vmap @name``; the protocol must have been tested."""
    port = _payload(2, 2, 2, KEY + _address_size(version) // 4 - 1)
    find = _expression("lookup", text(1, name), be32(2, KEY), be32(3, _VERDICT_REGISTER))
    return [*_version_is(version), _target(version), port, find]


def add_target(table: str, name: str, address: Address, port: int, chain: str) -> Message:
    """Send what is for (`address`, `port`) to `chain`, by the map `name`."""
    element = nested(1, _value(1, _socket_address(address, port)), _verdict_data(2, Verdict.GOTO, chain))
    payload = text(1, table) + text(2, name) + nested(3, element)
    return _message(_NEWSETELEM, CREATE | EXCLUSIVE, payload, f"add {address}:{port} to {name}")


def delete_target(table: str, name: str, address: Address, port: int) -> Message:
    element = nested(1, _value(1, _socket_address(address, port)))
    payload = text(1, table) + text(2, name) + nested(3, element)
    return _message(_DELSETELEM, 0, payload, f"delete {address}:{port} from {name}")
