"""Small values of Envoy's messages: durations, matches, headers."""

from __future__ import annotations

from typing import Any

from devmesh.snapshot.match import Exact, PathPrefix, Prefix, Present, Regex, StringMatch, Suffix
from devmesh.snapshot.origin import Origin
from devmesh.snapshot.route import HeaderOps

Json = dict[str, Any]
ADS: Json = {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"}


def typed(kind: str, /, **fields: Any) -> Json:
    """Return a message with its type; a field that is None or empty is left out."""
    return {"@type": f"type.googleapis.com/{kind}", **given(**fields)}


def given(**fields: Any) -> Json:
    """Return the fields that are neither None nor empty."""
    return {name: value for name, value in fields.items() if value not in (None, "", [], {}, ())}


def duration(seconds: float) -> str:
    """Return a time as protojson has it."""
    return f"{round(seconds, 9):.9f}".rstrip("0").rstrip(".") + "s"


def address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}


def percent(value: float) -> Json:
    """Return a FractionalPercent."""
    return {"numerator": round(value * 10_000), "denominator": "MILLION"}


def string_match(match: StringMatch) -> Json:
    """Return a StringMatcher."""
    match match:
        case Exact(value=value, ignore_case=ignore_case):
            return given(exact=value, ignore_case=ignore_case or None) or {"exact": ""}
        case Prefix(value=value, ignore_case=ignore_case):
            return given(prefix=value, ignore_case=ignore_case or None)
        case PathPrefix(value=value):
            return {"prefix": value}
        case Suffix(value=value):
            return {"suffix": value}
        case Regex(source=source):
            return {"safe_regex": {"regex": source}}
    return {"safe_regex": {"regex": ".*"}}


def header_match(name: str, match: StringMatch, *, inverted: bool = False) -> Json:
    """Return a HeaderMatcher."""
    if isinstance(match, Present):
        return given(name=name, present_match=True, invert_match=inverted or None)
    return given(name=name, string_match=string_match(match), invert_match=inverted or None)


def headers_added(ops: HeaderOps) -> list[Json]:
    """Return HeaderValueOptions."""
    pairs = [(*pair, "OVERWRITE_IF_EXISTS_OR_ADD") for pair in ops.set]
    pairs += [(*pair, "APPEND_IF_EXISTS_OR_ADD") for pair in ops.add]
    return [{"header": {"key": key, "value": value}, "append_action": action} for key, value, action in pairs]


def istio_metadata(origin: Origin | None, **more: Any) -> Json:
    """Return Istio's metadata: which resource asked for it, and what istioctl looks for besides."""
    found = given(**more)
    if origin is not None:
        kind = "".join(f"-{c.lower()}" if c.isupper() else c for c in origin.kind).lstrip("-")
        where = f"namespaces/{origin.namespace}/{kind}/{origin.name}"
        found["config"] = f"/apis/networking.istio.io/v1/{where}"
    return {"filter_metadata": {"istio": found}} if found else {}
