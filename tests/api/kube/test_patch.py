from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devmesh.api.kube.errors import ApiError
from devmesh.api.kube.patch import json_patch, merge_patch, same

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab/~", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": 1}, {"a": None}, {"b": 1}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        (
            {"a": {"b": 1, "c": 2}},
            {"a": {"b": None, "d": {"e": None, "f": 3}}},
            {"a": {"c": 2, "d": {"f": 3}}},
        ),
        ({"a": 1}, {"a": {"b": 2}}, {"a": {"b": 2}}),
        ({}, {"a": None}, {}),
    ],
)
def test_merge_patch(target: Any, patch: Any, result: Any) -> None:
    before = copy.deepcopy(target)
    assert merge_patch(target, patch) == result
    assert target == before


@given(JSON, JSON)
def test_merging_twice_is_merging_once(target: Any, patch: Any) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


@pytest.mark.parametrize(
    ("operations", "result"),
    [
        ([{"op": "add", "path": "/b", "value": 2}], {"a": [1, 2], "b": 2}),
        ([{"op": "add", "path": "/a/0", "value": 0}], {"a": [0, 1, 2]}),
        ([{"op": "add", "path": "/a/-", "value": 3}], {"a": [1, 2, 3]}),
        ([{"op": "remove", "path": "/a/0"}], {"a": [2]}),
        ([{"op": "replace", "path": "/a/1", "value": 9}], {"a": [1, 9]}),
        ([{"op": "move", "from": "/a", "path": "/b"}], {"b": [1, 2]}),
        ([{"op": "copy", "from": "/a/0", "path": "/b"}], {"a": [1, 2], "b": 1}),
        ([{"op": "test", "path": "/a", "value": [1, 2]}], {"a": [1, 2]}),
        ([{"op": "add", "path": "/x~1y~0z", "value": 1}], {"a": [1, 2], "x/y~z": 1}),
        ([{"op": "replace", "path": "", "value": {}}], {}),
    ],
)
def test_json_patch(operations: Any, result: Any) -> None:
    target = {"a": [1, 2]}
    assert json_patch(target, operations) == result
    assert target == {"a": [1, 2]}


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ({"op": "replace", "path": "/nothing", "value": 1}, 422),
        ({"op": "remove", "path": "/a/2"}, 422),
        ({"op": "add", "path": "/a/5", "value": 1}, 422),
        ({"op": "add", "path": "/a/x", "value": 1}, 422),
        ({"op": "test", "path": "/a/0", "value": True}, 422),
        ({"op": "add", "path": "/b/c", "value": 1}, 422),
        ({"op": "add", "path": "a", "value": 1}, 400),
        ({"op": "add", "path": "/b"}, 400),
        ({"op": "frobnicate", "path": "/a"}, 400),
        ({"op": "remove"}, 400),
        ("text", 400),
    ],
)
def test_what_does_not_fit_is_refused(operation: Any, code: int) -> None:
    with pytest.raises(ApiError) as refused:
        json_patch({"a": [1, 2]}, [operation])
    assert refused.value.code == code


@given(JSON)
def test_adding_and_removing_leaves_things_as_they_were(value: Any) -> None:
    operations = [{"op": "add", "path": "/new", "value": value}, {"op": "remove", "path": "/new"}]
    assert json_patch({"a": 1}, operations) == {"a": 1}


def test_json_tells_numbers_and_booleans_apart() -> None:
    assert same(1, 1.0)
    assert not same(1, True)
    assert not same([0], [False])
    assert same({"a": [1, {}]}, {"a": [1, {}]})
