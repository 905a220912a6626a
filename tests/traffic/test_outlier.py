"""Outlier detection, step by step, as Envoy documents it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from devmesh.snapshot.cluster import OutlierDetection
from devmesh.traffic.outlier import RESET, TIMEOUT, Detector, Ejections, status_of_grpc

A, B, C = ("10.0.0.1", 80), ("10.0.0.2", 80), ("10.0.0.3", 80)
ALL = OutlierDetection(consecutive_5xx=3, interval=10, base_ejection_time=30, max_ejection_percent=100)


class Watch:
    """A detector at a time of its own."""

    def __init__(self, settings: OutlierDetection, *members: tuple[str, int]) -> None:
        self.counts, self.ejected = Ejections(), set[tuple[str, int]]()
        self.detector = Detector(settings, self.ejected, self.counts, 0.0)
        self.detector.watch(members or (A, B, C))
        self.now = 0.0

    def answers(self, *statuses: int, key: tuple[str, int] = A) -> bool:
        return [self.detector.answered(key, status, self.now) for status in statuses][-1]

    def fails(self, times: int, status: int = RESET, key: tuple[str, int] = A) -> None:
        for _ in range(times):
            self.detector.failed(key, self.now, status)

    def advance(self, until: float) -> None:
        """Sweep as whoever owns the detector does."""
        while (at := self.detector.next_sweep(self.now)) is not None and at <= until:
            self.now = at
            self.detector.sweep(at)
        self.now = until

    def eject(self) -> None:
        self.answers(500, 500, 500)
        assert A in self.ejected


def test_only_failures_in_a_row_eject() -> None:
    watch = Watch(ALL)
    watch.answers(500, 500, 200, 500, 500, 404)
    assert not watch.ejected
    assert not watch.answers(500, 500)
    assert watch.answers(500)
    assert watch.ejected == {A}
    assert (watch.counts.detected_5xx, watch.counts.enforced_5xx, watch.counts.enforced_total) == (1, 1, 1)


def test_each_endpoint_is_counted_for_itself() -> None:
    watch = Watch(ALL)
    watch.answers(500, 500)
    watch.answers(500, 500, key=B)
    assert not watch.ejected


def test_gateway_errors_have_a_count_of_their_own_that_other_errors_reset() -> None:
    watch = Watch(replace(ALL, consecutive_5xx=0, consecutive_gateway=3))
    watch.answers(502, 503, 500, 504, 502)
    assert not watch.ejected
    watch.answers(503)
    assert watch.ejected == {A}
    assert (watch.counts.enforced_gateway, watch.counts.enforced_5xx) == (1, 0)


def test_a_count_of_nought_is_off() -> None:
    watch = Watch(replace(ALL, consecutive_5xx=0))
    watch.answers(*[500] * 50)
    assert not watch.ejected


def test_an_ejected_endpoint_returns_with_the_first_sweep_after_its_time() -> None:
    watch = Watch(ALL)
    watch.now = 5
    watch.eject()
    watch.advance(39.9)  # sweeps at 10, 20, 30; its time is over at 35
    assert A in watch.ejected
    watch.advance(40)
    assert A not in watch.ejected


def test_the_time_grows_with_each_ejection() -> None:
    watch = Watch(ALL)
    for until in (30, 90, 180, 300):
        watch.eject()
        watch.advance(until - 0.1)
        assert A in watch.ejected
        watch.advance(until)
        assert A not in watch.ejected


def test_an_interval_after_the_return_the_multiplier_falls() -> None:
    watch = Watch(ALL)
    watch.eject()
    watch.advance(40)  # back since 30: the multiplier is 0 again
    watch.eject()
    watch.advance(70)
    assert A not in watch.ejected


def test_the_time_never_exceeds_the_longest() -> None:
    watch = Watch(replace(ALL, base_ejection_time=200, interval=1))
    watch.eject()
    host = watch.detector._hosts[A]
    host.backoff = 9
    watch.advance(299)
    assert A in watch.ejected
    watch.advance(300)
    assert A not in watch.ejected


def test_healthy_sweeps_forget_how_often_it_was_ejected() -> None:
    watch = Watch(ALL)
    watch.eject()
    watch.detector._hosts[A].backoff = 3
    watch.advance(90)
    assert A not in watch.ejected
    assert watch.detector._hosts[A].backoff == 3
    watch.advance(110)
    assert watch.detector._hosts[A].backoff == 1
    watch.advance(120)
    assert watch.detector._hosts[A].backoff == 0
    assert watch.detector.next_sweep(watch.now) is None


def test_who_returns_starts_counting_anew() -> None:
    watch = Watch(ALL)
    watch.eject()
    watch.answers(500, 500)  # what was under way still answers
    watch.advance(30)
    watch.answers(500, 500)
    assert not watch.ejected
    watch.answers(500)
    assert watch.ejected == {A}


@pytest.mark.parametrize(("percent", "members", "gone"), [(10, 9, 0), (10, 10, 1), (50, 3, 1), (100, 3, 3)])
def test_no_more_are_ejected_than_the_percentage(percent: int, members: int, gone: int) -> None:
    keys = [(f"10.0.1.{n}", 80) for n in range(members)]
    watch = Watch(replace(ALL, max_ejection_percent=percent), *keys)
    for key in keys:
        watch.answers(500, 500, 500, key=key)
    assert len(watch.ejected) == gone
    assert watch.counts.overflow == members - gone
    assert watch.counts.detected_5xx == members


def test_failures_to_connect_count_as_gateway_errors() -> None:
    watch = Watch(replace(ALL, consecutive_gateway=2))
    watch.fails(1)
    watch.fails(1, TIMEOUT)
    assert watch.counts.enforced_gateway == 1


def test_split_they_have_a_count_of_their_own() -> None:
    split = replace(ALL, consecutive_gateway=2, split_local_origin=True, consecutive_local=4)
    watch = Watch(split)
    watch.fails(3)
    watch.detector.connected(A, 0)
    watch.fails(3)
    assert not watch.ejected
    watch.fails(1)
    assert watch.ejected == {A}
    assert (watch.counts.enforced_local, watch.counts.detected_gateway) == (1, 0)


def test_split_responses_do_not_excuse_failures_to_connect() -> None:
    watch = Watch(replace(ALL, split_local_origin=True, consecutive_local=2))
    watch.fails(1)
    watch.answers(200)
    watch.fails(1)
    assert watch.ejected == {A}


def test_with_statuses_given_nothing_else_is_an_error() -> None:
    watch = Watch(replace(ALL, statuses=frozenset({429})))
    watch.answers(500, 500, 500, 500)
    assert not watch.ejected
    watch.answers(429, 429, 429)
    assert watch.ejected == {A}


def test_who_is_gone_is_no_longer_ejected() -> None:
    watch = Watch(ALL)
    watch.eject()
    watch.detector.watch([B, C])
    assert not watch.ejected
    watch.answers(500, 500, 500)  # of A, late
    assert not watch.ejected
    watch.detector.watch([A, B, C])
    assert A not in watch.ejected


def test_connections_of_tcp_excuse_failures() -> None:
    watch = Watch(ALL)
    watch.fails(2)
    watch.detector.connected(A, 0, final=True)
    watch.fails(2)
    assert not watch.ejected


@pytest.mark.parametrize(("code", "status"), [(0, 200), (14, 503), (4, 504), (13, 500), (5, 404), (99, 500)])
def test_grpc_counts_by_its_own_status(code: int, status: int) -> None:
    assert status_of_grpc(code) == status
