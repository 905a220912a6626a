"""Events as kubectl describe shows them."""

from __future__ import annotations

from typing import Any

import trio

from devmesh.config.kinds import EVENT, NAMESPACE, POD
from devmesh.config.store import Key, Store
from devmesh.runtime.events import Events


def test_what_repeats_is_counted(store: Store) -> None:
    pod = store.create(POD, {"metadata": {"name": "a"}, "spec": {"containers": []}})
    events = Events(store)
    for _ in range(3):
        events.record(pod, "Warning", "BackOff", "again", container="main")
    events.record(pod, "Warning", "BackOff", "again", container="other")
    counts = {e.raw["involvedObject"]["fieldPath"]: e.raw["count"] for e in store.list(EVENT)}
    assert counts == {"spec.containers{main}": 3, "spec.containers{other}": 1}


def test_events_of_one_second_keep_their_order(store: Store) -> None:
    pod = store.create(POD, {"metadata": {"name": "a"}, "spec": {"containers": []}})
    events = Events(store)
    for number in range(20):
        events.record(pod, "Normal", f"Reason{number}", "")
    assert [e.raw["reason"] for e in store.list(EVENT)] == [f"Reason{n}" for n in range(20)]


def test_nothing_happens_in_a_namespace_that_has_gone(store: Store) -> None:
    store.create(NAMESPACE, {"metadata": {"name": "shop"}})
    raw = {"metadata": {"name": "a", "namespace": "shop"}, "spec": {"containers": []}}
    pod = store.create(POD, raw)
    store.remove(pod.key)
    store.remove(Key(NAMESPACE, "", "shop"))
    Events(store).record(pod, "Normal", "Killing", "")
    assert store.list(EVENT) == []


async def test_old_events_are_forgotten(autojump_clock: Any, world: Any, make_pod: Any) -> None:
    world.put(POD, make_pod("a"))
    await world.settled()
    assert world.events("a")
    await trio.sleep(3700)
    assert world.events("a") == []
