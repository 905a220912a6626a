"""What runs, as rows of the mesh's status: each workload, how much of it is ready, and why not all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from devmesh.config.kinds import DAEMON_SET, DEPLOYMENT, POD, REPLICA_SET, STATEFUL_SET
from devmesh.config.store import Store, Stored


def workloads(store: Store) -> list[dict[str, Any]]:
    """Return a row for each workload and each pod of its own, the mesh's own gateways last."""
    return [_workload(store, stored) for stored in _owners(store)]


def _owners(store: Store) -> list[Stored]:
    found = [s for kind in (DEPLOYMENT, STATEFUL_SET, DAEMON_SET) for s in store.list(kind)]
    found += [pod for pod in store.list(POD) if pod.controller is None]
    return sorted(found, key=lambda s: (s.namespace == "istio-system", s.namespace, s.name))


def _workload(store: Store, stored: Stored) -> dict[str, Any]:
    """Return one row of the status; `problem` says why a workload is not ready."""
    # Counted from the pods: what a workload's own status says may still be of the last run.
    raw, status = stored.raw, stored.raw.get("status") or {}
    pods = [stored] if stored.key.kind is POD else _pods_of(store, stored)
    ready = sum(_condition(pod.raw, "Ready") == "True" and not pod.deleting for pod in pods)
    if stored.key.kind is POD:
        replicas = 0 if status.get("phase") == "Succeeded" else 1
    elif stored.key.kind is DAEMON_SET:
        replicas = 1
    else:
        replicas = int(raw["spec"].get("replicas", 1))
    meshed = any(any(c["name"] == "istio-proxy" for c in pod.raw["spec"]["containers"]) for pod in pods)
    return {
        "name": stored.name,
        "namespace": stored.namespace,
        "kind": stored.key.kind.kind,
        "ready": min(ready, replicas),
        "replicas": replicas,
        "meshed": meshed,
        "problem": "" if ready >= replicas else _problem(pods),
    }


def _pods_of(store: Store, owner: Stored) -> list[Stored]:
    owners = {owner.uid}
    owners |= {s.uid for s in store.list(REPLICA_SET, owner.namespace) if _controls(s, owner.uid)}
    return [p for p in store.list(POD, owner.namespace) if (c := p.controller) and c["uid"] in owners]


def _controls(stored: Stored, uid: str) -> bool:
    controller = stored.controller
    return controller is not None and controller["uid"] == uid


def _condition(raw: Mapping[str, Any], name: str) -> str:
    conditions: Sequence[Mapping[str, Any]] = (raw.get("status") or {}).get("conditions") or ()
    return next((str(c["status"]) for c in conditions if c["type"] == name), "")


def _problem(pods: Sequence[Stored]) -> str:
    for pod in pods:
        status = pod.raw.get("status") or {}
        for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
            state = container.get("state") or {}
            found = state.get("waiting") or state.get("terminated") or {}
            reason = found.get("reason", "")
            if reason in ("", "ContainerCreating", "PodInitializing", "Completed"):
                continue
            last = (container.get("lastState") or {}).get("terminated") or {}
            ended = f" (last: exit status {last['exitCode']})" if "exitCode" in last else ""
            return f"{container['name']}: {reason}: {found.get('message', '')}{ended}".rstrip(": ")
    return ""
