from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devmesh.config.scalar_resolution import resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("On", True),
        ("Y", True),
        ("no", False),
        ("OFF", False),
        ("true", True),
        ("tRue", "tRue"),
        ("~", None),
        ("", None),
        ("null", None),
        ("22:22", "22:22"),
        ("2001-01-01", "2001-01-01"),
        ("010", 8),
        ("0o10", 8),
        ("08", 8.0),
        ("0x1F", 31),
        ("0b11", 3),
        ("-7", -7),
        ("+7", 7),
        ("1_000", 1000),
        ("1e3", 1000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("1.2.3", "1.2.3"),
        ("1.0.0", "1.0.0"),
        ("v1", "v1"),
        ("-", "-"),
        (".", "."),
        ("1e999", "1e999"),
        ("0x", "0x"),
    ],
)
def test_plain_scalars_mean_what_they_mean_to_kubectl(text: str, value: Any) -> None:
    found = resolve(text)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize("text", [".inf", "-.Inf", ".nan"])
def test_what_json_cannot_say_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="JSON"):
        resolve(text)


@given(st.integers(-(2**70), 2**70))
def test_integers_stay_what_they_are(number: int) -> None:
    assert resolve(str(number)) == number
