"""Services, and the other kinds of core/v1 that hold data (Kubernetes: core validation)."""

from __future__ import annotations

from collections.abc import Iterator

from devmesh.config.documents.kubernetes import ConfigMap, PersistentVolumeClaim, Secret, Service
from devmesh.config.problems import Cause, MapKey, Path, duplicate, invalid, required, unsupported
from devmesh.config.validation.names import (
    config_key,
    dns_label,
    dns_subdomain,
    ip_address,
    labels,
    port_name,
    port_number,
)

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_LARGEST = 1024 * 1024


def service(resource: Service) -> Iterator[Cause]:
    spec = resource.spec
    if spec.type and spec.type not in _TYPES:
        yield unsupported(("spec", "type"), spec.type, _TYPES)
    if spec.type == "ExternalName":
        yield from _external_name(spec.external_name or "")
    elif not spec.ports and spec.cluster_ip != "None":
        yield required(("spec", "ports"))
    if spec.session_affinity not in (None, "None", "ClientIP"):
        yield unsupported(("spec", "sessionAffinity"), spec.session_affinity, ("ClientIP", "None"))
    if spec.cluster_ip not in (None, "", "None") and not ip_address(spec.cluster_ip or ""):
        detail = (
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff), or None for a headless Service"
        )
        yield invalid(("spec", "clusterIPs", 0), spec.cluster_ip, detail)
    yield from labels(spec.selector, ("spec", "selector"))
    yield from _ports(resource)


def _external_name(name: str) -> Iterator[Cause]:
    if not name:
        yield required(("spec", "externalName"))
    elif wrong := dns_subdomain(name.rstrip(".")):
        yield invalid(("spec", "externalName"), name, wrong)


def _ports(resource: Service) -> Iterator[Cause]:
    ports = resource.spec.ports
    names: set[str] = set()
    numbers: set[tuple[str, int]] = set()
    for n, port in enumerate(ports):
        path: Path = ("spec", "ports", n)
        if port.name:
            if wrong := dns_label(port.name):
                yield invalid((*path, "name"), port.name, wrong)
            elif port.name in names:
                yield duplicate((*path, "name"), port.name)
            names.add(port.name)
        elif len(ports) > 1:
            yield required((*path, "name"), "a Service of several ports names each")
        yield from port_number(port.port, (*path, "port"))
        if port.protocol and port.protocol not in _PROTOCOLS:
            yield unsupported((*path, "protocol"), port.protocol, _PROTOCOLS)
        if isinstance(port.target_port, int):
            yield from port_number(port.target_port, (*path, "targetPort"))
        elif port.target_port and (wrong := port_name(port.target_port)):
            yield invalid((*path, "targetPort"), port.target_port, wrong)
        key = (port.protocol or "TCP", port.port)
        if key in numbers:
            yield duplicate(path, {"port": port.port, "protocol": port.protocol or "TCP"})
        numbers.add(key)


def config_map(resource: ConfigMap) -> Iterator[Cause]:
    size = 0
    for field, values in (("data", resource.data), ("binaryData", resource.binary_data)):
        for key, value in values.items():
            size += len(value)
            if wrong := config_key(key):
                yield invalid((field, MapKey(key)), key, wrong)
    for key in resource.data.keys() & resource.binary_data.keys():
        yield invalid(("binaryData", MapKey(key)), key, "duplicate of key present in data")
    yield from _size(size)
    if (resource.metadata.namespace, resource.metadata.name) == ("istio-system", "istio"):
        # Imported here: MeshConfig's checks build on those of routes, which are many.
        from devmesh.config.meshconfig import check_text

        yield from check_text(resource.data.get("mesh", ""), ("data", "mesh"))


def secret(resource: Secret) -> Iterator[Cause]:
    for key in resource.data:
        if wrong := config_key(key):
            yield invalid(("data", MapKey(key)), key, wrong)
    needed = {
        "kubernetes.io/tls": ("tls.crt", "tls.key"),
        "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    }
    for key in needed.get(resource.type or "", ()):
        if key not in resource.data:
            yield required(("data", MapKey(key)))
    yield from _size(sum(map(len, resource.data.values())))


def claim(resource: PersistentVolumeClaim) -> Iterator[Cause]:
    if not resource.spec.access_modes:
        yield required(("spec", "accessModes"), "at least 1 access mode is required")
    if resource.spec.resources is None or "storage" not in resource.spec.resources.requests:
        yield required(("spec", "resources", MapKey("storage")))


def _size(size: int) -> Iterator[Cause]:
    if size > _LARGEST:
        yield Cause(("data",), "FieldValueTooLong", f"Too long: may not be more than {_LARGEST} bytes")
