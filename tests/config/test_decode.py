from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devmesh.config.decode import check
from devmesh.config.documents.structs import STRUCTS
from devmesh.config.shapes import Anything, Items, Map, Object, Shape, Value, shape_of
from devmesh.config.typed import convert

VIRTUAL_SERVICE = STRUCTS["networking.istio.io", "VirtualService"]
DEPLOYMENT = STRUCTS["apps", "Deployment"]


def said(raw: Any, struct: Any = VIRTUAL_SERVICE) -> list[str]:
    return [str(cause) for cause in check(raw, struct, snake_case=True)[1]]


def test_everything_wrong_is_told_not_the_first_alone() -> None:
    raw = {"spec": {"hosts": "a", "gatways": ["x"], "http": [{"rout": [], "retries": {"attempts": "3"}}]}}
    found = check(raw, VIRTUAL_SERVICE, snake_case=True)[1]
    assert [cause.field for cause in found] == [
        "spec.hosts",
        "spec.gatways",
        "spec.http[0].rout",
        "spec.http[0].retries.attempts",
    ]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"spec": {"http": [{"rout": 1}]}}, 'unknown field "spec.http[0].rout" (did you mean "route"?)'),
        (
            {"spec": {"http": [{"route": [{"timeout": "5s"}]}]}},
            'unknown field "spec.http[0].route[0].timeout" (it belongs to spec.http[0])',
        ),
        ({"spec": {"http": [{"timeout": 5}]}}, "'5' is not"),
        ({"spec": {"http": [{"timeout": "5"}]}}, "write a number with its unit, such as 5s or 500ms"),
        ({"spec": {"http": [{"match": [{"headers": {"a": {"exact": 1}}}]}]}}, "put it in quotes"),
        ({"spec": {"http": [{"match": [{"port": -1}]}]}}, "must be 0 or more"),
        ({"spec": {"http": [{"match": [{"port": True}]}]}}, "expected an integer, got a boolean"),
        (
            {"spec": {"http": [{"redirect": {"derivePort": "FROM_REQUEST_PRT"}}]}},
            'did you mean "FROM_REQUEST_PORT"',
        ),
        ({"spec": {"http": {}}}, "a list is expected here"),
        ({"spec": []}, "an object is expected here"),
    ],
)
def test_messages_say_what_to_do(raw: Any, message: str) -> None:
    if message == "'5' is not":
        message = "5 is not a duration"
    (found,) = said(raw)
    assert message in found


def test_only_text_is_to_be_put_in_quotes() -> None:
    assert "quotes" not in said({"spec": {"replicas": "3"}}, DEPLOYMENT)[0]


def test_a_missing_field_is_required() -> None:
    assert said({"spec": {"template": {"spec": {"containers": [{}]}}}}, DEPLOYMENT) == [
        "spec.template.spec.containers[0].name: Required value",
        "spec.selector: Required value",
    ]


def test_map_keys_stand_in_brackets() -> None:
    assert said({"metadata": {"labels": {"a.b/c": 1}}})[0].startswith("metadata.labels[a.b/c]: ")


def test_snake_case_is_another_spelling_for_protojson() -> None:
    raw = {"spec": {"http": [{"mirror_percent": 3, "match": [{"without_headers": {"x_y": {}}}]}]}}
    clean, causes = check(raw, VIRTUAL_SERVICE, snake_case=True)
    assert not causes
    assert clean["spec"]["http"][0] == {"mirrorPercent": 3, "match": [{"withoutHeaders": {"x_y": {}}}]}
    assert check(raw, VIRTUAL_SERVICE, snake_case=False)[1]


def test_nulls_are_left_out_and_unknown_fields_too() -> None:
    clean, _ = check(
        {"spec": {"hosts": None, "nonsense": 1}, "metadata": {"labels": {"a": None}}},
        VIRTUAL_SERVICE,
        snake_case=True,
    )
    assert clean == {"spec": {}, "metadata": {"labels": {}}}


def sample(shape: Shape, depth: int = 0) -> Any:
    """A value with every field given, three objects deep."""
    match shape:
        case Object(members=members):
            return {m.name: sample(m.shape, depth + 1) for m in members.values() if m.required or depth < 6}
        case Items(item=item):
            return [sample(item, depth)]
        case Map(value=value):
            return {"key": sample(value, depth)}
        case Anything():
            return {"any": [1, "thing"]}
        case Value(known=known) if known:
            return known[0]
        case Value(type=type_):
            return {
                "string": "text",
                "integer": 1,
                "number": 0.5,
                "boolean": True,
                "quantity": "100m",
                "int-or-string": "80",
                "duration": "5s",
                "base64": "aGk=",
            }[type_]


@pytest.mark.parametrize("name", STRUCTS, ids=lambda name: name[1])
def test_a_document_with_every_field_decodes(name: tuple[str, str]) -> None:
    raw = sample(shape_of(STRUCTS[name]))
    clean, causes = check(raw, STRUCTS[name], snake_case=False)
    assert not causes
    assert clean == raw
    convert(clean, STRUCTS[name])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["spec", "http", "route", "match", "metadata", "name", "x"]), inner)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["spec", "metadata", "kind", "status", "other"]), ANYTHING))
def test_anything_is_decoded_or_refused(raw: dict[str, Any]) -> None:
    for struct in (VIRTUAL_SERVICE, DEPLOYMENT):
        clean, causes = check(raw, struct, snake_case=True)
        if not causes:
            convert(clean, struct)
