"""Endpoints and EndpointSlices: the pods behind each Service, and which of them are ready."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from devmesh.config.kinds import ENDPOINT_SLICE, ENDPOINTS, POD, SERVICE, Kind
from devmesh.config.store import Event, Key, Raw, Store, Stored
from devmesh.runtime.controllers.objects import is_ready, owner_reference, phase, template_hash
from devmesh.runtime.pods.admission import NODE_NAME

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_MIRROR = "endpointslicemirroring-controller.k8s.io"
_OURS = "endpointslice-controller.k8s.io"


@dataclass(frozen=True, slots=True)
class Backend:
    """A pod behind a Service, with the numbers that the Service's ports have there."""

    pod: Stored
    ports: tuple[tuple[str, int, str, str], ...]  # name, number, protocol, appProtocol
    ready: bool

    @property
    def reference(self) -> Raw:
        return {
            "kind": "Pod",
            "namespace": self.pod.namespace,
            "name": self.pod.name,
            "uid": self.pod.uid,
        }


class ServiceEndpoints:
    """Kubernetes' Endpoints, EndpointSlice and mirroring controllers."""

    name = "endpoints"

    def all(self, store: Store) -> Iterable[Key]:
        return [stored.key for stored in store.list(SERVICE)]

    def affected(self, store: Store, event: Event) -> Iterable[Key]:
        stored = event.object
        if stored.key.kind is SERVICE:
            yield stored.key
        elif stored.key.kind is POD:
            if event.before is not None and _same(stored, event.before) and event.type != "DELETED":
                return
            for service in store.list(SERVICE, stored.namespace):
                if _takes(service, stored) or (event.before and _takes(service, event.before)):
                    yield service.key
        elif stored.key.kind is ENDPOINTS:
            yield Key(SERVICE, stored.namespace, stored.name)

    def reconcile(self, store: Store, key: Key) -> float | None:
        service = store.by_key(key)
        if service is None:
            if (left := store.get(ENDPOINTS, key.namespace, key.name)) is not None:
                store.delete(left.key)
            return None
        spec = service.raw.get("spec") or {}
        if spec.get("type") == "ExternalName":
            _put_slices(store, service, [])
            return None
        if not spec.get("selector"):
            _put_slices(store, service, list(_mirrored(store, service)))
            return None
        found = backends(store, service)
        _put(store, ENDPOINTS, _endpoints(service, found))
        _put_slices(store, service, list(_slices(service, found)))
        return None


def backends(store: Store, service: Stored) -> list[Backend]:
    """Return the pods that the Service selects and that have an address."""
    everybody = bool(service.raw["spec"].get("publishNotReadyAddresses"))
    found = []
    for pod in store.list(POD, service.namespace):
        status = pod.raw.get("status") or {}
        if _takes(service, pod) and status.get("podIP") and phase(pod) not in ("Succeeded", "Failed"):
            ready = is_ready(pod) or (everybody and not pod.deleting)
            found.append(Backend(pod, tuple(_ports(service, pod)), ready))
    return found


def _takes(service: Stored, pod: Stored) -> bool:
    selector: Raw = (service.raw.get("spec") or {}).get("selector") or {}
    return bool(selector) and selector.items() <= dict(pod.labels).items()


def _same(now: Stored, before: Stored) -> bool:
    """Tell whether nothing has changed that an endpoint is made of."""
    return (
        now.labels == before.labels
        and now.deleting == before.deleting
        and is_ready(now) == is_ready(before)
        and phase(now) == phase(before)
        and (now.raw.get("status") or {}).get("podIPs") == (before.raw.get("status") or {}).get("podIPs")
    )


def _ports(service: Stored, pod: Stored) -> Iterator[tuple[str, int, str, str]]:
    for port in service.raw["spec"].get("ports") or ():
        number = _number(port.get("targetPort") or port["port"], pod)
        if number is not None:
            yield port.get("name") or "", number, port.get("protocol") or "TCP", port.get("appProtocol") or ""


def _number(target: int | str, pod: Stored) -> int | None:
    if isinstance(target, int) or target.isdigit():
        return int(target)
    spec = pod.raw["spec"]
    for container in (*spec["containers"], *(spec.get("initContainers") or ())):
        for port in container.get("ports") or ():
            if port.get("name") == target:
                return int(port["containerPort"])
    return None


def _as_port(port: tuple[str, int, str, str]) -> Raw:
    name, number, protocol, application = port
    raw: Raw = {"name": name, "port": number, "protocol": protocol}
    return {**raw, "appProtocol": application} if application else raw


def _endpoints(service: Stored, found: list[Backend]) -> Raw:
    """Return the older form. Pods that are being deleted are not in it."""
    subsets: list[Raw] = []
    alive = [b for b in found if not b.pod.deleting]
    for ports in dict.fromkeys(b.ports for b in alive):
        group = [b for b in alive if b.ports == ports]
        subset: Raw = {}
        for field, wanted in (("addresses", True), ("notReadyAddresses", False)):
            addresses = [
                {"ip": b.pod.raw["status"]["podIP"], "nodeName": NODE_NAME, "targetRef": b.reference}
                for b in group
                if b.ready is wanted
            ]
            if addresses:
                subset[field] = addresses
        subset["ports"] = [
            _as_port(p) if p[0] else {k: v for k, v in _as_port(p).items() if k != "name"} for p in ports
        ]
        subsets.append(subset)
    raw: Raw = {
        "metadata": {
            "name": service.name,
            "namespace": service.namespace,
            "labels": {**service.labels, "endpoints.kubernetes.io/managed-by": "endpoint-controller"},
        }
    }
    return {**raw, "subsets": subsets} if subsets else raw


def _slices(service: Stored, found: list[Backend]) -> Iterator[Raw]:
    families = service.raw["spec"].get("ipFamilies") or ["IPv4"]
    for family in families:
        groups = list(dict.fromkeys(b.ports for b in found)) or [()]
        for ports in groups:
            members = [e for b in found if b.ports == ports for e in _endpoint(service, b, family)]
            yield _slice(service, family, ports, members, _OURS)


def _endpoint(service: Stored, backend: Backend, family: str) -> Iterator[Raw]:
    status, spec = backend.pod.raw["status"], backend.pod.raw["spec"]
    for entry in status.get("podIPs") or ():
        if (":" in entry["ip"]) is (family == "IPv6"):
            endpoint: Raw = {
                "addresses": [entry["ip"]],
                "conditions": {
                    "ready": backend.ready,
                    "serving": backend.ready or _was_ready(backend.pod),
                    "terminating": backend.pod.deleting,
                },
                "nodeName": NODE_NAME,
                "targetRef": backend.reference,
            }
            if spec.get("hostname") and spec.get("subdomain") == service.name:
                endpoint["hostname"] = spec["hostname"]
            yield endpoint
            return


def _was_ready(pod: Stored) -> bool:
    statuses = (pod.raw.get("status") or {}).get("containerStatuses") or ()
    return bool(statuses) and all(s.get("ready") for s in statuses)


def _slice(
    service: Stored, family: str, ports: tuple[tuple[str, int, str, str], ...], members: list[Raw], by: str
) -> Raw:
    digest = template_hash({"service": service.uid, "family": family, "ports": list(map(list, ports))})[:5]
    return {
        "metadata": {
            "name": f"{service.name}-{digest}",
            "namespace": service.namespace,
            "labels": {**service.labels, SERVICE_LABEL: service.name, MANAGED_BY: by},
            "ownerReferences": [owner_reference(service)],
        },
        "addressType": family,
        "endpoints": members,
        "ports": [_as_port(port) for port in ports],
    }


def _mirrored(store: Store, service: Stored) -> Iterator[Raw]:
    """Yield slices for the Endpoints that somebody has written for a Service without selector."""
    endpoints = store.get(ENDPOINTS, service.namespace, service.name)
    for subset in (endpoints.raw.get("subsets") or ()) if endpoints else ():
        ports = tuple(
            (p.get("name") or "", int(p["port"]), p.get("protocol") or "TCP", p.get("appProtocol") or "")
            for p in subset.get("ports") or ()
        )
        for family in ("IPv4", "IPv6"):
            members = [
                {"addresses": [address["ip"]], "conditions": {"ready": ready}}
                for field, ready in (("addresses", True), ("notReadyAddresses", False))
                for address in subset.get(field) or ()
                if (":" in address["ip"]) is (family == "IPv6")
            ]
            if members:
                yield _slice(service, family, ports, members, _MIRROR)


def _put_slices(store: Store, service: Stored, wanted: list[Raw]) -> None:
    """Write the slices of a Service, and remove those of ours that are no longer wanted."""
    names = {raw["metadata"]["name"] for raw in wanted}
    for stored in store.list(ENDPOINT_SLICE, service.namespace):
        ours = stored.labels.get(MANAGED_BY) in (_OURS, _MIRROR)
        if ours and stored.labels.get(SERVICE_LABEL) == service.name and stored.name not in names:
            store.delete(stored.key)
    for raw in wanted:
        _put(store, ENDPOINT_SLICE, raw)


def _put(store: Store, kind: Kind, raw: Raw) -> None:
    metadata = raw["metadata"]
    if store.get(kind, metadata["namespace"], metadata["name"]) is None:
        store.create(kind, raw)
    else:
        store.update(kind, raw)
