"""On which node a pod runs: accepted, and without effect where there is one node."""

from __future__ import annotations

from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import LabelSelector


class NodeSelectorRequirement(Message, frozen=True, kw_only=True):
    """Node Selector Requirement, as in Kubernetes; without effect here."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class NodeSelectorTerm(Message, frozen=True, kw_only=True):
    """Node Selector Term, as in Kubernetes; without effect here."""

    match_expressions: tuple[NodeSelectorRequirement, ...] = ()
    match_fields: tuple[NodeSelectorRequirement, ...] = ()


class PreferredSchedulingTerm(Message, frozen=True, kw_only=True):
    """Preferred Scheduling Term, as in Kubernetes; without effect here."""

    preference: NodeSelectorTerm
    weight: int


class NodeSelector(Message, frozen=True, kw_only=True):
    """Node Selector, as in Kubernetes; without effect here."""

    node_selector_terms: tuple[NodeSelectorTerm, ...]


class NodeAffinity(Message, frozen=True, kw_only=True):
    """Node Affinity, as in Kubernetes; without effect here."""

    preferred_during_scheduling_ignored_during_execution: tuple[PreferredSchedulingTerm, ...] = ()
    required_during_scheduling_ignored_during_execution: NodeSelector | None = None


class PodAffinityTerm(Message, frozen=True, kw_only=True):
    """Pod Affinity Term, as in Kubernetes; without effect here."""

    topology_key: str
    label_selector: LabelSelector | None = None
    match_label_keys: tuple[str, ...] = ()
    mismatch_label_keys: tuple[str, ...] = ()
    namespace_selector: LabelSelector | None = None
    namespaces: tuple[str, ...] = ()


class WeightedPodAffinityTerm(Message, frozen=True, kw_only=True):
    """Weighted Pod Affinity Term, as in Kubernetes; without effect here."""

    pod_affinity_term: PodAffinityTerm
    weight: int


class PodAffinity(Message, frozen=True, kw_only=True):
    """Pod Affinity, as in Kubernetes; without effect here."""

    preferred_during_scheduling_ignored_during_execution: tuple[WeightedPodAffinityTerm, ...] = ()
    required_during_scheduling_ignored_during_execution: tuple[PodAffinityTerm, ...] = ()


class PodAntiAffinity(Message, frozen=True, kw_only=True):
    """Pod Anti Affinity, as in Kubernetes; without effect here."""

    preferred_during_scheduling_ignored_during_execution: tuple[WeightedPodAffinityTerm, ...] = ()
    required_during_scheduling_ignored_during_execution: tuple[PodAffinityTerm, ...] = ()


class Affinity(Message, frozen=True, kw_only=True):
    """Rules for choosing a node."""

    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAntiAffinity | None = None


class Toleration(Message, frozen=True, kw_only=True):
    """A taint that the pod puts up with."""

    effect: str | None = None
    key: str | None = None
    operator: str | None = None
    toleration_seconds: int | None = None
    value: str | None = None


class TopologySpreadConstraint(Message, frozen=True, kw_only=True):
    """How pods spread over nodes and zones."""

    max_skew: int
    topology_key: str
    when_unsatisfiable: str
    label_selector: LabelSelector | None = None
    match_label_keys: tuple[str, ...] = ()
    min_domains: int | None = None
    node_affinity_policy: str | None = None
    node_taints_policy: str | None = None
