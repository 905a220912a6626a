"""Links, addresses and routes (rtnetlink; Linux, include/uapi/linux/rtnetlink.h, if_link.h)."""

from __future__ import annotations

import ctypes
import fcntl
import ipaddress
import socket
import struct
from collections.abc import Callable, Sequence

from devmesh.runtime.network.netlink import (
    ACK,
    CREATE,
    DUMP,
    EXCLUSIVE,
    Message,
    attribute,
    attributes,
    nested,
    text,
    u32,
)

LOOPBACK = 1  # the index of lo, in every namespace

_NEWLINK, _GETLINK = 16, 18
_NEWADDR, _GETADDR = 20, 22
_NEWROUTE, _GETROUTE = 24, 26

_IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 3, 4, 10, 18, 28
_IFLA_INFO_KIND, _IFLA_INFO_DATA = 1, 2
_VETH_INFO_PEER = 1
_IFF_UP = 1
# A captured connection keeps the segment size of the way it did not take: with 1500 bytes it was 40 % slower.
_MTU = 65535
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_IFA_F_NODAD, _IFA_F_PERMANENT = 0x02, 0x80
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_METRICS = 1, 4, 5, 8
_RTAX_MTU = 2
_RT_TABLE_MAIN, _RTPROT_STATIC, _RTN_UNICAST, _RTN_LOCAL = 254, 4, 1, 2
_SIOCETHTOOL, _ETHTOOL_GLINK = 0x8946, 0x0A
_SCOPE_GLOBAL, _SCOPE_LINK, _SCOPE_HOST = 0, 253, 254

Address = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _link(index: int = 0, *, up: bool = False) -> bytes:
    flags = _IFF_UP if up else 0
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, flags)


def add_bridge(name: str, index: int) -> Message:
    """Make a bridge and set it up."""
    info = nested(_IFLA_LINKINFO, text(_IFLA_INFO_KIND, "bridge"))
    payload = _link(index, up=True) + text(_IFLA_IFNAME, name) + info
    return Message(_NEWLINK, ACK | CREATE | EXCLUSIVE, payload, f"add bridge {name}")


def add_pair(name: str, index: int, peer: str, peer_index: int, peer_netns: int) -> Message:
    """Make a pair of virtual Ethernet links: `name` here, `peer` in the namespace held by `peer_netns`.

    Both are still down: the kernel refuses to set one up before the pair is whole.
    """
    mtu = u32(_IFLA_MTU, _MTU)
    other = _link(peer_index) + text(_IFLA_IFNAME, peer) + u32(_IFLA_NET_NS_FD, peer_netns) + mtu
    info = nested(
        _IFLA_LINKINFO,
        text(_IFLA_INFO_KIND, "veth"),
        nested(_IFLA_INFO_DATA, attribute(_VETH_INFO_PEER, other)),
    )
    payload = _link(index) + text(_IFLA_IFNAME, name) + mtu + info
    return Message(_NEWLINK, ACK | CREATE | EXCLUSIVE, payload, f"add link {name}")


def set_up(index: int) -> Message:
    return Message(_NEWLINK, ACK, _link(index, up=True), f"set link {index} up")


def enslave(index: int, master: int) -> Message:
    """Plug a link into a bridge, and set it up."""
    payload = _link(index, up=True) + u32(_IFLA_MASTER, master)
    return Message(_NEWLINK, ACK, payload, f"plug link {index} into the bridge")


def add_address(index: int, address: Address) -> Message:
    """Give a link an address, at once usable (no detection of duplicates: the network is ours alone)."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    scope = _SCOPE_HOST if index == LOOPBACK else _SCOPE_GLOBAL
    head = struct.pack("=BBBBi", family, address.network.prefixlen, _IFA_F_PERMANENT, scope, index)
    payload = head + attribute(_IFA_LOCAL, address.packed) + attribute(_IFA_ADDRESS, address.packed)
    payload += u32(_IFA_FLAGS, _IFA_F_PERMANENT | _IFA_F_NODAD)
    return Message(_NEWADDR, ACK | CREATE | EXCLUSIVE, payload, f"add address {address}")


def add_route(
    target: Network, index: int, gateway: str | None = None, *, is_virtual: bool = False
) -> Message:
    """Send what is for `target` by a link, to `gateway` where given.

    What is for a virtual address never takes the way it is sent: it may be as large as on loopback.
    """
    family = socket.AF_INET if target.version == 4 else socket.AF_INET6
    scope = _SCOPE_GLOBAL if gateway or target.version == 6 else _SCOPE_LINK
    head = struct.pack(
        "=BBBBBBBBI",
        family,
        target.prefixlen,
        0,
        0,
        _RT_TABLE_MAIN,
        _RTPROT_STATIC,
        scope,
        _RTN_UNICAST,
        0,
    )
    payload = head + attribute(_RTA_DST, target.network_address.packed) + u32(_RTA_OIF, index)
    if gateway:
        payload += attribute(_RTA_GATEWAY, socket.inet_pton(family, gateway))
    if is_virtual:
        payload += nested(_RTA_METRICS, u32(_RTAX_MTU, _MTU))
    return Message(_NEWROUTE, ACK | CREATE | EXCLUSIVE, payload, f"add route to {target}")


def get_route(address: str) -> Message:
    """Ask which way `address` is reached; refused (ENETUNREACH) where there is none."""
    host = ipaddress.ip_address(address)
    family = socket.AF_INET if host.version == 4 else socket.AF_INET6
    head = struct.pack("=BBBBBBBBI", family, host.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    return Message(_GETROUTE, 0, head + attribute(_RTA_DST, host.packed), f"find route to {address}")


def is_local(answers: Sequence[bytes]) -> bool:
    """Read the answer to `get_route`: whether the address is this namespace's own."""
    return any(answer[7] == _RTN_LOCAL for answer in answers)


def list_links() -> Message:
    return Message(_GETLINK, DUMP, _link(), "list links")


def link_names(answers: Sequence[bytes]) -> dict[int, str]:
    """Read the answers to `list_links`: indexes to names."""
    found = {}
    for answer in answers:
        (index,) = struct.unpack_from("=i", answer, 4)
        names = [value for kind, value in attributes(answer[16:]) if kind == _IFLA_IFNAME]
        found[index] = names[0].rstrip(b"\0").decode() if names else ""
    return found


def list_addresses() -> Message:
    return Message(_GETADDR, DUMP, struct.pack("=BBBBi", socket.AF_UNSPEC, 0, 0, 0, 0), "list addresses")


def link_addresses(answers: Sequence[bytes]) -> list[tuple[int, str]]:
    """Read the answers to `list_addresses`: (index of the link, address), lo's and link-local ones too."""
    found = []
    for answer in answers:
        family, _, _, _, index = struct.unpack_from("=BBBBi", answer)
        values = dict(attributes(answer[8:]))
        packed = values.get(_IFA_LOCAL) or values.get(_IFA_ADDRESS)
        if packed is not None:
            found.append((index, socket.inet_ntop(family, packed)))
    return found


def settle(maker: Callable[[int, int], socket.socket], name: str) -> None:
    """Have the kernel notice now that a link has its carrier.

    It does so by itself a moment later, from a work queue; until then what is sent is dropped, and
    a first connection loses a second to its retransmission. To ask for the state makes it look
    (linux/ethtool.h: ETHTOOL_GLINK).
    """
    question = struct.pack("=II", _ETHTOOL_GLINK, 0)
    buffer = ctypes.create_string_buffer(question, len(question))
    request = struct.pack("=16sQ8x", name.encode(), ctypes.addressof(buffer))
    with maker(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCETHTOOL, request)
