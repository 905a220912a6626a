from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devmesh.api.kube.errors import ApiError
from devmesh.api.kube.fields import from_v1, leaves, to_v1, written
from devmesh.api.kube.managed import applied, read_entries, updated
from devmesh.config.merge_keys import list_map_keys

keys = partial(list_map_keys, "apps", "Deployment")


def deployment(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "d"},
        "spec": {"template": {"spec": {"containers": list(containers)}}, **spec},
    }


def apply(
    live: dict[str, Any], config: dict[str, Any], manager: str = "me", force: bool = False
) -> dict[str, Any]:
    return applied(
        live, config, manager=manager, api_version="apps/v1", now="now", force=force, list_keys=keys
    )


def update(live: dict[str, Any], after: dict[str, Any], manager: str = "hand") -> dict[str, Any]:
    entries = updated(
        live,
        after,
        manager=manager,
        api_version="apps/v1",
        now="now",
        list_keys=keys,
        base=live["metadata"].get("managedFields"),
    )
    return {**after, "metadata": {**after["metadata"], "managedFields": entries}}


A, B = {"name": "a", "image": "1"}, {"name": "b", "image": "1"}


def test_a_field_that_is_no_longer_applied_goes() -> None:
    live = apply({"metadata": {}}, deployment(A, replicas=2))
    after = apply(live, deployment(A))
    assert "replicas" not in after["spec"]


def test_an_item_that_is_no_longer_applied_goes_whole() -> None:
    live = apply({"metadata": {}}, deployment(A, B))
    after = apply(live, deployment(B))
    assert after["spec"]["template"]["spec"]["containers"] == [B]


def test_what_another_has_set_too_stays() -> None:
    live = apply({"metadata": {}}, deployment(A, replicas=2))
    live = apply(live, {"metadata": {"name": "d"}, "spec": {"replicas": 2}}, "other")
    after = apply(live, deployment(A))
    assert after["spec"]["replicas"] == 2


def test_another_value_of_anothers_field_is_a_conflict() -> None:
    live = apply({"metadata": {}}, deployment(A, replicas=2))
    live = update(live, {**live, "spec": {**live["spec"], "replicas": 3}})
    with pytest.raises(ApiError) as refused:
        apply(live, deployment(A, replicas=2))
    assert refused.value.code == 409
    assert refused.value.message == (
        'Apply failed with 1 conflict: conflict with "hand" using apps/v1: .spec.replicas'
    )
    forced = apply(live, deployment(A, replicas=2), force=True)
    assert forced["spec"]["replicas"] == 2
    owners = {e.manager for e in read_entries(forced["metadata"]["managedFields"])}
    assert owners == {"me"}


def test_the_same_value_is_shared() -> None:
    live = apply({"metadata": {}}, deployment(A, replicas=2))
    both = apply(live, {"metadata": {"name": "d"}, "spec": {"replicas": 2}}, "other")
    assert len(both["metadata"]["managedFields"]) == 2


def test_several_conflicts_are_listed_by_manager() -> None:
    live = update({"metadata": {}}, deployment(A, replicas=3))
    with pytest.raises(ApiError) as refused:
        apply(live, deployment({**A, "image": "2"}, replicas=2))
    assert "Apply failed with 2 conflicts" in refused.value.message
    assert '- .spec.template.spec.containers[name="a"].image' in refused.value.message
    assert len((refused.value.details or {})["causes"]) == 2


def test_an_update_takes_over_what_it_changes_alone() -> None:
    live = apply({"metadata": {}}, deployment(A, replicas=2))
    live = update(live, {**live, "spec": {**live["spec"], "replicas": 3}})
    fields = {e.manager: e.fields for e in read_entries(live["metadata"]["managedFields"])}
    assert fields["hand"] == {("f:spec", "f:replicas")}
    assert ("f:spec", "f:replicas") not in fields["me"]


def test_applying_the_same_again_changes_nothing() -> None:
    live = apply({"metadata": {}}, deployment(A, B, replicas=2))
    again = applied(
        live,
        deployment(A, B, replicas=2),
        manager="me",
        api_version="apps/v1",
        now="later",
        force=False,
        list_keys=keys,
    )
    assert again == live


def test_many_updaters_are_merged() -> None:
    live: dict[str, Any] = {"metadata": {"labels": {}}}
    for n in range(15):
        labels = {**live["metadata"]["labels"], f"l{n}": "x"}
        live = update(live, {"metadata": {**live["metadata"], "labels": labels}}, f"m{n}")
    entries = read_entries(live["metadata"]["managedFields"])
    assert len(entries) == 10
    assert len(frozenset().union(*(e.fields for e in entries))) == 15


def test_ports_are_told_apart_by_their_protocol() -> None:
    port = {"containerPort": 53}
    live = apply({"metadata": {}}, deployment({**A, "ports": [{**port, "protocol": "UDP"}, port]}))
    paths = leaves(live, keys)
    names = {written(p) for p in paths if p[-1] == "." and len(p) > 6}
    assert len(names) == 2


LABELS = st.dictionaries(st.text("abc", min_size=1, max_size=3), st.text("xy", max_size=2), max_size=4)
NAMES = st.lists(st.sampled_from("abc"), unique=True)


@given(LABELS, NAMES, st.integers(0, 3))
def test_field_sets_survive_being_written(labels: dict[str, str], names: list[str], replicas: int) -> None:
    raw = deployment(*({"name": n, "args": [n]} for n in names), replicas=replicas)
    raw["metadata"]["labels"] = labels
    fields = frozenset(leaves(raw, keys))
    assert from_v1(to_v1(fields)) == fields


@given(LABELS, LABELS)
def test_what_one_applies_is_there_and_what_it_dropped_is_not(
    first: dict[str, str], second: dict[str, str]
) -> None:
    live = apply({"metadata": {}}, {"metadata": {"name": "d", "labels": first}})
    live = apply(live, {"metadata": {"name": "d", "labels": second}})
    assert (live["metadata"].get("labels") or {}) == second
