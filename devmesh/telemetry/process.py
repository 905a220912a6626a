"""Metrics of devmesh's own process, under the names that Prometheus' clients use."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from devmesh.telemetry.exposition import Own

_STARTED = time.time()
_PAGE = os.sysconf("SC_PAGE_SIZE")


def process_metrics() -> Iterator[Own]:
    """Yield them; those that this system doesn't tell are left out."""
    yield (
        "process_cpu_seconds_total",
        "counter",
        "User and system CPU time spent in seconds.",
        time.process_time(),
    )
    yield "process_start_time_seconds", "gauge", "When devmesh was started, since the epoch.", _STARTED
    try:
        with open("/proc/self/statm") as file:
            resident = int(file.read().split()[1]) * _PAGE
        descriptors = len(os.listdir("/proc/self/fd"))
    except OSError:
        return
    yield "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", resident
    yield "process_open_fds", "gauge", "Number of open file descriptors.", descriptors
