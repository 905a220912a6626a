"""Envoy's ``rate_limits``: what descriptors are made of."""

from __future__ import annotations

from devmesh.pilot.envoy_filters.fields import Fields, Misread
from devmesh.pilot.string_matches import pattern
from devmesh.snapshot.match import Exact, Pattern, Prefix, Regex, StringMatch, Suffix
from devmesh.snapshot.rate_limits import (
    Action,
    DestinationCluster,
    GenericKey,
    HeaderTest,
    HeaderValueMatch,
    RemoteAddress,
    RequestHeader,
    Rule,
    SourceCluster,
)


def rules(fields: Fields, name: str = "rate_limits") -> tuple[Rule, ...]:
    """Take the rules out of a route, a virtual host or a filter; one that can't be made is told."""
    return tuple(rule for each in fields.messages(name) if (rule := _rule(each)) is not None)


def _rule(fields: Fields) -> Rule | None:
    stage = fields.number("stage")
    actions = [_action(each) for each in fields.messages("actions")]
    fields.end()
    if not actions or None in actions:
        return None  # without that entry the descriptor would be another
    return Rule(tuple(action for action in actions if action is not None), stage)


def _action(fields: Fields) -> Action | None:
    """Return an action; None: it is of a kind that devmesh has not, which is told."""
    made: Action | None = None
    if (found := fields.message("request_headers")) is not None:
        name, key = found.text("header_name").lower(), found.text("descriptor_key")
        made = RequestHeader(name, key, found.flag("skip_if_absent"))
        found.end()
    elif (found := fields.message("header_value_match")) is not None:
        made = _value_match(found)
    elif (found := fields.message("generic_key")) is not None:
        value = found.text("descriptor_value")
        made = GenericKey(found.text("descriptor_key") or "generic_key", value)
        found.end()
    elif fields.has("remote_address"):
        fields.any("remote_address")
        made = RemoteAddress()
    elif fields.has("source_cluster"):
        fields.any("source_cluster")
        made = SourceCluster()
    elif fields.has("destination_cluster"):
        fields.any("destination_cluster")
        made = DestinationCluster()
    fields.end("devmesh has no such action, and leaves the whole descriptor out")
    return made


def _value_match(fields: Fields) -> HeaderValueMatch:
    key = fields.text("descriptor_key") or "header_match"
    value = fields.text("descriptor_value")
    expect = fields.flag("expect_match", True)
    tests = tuple(_test(each) for each in fields.messages("headers"))
    fields.end()
    return HeaderValueMatch(key, value, tests, expect)


def _test(fields: Fields) -> HeaderTest:
    """Read a HeaderMatcher, old and new ways of writing one."""
    name = fields.text("name").lower()
    inverted, lenient = fields.flag("invert_match"), fields.flag("treat_missing_header_as_empty")
    test: StringMatch | None = None
    if (matcher := fields.message("string_match")) is not None:
        test = _string_match(matcher)
    elif fields.has("present_match"):
        inverted = inverted is fields.flag("present_match", True)
    else:
        test = _written_out(
            fields, "exact_match", "prefix_match", "suffix_match", "contains_match", "safe_regex_match"
        )
    fields.end()
    return HeaderTest(name, test, inverted, lenient)


def _string_match(fields: Fields) -> StringMatch | None:
    ignore_case = fields.flag("ignore_case")
    test = _written_out(
        fields, "exact", "prefix", "suffix", "contains", "safe_regex", ignore_case=ignore_case
    )
    fields.end()
    return test


def _written_out(
    fields: Fields,
    exact: str,
    prefix: str,
    suffix: str,
    contains: str,
    regex: str,
    *,
    ignore_case: bool = False,
) -> StringMatch | None:
    if fields.has(exact):
        return Exact(fields.text(exact), ignore_case)
    if fields.has(prefix):
        return Prefix(fields.text(prefix), ignore_case)
    if fields.has(suffix):
        return Suffix(fields.text(suffix))
    if fields.has(contains):
        return _regex(f"(?s).*{_escaped(fields.text(contains))}.*", fields.path(contains))
    if (found := fields.message(regex)) is not None:
        found.any("google_re2")
        path = found.path("regex")
        source = found.text("regex")
        found.end()
        return _regex(source, path)
    return None


def _regex(source: str, path: str) -> Regex:
    import re2

    try:
        compiled: Pattern = pattern(source)
    except re2.error as error:
        raise Misread(path, f"{source!r} is no RE2 regular expression: {error}") from None
    return Regex(source, compiled)


def _escaped(text: str) -> str:
    import re2

    escaped: str = re2.escape(text)
    return escaped
