"""What is there by itself: each namespace's objects, the node, volumes that are bound."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping

from devmesh.config.kinds import (
    CONFIG_MAP,
    NAMESPACE,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    SERVICE_ACCOUNT,
)
from devmesh.config.store import Event, Key, Raw, Store
from devmesh.runtime.pods.admission import NODE_NAME
from devmesh.runtime.pods.environment import NODE_ADDRESS


class NamespaceDefaults:
    """Keeps in each namespace the ServiceAccount ``default`` and some ConfigMaps.

    Args:
        config_maps: By name, their data: ``kube-root-ca.crt`` and ``istio-ca-root-cert``.
    """

    name = "namespace"

    def __init__(self, config_maps: Mapping[str, Mapping[str, str]]) -> None:
        self._config_maps = config_maps

    def all(self, store: Store) -> Iterable[Key]:
        return [stored.key for stored in store.list(NAMESPACE)]

    def affected(self, store: Store, event: Event) -> Iterable[Key]:
        stored = event.object
        if stored.key.kind is NAMESPACE:
            yield stored.key
        elif (stored.key.kind is SERVICE_ACCOUNT and stored.name == "default") or (
            stored.key.kind is CONFIG_MAP and stored.name in self._config_maps
        ):
            yield Key(NAMESPACE, "", stored.namespace)

    def reconcile(self, store: Store, key: Key) -> float | None:
        namespace = store.by_key(key)
        if namespace is None or namespace.deleting:
            return None
        if not (namespace.raw.get("status") or {}).get("phase"):
            store.patch_status(key, {"phase": "Active"})
        if store.get(SERVICE_ACCOUNT, key.name, "default") is None:
            store.create(SERVICE_ACCOUNT, {"metadata": {"name": "default", "namespace": key.name}})
        for name, data in self._config_maps.items():
            found = store.get(CONFIG_MAP, key.name, name)
            raw: Raw = {"metadata": {"name": name, "namespace": key.name}, "data": dict(data)}
            if found is None:
                store.create(CONFIG_MAP, raw)
            elif found.raw.get("data") != raw["data"]:
                store.update(CONFIG_MAP, {**found.raw, "data": raw["data"]})
        return None


class Claims:
    """Binds PersistentVolumeClaims: each is a folder of this machine, made when a pod first uses it."""

    name = "persistentvolumeclaim"

    def all(self, store: Store) -> Iterable[Key]:
        return [stored.key for stored in store.list(PERSISTENT_VOLUME_CLAIM)]

    def affected(self, store: Store, event: Event) -> Iterable[Key]:
        if event.object.key.kind is PERSISTENT_VOLUME_CLAIM:
            yield event.object.key

    def reconcile(self, store: Store, key: Key) -> float | None:
        claim = store.by_key(key)
        if claim is None or (claim.raw.get("status") or {}).get("phase") == "Bound":
            return None
        spec = claim.raw.get("spec") or {}
        requested = (spec.get("resources") or {}).get("requests") or {}
        if not spec.get("volumeName"):
            claim = store.update(
                PERSISTENT_VOLUME_CLAIM,
                {**claim.raw, "spec": {**spec, "volumeName": f"pvc-{claim.uid}"}},
            )
        modes = spec.get("accessModes") or ["ReadWriteOnce"]
        store.patch_status(key, {"phase": "Bound", "accessModes": modes, "capacity": dict(requested)})
        return None


def node(container_runtime: str, kubelet_version: str) -> Raw:
    """Return the one Node, as ``kubectl get nodes -o wide`` shows it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024
    capacity = {"cpu": str(os.cpu_count() or 1), "memory": f"{memory}Ki", "pods": "1000"}
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    labels = {
        "kubernetes.io/hostname": NODE_NAME,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine,
        "node-role.kubernetes.io/control-plane": "",
    }
    return {
        "metadata": {"name": NODE_NAME, "labels": labels},
        "spec": {},
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "addresses": [
                {"type": "InternalIP", "address": NODE_ADDRESS},
                {"type": "Hostname", "address": NODE_NAME},
            ],
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "KubeletReady",
                    "message": "devmesh runs pods on this machine",
                }
            ],
            "nodeInfo": {
                "architecture": machine,
                "containerRuntimeVersion": container_runtime,
                "kernelVersion": platform.release(),
                "kubeletVersion": kubelet_version,
                "kubeProxyVersion": kubelet_version,
                "operatingSystem": "linux",
                "osImage": f"{platform.system()} ({platform.node()})",
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
            },
        },
    }


def put_node(store: Store, raw: Raw) -> None:
    """Write the Node, keeping labels that somebody has added."""
    before = store.get(NODE, "", NODE_NAME)
    if before is None:
        store.create(NODE, raw)
        return
    metadata = {**before.metadata, "labels": {**before.labels, **raw["metadata"]["labels"]}}
    store.update(NODE, {**before.raw, "metadata": metadata})
    store.update(NODE, {**before.raw, "status": raw["status"]}, status=True)
