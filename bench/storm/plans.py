"""One version of a routing resource: its YAML, and which answers are right under it.

The rules are read here a second time, from what was drawn and not from the YAML, and much simpler than
devmesh does: the two can hardly be wrong in the same way. Every route stamps requests and responses with the
number of its version and its own, so an answer tells which version made it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from bench.storm.requests import Answer, Request

RESETS = frozenset({"5xx", "gateway-error"})
"""Conditions that retry both a reset that the caller's proxy saw and the 503 of the other proxy about one."""


@dataclass(frozen=True, slots=True)
class Match:
    """Conditions that all have to hold; empty ones do."""

    exact: str = ""
    prefix: str = ""
    regex: str = ""
    method: str = ""
    user: str = ""
    without_user: bool = False
    query: str = ""  # the value of x

    def accepts(self, request: Request) -> bool:
        parts = urlsplit(request.path)
        return (
            self.exact in ("", parts.path)
            and parts.path.startswith(self.prefix)
            and (not self.regex or re.fullmatch(self.regex, parts.path) is not None)
            and self.method in ("", request.method)
            and self.user in ("", request.user)
            and not (self.without_user and request.user)
            and (not self.query or parse_qs(parts.query).get("x") == [self.query])
        )

    def rank(self) -> tuple[bool, int, bool, bool, bool]:
        """Gateway API: more specific matches go first."""
        return (
            bool(self.exact), len(self.prefix.rstrip("/")), bool(self.method), bool(self.user),
            bool(self.query),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Destination:
    """Where to: `subset` of the host, or of all its pods if empty."""

    subset: str
    weight: int


@dataclass(frozen=True, slots=True)
class Rule:
    """One route. What is empty or 0 isn't configured.

    Attributes:
        local: ``redirect``, ``direct`` or ``abort``: answered without a destination, with `status`.
    """

    matches: tuple[Match, ...]
    destinations: tuple[Destination, ...] = ()
    local: str = ""
    status: int = 0
    rewrite: str = ""
    delay: float = 0.0
    timeout: float = 0.0
    attempts: int = -1
    retry_on: str = ""
    per_try: float = 0.0
    remove_junk: bool = False
    mirror: str = ""

    def accepts(self, request: Request) -> bool:
        return not self.matches or any(match.accepts(request) for match in self.matches)

    def retries(self, what: frozenset[str]) -> bool:
        return self.attempts > 0 and not what.isdisjoint(self.retry_on.split(","))


@dataclass(frozen=True, slots=True)
class Plan:
    """A version of a VirtualService or an HTTPRoute, number `version`."""

    version: int
    rules: tuple[Rule, ...]
    is_gateway_api: bool = False

    def find(self, request: Request) -> tuple[int, Rule] | None:
        """Return the route that is for `request`, with its number."""
        numbered = list(enumerate(self.rules))
        if not self.is_gateway_api:
            return next(((n, rule) for n, rule in numbered if rule.accepts(request)), None)
        found = [
            (match.rank(), -n, n, rule)
            for n, rule in numbered
            for match in rule.matches
            if match.accepts(request)
        ]
        return max(found, key=lambda one: one[:2])[2:] if found else None

    def objection(self, answer: Answer, pods: Mapping[str, str]) -> str:
        """Say what is wrong about `answer` under this version; empty: it is right.

        Args:
            pods: The version of the pods that is in each subset.
        """
        found = self.find(answer.request)
        if found is None:
            return "" if answer.status == 404 and not answer.body else "no route accepts it: expected 404"
        number, rule = found
        stamp = f"{self.version}.{number}"
        if rule.local:
            return _locally(rule, answer, stamp)
        if answer.fields.get("x-stamp") != stamp:
            return f"expected stamp {stamp}, got {answer.fields.get('x-stamp')}"
        return _by_destination(rule, answer, stamp, pods)


def _locally(rule: Rule, answer: Answer, stamp: str) -> str:
    if answer.status != rule.status:
        return f"expected {rule.local} {rule.status}"
    query = urlsplit(answer.request.path).query  # which Envoy keeps
    place = f"/moved/{stamp}" + (f"?{query}" if query else "")
    if rule.local == "redirect" and not answer.fields.get("location", "").endswith(place):
        return f"expected a location {place}"
    if rule.local == "direct" and answer.body != f"direct {stamp}":
        return f"expected the body 'direct {stamp}'"
    if rule.local == "abort" and answer.body != "fault filter abort":
        return "expected the body of an injected fault"
    return ""


def _by_destination(rule: Rule, answer: Answer, stamp: str, pods: Mapping[str, str]) -> str:
    request, seen = answer.request, answer.seen
    if answer.seconds < rule.delay:
        return f"expected a delay of {rule.delay} s"
    if seen is None:
        limit = min(filter(None, (rule.timeout, rule.per_try)), default=0.0)
        if answer.status == 504 and limit and answer.seconds >= limit and answer.body.startswith("upstream"):
            return ""
        return "expected an answer of the application"
    if 0 < rule.timeout < request.wait / 2:
        return f"expected a time-out after {rule.timeout} s"
    return (
        _status(rule, answer, int(seen["told"].get("x-envoy-attempt-count", "1")))
        or _place(rule, answer, pods)
        or _request_as_sent(rule, answer, stamp)
    )


def _status(rule: Rule, answer: Answer, attempt: int) -> str:
    again = rule.retries(RESETS | {"503"})
    if answer.request.is_flaky and not again:
        right = (
            (503, 200) if attempt > 1 else (503,)
        )  # a connection that failed may have made it a second try
        return "" if answer.status in right else "expected the application's 503"
    if answer.status != 200:
        return "expected 200, after a retry" if again else "expected 200"
    if answer.request.is_flaky and attempt < 2:
        return "expected a second attempt"
    return ""


def _place(rule: Rule, answer: Answer, pods: Mapping[str, str]) -> str:
    seen = answer.seen
    assert seen is not None
    chosen = answer.fields.get("x-dest", "")
    if chosen != seen["told"].get("x-dest", ""):
        return "request and response tell of different destinations"
    at = int(chosen) if chosen.isdigit() else 0
    if at >= len(rule.destinations) or not rule.destinations[at].weight:
        return f"destination {chosen} has no weight"
    subset = rule.destinations[at].subset
    if subset and pods[subset] != seen["app"]:
        return f"subset {subset} is {pods[subset]}"
    return ""


def _request_as_sent(rule: Rule, answer: Answer, stamp: str) -> str:
    request, seen = answer.request, answer.seen
    assert seen is not None
    parts = urlsplit(request.path)
    path = request.path
    if rule.rewrite:
        path = rule.rewrite + (f"?{parts.query}" if parts.query else "")
    wrong = [
        f"{what}: {got!r} is not {expected!r}"
        for what, got, expected in (
            ("stamp of the request", seen["told"].get("x-stamp"), stamp),
            ("path", seen["path"], path),
            ("method", seen["method"], request.method),
            ("size", seen["size"], request.size),
            ("x-junk of the response", "x-junk" in answer.fields, not rule.remove_junk),
            ("x-junk of the request", "x-junk" in seen["told"],
             "x-junk" in request.headers and not rule.remove_junk),
        )
        if got != expected
    ]  # fmt: skip
    return "; ".join(wrong)
