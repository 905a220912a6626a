"""Health by Kiali's default tolerances, with the reason in words.

Kiali: "Traffic health"; the ratios of error classes over the window, worst wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from devmesh.graph.topology import Health

_RANK: dict[Health, int] = {"idle": 0, "ok": 1, "degraded": 2, "failing": 3}

Verdict = tuple[Health, str]
IDLE: Verdict = ("idle", "")
FINE: Verdict = ("ok", "")


@dataclass(frozen=True, slots=True)
class _Tolerance:
    """Shares in percent from which a class of answers is degraded or failing; degraded 0 is "any"."""

    what: str
    degraded: float
    failing: float


_CLASSES = {
    "5xx": _Tolerance("answered 5xx", 0, 10),
    "4xx": _Tolerance("answered 4xx", 10, 20),
    "grpc": _Tolerance("ended with a gRPC error", 0, 10),
    "-": _Tolerance("got no answer", 0, 10),
}


def class_of(protocol: str, code: str, flags: str = "") -> str:
    """Return the class of errors that an answer belongs to, "" for none.

    A TCP connection has no code; it fails by its response flags.
    """
    if protocol == "tcp":
        return "-" if flags else ""
    if protocol == "grpc" and len(code) < 3:
        return "" if code == "0" else "grpc"
    if code in ("", "0"):
        return "-"
    return f"{code[0]}xx" if code[0] in "45" else ""


def is_error(protocol: str, code: str, flags: str = "") -> bool:
    """Tell whether an answer counts in the error rate (Kiali: 4xx and 5xx, gRPC not 0, no answer)."""
    return class_of(protocol, code, flags) != ""


def judge(answers: Mapping[tuple[str, str, str], float], what: str = "of requests") -> Verdict:
    """Judge answers, counted by (protocol, code, flags).

    Each protocol is judged by itself. No answers at all are idle. A TCP connection counts once when it
    opens (without flags) and again where it fails, so there the flagged are part of the others.
    """
    totals: dict[str, float] = {}
    errors: dict[tuple[str, str], dict[str, float]] = {}
    for (protocol, code, flags), count in answers.items():
        kind = class_of(protocol, code, flags)
        if not (kind and protocol == "tcp"):
            totals[protocol] = totals.get(protocol, 0.0) + count
        if kind:
            shown = errors.setdefault((protocol, kind), {})
            name = f"{code} {flags}".strip() if kind != "-" else flags or "-"
            shown[name] = shown.get(name, 0.0) + count
    if not any(answers.values()):
        return IDLE
    verdicts = [
        _judge_class(_CLASSES[kind], counts, totals.get(protocol, 0.0), what)
        for (protocol, kind), counts in errors.items()
    ]
    return worst(FINE, *verdicts)


def _judge_class(tolerance: _Tolerance, counts: Mapping[str, float], total: float, what: str) -> Verdict:
    failed = sum(counts.values())
    if failed <= 0:
        return FINE
    percent = 100.0 * failed / max(total, failed)
    most = max(counts, key=lambda name: counts[name])
    said = f"{percent:.3g} % {what} {tolerance.what} (mostly {most})"
    if len(counts) == 1:
        said = said.replace("mostly ", "")
    if percent >= tolerance.failing:
        return "failing", f"{said}: failing from {tolerance.failing:g} %"
    if percent >= tolerance.degraded:
        limit = f"from {tolerance.degraded:g} %" if tolerance.degraded else "by any"
        return "degraded", f"{said}: degraded {limit}"
    return FINE


def judge_replicas(ready: int, replicas: int) -> Verdict:
    """Judge a workload by its instances: none ready is failing, some is degraded (Kiali: workload status)."""
    if replicas == 0 or ready >= replicas:
        return IDLE
    said = f"{ready} of {replicas} {'replica is' if replicas == 1 else 'replicas are'} ready"
    return ("failing" if ready == 0 else "degraded"), said


def worst(*verdicts: Verdict) -> Verdict:
    """Return the worst verdict; of equals the first. At least one is given."""
    return max(verdicts, key=lambda verdict: _RANK[verdict[0]])
