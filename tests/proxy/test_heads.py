"""Heads that come again, with the same ids, others, or none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devmesh.proxy.heads import NAMES, read_request
from devmesh.proxy.http1 import Malformed, Request, parse_request
from devmesh.snapshot.match import Prefix
from devmesh.snapshot.route import Match, Route
from tests.proxy.meshes import TO_B, Mesh, head_of, snapshot, status_of

IDS = st.lists(
    st.tuples(
        st.sampled_from([*NAMES, "X-Request-Id", "b3"]),
        st.from_regex(r"[0-9a-f-]{1,40}| |a b", fullmatch=True),
    ),
    max_size=8,
)
OTHERS = st.lists(
    st.sampled_from(
        [
            "host: b",
            "accept: */*",
            "x-request-idea: 7",
            "content-length: 3",
            "connection: close",
            "bad",
            "a:b ",
        ]
    ),
    max_size=4,
)


def said(request: Request | None) -> object:
    """Return all that a head says, whatever the order of its fields."""
    if request is None:
        return None
    names = (
        "method",
        "path",
        "authority",
        "scheme",
        "headers",
        "size",
        "length",
        "minor",
        "close",
        "upgrade",
    )
    return [getattr(request, name) for name in names], sorted(request.fields)


def read(known: dict[bytes, Request], data: bytes) -> object:
    try:
        return said(read_request(known, data, "http"))
    except Malformed as error:
        return error.details


def parsed(data: bytes) -> object:
    try:
        return said(parse_request(data))
    except Malformed as error:
        return error.details


@given(
    OTHERS,
    st.lists(IDS, min_size=1, max_size=3),
    OTHERS,
    st.sampled_from(["", "\r\n", "\r\n\r\n", "\r\n\r\nab"]),
)
def test_a_head_says_the_same_however_often_it_was_read(
    before: list[str], blocks: list[list[tuple[str, str]]], after: list[str], end: str
) -> None:
    known: dict[bytes, Request] = {}
    for ids in [*blocks, blocks[0], []]:
        lines = ["GET /x HTTP/1.1", *before, *(f"{name}: {value}" for name, value in ids), *after]
        data = ("\r\n".join(lines) + end).encode()
        assert read(known, data) == parsed(data)


def test_heads_that_differ_in_their_ids_are_known() -> None:
    known: dict[bytes, Request] = {}
    for number in "0123":
        trace = f"traceparent: 00-{number * 32}-{number * 16}-01\r\n"
        data = f"GET / HTTP/1.1\r\nhost: b\r\nx-request-id: {number}\r\n{trace}accept: */*\r\n\r\n".encode()
        request = read_request(known, data, "http")
        assert request is not None
        assert request.ids == {"x-request-id": number, "traceparent": trace[13:-2]}
    assert len(known) == 1


@pytest.mark.parametrize("name", ["x-request-id", "traceparent"])
def test_a_route_may_ask_for_an_id_of_heads_that_are_known(name: str) -> None:
    asking = replace(TO_B, matches=(Match(headers=((name, Prefix("7")),)),))
    mesh = Mesh(snapshot(asking, Route(redirect=None)))
    served = []
    for value in ("70", "8", "", "71", "9"):
        more = f"{name}: {value}\r\n" if value else ""
        given = "" if name == "x-request-id" else "x-request-id: 5\r\n"
        answer = mesh.call(f"GET / HTTP/1.1\r\nhost: b\r\n{given}{more}\r\n".encode())
        served.append(status_of(answer) == 200)
    assert served == [True, False, False, True, False]


def test_the_next_proxy_follows_the_trace_of_each_request() -> None:
    mesh = Mesh(snapshot())
    for number in "12":
        trace, before = f"00-{number * 32}-{number * 16}-01", len(mesh.app.heard)
        mesh.call(
            f"GET / HTTP/1.1\r\nhost: b\r\nx-request-id: {number}\r\ntraceparent: {trace}\r\n\r\n".encode()
        )
        record = mesh.sink.requests[-1]
        assert (record.request_id, record.trace_id, record.parent_span_id) == (
            number,
            number * 32,
            number * 16,
        )
        heard = head_of(mesh.app.heard[before:])
        assert heard["x-request-id"] == number
        assert heard["traceparent"] == f"00-{number * 32}-{record.span_id}-01"
