from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest

from devmesh.api.kube.errors import ApiError
from devmesh.api.kube.strategic import strategic_patch
from devmesh.config.merge_keys import patch_merge_key

deployment = partial(patch_merge_key, "apps", "Deployment")


def containers(*items: Any, **more: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": list(items), **more}}}}


def patched(target: Any, patch: Any) -> list[Any]:
    before = copy.deepcopy(target)
    found: list[Any] = strategic_patch(target, patch, deployment)["spec"]["template"]["spec"]["containers"]
    assert target == before
    return found


A, B = {"name": "a", "image": "1"}, {"name": "b", "image": "1"}


def test_items_merge_by_their_name() -> None:
    assert patched(containers(A, B), containers({"name": "b", "image": "2"})) == [
        A,
        {"name": "b", "image": "2"},
    ]


def test_new_items_are_added() -> None:
    assert patched(containers(A), containers(B)) == [A, B]


def test_an_item_can_be_deleted() -> None:
    assert patched(containers(A, B), containers({"name": "a", "$patch": "delete"})) == [B]


def test_a_list_can_be_replaced() -> None:
    assert patched(containers(A), containers({"$patch": "replace"}, B)) == [B]


def test_an_item_can_be_replaced() -> None:
    one = {"name": "a", "args": ["x"], "$patch": "replace"}
    assert patched(containers(A, B), containers(one)) == [{"name": "a", "args": ["x"]}, B]


def test_lists_inside_items_merge_by_their_own_keys() -> None:
    has = {**A, "ports": [{"containerPort": 80, "name": "http"}], "env": [{"name": "X", "value": "1"}]}
    gets = {"name": "a", "ports": [{"containerPort": 81}], "env": [{"name": "X", "value": "2"}]}
    (found,) = patched(containers(has), containers(gets))
    assert found["ports"] == [{"containerPort": 80, "name": "http"}, {"containerPort": 81}]
    assert found["env"] == [{"name": "X", "value": "2"}]


def test_lists_without_a_key_are_replaced() -> None:
    (found,) = patched(containers({**A, "args": ["x", "y"]}), containers({"name": "a", "args": ["z"]}))
    assert found["args"] == ["z"]


def test_the_order_can_be_set() -> None:
    patch = containers({"name": "c"}, **{"$setElementOrder/containers": [{"name": n} for n in "cab"]})
    assert [c["name"] for c in patched(containers(A, B), patch)] == ["c", "a", "b"]


def test_null_removes_a_field() -> None:
    assert strategic_patch(
        {"metadata": {"labels": {"a": "1", "b": "2"}}}, {"metadata": {"labels": {"a": None}}}, deployment
    ) == {"metadata": {"labels": {"b": "2"}}}


def test_values_of_a_set_are_added_and_deleted() -> None:
    target = {"metadata": {"finalizers": ["x", "y"]}}
    added = strategic_patch(target, {"metadata": {"finalizers": ["z", "x"]}}, deployment)
    assert added["metadata"]["finalizers"] == ["x", "y", "z"]
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"]}}
    assert strategic_patch(target, patch, deployment)["metadata"]["finalizers"] == ["y"]


def test_retained_keys_are_all_that_stay() -> None:
    target = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic_patch(target, patch, deployment) == {"spec": {"strategy": {"type": "Recreate"}}}


@pytest.mark.parametrize("patch", [containers({"image": "2"}), {"spec": {"$patch": "shred"}}])
def test_what_makes_no_sense_is_refused(patch: Any) -> None:
    with pytest.raises(ApiError) as refused:
        strategic_patch(containers(A), patch, deployment)
    assert refused.value.code == 400
