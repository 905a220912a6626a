"""Label and field selectors, as they are written in URLs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from devmesh.api.kube.errors import bad_request
from devmesh.config.kinds import EVENT, JOB, NAMESPACE, NODE, POD, REPLICA_SET, SECRET, Kind
from devmesh.config.store import Stored

Test = Callable[[Stored], bool]
LabelTest = Callable[[Mapping[str, str]], bool]

_KEY = r"(?:[A-Za-z0-9.-]+/)?[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_VALUE = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|"
_EXISTS = re.compile(rf"(!?)\s*({_KEY})")
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_EQUAL = re.compile(rf"({_KEY})\s*(==|=|!=)\s*({_VALUE})")
_COMPARE = re.compile(rf"({_KEY})\s*([<>])\s*(-?\d+)")


def select(kind: Kind, labels: str, fields: str) -> Test:
    """Return the test that both selectors make; empty ones choose everything.

    Raises:
        ApiError: 400: one of them cannot be read, or names a field that the kind does not offer.
    """
    by_label = label_selector(labels) if labels.strip() else None
    by_field = field_selector(kind, fields) if fields.strip() else None
    if by_label is None and by_field is None:
        return lambda stored: True
    return lambda stored: (
        (by_label is None or by_label(stored.labels)) and (by_field is None or by_field(stored))
    )


def label_selector(text: str) -> LabelTest:
    """Read ``app=reviews,version in (v1,v2),!canary``.

    Kubernetes: ``!=`` and ``notin`` also choose objects without the label.
    """
    tests = [_label_test(part.strip(), text) for part in _parts(text)]
    return lambda labels: all(test(labels) for test in tests)


def _parts(text: str) -> list[str]:
    """Split at commas outside brackets."""
    return re.findall(r"[^,(]+(?:\([^)]*\)[^,(]*)?", text)


def _label_test(part: str, whole: str) -> LabelTest:
    if found := _EXISTS.fullmatch(part):
        absent, key = found[1] == "!", found[2]
        return lambda labels: (key in labels) != absent
    if found := _EQUAL.fullmatch(part):
        key, value, equal = found[1], found[3], found[2] != "!="
        return lambda labels: (labels.get(key) == value) == equal
    if found := _SET.fullmatch(part):
        key, values, inside = found[1], {v.strip() for v in found[3].split(",")}, found[2] == "in"
        return lambda labels: (labels.get(key) in values) == inside
    if found := _COMPARE.fullmatch(part):
        return _compare(found[1], found[2] == ">", int(found[3]))
    raise bad_request(f'unable to parse requirement: "{part}" in the label selector "{whole}"')


def _compare(key: str, greater: bool, bound: int) -> LabelTest:
    def test(labels: Mapping[str, str]) -> bool:
        try:
            number = int(labels[key])
        except (KeyError, ValueError):
            return False
        return number > bound if greater else number < bound

    return test


_COMMON = ("metadata.name", "metadata.namespace")
_FIELDS: Mapping[Kind, tuple[str, ...]] = {
    POD: (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ),
    EVENT: (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    SECRET: ("type",),
    NAMESPACE: ("status.phase",),
    NODE: ("spec.unschedulable",),
    REPLICA_SET: ("status.replicas",),
    JOB: ("status.successful",),
}


def field_selector(kind: Kind, text: str) -> Test:
    """Read ``metadata.name=reviews,status.phase!=Running``; the fields are those Kubernetes offers."""
    tests = [_field_test(kind, part.strip()) for part in re.split(r"(?<!\\),", text) if part.strip()]
    return lambda stored: all(test(stored) for test in tests)


def _field_test(kind: Kind, part: str) -> Test:
    found = re.fullmatch(r"([^=!]+?)\s*(==|=|!=)\s*(.*)", part)
    if not found:
        raise bad_request(f"invalid field selector: {part!r}; expected FIELD=VALUE or FIELD!=VALUE")
    field, operator, value = found[1], found[2], re.sub(r"\\(.)", r"\1", found[3])
    known = (*_COMMON, *_FIELDS.get(kind, ()))
    if field not in known:
        raise bad_request(
            f"field label not supported: {field}; {kind.plural} can be selected by {', '.join(known)}"
        )
    path = tuple(field.split("."))
    return lambda stored: (_text(stored.raw, path) == value) == (operator != "!=")


def _text(raw: Any, path: tuple[str, ...]) -> str:
    for part in path:
        raw = raw.get(part) if isinstance(raw, dict) else None
    match raw:
        case None:
            return "false" if path[-1] in ("hostNetwork", "unschedulable") else ""
        case bool():
            return str(raw).lower()
        case dict():  # an Event's source
            return str(raw.get("component", ""))
    return str(raw)
