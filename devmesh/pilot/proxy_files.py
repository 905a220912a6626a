"""Files that a pod's annotations mount into its proxy: certificates, as a rule.

Istio: ``sidecar.istio.io/userVolume`` and ``userVolumeMount`` hold volumes and mounts as JSON. There is no
container here to mount them into, so that they are read from the Secrets and ConfigMaps themselves.
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

VOLUMES = "sidecar.istio.io/userVolume"
MOUNTS = "sidecar.istio.io/userVolumeMount"


@dataclass(frozen=True, slots=True)
class ProxyFiles:
    """The files of the proxy of one pod."""

    store: Store
    pod: Stored | None

    def read(self, path: str) -> str | None:
        """Return the text of a file; None where nothing is mounted there, or has no such key."""
        if self.pod is None:
            return None
        volumes = dict(_named(self.pod.annotations.get(VOLUMES, "")))
        for name, mount in _named(self.pod.annotations.get(MOUNTS, "")):
            folder = str(mount.get("mountPath", "")).rstrip("/")
            if folder and path.startswith(f"{folder}/") and name in volumes:
                return self._key(volumes[name], path.removeprefix(f"{folder}/"))
        return None

    def _key(self, volume: dict[str, Any], key: str) -> str | None:
        assert self.pod is not None
        namespace = self.pod.namespace
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
