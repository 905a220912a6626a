"""What the subresources of a pod have in common: the pod, the container that is meant, its state."""

from __future__ import annotations

from typing import Any

from devmesh.api.kube.columns import at
from devmesh.api.kube.deps import KubeDeps
from devmesh.api.kube.errors import bad_request
from devmesh.api.kube.target import Target
from devmesh.config.store import NotFound, Stored

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


def find_pod(deps: KubeDeps, target: Target) -> Stored:
    """Return the pod.

    Raises:
        NotFound: There is none.
    """
    found = deps.store.by_key(target.key)
    if found is None:
        raise NotFound(f'pods "{target.name}" not found')
    return found


def container_of(pod: Stored, wanted: str) -> str:
    """Return the container that is meant: `wanted`, else the annotated one, else the only one.

    Raises:
        ApiError: 400: it is not clear, or there is none of that name.
    """
    spec = pod.raw.get("spec") or {}
    main = [c["name"] for c in spec.get("containers") or ()]
    init = [c["name"] for c in spec.get("initContainers") or ()]
    if wanted:
        if wanted not in (*main, *init):
            raise bad_request(f"container {wanted} is not valid for pod {pod.name}")
        return wanted
    default = pod.annotations.get(DEFAULT_CONTAINER)
    if default in main:
        return str(default)
    if len(main) == 1:
        return str(main[0])
    also = f" or one of the init containers: [{' '.join(init)}]" if init else ""
    raise bad_request(
        f"a container name must be specified for pod {pod.name}, choose one of: [{' '.join(main)}]{also}"
    )


def state_of(pod: Stored, container: str) -> dict[str, Any]:
    """Return a container's status; {} where the runtime has told none."""
    for field in ("containerStatuses", "initContainerStatuses"):
        for status in at(pod.raw, f"status.{field}", ()):
            if status.get("name") == container:
                found: dict[str, Any] = status
                return found
    return {}


def check_running(pod: Stored, container: str) -> None:
    """Refuse what needs a running container.

    Raises:
        ApiError: 400: it has ended, or not begun.
    """
    phase = at(pod.raw, "status.phase", "")
    if phase in ("Succeeded", "Failed"):
        raise bad_request(f"cannot exec into a container in a completed pod; current phase is {phase}")
    status = state_of(pod, container)
    if status and at(status, "state.running") is None:
        raise bad_request(f'container "{container}" in pod "{pod.name}" is not running: {_why(status)}')


def _why(status: dict[str, Any]) -> str:
    for state in ("waiting", "terminated"):
        found = at(status, f"state.{state}", {})
        if reason := found.get("reason"):
            return f"{reason}: {found['message']}" if found.get("message") else str(reason)
    return "it has not started"


def waiting_reason(status: dict[str, Any]) -> str:
    """Return why a container has not begun, or ""."""
    return str(at(status, "state.waiting.reason", ""))
