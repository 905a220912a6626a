"""Parts that several of Istio's kinds share."""

from __future__ import annotations

from typing import Any

from msgspec import field

from devmesh.config.documents.message import Message
from devmesh.config.documents.scalars import UInt32


class StringMatch(Message, frozen=True, kw_only=True):
    """One of exact, prefix, regex (RE2, the whole string)."""

    exact: str | None = None
    prefix: str | None = None
    regex: str | None = None


class PortSelector(Message, frozen=True, kw_only=True):
    """A port by its number."""

    number: UInt32 = 0


class Percent(Message, frozen=True, kw_only=True):
    """0 to 100, with fractions."""

    value: float | None = None


class WorkloadSelector(Message, frozen=True, kw_only=True):
    """Workloads by label."""

    labels: dict[str, str] = field(default_factory=dict)


class LabelsToMatch(Message, frozen=True, kw_only=True):
    """Workloads by label; an empty one means all."""

    match_labels: dict[str, str] = field(default_factory=dict)


class PolicyTargetReference(Message, frozen=True, kw_only=True):
    """The Gateway or Service that a policy is about."""

    group: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""


class IstioCondition(Message, frozen=True, kw_only=True):
    """One observed fact about a resource."""

    type: str = ""
    status: str = ""
    last_probe_time: str = ""
    last_transition_time: str = ""
    reason: str = ""
    message: str = ""
    observed_generation: int = 0


class IstioStatus(Message, frozen=True, kw_only=True):
    """What is observed about one of Istio's resources."""

    conditions: tuple[IstioCondition, ...] = ()
    validation_messages: tuple[dict[str, Any], ...] = ()
    observed_generation: int | None = None
