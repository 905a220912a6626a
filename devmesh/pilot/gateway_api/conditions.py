"""Conditions of a status: what is so, why, and since when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Raw = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fact:
    """One condition, as it is now. `reason` and `message` are Istio's."""

    type: str
    holds: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something is not as it was asked for. A `hard` one leaves no route of its resource."""

    reason: str
    message: str
    hard: bool = False


def fact(type_: str, problem: Problem | None, reason: str, message: str) -> Fact:
    """Return a condition that holds, unless there is a problem."""
    if problem is None:
        return Fact(type_, True, reason, message)
    return Fact(type_, False, problem.reason, problem.message)


def written(facts: Iterable[Fact], before: Sequence[Raw], generation: int, now: str) -> list[Raw]:
    """Write conditions over those of `before`; the time changes only with what they say (Kubernetes)."""
    known = {str(condition.get("type")): condition for condition in before}
    return [_written(fact, known.get(fact.type, {}), generation, now) for fact in facts]


def _written(fact: Fact, before: Raw, generation: int, now: str) -> Raw:
    status = "True" if fact.holds else "False"
    same = before.get("status") == status and before.get("lastTransitionTime")
    return {
        "type": fact.type,
        "status": status,
        "reason": fact.reason,
        "message": fact.message,
        "observedGeneration": generation,
        "lastTransitionTime": before["lastTransitionTime"] if same else now,
    }
