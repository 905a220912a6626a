"""Starting a command."""

from __future__ import annotations

import gc
import os

import trio

from devmesh.runtime.process.spawn import Launch, spawn


async def test_a_start_that_is_called_off_while_it_waits_closes_each_descriptor_once() -> None:
    turn = trio.Lock()
    await turn.acquire()
    before = os.listdir("/proc/self/fd")
    with trio.move_on_after(0):
        await spawn(Launch(("true",), {}), stdin=0, stdout=1, stderr=2, turn=turn)
    reused = os.pipe()
    gc.collect()  # what still thinks it has a descriptor would close it now
    for descriptor in reused:
        os.close(descriptor)
    assert os.listdir("/proc/self/fd") == before
