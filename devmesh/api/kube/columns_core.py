"""The columns of Services, of what they point to, and of configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devmesh.api.kube.columns import AGE, NAME, Column, at, few, field, labels
from devmesh.api.kube.duration import age

Raw = Mapping[str, Any]


def _external(raw: Raw) -> str:
    given = list(at(raw, "spec.externalIPs", ()))
    match at(raw, "spec.type", "ClusterIP"):
        case "ExternalName":
            return str(at(raw, "spec.externalName", "<none>"))
        case "LoadBalancer":
            ingress = at(raw, "status.loadBalancer.ingress", ())
            found = [i.get("ip") or i.get("hostname") for i in ingress if i.get("ip") or i.get("hostname")]
            return ",".join([*found, *given]) or "<pending>"
    return ",".join(given) or "<none>"


def _ports(raw: Raw) -> str:
    parts = []
    for port in at(raw, "spec.ports", ()):
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        parts.append(f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(parts) or "<none>"


SERVICE = (
    NAME,
    field("Type", "spec.type", "ClusterIP"),
    field("Cluster-IP", "spec.clusterIP"),
    Column("External-IP", _external),
    Column("Port(s)", _ports),
    AGE,
    Column("Selector", lambda r: labels(at(r, "spec.selector")), wide=True),
)


_NO_PORT: tuple[dict[str, Any], ...] = ({},)


def _endpoints(raw: Raw) -> str:
    found = [
        f"{address.get('ip')}:{port.get('port')}" if port else str(address.get("ip"))
        for subset in at(raw, "subsets", ())
        for port in subset.get("ports") or _NO_PORT
        for address in subset.get("addresses") or ()
    ]
    return few(found)


def _slice_endpoints(raw: Raw) -> str:
    addresses = [a for e in at(raw, "endpoints", ()) for a in e.get("addresses") or ()]
    return few(addresses) if addresses else "<unset>"


def _slice_ports(raw: Raw) -> str:
    ports = [str(p.get("port", "*")) for p in at(raw, "ports", ())]
    return few(ports) if ports else "<unset>"


ENDPOINTS = (NAME, Column("Endpoints", _endpoints), AGE)
ENDPOINT_SLICE = (
    NAME,
    field("AddressType", "addressType", ""),
    Column("Ports", _slice_ports),
    Column("Endpoints", _slice_endpoints),
    AGE,
)
NAMESPACE = (NAME, field("Status", "status.phase", "Active"), AGE)


def _node_status(raw: Raw) -> str:
    conditions = {c.get("type"): c.get("status") for c in at(raw, "status.conditions", ())}
    words = [{"True": "Ready", "False": "NotReady"}.get(str(conditions.get("Ready")), "Unknown")]
    if at(raw, "spec.unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _roles(raw: Raw) -> str:
    prefix = "node-role.kubernetes.io/"
    found = [key.removeprefix(prefix) for key in at(raw, "metadata.labels", {}) if key.startswith(prefix)]
    return ",".join(sorted(filter(None, found))) or "<none>"


def _address(type_: str) -> Any:
    def value(raw: Raw) -> str:
        found = (a.get("address", "") for a in at(raw, "status.addresses", ()) if a.get("type") == type_)
        return next(found, "<none>")

    return value


NODE = (
    NAME,
    Column("Status", _node_status),
    Column("Roles", _roles),
    AGE,
    field("Version", "status.nodeInfo.kubeletVersion", ""),
    Column("Internal-IP", _address("InternalIP"), wide=True),
    Column("External-IP", _address("ExternalIP"), wide=True),
    field("OS-Image", "status.nodeInfo.osImage", "<unknown>", wide=True),
    field("Kernel-Version", "status.nodeInfo.kernelVersion", "<unknown>", wide=True),
    field("Container-Runtime", "status.nodeInfo.containerRuntimeVersion", "<unknown>", wide=True),
)
CONFIG_MAP = (
    NAME,
    Column("Data", lambda r: len(at(r, "data", ())) + len(at(r, "binaryData", ())), "integer"),
    AGE,
)
SECRET = (
    NAME,
    field("Type", "type", "Opaque"),
    Column("Data", lambda r: len(at(r, "data", ())), "integer"),
    AGE,
)
SERVICE_ACCOUNT = (NAME, Column("Secrets", lambda r: len(at(r, "secrets", ())), "integer"), AGE)


def _last_seen(raw: Raw) -> str:
    times = (
        at(raw, "series.lastObservedTime"),
        at(raw, "lastTimestamp"),
        at(raw, "eventTime"),
        at(raw, "firstTimestamp"),
        at(raw, "metadata.creationTimestamp"),
    )
    return age(next(filter(None, times), None))


def _object(raw: Raw) -> str:
    return f"{at(raw, 'involvedObject.kind', '').lower()}/{at(raw, 'involvedObject.name', '')}"


def _source(raw: Raw) -> str:
    parts = (at(raw, "source.component") or at(raw, "reportingComponent", ""), at(raw, "source.host", ""))
    return ", ".join(filter(None, parts))


EVENT = (
    Column("Last Seen", _last_seen),
    field("Type", "type", ""),
    field("Reason", "reason", ""),
    Column("Object", _object),
    field("Subobject", "involvedObject.fieldPath", "", wide=True),
    Column("Source", _source, wide=True),
    Column("Message", lambda r: str(at(r, "message", "")).strip()),
    Column("First Seen", lambda r: age(at(r, "firstTimestamp") or at(r, "eventTime")), wide=True),
    Column("Count", lambda r: at(r, "series.count") or at(r, "count", 1), "integer", wide=True),
    Column("Name", lambda r: at(r, "metadata.name", ""), format="name", wide=True),
)
_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _claim_status(raw: Raw) -> str:
    return "Terminating" if at(raw, "metadata.deletionTimestamp") else str(at(raw, "status.phase", "Pending"))


PERSISTENT_VOLUME_CLAIM = (
    NAME,
    Column("Status", _claim_status),
    field("Volume", "spec.volumeName", ""),
    field("Capacity", "status.capacity.storage", ""),
    Column("Access Modes", lambda r: ",".join(_MODES.get(m, m) for m in at(r, "status.accessModes", ()))),
    field("StorageClass", "spec.storageClassName", ""),
    field("VolumeAttributesClass", "spec.volumeAttributesClassName", "<unset>"),
    AGE,
    field("VolumeMode", "spec.volumeMode", "<unset>", wide=True),
)
