"""From manifests to what a backend is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from devmesh.config.documents.scalars import amount
from devmesh.config.store import Raw, Store, Stored
from devmesh.runtime.pods.admission import is_gateway, is_meshed
from devmesh.runtime.pods.backend import ContainerSpec, Image, Mount, SandboxSpec
from devmesh.runtime.pods.environment import ConfigProblem, expand, variables
from devmesh.runtime.pods.node import Node
from devmesh.runtime.pods.volumes import Volumes


def sandbox_spec(node: Node, pod: Stored, folder: Path) -> SandboxSpec:
    """Return what the containers of a pod share."""
    spec = pod.raw["spec"]
    sysctls = (spec.get("securityContext") or {}).get("sysctls") or ()
    return SandboxSpec(
        id=pod.uid,
        mesh=node.mesh,
        namespace=pod.namespace,
        pod=pod.name,
        hostname=str(spec.get("hostname") or pod.name)[:63],
        meshed=is_meshed(pod.raw),
        gateway=is_gateway(pod.raw),
        service_account=spec.get("serviceAccountName") or "default",
        hosts={alias["ip"]: tuple(alias.get("hostnames") or ()) for alias in spec.get("hostAliases") or ()},
        search=(f"{pod.namespace}.svc.{node.domain}", f"svc.{node.domain}", node.domain),
        sysctls={entry["name"]: str(entry["value"]) for entry in sysctls},
        annotations=dict(pod.annotations),
        directory=folder,
    )


def container_spec(
    store: Store,
    pod: Stored,
    raw: Raw,
    image: Image,
    volumes: Volumes,
    addresses: tuple[str, ...],
    attempt: int,
    message_file: Path | None = None,
) -> ContainerSpec:
    """Resolve everything that a container refers to.

    Args:
        message_file: What the container sees at its terminationMessagePath.

    Raises:
        ConfigProblem: A reference leads nowhere.
    """
    env = variables(store, pod, raw, addresses)
    shared = pod.raw["spec"].get("securityContext") or {}
    own = raw.get("securityContext") or {}
    limits = (raw.get("resources") or {}).get("limits") or {}
    capabilities = own.get("capabilities") or {}
    fs_group = shared.get("fsGroup")
    user = own.get("runAsUser", shared.get("runAsUser"))
    if own.get("runAsNonRoot", shared.get("runAsNonRoot")):
        _refuse_root(raw["name"], user, image)
    return ContainerSpec(
        name=raw["name"],
        image=image,
        attempt=attempt,
        command=_expanded(raw.get("command"), env),
        args=_expanded(raw.get("args"), env),
        env=tuple(env.items()),
        workdir=raw.get("workingDir") or None,
        mounts=(*volumes.mounts(raw, env), *_message(raw, message_file)),
        user=user,
        group=own.get("runAsGroup", shared.get("runAsGroup")),
        groups=(*((fs_group,) if fs_group is not None else ()), *(shared.get("supplementalGroups") or ())),
        cpu=amount(limits["cpu"]) if "cpu" in limits else None,
        memory=int(amount(limits["memory"])) if "memory" in limits else None,
        read_only_root=bool(own.get("readOnlyRootFilesystem")),
        privileged=bool(own.get("privileged")),
        capabilities_add=tuple(capabilities.get("add") or ()),
        capabilities_drop=tuple(capabilities.get("drop") or ()),
        may_gain_privileges=own.get("allowPrivilegeEscalation") is not False,
        stop_signal=(raw.get("lifecycle") or {}).get("stopSignal"),
    )


def _refuse_root(container: str, user: int | None, image: Image) -> None:
    """Keep to ``runAsNonRoot``, as kubelet does; whom an image runs as is known of containers' images alone.

    Raises:
        ConfigProblem: It would run as root, or as a user that may be root.
    """
    if user == 0:
        raise ConfigProblem(f"container's runAsUser breaks non-root policy (container: {container})")
    if user is not None or image.user is None:
        return
    name = image.user.partition(":")[0]
    if name in ("", "0", "root"):
        raise ConfigProblem(f"container has runAsNonRoot and image will run as root (container: {container})")
    if not name.isdigit():
        raise ConfigProblem(
            f"container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is "
            f"non-root (container: {container})"
        )


def _message(raw: Raw, file: Path | None) -> Iterator[Mount]:
    if file is not None:
        yield Mount(file, raw.get("terminationMessagePath") or "/dev/termination-log")


def _expanded(words: list[str] | None, env: dict[str, str]) -> tuple[str, ...] | None:
    return tuple(expand(str(word), env) for word in words) if words else None
