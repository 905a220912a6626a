import json
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from devmesh.config.yaml_values import NotYAML, read_values

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def one(text: str) -> Any:
    (value,) = read_values(text)
    return value.value


def test_each_field_knows_its_place() -> None:
    (value,) = read_values("a: 1\nb:\n- x: 2\n  w: {z: 3}\n")
    assert value.places["a",] == (1, 1)
    assert value.places["b", 0] == (3, 3)
    assert value.places["b", 0, "w", "z"] == (4, 7)


def test_places_count_from_the_beginning_of_the_file() -> None:
    first, second = read_values("# a comment\na: 1\n---\n---\n\nb: 2\n")
    assert (first.place, second.place) == ((2, 1), (6, 1))


@pytest.mark.parametrize(
    ("text", "said", "place"),
    [
        ("a: 1\nb: 2\na: 3\n", "'a' is there twice \\(first in line 1\\)", (3, 1)),
        ("x: {a: 1, a: 2}", "twice", (1, 11)),
        ("a: [1", "expected", (2, 1)),
        ("a: .nan", "JSON", (1, 4)),
        ("a: !secret x", "tag !secret", (1, 4)),
        ("a: &x [*x]", "no finished anchor", (1, 8)),
        ("? [a]\n: 1", "key must be text", (1, 3)),
        ("<<: 1", "takes a mapping", (1, 1)),
        ("a: \x01", "U\\+0001", (1, 1)),
        ('{"a": 1, "a": 2}', "twice", (1, 10)),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, said: str, place: tuple[int, int]) -> None:
    with pytest.raises(NotYAML, match=said) as caught:
        one(text)
    assert caught.value.place == place


def test_merge_keys_bring_what_is_not_given() -> None:
    text = "base: &b {x: 1, z: 2}\nmore: &m {x: 9, w: 5}\nit: {<<: [*b, *m], z: 3}\n"
    assert one(text)["it"] == {"x": 1, "z": 3, "w": 5}


def test_keys_are_text() -> None:
    assert one("8080: a\n1.5: b\non: c\n") == {"8080": "a", "1.5": "b", "true": "c"}


def test_aliases_cannot_blow_up() -> None:
    lines = ["a0: &a0 [" + ",".join("x" * 10) + "]"]
    lines += [f"a{n}: &a{n} [" + ",".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, 9)]
    with pytest.raises(NotYAML, match="more than 200000 values"):
        one("\n".join(lines))


@pytest.mark.parametrize(
    "text", ["[" * 5000, "a:\n" + "- " * 5000, "{" * 5000, '{"a":' * 5000 + "1" + "}" * 5000]
)
def test_depth_is_bounded(text: str) -> None:
    with pytest.raises(NotYAML):
        one(text)


def test_json_needs_no_yaml() -> None:
    assert one('{"a":\t"\\ud83d\\ude00"}') == {"a": "😀"}
    assert [v.value for v in read_values('{"a": 1}\n{"b": 2}')] == [{"a": 1}, {"b": 2}]


def test_flow_style_is_not_taken_for_json() -> None:
    assert one("{a: 1, b: [x]}") == {"a": 1, "b": ["x"]}


@given(JSON.filter(lambda value: value is not None))
def test_reads_what_json_writes(value: Any) -> None:
    assert one(json.dumps({"it": value}))["it"] == value


@given(JSON.filter(lambda value: value is not None))
def test_reads_what_yaml_writes(value: Any) -> None:
    # In quotes, since PyYAML leaves y and n without, which are booleans to Kubernetes.
    assert one(yaml.safe_dump({"it": value}, default_style='"'))["it"] == value


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(NotYAML):
        list(read_values(text))


@given(st.text(alphabet="{}[]:,-&*!|>'\"%@ \n\tab<?#"))
def test_any_punctuation_is_read_or_refused(text: str) -> None:
    with suppress(NotYAML):
        list(read_values(text))
