import pytest
from hypothesis import given
from hypothesis import strategies as st

from devmesh.snapshot.route import Retry
from devmesh.traffic.retry import CONDITIONS, DEFAULT, Reset, backoff, should_retry


def on(*conditions: str, codes: tuple[int, ...] = ()) -> Retry:
    return Retry(on=frozenset(conditions), codes=frozenset(codes))


@pytest.mark.parametrize(
    ("policy", "status", "again"),
    [
        (DEFAULT, 200, False),
        (DEFAULT, 500, False),
        (DEFAULT, 503, False),  # Istio since 1.24
        (on("5xx"), 500, True),
        (on("5xx"), 599, True),
        (on("5xx"), 404, False),
        (on("gateway-error"), 500, False),
        (on("gateway-error"), 502, True),
        (on("gateway-error"), 504, True),
        (on("retriable-4xx"), 409, True),
        (on("retriable-4xx"), 404, False),
        (on("retriable-status-codes", codes=(418,)), 418, True),
        (on("retriable-status-codes", codes=(418,)), 503, False),
        (on(codes=(418,)), 418, False),
    ],
)
def test_statuses(policy: Retry, status: int, again: bool) -> None:
    assert should_retry(policy, status=status) is again


@pytest.mark.parametrize(
    ("policy", "reset", "again"),
    [
        (DEFAULT, "connect-failure", True),
        (DEFAULT, "refused-stream", True),
        (DEFAULT, "connection-termination", False),
        (DEFAULT, "local-reset", False),
        (on("5xx"), "connection-termination", True),
        (on("gateway-error"), "remote-reset", True),
        (on("reset"), "local-reset", True),
        (on("5xx", "connect-failure", "reset"), "overflow", False),
        (on("reset-before-request"), "remote-reset", False),
    ],
)
def test_resets(policy: Retry, reset: Reset, again: bool) -> None:
    assert should_retry(policy, reset=reset) is again


def test_a_request_that_was_not_begun_may_be_sent_again() -> None:
    assert should_retry(on("reset-before-request"), reset="remote-reset", request_started=False)


@pytest.mark.parametrize(("grpc_status", "again"), [(14, True), (1, True), (8, False), (0, False)])
def test_grpc_statuses(grpc_status: int, again: bool) -> None:
    assert should_retry(DEFAULT, status=200, grpc_status=grpc_status) is again


def test_ratelimited_answers_are_final_unless_asked_for() -> None:
    assert not should_retry(on("5xx"), status=503, ratelimited=True)
    assert should_retry(on("envoy-ratelimited"), status=429, ratelimited=True)


def test_attempts_come_after_the_first_try() -> None:
    tries = [should_retry(DEFAULT, reset="connect-failure", attempts=n) for n in (1, 2, 3)]
    assert tries == [True, True, False]


def test_nothing_to_tell_is_no_reason_to_retry() -> None:
    assert not should_retry(DEFAULT)


@given(st.sampled_from(sorted(CONDITIONS)), st.integers(100, 399))
def test_a_good_answer_is_never_retried(condition: str, status: int) -> None:
    assert not should_retry(on(condition), status=status)


@pytest.mark.parametrize(("attempt", "longest"), [(1, 0.025), (2, 0.075), (3, 0.175), (4, 0.25), (99, 0.25)])
def test_backoff_doubles_up_to_ten_times_its_base(attempt: int, longest: float) -> None:
    assert backoff(DEFAULT, attempt, 0.0) == 0.0
    assert backoff(DEFAULT, attempt, 0.999_999) == pytest.approx(longest, rel=1e-5)
