"""Objects that devmesh itself makes for others and keeps as they are to be."""

from __future__ import annotations

import hashlib
import json
import logging
import socket
import zlib
from collections.abc import Collection
from functools import cache
from typing import Any

from devmesh.config.admission import admit
from devmesh.config.kinds import DEPLOYMENT, SERVICE, Kind
from devmesh.config.problems import Refused
from devmesh.config.store import Forbidden, Key, NotFound, Raw, Store, Stored

log = logging.getLogger(__name__)

_DIGEST = "devmesh.dev/digest"


def keep(store: Store, kind: Kind, raw: Raw) -> Stored | None:
    """Make an object, or change it where another one is wanted than the last time; None: it can't be.

    What people changed since stays as long as the same is wanted, and so do the replicas of a Deployment.
    An object of that name which devmesh has not made is left alone.
    """
    digest = hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()[:16]
    metadata: dict[str, Any] = raw["metadata"]
    before = store.get(kind, metadata["namespace"], metadata["name"])
    if before is not None and (before.deleting or before.annotations.get(_DIGEST) in (None, digest)):
        return before
    annotations = {**(metadata.get("annotations") or {}), _DIGEST: digest}
    wanted = {**raw, "metadata": {**metadata, "annotations": annotations}}
    if before is not None and kind is DEPLOYMENT:
        replicas = (before.raw.get("spec") or {}).get("replicas", 1)
        wanted["spec"] = {**wanted["spec"], "replicas": replicas}
    try:
        admitted = admit(kind, wanted, store=store, before=before).raw
        return store.update(kind, admitted) if before else store.create(kind, admitted)
    except (NotFound, Forbidden, Refused) as error:
        log.warning("cannot make %s %s/%s: %s", kind, metadata["namespace"], metadata["name"], error)
        return None


def give_address(store: Store, stored: Stored) -> None:
    """Give a Service of type LoadBalancer a loopback address of its own, as a cloud would.

    Where ports below 1024 may not be listened on there is none but 127.0.0.1, with the node ports.
    """
    if (stored.raw.get("spec") or {}).get("type") != "LoadBalancer":
        return
    if ((stored.raw.get("status") or {}).get("loadBalancer") or {}).get("ingress"):
        return
    address = "127.0.0.1"
    if may_listen_low():
        taken = {ip for service in store.list(SERVICE) for ip in _addresses(service)}
        ports = [port["port"] for port in stored.raw["spec"].get("ports") or ()]
        address = loopback(f"{stored.name}.{stored.namespace}", taken, ports)
    status = {"loadBalancer": {"ingress": [{"ip": address, "ipMode": "VIP"}]}}
    store.patch_status(Key(SERVICE, stored.namespace, stored.name), status)


def _addresses(service: Stored) -> list[str]:
    balancer = (service.raw.get("status") or {}).get("loadBalancer") or {}
    return [str(found.get("ip", "")) for found in balancer.get("ingress") or ()]


def loopback(name: str, taken: Collection[str], ports: Collection[int] = ()) -> str:
    """Choose an address of 127.1.0.0/16 for `name`: the same in every mesh, unless it is taken or somebody
    (another mesh) listens on one of its `ports`."""
    size = 65_000
    first = zlib.crc32(name.encode()) % size
    for step in range(size):
        number = 1 + (first + step) % size
        address = f"127.1.{number >> 8}.{number & 0xFF}"
        if address not in taken and all(_is_free(address, port) for port in ports):
            return address
    return "127.0.0.1"


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


@cache
def may_listen_low() -> bool:
    """Tell whether this process may listen on ports such as 80."""
    return _is_free("127.1.255.254", 80)
