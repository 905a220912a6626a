"""Volumes as folders."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from devmesh.config.kinds import BUILT_IN, CONFIG_MAP, NAMESPACE, POD, Kinds
from devmesh.config.store import Store, Stored
from devmesh.runtime.pods.environment import ConfigProblem
from devmesh.runtime.pods.volumes import File, VolumeProblem, Volumes, write_files


@pytest.fixture
def store() -> Store:
    store = Store(Kinds(BUILT_IN))
    store.create(NAMESPACE, {"metadata": {"name": "default"}})
    return store


def pod_with(store: Store, *volumes: Any) -> Stored:
    return store.create(
        POD, {"metadata": {"name": "a"}, "spec": {"containers": [], "volumes": list(volumes)}}
    )


def test_files_are_swapped_at_once(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": File(b"old"), "gone": File(b"")})
    opened = os.open(tmp_path / "..data", os.O_RDONLY)
    write_files(tmp_path, {"a": File(b"new"), "deep/b": File(b"x", 0o400)})
    assert (tmp_path / "a").read_bytes() == b"new"
    assert (tmp_path / "deep" / "b").read_bytes() == b"x"
    assert stat.S_IMODE((tmp_path / "deep" / "b").stat().st_mode) == 0o400
    assert not (tmp_path / "gone").exists()
    assert len([p for p in tmp_path.iterdir() if p.name.startswith("..") and not p.is_symlink()]) == 1
    os.close(opened)


def test_a_missing_config_map_is_waited_for(store: Store, tmp_path: Path) -> None:
    pod = pod_with(store, {"name": "conf", "configMap": {"name": "conf"}})
    volumes = Volumes(store, tmp_path, tmp_path / "claims")
    with pytest.raises(VolumeProblem, match=r'SetUp failed for volume "conf" : configmap "conf"'):
        volumes.make(pod)
    store.create(CONFIG_MAP, {"metadata": {"name": "conf"}, "data": {"a": "1"}})
    volumes.make(pod)
    assert (tmp_path / "conf" / "a").read_text() == "1"


def test_items_choose_and_rename(store: Store, tmp_path: Path) -> None:
    store.create(CONFIG_MAP, {"metadata": {"name": "conf"}, "data": {"a": "1", "b": "2"}})
    items = [{"key": "a", "path": "sub/x", "mode": 0o600}]
    pod = pod_with(store, {"name": "conf", "configMap": {"name": "conf", "items": items}})
    Volumes(store, tmp_path, tmp_path / "claims").make(pod)
    assert (tmp_path / "conf" / "sub" / "x").read_text() == "1"
    assert not (tmp_path / "conf" / "b").exists()


def test_projected_volumes_hold_several_sources(store: Store, tmp_path: Path) -> None:
    store.create(CONFIG_MAP, {"metadata": {"name": "conf"}, "data": {"ca.crt": "CA"}})
    fields = {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}
    sources = [
        {"serviceAccountToken": {"path": "token"}},
        {"configMap": {"name": "conf"}},
        {"downwardAPI": fields},
    ]
    pod = pod_with(store, {"name": "api", "projected": {"sources": sources}})
    Volumes(store, tmp_path, tmp_path / "claims").make(pod)
    assert {"token", "ca.crt", "namespace"} <= set(os.listdir(tmp_path / "api"))
    assert (tmp_path / "api" / "namespace").read_text() == "default"


def test_a_sub_path_stays_inside(store: Store, tmp_path: Path) -> None:
    pod = pod_with(store, {"name": "work", "emptyDir": {}})
    volumes = Volumes(store, tmp_path / "v", tmp_path / "claims")
    volumes.make(pod)
    mount = {"name": "work", "mountPath": "/data", "subPathExpr": "$(WHO)/x"}
    [found] = volumes.mounts({"volumeMounts": [mount]}, {"WHO": "me"})
    assert found.source == tmp_path / "v" / "work" / "me" / "x"
    with pytest.raises(ConfigProblem, match="leads out"):
        list(volumes.mounts({"volumeMounts": [{**mount, "subPathExpr": "../.."}]}, {}))
    with pytest.raises(ConfigProblem, match="no volume 'other'"):
        list(volumes.mounts({"volumeMounts": [{"name": "other", "mountPath": "/x"}]}, {}))


def test_a_host_path_is_checked(store: Store, tmp_path: Path) -> None:
    host = {"path": str(tmp_path / "missing"), "type": "Directory"}
    pod = pod_with(store, {"name": "host", "hostPath": host})
    with pytest.raises(VolumeProblem, match="hostPath type check failed"):
        Volumes(store, tmp_path, tmp_path / "claims").make(pod)


def test_files_stay_inside_their_volume(tmp_path: Path) -> None:
    for name in ("../x", "a/../../x", "/etc/x"):
        with pytest.raises(ConfigProblem, match="leads out"):
            write_files(tmp_path / "v", {name: File(b"")})
    assert not (tmp_path / "x").exists()
