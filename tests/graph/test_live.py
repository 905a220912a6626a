"""When a reader hears of a change."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from devmesh.graph.live import LiveGraph
from devmesh.snapshot.feed import SnapshotFeed
from devmesh.telemetry.recorder import Recorder
from tests.telemetry.bookinfo import (
    DETAILS,
    NOON,
    PRODUCTPAGE,
    both,
    call,
    snapshot,
)


def live() -> tuple[SnapshotFeed, Recorder, LiveGraph]:
    feed = SnapshotFeed(snapshot())
    recorder = Recorder(feed, lambda: NOON + trio.current_time())
    return feed, recorder, LiveGraph(feed, recorder, "bookinfo")


async def test_the_first_graph_is_there_at_once(autojump_clock: MockClock) -> None:
    _, _, graph = live()
    await graph.changes(60).next()
    assert trio.current_time() == pytest.approx(0, abs=0.26)


async def test_a_request_shows_within_300_ms(autojump_clock: MockClock) -> None:
    _, recorder, graph = live()
    changes = graph.changes(60)
    await changes.next()
    await trio.sleep(7.1)
    at = trio.current_time()
    for record in both(PRODUCTPAGE, DETAILS, at=NOON + at, duration=0.0):
        recorder.request(record)
    assert (await changes.next()).edges
    assert trio.current_time() - at < 0.3


async def test_under_load_there_are_four_a_second(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    _, recorder, graph = live()

    async def load() -> None:
        while True:
            for record in both(PRODUCTPAGE, DETAILS, at=NOON + trio.current_time(), duration=0.0):
                recorder.request(record)
            await trio.sleep(0.01)

    nursery.start_soon(load)
    changes, seen = graph.changes(60), 0
    with trio.move_on_after(10):
        while True:
            await changes.next()
            seen += 1
    assert 36 <= seen <= 41
    nursery.cancel_scope.cancel()


async def test_a_new_snapshot_is_a_change_only_where_it_shows(autojump_clock: MockClock) -> None:
    feed, _, graph = live()
    changes = graph.changes(60)
    await changes.next()
    feed.publish(snapshot(2))
    with trio.move_on_after(5) as waited:
        await changes.next()
    assert waited.cancelled_caught
    feed.publish(snapshot(3, without=("ratings-v1",)))
    assert (await changes.next()).version == 3


async def test_rates_sink_without_new_traffic(autojump_clock: MockClock) -> None:
    _, recorder, graph = live()
    for record in both(PRODUCTPAGE, DETAILS, duration=0.0):
        recorder.request(record)
    changes = graph.changes(60)
    with trio.fail_after(70):
        while (await changes.next()).edges:
            pass
    assert trio.current_time() == pytest.approx(60, abs=2)


async def test_readers_of_one_window_share_a_graph(autojump_clock: MockClock) -> None:
    _, recorder, graph = live()
    first = await graph.graph(60)
    assert await graph.graph(60) is first
    assert await graph.graph(61) is not first
    recorder.request(both(PRODUCTPAGE, DETAILS)[0])
    assert await graph.graph(60) is not first


async def test_a_large_mesh_is_folded_in_slices(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    _, recorder, graph = live()
    for code in range(200, 599):
        recorder.request(call(PRODUCTPAGE, DETAILS, status=code))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    nursery.start_soon(count)
    await graph.graph(60)
    assert turns >= 6
    nursery.cancel_scope.cancel()
