import pytest
from hypothesis import given
from hypothesis import strategies as st

from devmesh.config.documents.scalars import Base64, Duration, amount


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5),
        ("0.5s", 0.5),
        (".5s", 0.5),
        ("100ms", 0.1),
        ("1h30m", 5400),
        ("1m0.5s", 60.5),
        ("0s", 0),
        ("0", 0),
        ("-1s", -1),
        ("250us", 0.00025),
        ("3.000000001s", 3.000000001),
    ],
)
def test_durations_are_protobufs_or_gos(text: str, seconds: float) -> None:
    assert Duration.parse(text) == pytest.approx(seconds, abs=1e-12)


@pytest.mark.parametrize(
    "text", ["5", "", "s", "5 s", "5x", "1e3s", "s5", None, 5, "315576000001s", "\uff15s"]
)
def test_a_duration_needs_a_unit(text: object) -> None:
    with pytest.raises(ValueError, match=r"duration"):
        Duration.parse(text)


@given(st.integers(0, 10**12))
def test_a_duration_reads_what_it_writes(milliseconds: int) -> None:
    duration = Duration(milliseconds / 1000)
    assert Duration.parse(str(duration)) == pytest.approx(duration)


@pytest.mark.parametrize(
    ("quantity", "number"),
    [
        ("100m", 0.1),
        ("1Ki", 1024),
        ("1.5", 1.5),
        (2, 2),
        ("1e3", 1000),
        ("64Mi", 2**26),
        ("1E", 1e18),
        ("2k", 2000),
    ],
)
def test_quantities_have_suffixes(quantity: str | int, number: float) -> None:
    assert amount(quantity) == number


@pytest.mark.parametrize("quantity", ["1x", "", "Mi", "1 Mi", "--1", "1e", "NaN", "1e9999"])
def test_other_suffixes_are_no_quantities(quantity: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        amount(quantity)


def test_base64_may_be_broken_into_lines() -> None:
    assert Base64.parse("aGVs\nbG8=\n") == b"hello"
    assert str(Base64(b"hello")) == "aGVsbG8="


@pytest.mark.parametrize("text", ["aGVsbG8", "a-b_", "é", 5])
def test_what_is_no_base64_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="base64"):
        Base64.parse(text)
