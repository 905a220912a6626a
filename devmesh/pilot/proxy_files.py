"""Files that are mounted into a pod's proxy: certificates, as a rule.

Istio: the annotations ``sidecar.istio.io/userVolume`` and ``userVolumeMount`` hold volumes and mounts as
JSON. There is no container here to mount them into, so that they are read from the Secrets and ConfigMaps
themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from devmesh.config import kinds
from devmesh.config.documents.configuration import ConfigMap, Secret
from devmesh.config.store import Store, Stored
from devmesh.config.typed import typed
from devmesh.model.workload import Instance

VOLUMES = "sidecar.istio.io/userVolume"
MOUNTS = "sidecar.istio.io/userVolumeMount"


@dataclass(frozen=True, slots=True)
class ProxyFiles:
    """The files of the proxy of one pod."""

    store: Store
    pod: Stored | None
    instance: Instance

    def read(self, path: str) -> str | None:
        """Return the text of a file; None where nothing is mounted there, or has no such key."""
        for folder, volume in (*self._mounts(), *self._demo_mounts()):
            if folder and path.startswith(f"{folder}/"):
                return self._key(volume, path.removeprefix(f"{folder}/"))
        return None

    def _mounts(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what the pod mounts into its proxy, by its annotations and by itself."""
        if self.pod is None:
            return
        volumes = dict(_named(self.pod.annotations.get(VOLUMES, "")))
        mounts = list(_named(self.pod.annotations.get(MOUNTS, "")))
        spec = self.pod.raw.get("spec") or {}
        volumes |= {str(volume.get("name")): volume for volume in spec.get("volumes") or ()}
        for container in spec.get("containers") or ():
            if container.get("name") == "istio-proxy":
                mounts += [(str(mount.get("name")), mount) for mount in container.get("volumeMounts") or ()]
        for name, mount in mounts:
            if name in volumes:
                yield str(mount.get("mountPath", "")).rstrip("/"), volumes[name]

    def _demo_mounts(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Istio: its own gateways mount these two Secrets of their namespace where they are there."""
        role = self.instance.labels.get("istio", "") if self.instance.gateway else ""
        for kind in ("certs", "ca-certs") if role else ():
            yield f"/etc/istio/{role}-{kind}", {"secret": {"secretName": f"istio-{role}-{kind}"}}

    def _key(self, volume: dict[str, Any], key: str) -> str | None:
        namespace = self.instance.namespace
        secret, config_map = volume.get("secret"), volume.get("configMap")
        for item in (secret or config_map or {}).get("items") or ():
            if item.get("path") == key:
                key = str(item.get("key"))
        if secret:
            stored = self.store.get(kinds.SECRET, namespace, str(secret.get("secretName", "")))
            found = typed(stored, Secret).data.get(key) if stored else None
            return None if found is None else bytes(found).decode("utf-8", "replace")
        if config_map:
            stored = self.store.get(kinds.CONFIG_MAP, namespace, str(config_map.get("name", "")))
            return typed(stored, ConfigMap).data.get(key) if stored else None
        return None


def _named(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what an annotation lists, by name: a mapping, or a list of things with names."""
    try:
        value = json.loads(text) if text else {}
    except ValueError:
        return
    items = (
        value.items()
        if isinstance(value, dict)
        else ((i.get("name"), i) for i in value if isinstance(i, dict))
    )
    for name, item in items:
        if isinstance(item, dict):
            yield str(name), item
