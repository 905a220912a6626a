from typing import Any

import pytest
import trio
import trio.testing

from devmesh.config import kinds
from devmesh.config.kinds import BUILT_IN, Kind, Kinds
from devmesh.config.store import (
    KEPT_EVENTS,
    AlreadyExists,
    Conflict,
    Event,
    Expired,
    Forbidden,
    Key,
    NotFound,
    Store,
    Stored,
)


def config(name: str = "a", namespace: str = "default", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "data": data}


def pod(name: str = "p", **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", **metadata}, "spec": {"containers": []}}


def owned(by: Stored, *, blocks: bool = True) -> dict[str, Any]:
    kind = by.key.kind
    reference = {"apiVersion": kind.api_version, "kind": kind.kind, "name": by.name, "uid": by.uid}
    return {"ownerReferences": [{**reference, "controller": True, "blockOwnerDeletion": blocks}]}


def create_chain(store: Store) -> tuple[Stored, Stored, Stored]:
    """A Deployment, its ReplicaSet, its Pod."""
    deployment = store.create(kinds.DEPLOYMENT, {"metadata": {"name": "d"}, "spec": {}})
    replicas = store.create(kinds.REPLICA_SET, {"metadata": {"name": "r", **owned(deployment)}, "spec": {}})
    return deployment, replicas, store.create(kinds.POD, pod(**owned(replicas)))


# Writing


def test_what_is_created_gets_its_metadata(store: Store) -> None:
    stored = store.create(kinds.SERVICE, {"metadata": {"name": "s"}, "spec": {}})
    assert stored.raw["apiVersion"] == "v1"
    assert stored.raw["kind"] == "Service"
    assert stored.metadata["resourceVersion"] == str(stored.version) == str(store.version)
    assert stored.metadata["creationTimestamp"] == "2023-11-14T22:13:20Z"
    assert stored.metadata["generation"] == 1
    assert stored.namespace == "default"
    assert len(stored.uid) == 36


def test_a_generated_name_ends_in_five_letters(store: Store) -> None:
    raw = {"metadata": {"generateName": "job-"}}
    names = {store.create(kinds.CONFIG_MAP, raw).name for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("job-") and len(name) == 9 for name in names)


def test_a_name_is_taken_once(store: Store) -> None:
    store.create(kinds.CONFIG_MAP, config())
    with pytest.raises(AlreadyExists, match='configmaps "a" already exists'):
        store.create(kinds.CONFIG_MAP, config())


def test_a_namespace_has_to_be_there(store: Store) -> None:
    with pytest.raises(NotFound, match='namespaces "nowhere" not found'):
        store.create(kinds.CONFIG_MAP, config(namespace="nowhere"))


def test_an_update_of_the_spec_is_a_new_generation(store: Store) -> None:
    first = store.create(kinds.DEPLOYMENT, {"metadata": {"name": "d"}, "spec": {"replicas": 1}})
    scaled = store.update(kinds.DEPLOYMENT, {**first.raw, "spec": {"replicas": 2}})
    labelled = store.update(
        kinds.DEPLOYMENT, {**scaled.raw, "metadata": {**scaled.metadata, "labels": {"a": "b"}}}
    )
    told = store.update(kinds.DEPLOYMENT, {**labelled.raw, "status": {"replicas": 2}}, status=True)
    assert [s.metadata["generation"] for s in (first, scaled, labelled, told)] == [1, 2, 2, 2]
    assert [s.version for s in (first, scaled, labelled, told)] == [2, 3, 4, 5]


def test_an_update_without_a_change_writes_nothing(store: Store) -> None:
    first = store.create(kinds.CONFIG_MAP, config(x="1"))
    assert store.update(kinds.CONFIG_MAP, config(x="1")) is first


def test_an_update_leaves_status_and_identity_alone(store: Store) -> None:
    first = store.create(kinds.DEPLOYMENT, {"metadata": {"name": "d"}, "spec": {}})
    store.patch_status(first.key, {"replicas": 3})
    raw = {
        "metadata": {"name": "d", "uid": "other", "creationTimestamp": "x"},
        "spec": {"a": 1},
        "status": {},
    }
    after = store.update(kinds.DEPLOYMENT, raw)
    assert after.raw["status"] == {"replicas": 3}
    assert after.uid == first.uid
    assert after.metadata["creationTimestamp"] == first.metadata["creationTimestamp"]


def test_a_stale_update_conflicts(store: Store) -> None:
    first = store.create(kinds.CONFIG_MAP, config(x="1"))
    store.update(kinds.CONFIG_MAP, config(x="2"))
    with pytest.raises(Conflict, match="please apply your changes to the latest version"):
        store.update(kinds.CONFIG_MAP, config(x="3"), expect=first.version)


def test_a_stored_object_never_changes(store: Store) -> None:
    first = store.create(kinds.CONFIG_MAP, config(x="1"))
    store.update(kinds.CONFIG_MAP, config(x="2"))
    assert first.raw["data"] == {"x": "1"}


# Deleting


def test_a_pod_stays_until_the_runtime_has_stopped_it(store: Store) -> None:
    created = store.create(kinds.POD, pod())
    marked = store.delete(created.key, grace=5)
    assert marked.deleting
    assert marked.metadata["deletionGracePeriodSeconds"] == 5
    assert store.delete(created.key).version == marked.version
    store.update(kinds.POD, {**marked.raw, "metadata": {**marked.metadata, "labels": {"a": "b"}}})
    assert store.by_key(created.key)
    store.remove(created.key)
    assert store.by_key(created.key) is None


def test_without_grace_a_pod_is_gone_at_once(store: Store) -> None:
    created = store.create(kinds.POD, pod())
    store.delete(created.key, grace=0)
    assert store.by_key(created.key) is None


def test_the_grace_is_the_pods_own_where_none_is_given(store: Store) -> None:
    raw = pod()
    raw["spec"]["terminationGracePeriodSeconds"] = 7
    assert store.delete(store.create(kinds.POD, raw).key).metadata["deletionGracePeriodSeconds"] == 7


def test_finalizers_keep_an_object(store: Store) -> None:
    raw = {**config(), "metadata": {"name": "a", "finalizers": ["x/y"]}}
    marked = store.delete(store.create(kinds.CONFIG_MAP, raw).key)
    assert store.by_key(marked.key)
    store.update(kinds.CONFIG_MAP, {**marked.raw, "metadata": {"name": "a"}})
    assert store.by_key(marked.key) is None


def test_what_is_owned_goes_with_its_owner(store: Store) -> None:
    deployment, replicas, created = create_chain(store)
    store.delete(deployment.key)
    assert store.by_key(deployment.key) is None
    assert store.by_key(replicas.key) is None
    left = store.by_key(created.key)
    assert left is not None
    assert left.deleting


def test_orphans_stay_and_forget_their_owner(store: Store) -> None:
    deployment, replicas, _ = create_chain(store)
    store.delete(deployment.key, orphan=True)
    left = store.by_key(replicas.key)
    assert left is not None
    assert "ownerReferences" not in left.metadata
    assert not left.deleting


def test_in_the_foreground_the_owner_waits_for_what_it_owns(store: Store) -> None:
    deployment, replicas, created = create_chain(store)
    marked = store.delete(deployment.key, foreground=True)
    assert marked.deleting
    assert marked.finalizers == ("foregroundDeletion",)
    assert store.by_key(replicas.key)
    store.remove(created.key)
    assert store.by_key(replicas.key) is None
    assert store.by_key(deployment.key) is None


def test_an_object_of_two_owners_needs_both_gone(store: Store) -> None:
    one, two = (store.create(kinds.CONFIG_MAP, config(name)) for name in ("one", "two"))
    both = owned(one)["ownerReferences"] + owned(two)["ownerReferences"]
    child = store.create(kinds.SECRET, {"metadata": {"name": "c", "ownerReferences": both}})
    store.delete(one.key)
    assert store.by_key(child.key)
    store.delete(two.key)
    assert store.by_key(child.key) is None


def test_a_namespace_waits_until_it_is_empty(store: Store) -> None:
    namespace = store.create(kinds.NAMESPACE, {"metadata": {"name": "shop"}})
    store.create(kinds.CONFIG_MAP, config(namespace="shop"))
    inside = store.create(kinds.POD, {**pod(), "metadata": {"name": "p", "namespace": "shop"}})
    marked = store.delete(namespace.key)
    assert marked.raw["status"]["phase"] == "Terminating"
    assert store.list(kinds.CONFIG_MAP, "shop") == []
    with pytest.raises(Forbidden, match="being terminated"):
        store.create(kinds.CONFIG_MAP, config(namespace="shop"))
    store.remove(inside.key)
    assert store.get(kinds.NAMESPACE, "", "shop") is None


def test_events_written_while_a_namespace_ends_do_not_keep_it(store: Store) -> None:
    store.create(kinds.NAMESPACE, {"metadata": {"name": "shop"}})
    last = store.create(kinds.POD, {**pod(), "metadata": {"name": "p", "namespace": "shop"}})
    namespace = Key(kinds.NAMESPACE, "", "shop")
    store.delete(namespace)
    event = store.create(kinds.EVENT, {"metadata": {"name": "killing", "namespace": "shop"}})
    store.remove(last.key)
    assert store.by_key(namespace) is None
    assert store.by_key(event.key) is None


def test_an_empty_namespace_is_gone_at_once(store: Store) -> None:
    namespace = store.create(kinds.NAMESPACE, {"metadata": {"name": "shop"}})
    store.delete(namespace.key)
    assert store.by_key(namespace.key) is None


def test_some_namespaces_may_not_be_deleted(store: Store) -> None:
    with pytest.raises(Forbidden, match="may not be deleted"):
        store.delete(Key(kinds.NAMESPACE, "", "default"))


def test_what_is_not_there_cannot_be_deleted(store: Store) -> None:
    key = Key(kinds.CONFIG_MAP, "default", "a")
    with pytest.raises(NotFound):
        store.delete(key)
    store.remove(key)


# Following


async def test_a_watch_tells_each_change_in_order(store: Store) -> None:
    watch = store.watch()
    first = store.create(kinds.CONFIG_MAP, config(x="1"))
    store.create(kinds.SECRET, {"metadata": {"name": "s"}})
    store.update(kinds.CONFIG_MAP, config(x="2"))
    gone = store.delete(first.key)
    told = [await anext(watch) for _ in range(4)]
    assert [(e.type, e.object.key.kind.kind) for e in told] == [
        ("ADDED", "ConfigMap"),
        ("ADDED", "Secret"),
        ("MODIFIED", "ConfigMap"),
        ("DELETED", "ConfigMap"),
    ]
    assert told[-1].object.metadata["resourceVersion"] == str(gone.version) == str(store.version)
    assert told[-1].object.raw["data"] == {"x": "2"}
    assert told[2].before is told[0].object


async def test_a_watch_waits_for_its_kind(store: Store, autojump_clock: trio.testing.MockClock) -> None:
    seen: list[Event] = []

    async def follow() -> None:
        async for event in store.watch(kind=kinds.SECRET):
            seen.append(event)  # noqa: PERF401 (it never ends)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await trio.testing.wait_all_tasks_blocked()
        store.create(kinds.CONFIG_MAP, config())
        await trio.testing.wait_all_tasks_blocked()
        assert seen == []
        store.create(kinds.SECRET, {"metadata": {"name": "s"}})
        await trio.testing.wait_all_tasks_blocked()
        assert [event.object.name for event in seen] == ["s"]
        nursery.cancel_scope.cancel()


def test_ready_yields_each_event_once(store: Store) -> None:
    watch = store.watch()
    store.create(kinds.CONFIG_MAP, config())
    assert len(list(watch.ready())) == 1
    assert list(watch.ready()) == []
    store.create(kinds.CONFIG_MAP, config("b"))
    store.create(kinds.CONFIG_MAP, config("c"))
    partly = watch.ready()
    assert next(partly).object.name == "b"
    assert [e.object.name for e in watch.ready()] == ["c"]


async def test_a_watch_from_an_earlier_version_catches_up(store: Store) -> None:
    since = store.version
    store.create(kinds.CONFIG_MAP, config())
    assert (await anext(store.watch(since))).object.name == "a"


async def test_who_falls_behind_has_to_list_again(store: Store) -> None:
    watch = store.watch()
    key = store.create(kinds.CONFIG_MAP, config()).key
    for n in range(KEPT_EVENTS + 1):
        store.update(kinds.CONFIG_MAP, config(n=str(n)))
    with pytest.raises(Expired, match="too old resource version"):
        await anext(watch)
    assert store.by_key(key)


async def test_the_oldest_kept_event_can_still_be_had(store: Store) -> None:
    since = store.version
    for n in range(KEPT_EVENTS):
        store.create(kinds.CONFIG_MAP, config(f"n{n}"))
    assert len(list(store.events_after(since))) == KEPT_EVENTS
    store.create(kinds.CONFIG_MAP, config("one-more"))
    with pytest.raises(Expired):
        list(store.events_after(since))
    assert len(list(store.events_after(since + 1))) == KEPT_EVENTS


def test_listeners_hear_all_writes_in_order_though_one_writes(store: Store) -> None:
    heard: list[str] = []

    def writes(event: Event) -> None:
        if event.object.key.kind is kinds.CONFIG_MAP:
            store.create(kinds.SECRET, {"metadata": {"name": event.object.name}})

    store.subscribe(writes)
    store.subscribe(lambda event: heard.append(event.object.key.kind.kind))
    store.create(kinds.CONFIG_MAP, config())
    assert heard == ["ConfigMap", "Secret"]


def test_a_failing_listener_does_not_undo_a_write(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    def fails(event: Event) -> None:
        raise ValueError("no")

    store.subscribe(fails)
    assert store.by_key(store.create(kinds.CONFIG_MAP, config()).key)
    assert "a listener of the store failed" in caplog.text


# Events, history, kinds


def test_events_are_bounded_in_number_and_time() -> None:
    now = 0.0
    store = Store(Kinds(BUILT_IN), clock=lambda: now)
    store.create(kinds.NAMESPACE, {"metadata": {"name": "default"}})
    for n in range(2_100):
        store.create(kinds.EVENT, {"metadata": {"name": f"e{n:05}"}})
    assert len(store.list(kinds.EVENT)) == 2_000
    assert store.list(kinds.EVENT)[0].name == "e00100"
    now = 3_601.0
    store.create(kinds.EVENT, {"metadata": {"name": "new"}})
    assert [event.name for event in store.list(kinds.EVENT)] == ["new"]


def test_history_tells_who_changed_what(store: Store) -> None:
    first = store.create(kinds.CONFIG_MAP, config(x="1"), manager="file:a.yaml")
    store.update(kinds.CONFIG_MAP, config(x="2", z="3"), manager="kubectl")
    store.delete(first.key, manager="console")
    changes = list(store.history)[-3:]
    assert [(c.type, c.manager, c.name) for c in changes] == [
        ("ADDED", "file:a.yaml", "a"),
        ("MODIFIED", "kubectl", "a"),
        ("DELETED", "console", "a"),
    ]
    assert [(d.path, d.before, d.after) for d in changes[1].differences] == [
        ("data.x", "1", "2"),
        ("data.z", None, "3"),
    ]


def test_status_is_no_history(store: Store) -> None:
    created = store.create(kinds.POD, pod())
    before = len(list(store.history))
    store.patch_status(created.key, {"phase": "Running"})
    assert len(list(store.history)) == before


def test_devmeshs_own_writes_do_not_count_as_somebodys(store: Store) -> None:
    created = store.create(kinds.DEPLOYMENT, {"metadata": {"name": "d"}, "spec": {}}, manager="file:a")
    store.update(kinds.DEPLOYMENT, {**created.raw, "spec": {"x": 1}})
    assert store.manager_of(created.key) == "file:a"
    store.update(kinds.DEPLOYMENT, {**created.raw, "spec": {"x": 2}}, manager="kubectl")
    assert store.manager_of(created.key) == "kubectl"


CRD = {
    "metadata": {"name": "toasters.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "Toaster", "plural": "toasters", "shortNames": ["tst"]},
        "versions": [
            {"name": "v1beta1", "served": True, "storage": False},
            {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}},
        ],
    },
}


def test_a_definition_makes_its_kind_known_and_takes_it_away(store: Store) -> None:
    definition = store.create(kinds.CUSTOM_RESOURCE_DEFINITION, CRD)
    kind = store.kinds.named("example.com/v1beta1", "Toaster")
    assert isinstance(kind, Kind)
    assert (kind.versions, kind.short_names, kind.subresources) == (("v1", "v1beta1"), ("tst",), ("status",))
    toaster = store.create(kind, {"metadata": {"name": "t"}})
    store.delete(definition.key)
    assert store.kinds.named("example.com/v1", "Toaster") is None
    assert store.by_key(toaster.key) is None


@pytest.mark.parametrize("spec", [None, "x", {}, {"names": 1}, {"group": "g", "names": {}, "versions": [1]}])
def test_half_a_definition_makes_nothing_known(store: Store, spec: Any) -> None:
    before = len(list(store.kinds))
    store.create(kinds.CUSTOM_RESOURCE_DEFINITION, {"metadata": {"name": "x"}, "spec": spec})
    assert len(list(store.kinds)) == before


def test_a_definition_cannot_replace_a_built_in_kind(store: Store) -> None:
    spec = {**CRD["spec"], "group": "apps", "names": {"kind": "Deployment", "plural": "deployments"}}
    definition = store.create(kinds.CUSTOM_RESOURCE_DEFINITION, {"metadata": {"name": "d"}, "spec": spec})
    store.delete(definition.key)
    assert store.kinds.named("apps/v1", "Deployment") is kinds.DEPLOYMENT
