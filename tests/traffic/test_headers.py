import pytest
from hypothesis import given
from hypothesis import strategies as st

from devmesh.snapshot.route import HeaderOps
from devmesh.traffic.headers import Headers, apply, named, render

VALUES = {"REQ": "jason", "PROTOCOL": "HTTP/1.1"}


def expand(name: str, argument: str) -> str | None:
    return VALUES.get(name) if argument != "missing" else None


@pytest.mark.parametrize(
    ("ops", "after"),
    [
        (HeaderOps(remove=("A",)), [("b", "2")]),
        (HeaderOps(set=(("a", "9"),)), [("b", "2"), ("a", "9")]),
        (HeaderOps(add=(("A", "9"),)), [("a", "1"), ("b", "2"), ("a", "3"), ("a", "9")]),
        (
            HeaderOps(remove=("a",), set=(("a", "8"),), add=(("a", "9"),)),
            [("b", "2"), ("a", "8"), ("a", "9")],
        ),
        (HeaderOps(remove=("host", ":path")), [("a", "1"), ("b", "2"), ("a", "3")]),
        (HeaderOps(set=((":path", "/"), ("c", ""))), [("a", "1"), ("b", "2"), ("a", "3")]),
    ],
)
def test_headers_are_removed_then_set_then_added(ops: HeaderOps, after: Headers) -> None:
    headers = [("a", "1"), ("b", "2"), ("a", "3")]
    assert apply(ops, headers, expand) is None
    assert headers == after


@pytest.mark.parametrize("name", ["host", "Host", ":authority"])
def test_setting_the_host_is_told(name: str) -> None:
    headers: Headers = []
    assert apply(HeaderOps(set=((name, "other:80"),)), headers, expand) == "other:80"
    assert headers == []


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("%REQ(x-user)%", "jason"),
        ("<%REQ(x-user)%|%PROTOCOL%>", "<jason|HTTP/1.1>"),
        ("%REQ(x-user):2%", "ja"),
        ("%REQ(missing)%", ""),
        ("100%%", "100%"),
        ("50% off", "50% off"),
        ("%lower%", "%lower%"),
    ],
)
def test_operators_are_expanded(template: str, text: str) -> None:
    assert render(template, expand) == text


@given(st.text("%ABC()a:1 ", max_size=12))
def test_no_template_fails(template: str) -> None:
    render(template, expand)


def test_the_second_name_stands_in_for_the_first() -> None:
    headers = {"b": "2"}
    assert named("A?B", headers.get) == "2"
    assert named("B?A", headers.get) == "2"
    assert named("C", headers.get) is None
