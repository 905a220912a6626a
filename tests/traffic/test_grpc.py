from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devmesh.traffic.grpc import Messages, message_text, status_of_http, timeout_of, timeout_text


@pytest.mark.parametrize(
    ("status", "code"),
    [(200, 2), (400, 13), (401, 16), (403, 7), (404, 12), (429, 14), (500, 2), (502, 14), (504, 14)],
)  # fmt: skip
def test_a_status_of_http_stands_for_one_of_grpc(status: int, code: int) -> None:
    assert status_of_http(status) == code


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1S", 1.0), ("500m", 0.5), ("2M", 120.0), ("1H", 3600.0), ("7u", 7e-6), ("7n", 7e-9),
     ("", None), ("1", None), ("S", None), ("-1S", None), ("123456789S", None), ("1s", None)],
)  # fmt: skip
def test_a_deadline_is_read(text: str, seconds: float | None) -> None:
    assert timeout_of(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.5, "1500m"), (99999.999, "99999999m"), (100000.0, "100000S"), (1e8, "1666666M")]
)
def test_a_deadline_is_written_in_eight_digits(seconds: float, text: str) -> None:
    assert timeout_text(seconds) == text


def test_a_message_is_escaped() -> None:
    assert message_text("50% ü\n".encode()) == "50%25 %C3%BC%0A"


@given(sizes=st.lists(st.integers(0, 300)), cuts=st.lists(st.integers(1, 40)))
def test_messages_are_counted_in_whatever_pieces_they_come(sizes: list[int], cuts: list[int]) -> None:
    data = b"".join(b"\0" + size.to_bytes(4) + b"x" * size for size in sizes)
    counter = Messages()
    for cut in cuts:
        counter.take(data[:cut])
        data = data[cut:]
    counter.take(data)
    assert counter.count == len(sizes)
