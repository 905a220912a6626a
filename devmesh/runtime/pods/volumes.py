"""A pod's volumes, as folders of this machine that its containers see."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from devmesh.config.kinds import CONFIG_MAP, PERSISTENT_VOLUME_CLAIM, SECRET, Kind
from devmesh.config.store import Raw, Store, Stored
from devmesh.runtime.pods.backend import Mount
from devmesh.runtime.pods.environment import ConfigProblem, data_of, expand, field_value, resource_value

_DEFAULT_MODE = 0o644


@dataclass(frozen=True, slots=True)
class File:
    """One file of a volume that is made from objects."""

    content: bytes
    mode: int = _DEFAULT_MODE


Files = dict[str, File]


class VolumeProblem(Exception):
    """A volume cannot be made (yet); the pod waits and tries again (FailedMount)."""


class Volumes:
    """The volumes of one pod.

    Args:
        folder: Where they are made, inside the pod's folder.
        claims: Where PersistentVolumeClaims live, which outlast pods: ``<claims>/<namespace>/<name>``.
    """

    def __init__(self, store: Store, folder: Path, claims: Path) -> None:
        self._store = store
        self._folder = folder
        self._claims = claims
        self._paths: dict[str, Path] = {}
        self._written: dict[str, Files] = {}

    def make(self, pod: Stored) -> None:
        """Make all of the pod's volumes; those that are there already are brought up to date.

        Raises:
            VolumeProblem: One cannot be made.
        """
        for volume in pod.raw["spec"].get("volumes") or ():
            try:
                self._paths[volume["name"]] = self._make(pod, volume)
            except (ConfigProblem, OSError) as problem:
                raise VolumeProblem(
                    f'MountVolume.SetUp failed for volume "{volume["name"]}" : {problem}'
                ) from problem

    def refresh(self, pod: Stored) -> None:
        """Write anew what ConfigMaps, Secrets and the pod's own fields now say.

        What is no longer there stays as it was, as with kubelet.
        """
        for volume in pod.raw["spec"].get("volumes") or ():
            if volume["name"] in self._written:
                with contextlib.suppress(ConfigProblem, OSError):
                    self._make(pod, volume)

    def mounts(self, container: Raw, env: Mapping[str, str]) -> Iterator[Mount]:
        """Yield what `container` mounts.

        Raises:
            ConfigProblem: A volume of that name isn't there, or a subPath leads out of it.
        """
        for mount in container.get("volumeMounts") or ():
            source = self._paths.get(mount["name"])
            if source is None:
                raise ConfigProblem(f"volumeMounts: there is no volume {mount['name']!r}")
            inside = expand(mount["subPathExpr"], env) if mount.get("subPathExpr") else mount.get("subPath")
            if inside:
                source = _inside(source, inside)
            yield Mount(source, mount["mountPath"], bool(mount.get("readOnly")))

    def _make(self, pod: Stored, volume: Raw) -> Path:
        path = self._folder / str(volume["name"])
        if (host := volume.get("hostPath")) is not None:
            return _host_path(host)
        if (claim := volume.get("persistentVolumeClaim")) is not None:
            return self._claim(pod.namespace, claim["claimName"])
        files = self._files(pod, volume)
        if files is None:
            _open_folder(path)
            return path
        if self._written.get(volume["name"]) != files or not path.is_dir():
            write_files(path, files)
            self._written[volume["name"]] = files
        return path

    def _claim(self, namespace: str, name: str) -> Path:
        if self._store.get(PERSISTENT_VOLUME_CLAIM, namespace, name) is None:
            raise ConfigProblem(f'persistentvolumeclaim "{name}" not found')
        path = self._claims / namespace / name
        _open_folder(path)
        return path

    def _files(self, pod: Stored, volume: Raw) -> Files | None:
        """Return what a volume that is made from objects holds; None for an empty folder."""
        for field, kind in (("configMap", CONFIG_MAP), ("secret", SECRET)):
            if (source := volume.get(field)) is not None:
                return _object_files(self._store, kind, pod.namespace, source)
        if (source := volume.get("downwardAPI")) is not None:
            return _downward_files(pod, source)
        if (source := volume.get("projected")) is not None:
            return self._projected(pod, source)
        if "emptyDir" in volume or set(volume) == {"name"} or "ephemeral" in volume:
            return None
        kinds = ", ".join(set(volume) - {"name"})
        raise ConfigProblem(f"volumes of type {kinds} are not there in devmesh")

    def _projected(self, pod: Stored, source: Raw) -> Files:
        files: Files = {}
        default = source.get("defaultMode")
        for part in source.get("sources") or ():
            for field, kind in (("configMap", CONFIG_MAP), ("secret", SECRET)):
                if field in part:
                    inner = {"defaultMode": default, **part[field]}
                    files |= _object_files(self._store, kind, pod.namespace, inner)
            if "downwardAPI" in part:
                files |= _downward_files(pod, {"defaultMode": default, **part["downwardAPI"]})
            if "serviceAccountToken" in part:
                files[part["serviceAccountToken"]["path"]] = File(_token(pod), default or _DEFAULT_MODE)
        return files


def _object_files(store: Store, kind: Kind, namespace: str, source: Raw) -> Files:
    data = data_of(store, kind, namespace, source)
    default = source.get("defaultMode") or _DEFAULT_MODE
    items = source.get("items")
    if not items:
        return {key: File(value, default) for key, value in data.items()}
    files: Files = {}
    for item in items:
        if item["key"] in data:
            files[item["path"]] = File(data[item["key"]], item.get("mode") or default)
        elif not source.get("optional"):
            raise ConfigProblem(f"references non-existent config key: {item['key']}")
    return files


def _downward_files(pod: Stored, source: Raw) -> Files:
    files: Files = {}
    default = source.get("defaultMode") or _DEFAULT_MODE
    for item in source.get("items") or ():
        if "fieldRef" in item:
            text = field_value(pod, item["fieldRef"]["fieldPath"])
        else:
            text = resource_value(pod, {}, item["resourceFieldRef"])
        files[item["path"]] = File(text.encode(), item.get("mode") or default)
    return files


def _token(pod: Stored) -> bytes:
    """Return something for a service account's token: it names the account and proves nothing."""
    account = f"system:serviceaccount:{pod.namespace}:{pod.raw['spec'].get('serviceAccountName', 'default')}"
    return base64.urlsafe_b64encode(account.encode()).rstrip(b"=")


def write_files(folder: Path, files: Files) -> None:
    """Write a volume whole, and swap it in at once, as kubelet's atomic writer does.

    ``..data`` is a link to the folder in force, and each name a link through it: who reads sees
    the old files or the new ones, never both.

    Raises:
        ConfigProblem: A file's path leads out of the volume.
    """
    for name in files:
        if name.startswith("/") or ".." in name.split("/"):
            raise ConfigProblem(f"path {name!r} leads out of its volume")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    version = folder / f"..{uuid.uuid4().hex[:12]}"
    version.mkdir(mode=0o755)
    for name, file in files.items():
        target = version / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
        target.chmod(file.mode)
    data, partial = folder / "..data", folder / "..data_tmp"
    before = os.readlink(data) if data.is_symlink() else None
    partial.symlink_to(version.name)
    partial.replace(data)
    tops = {name.split("/")[0] for name in files}
    for top in tops:
        link = folder / top
        if not link.is_symlink():
            link.symlink_to(f"..data/{top}")
    for entry in folder.iterdir():
        if not entry.name.startswith("..") and entry.name not in tops:
            entry.unlink()
    if before:
        shutil.rmtree(folder / before, ignore_errors=True)


def _open_folder(path: Path) -> None:
    """Make a folder that every user may write to: containers of one pod may run as several."""
    if not path.is_dir():
        path.mkdir(parents=True)
        path.chmod(0o777)


def _host_path(source: Raw) -> Path:
    path, kind = Path(str(source["path"])), str(source.get("type") or "")
    if path.exists():
        pass
    elif kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate":
        path.touch()
    elif not kind:
        path.mkdir(parents=True, exist_ok=True)  # as the container engines do
    is_wanted = {"Directory": path.is_dir, "File": path.is_file, "Socket": path.is_socket}.get(
        kind, path.exists
    )
    if not is_wanted():
        raise ConfigProblem(f"hostPath type check failed: {path} is not a {kind or 'file or directory'}")
    return path


def _inside(volume: Path, path: str) -> Path:
    """Return a subPath as it is now; a folder is made where nothing is."""
    target = volume / path
    if not target.resolve().is_relative_to(volume.resolve()):
        raise ConfigProblem(f"subPath {path!r} leads out of its volume")
    if not target.exists():
        _open_folder(target)
    return target.resolve()
