"""Names are kept looked up."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from devmesh.runtime.dns.lookup import Found
from devmesh.runtime.dns.watching import WatchedNames


class World:
    """Answers lookups from a script: for each name what it means, one after the other, the last for ever."""

    def __init__(self, **answers: list[Found | None]) -> None:
        self._answers: dict[str, Iterator[Found | None]] = {n: iter(found) for n, found in answers.items()}
        self._last: dict[str, Found | None] = {}
        self.asked: list[tuple[float, str]] = []
        self.changes = 0
        self.start = trio.current_time()

    async def __call__(self, name: str) -> Found | None:
        await trio.lowlevel.checkpoint()
        self.asked.append((trio.current_time() - self.start, name))
        self._last[name] = next(self._answers[name], self._last.get(name))
        return self._last[name]

    def changed(self) -> None:
        self.changes += 1

    def watched(self, nursery: trio.Nursery, refresh: float = 60.0) -> WatchedNames:
        names = WatchedNames(self, self.changed, lambda: refresh)
        nursery.start_soon(partial(names.run))
        return names


ONE, OTHER = ("192.0.2.1",), ("192.0.2.2",)


async def test_a_name_is_looked_up_at_once_and_again_when_its_time_is_up(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = World(w=[Found(ONE, 30), Found(OTHER, 10)])
    names = world.watched(nursery)
    names.want({"w"})
    await trio.sleep(1)
    assert names.current == {"w": ONE}
    await trio.sleep(44.5)
    assert names.current == {"w": OTHER}
    assert world.asked == [(pytest.approx(t), "w") for t in (0, 30, 40)]
    assert world.changes == 2


async def test_without_a_time_to_live_it_is_asked_at_the_refresh_rate(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = World(w=[Found(ONE)])
    world.watched(nursery, refresh=20).want({"w"})
    await trio.sleep(41)
    assert [t for t, _ in world.asked] == pytest.approx([0, 20, 40])
    assert world.changes == 1


async def test_another_order_of_addresses_is_no_news(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = World(w=[Found((*ONE, *OTHER), 5), Found((*OTHER, *ONE), 5)])
    names = world.watched(nursery)
    names.want({"w"})
    await trio.sleep(11)
    assert names.current == {"w": (*ONE, *OTHER)}
    assert world.changes == 1


async def test_a_failure_keeps_what_was_known(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    world = World(w=[Found(ONE, 30), None])
    names = world.watched(nursery)
    names.want({"w"})
    await trio.sleep(41)
    assert names.current == {"w": ONE}
    assert [t for t, _ in world.asked] == pytest.approx([0, 30, 35, 40])


async def test_a_name_that_never_had_an_address_is_known_to_have_none(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = World(w=[None, Found(ONE, 60)])
    names = world.watched(nursery)
    names.want({"w"})
    await trio.sleep(1)
    assert names.current == {"w": ()}
    await trio.sleep(5)
    assert names.current == {"w": ONE}


async def test_what_is_no_longer_wanted_is_forgotten(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = World(v=[Found(ONE, 1)], w=[Found(OTHER, 1)])
    names = world.watched(nursery)
    names.want({"v", "w"})
    await trio.sleep(0.5)
    names.want({"w"})
    assert names.current == {"w": OTHER}
    await trio.sleep(5)
    assert [name for t, name in world.asked if t > 0.5] == ["w"] * 5


async def test_a_time_to_live_of_nothing_is_a_second(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = World(w=[Found(ONE, 0)])
    world.watched(nursery).want({"w"})
    await trio.sleep(2.5)
    assert [t for t, _ in world.asked] == pytest.approx([0, 1, 2])


async def test_names_wanted_before_it_runs_are_looked_up_then(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = World(w=[Found(ONE, 60)])
    names = WatchedNames(world, world.changed)
    names.want({"w"})
    await nursery.start(names.run)
    await trio.sleep(1)
    assert names.current == {"w": ONE}
