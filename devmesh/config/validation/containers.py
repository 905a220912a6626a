"""The containers of a pod (Kubernetes: core validation)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from devmesh.config.documents.containers import Container, ContainerPort, Lifecycle, LifecycleHandler, Probe
from devmesh.config.documents.environment import EnvVar
from devmesh.config.documents.message import Message, set_fields
from devmesh.config.documents.scalars import amount
from devmesh.config.problems import (
    Cause,
    MapKey,
    Path,
    duplicate,
    forbidden,
    invalid,
    not_found,
    required,
    unsupported,
)
from devmesh.config.validation.names import dns_label, port_name, port_number

_PULL = ("Always", "IfNotPresent", "Never")
_PROTOCOLS = ("SCTP", "TCP", "UDP")


def container(
    item: Container, path: Path, names: set[str], volumes: Collection[str], *, init: bool
) -> Iterator[Cause]:
    if not item.name:
        yield required((*path, "name"))
    elif wrong := dns_label(item.name):
        yield invalid((*path, "name"), item.name, wrong)
    elif item.name in names:
        yield duplicate((*path, "name"), item.name)
    names.add(item.name)
    if not item.image:
        yield required((*path, "image"))
    elif item.image != item.image.strip():
        yield invalid((*path, "image"), item.image, "must not have leading or trailing whitespace")
    if item.image_pull_policy and item.image_pull_policy not in _PULL:
        yield unsupported((*path, "imagePullPolicy"), item.image_pull_policy, _PULL)
    yield from _ports(item.ports, (*path, "ports"))
    for n, variable in enumerate(item.env):
        yield from _variable(variable, (*path, "env", n))
    for n, source in enumerate(item.env_from):
        if (source.config_map_ref is None) == (source.secret_ref is None):
            yield invalid((*path, "envFrom", n), "", "must specify one of: `configMapRef` or `secretRef`")
    mounts: set[str] = set()
    for n, mount in enumerate(item.volume_mounts):
        if not mount.mount_path:
            yield required((*path, "volumeMounts", n, "mountPath"))
        elif mount.mount_path in mounts:
            yield invalid((*path, "volumeMounts", n, "mountPath"), mount.mount_path, "must be unique")
        mounts.add(mount.mount_path)
        if mount.name not in volumes:
            yield not_found((*path, "volumeMounts", n, "name"), mount.name)
        if mount.sub_path and (mount.sub_path.startswith("/") or ".." in mount.sub_path.split("/")):
            yield invalid(
                (*path, "volumeMounts", n, "subPath"), mount.sub_path, "must be a relative path without '..'"
            )
    sidecar = init and item.restart_policy == "Always"
    for field, probe in (
        ("livenessProbe", item.liveness_probe),
        ("readinessProbe", item.readiness_probe),
        ("startupProbe", item.startup_probe),
    ):
        if probe is not None:
            if init and not sidecar:
                yield forbidden((*path, field), "init containers have it with restartPolicy=Always only")
            yield from _probe(probe, (*path, field), once=field != "readinessProbe")
    if item.lifecycle is not None:
        yield from _lifecycle(item.lifecycle, (*path, "lifecycle"))
    yield from _resources(item, (*path, "resources"))


def _ports(ports: Sequence[ContainerPort], path: Path) -> Iterator[Cause]:
    names: set[str] = set()
    for n, port in enumerate(ports):
        if port.name:
            if wrong := port_name(port.name):
                yield invalid((*path, n, "name"), port.name, wrong)
            elif port.name in names:
                yield duplicate((*path, n, "name"), port.name)
            names.add(port.name)
        if not port.container_port:
            yield required((*path, n, "containerPort"))
        else:
            yield from port_number(port.container_port, (*path, n, "containerPort"))
        if port.host_port:
            yield from port_number(port.host_port, (*path, n, "hostPort"))
        if port.protocol and port.protocol not in _PROTOCOLS:
            yield unsupported((*path, n, "protocol"), port.protocol, _PROTOCOLS)


def _variable(variable: EnvVar, path: Path) -> Iterator[Cause]:
    if not variable.name:
        yield required((*path, "name"))
    elif "=" in variable.name:
        yield invalid((*path, "name"), variable.name, "must not contain '='")
    source = variable.value_from
    if source is None:
        return
    if variable.value:
        yield invalid((*path, "valueFrom"), "", "may not be specified when `value` is not empty")
    given = set_fields(source)
    if len(given) != 1:
        yield invalid(
            (*path, "valueFrom"),
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
            if not given
            else "may not have more than one field specified at a time",
        )
    for field, reference in (
        ("configMapKeyRef", source.config_map_key_ref),
        ("secretKeyRef", source.secret_key_ref),
    ):
        if reference is not None and not reference.key:
            yield required((*path, "valueFrom", field, "key"))


def _probe(probe: Probe, path: Path, *, once: bool) -> Iterator[Cause]:
    handlers = [h for h in (probe.exec, probe.http_get, probe.tcp_socket, probe.grpc) if h is not None]
    if not handlers:
        yield required(path, "must specify a handler type")
    for _ in handlers[1:]:
        yield forbidden(path, "may not specify more than 1 handler type")
    for field, value, least in (
        ("initialDelaySeconds", probe.initial_delay_seconds, 0),
        ("timeoutSeconds", probe.timeout_seconds, 0),
        ("periodSeconds", probe.period_seconds, 0),
        ("successThreshold", probe.success_threshold, 0),
        ("failureThreshold", probe.failure_threshold, 0),
    ):
        if value is not None and value < least:
            yield invalid((*path, field), value, "must be greater than or equal to 0")
    if once and probe.success_threshold not in (None, 1):
        yield invalid((*path, "successThreshold"), probe.success_threshold, "must be 1")
    yield from _handler_port(probe.http_get, (*path, "httpGet", "port"))
    yield from _handler_port(probe.tcp_socket, (*path, "tcpSocket", "port"))
    if probe.exec is not None and not probe.exec.command:
        yield required((*path, "exec", "command"))
    if probe.grpc is not None:
        yield from port_number(probe.grpc.port, (*path, "grpc", "port"))


def _handler_port(handler: Message | None, path: Path) -> Iterator[Cause]:
    port = getattr(handler, "port", None)
    if isinstance(port, int):
        yield from port_number(port, path)
    elif isinstance(port, str) and (wrong := port_name(port or "-")):
        yield invalid(path, port, wrong)


def _lifecycle(lifecycle: Lifecycle, path: Path) -> Iterator[Cause]:
    hooks: tuple[tuple[str, LifecycleHandler | None], ...] = (
        ("postStart", lifecycle.post_start),
        ("preStop", lifecycle.pre_stop),
    )
    for field, hook in hooks:
        if hook is not None and len(set_fields(hook)) != 1:
            yield required((*path, field), "must specify exactly one handler type")


def _resources(container: Container, path: Path) -> Iterator[Cause]:
    if container.resources is None:
        return
    limits, requests = container.resources.limits, container.resources.requests
    for field, quantities in (("limits", limits), ("requests", requests)):
        for name, quantity in quantities.items():
            if amount(quantity) < 0:
                yield invalid((*path, field, MapKey(name)), quantity, "must be greater than or equal to 0")
    for name, quantity in requests.items():
        if name in limits and amount(quantity) > amount(limits[name]):
            yield invalid(
                (*path, "requests"), quantity, f"must be less than or equal to {name} limit of {limits[name]}"
            )
