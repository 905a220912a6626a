"""A container's variables: values, ConfigMaps, Secrets, fields, resources, services, ``$(NAME)``."""

from __future__ import annotations

import base64
import math
import os
import re
from collections.abc import Iterator, Mapping

from devmesh.config.documents.scalars import amount
from devmesh.config.kinds import CONFIG_MAP, SECRET, SERVICE, Kind
from devmesh.config.store import Raw, Store, Stored

NODE_ADDRESS = "127.0.0.1"
_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]")


class ConfigProblem(LookupError):
    """A reference leads nowhere (yet): the container waits with CreateContainerConfigError."""


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by a variable's value.

    Kubernetes: a name that isn't known stays as written, and ``$$`` is one ``$``, so that
    ``$$(NAME)`` is never replaced.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        return "$" if name is None else env.get(name, match.group(0))

    return _REFERENCE.sub(value, text)


def variables(store: Store, pod: Stored, container: Raw, addresses: tuple[str, ...]) -> dict[str, str]:
    """Return what `container` finds in its environment, apart from what its image sets.

    Raises:
        ConfigProblem: A ConfigMap, Secret or key that is not optional is missing.
    """
    env: dict[str, str] = {}
    if pod.raw["spec"].get("enableServiceLinks", True):
        env |= service_links(store, pod.namespace)
    for source in container.get("envFrom") or ():
        prefix = source.get("prefix", "")
        for kind, field in ((CONFIG_MAP, "configMapRef"), (SECRET, "secretRef")):
            if field in source:
                found = data_of(store, kind, pod.namespace, source[field])
                env |= {prefix + key: value.decode(errors="replace") for key, value in found.items()}
    for entry in container.get("env") or ():
        value = _value(store, pod, container, entry, env, addresses)
        if value is not None:
            env[entry["name"]] = value
    return env


def _value(
    store: Store, pod: Stored, container: Raw, entry: Raw, env: Mapping[str, str], addresses: tuple[str, ...]
) -> str | None:
    source = entry.get("valueFrom")
    if not source:
        return expand(str(entry.get("value") or ""), env)
    if reference := source.get("fieldRef"):
        return field_value(pod, reference["fieldPath"], addresses)
    if reference := source.get("resourceFieldRef"):
        return resource_value(pod, container, reference)
    for kind, name in ((CONFIG_MAP, "configMapKeyRef"), (SECRET, "secretKeyRef")):
        if reference := source.get(name):
            return _key_value(store, kind, pod.namespace, reference)
    raise ConfigProblem(f"env {entry['name']}: valueFrom names no source that is known here")


def _key_value(store: Store, kind: Kind, namespace: str, reference: Raw) -> str | None:
    found = data_of(store, kind, namespace, reference)
    value = found.get(reference["key"])
    if value is not None:
        return value.decode(errors="replace")
    if reference.get("optional"):
        return None
    name = f"{namespace}/{reference.get('name', '')}"
    raise ConfigProblem(f"couldn't find key {reference['key']} in {kind.kind} {name}")


def data_of(store: Store, kind: Kind, namespace: str, reference: Raw) -> dict[str, bytes]:
    """Return the keys and values of a ConfigMap or a Secret; none of one that is optional and missing.

    Raises:
        ConfigProblem: It is missing.
    """
    name = reference.get("name") or reference.get("secretName") or ""
    stored = store.get(kind, namespace, name)
    if stored is None:
        if reference.get("optional"):
            return {}
        raise ConfigProblem(f'{kind.singular} "{name}" not found')
    plain = stored.raw.get("data") or {}
    if kind is SECRET:
        decoded = {key: base64.b64decode(value or "") for key, value in plain.items()}
        return decoded | {k: str(v).encode() for k, v in (stored.raw.get("stringData") or {}).items()}
    binary = {key: base64.b64decode(value) for key, value in (stored.raw.get("binaryData") or {}).items()}
    return {key: str(value).encode() for key, value in plain.items()} | binary


def field_value(pod: Stored, path: str, addresses: tuple[str, ...] = ()) -> str:
    """Return a field of the pod, as the downward API gives it.

    Raises:
        ConfigProblem: The downward API has no such field.
    """
    spec, metadata = pod.raw["spec"], pod.metadata
    if match := _SUBSCRIPT.fullmatch(path):
        return str((metadata.get(match.group(1)) or {}).get(match.group(2), ""))
    plain = {
        "metadata.name": pod.name,
        "metadata.namespace": pod.namespace,
        "metadata.uid": pod.uid,
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.hostIP": NODE_ADDRESS,
        "status.hostIPs": NODE_ADDRESS,
        "status.podIP": addresses[0] if addresses else "",
        "status.podIPs": ",".join(addresses),
    }
    if path in plain:
        return str(plain[path])
    if path in ("metadata.labels", "metadata.annotations"):
        pairs = metadata.get(path.partition(".")[2]) or {}
        return "\n".join(f'{key}="{_escaped(str(value))}"' for key, value in sorted(pairs.items()))
    raise ConfigProblem(f"fieldPath {path!r} is not a field of the downward API")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resource_value(pod: Stored, container: Raw, reference: Raw) -> str:
    """Return a request or limit in units of the divisor, rounded up.

    Kubernetes: a limit that isn't set is what the node has.

    Raises:
        ConfigProblem: No such container.
    """
    if wanted := reference.get("containerName"):
        found = [c for c in pod.raw["spec"]["containers"] if c["name"] == wanted]
        if not found:
            raise ConfigProblem(f"resourceFieldRef: there is no container {wanted!r}")
        container = found[0]
    part, _, resource = reference["resource"].partition(".")
    quantity = ((container.get("resources") or {}).get(part) or {}).get(resource)
    value = (
        amount(quantity) if quantity is not None else (0.0 if part == "requests" else _whole_node(resource))
    )
    divisor = amount(reference.get("divisor") or "1") or 1.0
    return str(math.ceil(value / divisor - 1e-9))


def _whole_node(resource: str) -> float:
    if resource == "cpu":
        return float(os.cpu_count() or 1)
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def service_links(store: Store, namespace: str) -> dict[str, str]:
    """Return ``REVIEWS_SERVICE_HOST`` and its like, for the namespace's Services that have an address."""
    env: dict[str, str] = {}
    for service in store.list(SERVICE, namespace):
        spec = service.raw.get("spec") or {}
        address = spec.get("clusterIP")
        if address and address != "None" and spec.get("ports"):
            env |= dict(_links(service.name, address, spec["ports"]))
    return env


def _links(name: str, address: str, ports: list[Raw]) -> Iterator[tuple[str, str]]:
    word = name.upper().replace("-", "_")
    yield f"{word}_SERVICE_HOST", address
    yield f"{word}_SERVICE_PORT", str(ports[0]["port"])
    for port in ports:
        if port.get("name"):
            yield f"{word}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}", str(port["port"])
    first = ports[0]
    yield f"{word}_PORT", f"{first.get('protocol', 'TCP').lower()}://{address}:{first['port']}"
    for port in ports:
        protocol = port.get("protocol", "TCP")
        prefix = f"{word}_PORT_{port['port']}_{protocol}"
        yield prefix, f"{protocol.lower()}://{address}:{port['port']}"
        yield f"{prefix}_PROTO", protocol.lower()
        yield f"{prefix}_PORT", str(port["port"])
        yield f"{prefix}_ADDR", address
