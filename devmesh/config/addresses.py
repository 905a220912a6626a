"""Virtual addresses, given out once and kept: 240.240.0.0/16, as Istio's automatic ones."""

from __future__ import annotations

import zlib
from collections.abc import Collection
from typing import Any

from devmesh.config.kinds import SERVICE, SERVICE_ENTRY
from devmesh.config.store import Store

_FIRST, _LAST = 0x0001, 0xFFFE  # 240.240.0.1 to 240.240.255.254
_NODE_PORTS = (30_000, 32_767)  # Kubernetes: --service-node-port-range


class NoAddressLeft(RuntimeError):
    """All addresses (or node ports) are taken."""


_AUTO_ALLOCATE = "networking.istio.io/enable-autoallocate-ip"


def virtual_address(name: str, taken: Collection[str]) -> str:
    """Choose an address for `name` (``reviews.default``) that is not in `taken`.

    The same name has the same address in every mesh and after every restart, save where two
    names share their hash: the later one has the next that is free.

    Raises:
        NoAddressLeft: All 65,534 are taken.
    """
    size = _LAST - _FIRST + 1
    first = zlib.crc32(name.encode()) % size
    for step in range(size):
        number = _FIRST + (first + step) % size
        address = f"240.240.{number >> 8}.{number & 0xFF}"
        if address not in taken:
            return address
    raise NoAddressLeft("all virtual addresses (240.240.0.0/16) are taken: delete Services or ServiceEntries")


def node_port(name: str, taken: Collection[int]) -> int:
    """Choose a node port for `name` that is not in `taken`.

    Raises:
        NoAddressLeft: All are taken.
    """
    low, high = _NODE_PORTS
    first = zlib.crc32(name.encode()) % (high - low + 1)
    for step in range(high - low + 1):
        port = low + (first + step) % (high - low + 1)
        if port not in taken:
            return port
    raise NoAddressLeft("all node ports (30000-32767) are taken: delete Services of type NodePort")


def taken_addresses(store: Store) -> set[str]:
    """Return the addresses of all Services and ServiceEntries."""
    taken: set[str] = set()
    for service in store.list(SERVICE):
        spec = service.raw.get("spec") or {}
        taken.update(spec.get("clusterIPs") or ())
        taken.add(spec.get("clusterIP") or "")
    for entry in store.list(SERVICE_ENTRY):
        taken.update((entry.raw.get("spec") or {}).get("addresses") or ())
        taken.update(a["value"] for a in _given(entry.raw))
    return taken


def taken_node_ports(store: Store) -> set[int]:
    """Return the node ports of all Services."""
    specs = (service.raw.get("spec") or {} for service in store.list(SERVICE))
    return {port["nodePort"] for spec in specs for port in spec.get("ports") or () if port.get("nodePort")}


def give_service(raw: dict[str, Any], store: Store) -> None:
    """Fill in a Service's ``clusterIP`` and node ports where it has none; a given one is honoured."""
    spec, metadata = raw["spec"], raw["metadata"]
    name = f"{metadata.get('name') or metadata.get('generateName')}.{metadata['namespace']}"
    if spec["type"] == "ExternalName":
        spec.pop("clusterIP", None)
        spec.pop("clusterIPs", None)
        return
    if not spec.get("clusterIP"):
        given = spec.get("clusterIPs") or [""]
        spec["clusterIP"] = given[0] or virtual_address(name, taken_addresses(store))
    spec["clusterIPs"] = [spec["clusterIP"], *(spec.get("clusterIPs") or [])[1:]]
    if ":" in spec["clusterIP"] and spec["ipFamilies"] == ["IPv4"]:
        spec["ipFamilies"] = ["IPv6"]
    if spec["type"] in ("NodePort", "LoadBalancer"):
        _give_node_ports(raw, name, store)


def _give_node_ports(raw: dict[str, Any], name: str, store: Store) -> None:
    before = store.get(SERVICE, raw["metadata"]["namespace"], raw["metadata"].get("name") or "")
    ports = (before.raw["spec"].get("ports") or ()) if before else ()
    kept = {(port.get("protocol"), port["port"]): port.get("nodePort") for port in ports}
    taken = taken_node_ports(store)
    for port in raw["spec"].get("ports", ()):
        if not port.get("nodePort"):
            found = kept.get((port["protocol"], port["port"])) or node_port(f"{name}:{port['port']}", taken)
            taken.add(found)
            port["nodePort"] = found


def give_entry(raw: dict[str, Any], store: Store) -> None:
    """Fill in a ServiceEntry's ``status.addresses``: one for each host that is no wildcard.

    Istio: only where the entry names no addresses, and its endpoints are known (a resolution
    other than NONE), and no label keeps it from that. Hosts keep what they have.
    """
    spec, metadata = raw.get("spec") or {}, raw["metadata"]
    before = store.get(SERVICE_ENTRY, metadata["namespace"], metadata.get("name") or "")
    kept = {a["host"]: a["value"] for a in _given(before.raw)} if before else {}
    was = (before.raw.get("status") or {}) if before else {}
    status = {key: value for key, value in was.items() if key != "addresses"}
    may = (metadata.get("labels") or {}).get(_AUTO_ALLOCATE) != "false"
    if may and not spec.get("addresses") and spec.get("resolution", "NONE") != "NONE":
        taken = taken_addresses(store)
        found: list[dict[str, str]] = []
        for host in spec.get("hosts") or ():
            if not host.startswith("*"):
                value = kept.get(host) or virtual_address(f"{host}.{metadata['namespace']}", taken)
                taken.add(value)
                found.append({"value": value, "host": host})
        status["addresses"] = found
    raw["status"] = status


def _given(raw: dict[str, Any]) -> list[dict[str, str]]:
    return [a for a in (raw.get("status") or {}).get("addresses") or () if a.get("value") and a.get("host")]
