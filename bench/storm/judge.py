"""Which answers a correct Istio may give, and whether those of a storm are among them.

A request may be answered by any version of an object that was in force while it ran. A version is in force
from when it was sent to the API until `LAG` seconds after the API had taken the next one; the same object is
never half old and half new, but two objects may be at any versions that overlap the request, as on Istio,
where each proxy learns of each by itself. So an answer is right if, for one choice of such versions,

- the routes, read by `plans`, lead to it in every respect: the stamp of the version and the route in request
  and response, the subset's pods, path, method, size, headers, the delay of a fault, the number of attempts;
  404 without a body where no route accepts the request or no gateway serves its host; 504 only once the
  time-out has passed; the application's own 503 only where no retry was asked for;
- or it is an *accident*: a 503 of a proxy ("upstream connect error or disconnect/reset before headers", or an
  answer that is cut short) for a request that was under way on a replica which was killed without grace while
  it ran, where the route does not retry such failures (``5xx``, ``gateway-error``). Istio's default policy
  retries failed connections alone.
  A replica whose process alone was killed (SIGKILL; its proxy goes on and answers 503 for it) may cause this
  until `NOTICED` seconds after, which is what a kubelet takes to notice. One that was deleted may fail what
  began before the API had answered; for `LAG` seconds more, until it is out of the mesh, it may only cut
  ("connection termination") what it had begun, since a connection that cannot be made is retried elsewhere.
- or it is such a 503 for a request to replicas that, by versions of a PeerAuthentication which overlap it,
  want mutual TLS where the caller does not use it yet, or refuse it where the caller still does (Istio's
  documentation: go by way of PERMISSIVE, and never from mutual TLS to none under load). These are counted
  as `transitions`.

Replicas that are scaled down or deleted with grace cause nothing. Whatever else comes is a failure: no
connection, an answer of a version that was not in force or of two at once, "no healthy upstream", overflow.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bench.storm.changes import Version
from bench.storm.plans import RESETS
from bench.storm.requests import Answer

LAG = 0.5
NOTICED = 1.0
RESET = "upstream connect error or disconnect/reset before headers"
RULED_BY = {
    "shop": ("shop", "shop-rule"),
    "till": ("till", "till-rule"),
    "front.test": ("front", "gateway", "shop-rule"),
    "aside": ("sidecar", "aside-rule"),
    "ext.test": ("ext",),
}
"""The objects that decide about a target's requests; the first has the routes, if one does."""
SERVICE = {"front.test": "shop", "ext.test": "till"}


@dataclass(frozen=True, slots=True)
class Period:
    """When a version was in force."""

    begin: float
    end: float
    version: Version

    def overlaps(self, answer: Answer) -> bool:
        return self.begin <= answer.ended and answer.began <= self.end


@dataclass(frozen=True, slots=True)
class Kill:
    """A replica that ended without grace. Times are when it was asked for and when that was done."""

    pod: str
    addresses: tuple[str, ...]
    begin: float
    end: float
    deleted: bool


@dataclass(slots=True)
class History:
    """What happened."""

    periods: dict[str, list[Period]] = field(default_factory=dict)
    kills: list[Kill] = field(default_factory=list)

    def begin(self, name: str, now: float, version: Version) -> None:
        """Note that `version` is being applied; `taken` follows."""
        self.periods.setdefault(name, []).append(Period(now, float("inf"), version))

    def taken(self, name: str, now: float) -> None:
        """The API has taken the last version: the one before ends `LAG` later."""
        periods = self.periods[name]
        if len(periods) > 1:
            periods[-2] = Period(periods[-2].begin, now + LAG, periods[-2].version)

    def choices(self, answer: Answer) -> Iterator[tuple[Version, ...]]:
        """Yield each choice of versions that may have ruled over `answer`, of the objects of its target."""
        names = RULED_BY[answer.request.target]
        return itertools.product(
            *([p.version for p in self.periods.get(name, ()) if p.overlaps(answer)] for name in names)
        )


@dataclass(slots=True)
class Verdict:
    """What the answers of a storm were."""

    answers: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    accidents: int = 0
    transitions: int = 0
    failures: list[str] = field(default_factory=list)


def judge(answers: Sequence[Answer], history: History) -> Verdict:
    """Judge each answer by itself."""
    verdict = Verdict()
    for answer in answers:
        verdict.answers += 1
        verdict.statuses[str(answer.status)] += 1
        objections = {objection(versions, answer) for versions in history.choices(answer)}
        if "" in objections:
            continue
        if _is_accident(answer, history):
            verdict.accidents += 1
        elif _is_transition(answer, history):
            verdict.transitions += 1
        else:
            verdict.failures.append(_told(answer, objections, history))
    return verdict


def _told(answer: Answer, objections: set[str], history: History) -> str:
    """Tell of a failure, the changes of the second before and the replicas that ended in five."""
    changed = [
        f"{name} {answer.began - period.begin:.3f} s before"
        for name, periods in history.periods.items()
        for period in periods
        if answer.began - 1 < period.begin < answer.ended
    ]
    ended = [
        f"{kill.pod} {'deleted' if kill.deleted else 'killed'} {answer.began - kill.end:.3f} s before"
        for kill in history.kills
        if kill.begin <= answer.ended and answer.began - kill.end < 5
    ]
    ruled = {
        json.dumps(period.version.document["spec"])
        for name in RULED_BY[answer.request.target]
        for period in history.periods.get(name, ())
        if period.overlaps(answer)
    }
    why, rules = " | ".join(sorted(objections)), "\n    ".join(sorted(ruled))
    return f"{answer}: {why}; {', '.join(changed + ended)}; under\n    {rules}"


def objection(versions: Sequence[Version], answer: Answer) -> str:
    """Say what is wrong about `answer` under `versions`, in RULED_BY's order; empty: nothing."""
    target = answer.request.target
    if target in ("aside", "ext.test"):
        return _plain(versions[0], answer)
    plan, pods = versions[0].plan, _pods(versions)
    assert plan is not None
    if not all(version.serves for version in versions):
        return "" if answer.status == 404 else "no gateway serves it: expected 404"
    return plan.objection(answer, pods)


def _pods(versions: Sequence[Version]) -> Mapping[str, str]:
    return versions[-1].pods


def _plain(version: Version, answer: Answer) -> str:
    """Judge an answer to a request that no route is for."""
    seen = answer.seen
    if seen is None or answer.status != (503 if answer.request.is_flaky else 200):
        if seen is not None and seen["told"].get("x-envoy-attempt-count", "1") != "1":
            return ""  # it is flaky, and a connection that failed made this the second try
        return "expected an answer of the application"
    if seen["path"] != answer.request.path or "x-stamp" in answer.fields:
        return "expected no route"
    expected = version.pods.get("", "") if answer.request.target == "ext.test" else ""
    return f"expected pods of {expected}" if expected not in ("", seen["app"]) else ""


def _is_accident(answer: Answer, history: History) -> bool:
    cut = answer.status == 0 and "EOFError" in answer.body
    if not cut and not (answer.status == 503 and answer.body.startswith(RESET)):
        return False
    if not any(_hit(kill, answer) for kill in history.kills):
        return False
    return any(not _retries(versions, answer) for versions in history.choices(answer))


def _is_transition(answer: Answer, history: History) -> bool:
    target = answer.request.target
    if SERVICE.get(target, target) != "shop" or answer.status != 503 or not answer.body.startswith(RESET):
        return False
    modes = {p.version.mode for p in history.periods.get("peers", ()) if p.overlaps(answer)}
    return "DISABLE" in modes and len(modes) > 1


def _hit(kill: Kill, answer: Answer) -> bool:
    target = answer.request.target
    via = answer.fields.get("x-via", "").rpartition(":")[0].strip("[]")
    if via and via not in kill.addresses:
        return False
    if not kill.pod.startswith(SERVICE.get(target, target)):
        return False
    is_cut = answer.status == 0 or answer.body.endswith("connection termination")
    last = kill.end + (NOTICED if not kill.deleted else LAG if is_cut else 0.0)
    return answer.began <= last and kill.begin <= answer.ended


def _retries(versions: Sequence[Version], answer: Answer) -> bool:
    """Tell whether such a failure is retried elsewhere under `versions`."""
    plan = versions[0].plan
    found = plan.find(answer.request) if plan is not None else None
    return found is not None and found[1].retries(RESETS)
