"""Pods (Kubernetes: core validation)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from devmesh.config.documents.message import set_fields
from devmesh.config.documents.pods import PodSpec
from devmesh.config.documents.volumes import Volume
from devmesh.config.problems import Cause, Path, duplicate, forbidden, invalid, required, unsupported
from devmesh.config.validation.containers import container
from devmesh.config.validation.names import dns_label

_RESTART = ("Always", "OnFailure", "Never")
_DNS = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")


def pod_spec(
    spec: PodSpec, path: Path, *, restart: Sequence[str] = _RESTART, claims: Iterable[str] = ()
) -> Iterator[Cause]:
    """Check a pod's spec; `restart` are the policies that the workload allows, `claims` its own volumes."""
    if not spec.containers:
        yield required((*path, "containers"))
    if spec.restart_policy and spec.restart_policy not in restart:
        yield unsupported((*path, "restartPolicy"), spec.restart_policy, restart)
    if spec.dns_policy and spec.dns_policy not in _DNS:
        yield unsupported((*path, "dnsPolicy"), spec.dns_policy, _DNS)
    grace = spec.termination_grace_period_seconds
    if grace is not None and grace < 0:
        yield invalid((*path, "terminationGracePeriodSeconds"), grace, "must be greater than or equal to 0")
    deadline = spec.active_deadline_seconds
    if deadline is not None and deadline < 1:
        yield invalid(
            (*path, "activeDeadlineSeconds"), deadline, "must be between 1 and 2147483647, inclusive"
        )
    volumes = set(claims)
    for n, volume in enumerate(spec.volumes):
        yield from _volume(volume, (*path, "volumes", n), volumes)
    names: set[str] = set()
    for field, containers in (("initContainers", spec.init_containers), ("containers", spec.containers)):
        for n, item in enumerate(containers):
            yield from container(item, (*path, field, n), names, volumes, init=field != "containers")
    yield from _host_ports(spec, path)


def _host_ports(spec: PodSpec, path: Path) -> Iterator[Cause]:
    seen: set[tuple[str, str, int]] = set()
    for c, item in enumerate(spec.containers):
        for n, port in enumerate(item.ports):
            key = (port.protocol or "TCP", port.host_ip or "", port.host_port or 0)
            if port.host_port and key in seen:
                yield duplicate((*path, "containers", c, "ports", n, "hostPort"), port.host_port)
            seen.add(key)


def _volume(volume: Volume, path: Path, names: set[str]) -> Iterator[Cause]:
    if not volume.name:
        yield required((*path, "name"))
    elif wrong := dns_label(volume.name):
        yield invalid((*path, "name"), volume.name, wrong)
    elif volume.name in names:
        yield duplicate((*path, "name"), volume.name)
    names.add(volume.name)
    sources = [field for field in set_fields(volume) if field != "name"]
    if not sources:
        yield required(path, "must specify a volume type")
    for field in sources[1:]:
        yield forbidden((*path, field), "may not specify more than 1 volume type")
    if volume.host_path is not None and not volume.host_path.path:
        yield required((*path, "hostPath", "path"))
    if volume.config_map is not None and not volume.config_map.name:
        yield required((*path, "configMap", "name"))
    if volume.secret is not None and not volume.secret.secret_name:
        yield required((*path, "secret", "secretName"))
    claim = volume.persistent_volume_claim
    if claim is not None and not claim.claim_name:
        yield required((*path, "persistentVolumeClaim", "claimName"))
