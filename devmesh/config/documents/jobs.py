"""Job (batch/v1)."""

from __future__ import annotations

from typing import Any

from msgspec import field

from devmesh.config.documents.apps import PodTemplateSpec
from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import LabelSelector, ObjectMeta
from devmesh.config.documents.scalars import Timestamp


class PodFailurePolicyOnExitCodesRequirement(Message, frozen=True, kw_only=True):
    """Pod Failure Policy On Exit Codes Requirement, as in Kubernetes; without effect here."""

    operator: str
    values: tuple[int, ...]
    container_name: str | None = None


class PodFailurePolicyOnPodConditionsPattern(Message, frozen=True, kw_only=True):
    """Pod Failure Policy On Pod Conditions Pattern, as in Kubernetes; without effect here."""

    type: str
    status: str | None = None


class PodFailurePolicyRule(Message, frozen=True, kw_only=True):
    """One case of failure and what follows."""

    action: str
    on_exit_codes: PodFailurePolicyOnExitCodesRequirement | None = None
    on_pod_conditions: tuple[PodFailurePolicyOnPodConditionsPattern, ...] = ()


class PodFailurePolicy(Message, frozen=True, kw_only=True):
    """What a pod's failure means for its Job."""

    rules: tuple[PodFailurePolicyRule, ...]


class JobSchedulingConfiguration(Message, frozen=True, kw_only=True):
    """Job Scheduling Configuration, as in Kubernetes; without effect here."""

    disruption_mode: dict[str, Any] = field(default_factory=dict)
    resource_claims: tuple[dict[str, Any], ...] = ()
    scheduling_constraints: dict[str, Any] = field(default_factory=dict)
    scheduling_policy: dict[str, Any] = field(default_factory=dict)


class SuccessPolicyRule(Message, frozen=True, kw_only=True):
    """One way for a Job to succeed."""

    succeeded_count: int | None = None
    succeeded_indexes: str | None = None


class SuccessPolicy(Message, frozen=True, kw_only=True):
    """When a Job counts as succeeded."""

    rules: tuple[SuccessPolicyRule, ...]


class JobSpec(Message, frozen=True, kw_only=True):
    """What runs, how often, how many failures are allowed."""

    template: PodTemplateSpec
    active_deadline_seconds: int | None = None
    backoff_limit: int | None = None
    backoff_limit_per_index: int | None = None
    completion_mode: str | None = None
    completions: int | None = None
    managed_by: str | None = None
    manual_selector: bool | None = None
    max_failed_indexes: int | None = None
    parallelism: int | None = None
    pod_failure_policy: PodFailurePolicy | None = None
    pod_replacement_policy: str | None = None
    scheduling: JobSchedulingConfiguration | None = None
    selector: LabelSelector | None = None
    success_policy: SuccessPolicy | None = None
    suspend: bool | None = None
    ttl_seconds_after_finished: int | None = None


class JobCondition(Message, frozen=True, kw_only=True):
    """One observed fact about a Job (Complete, Failed)."""

    status: str = ""
    type: str = ""
    last_probe_time: Timestamp | None = None
    last_transition_time: Timestamp | None = None
    message: str | None = None
    reason: str | None = None


class UncountedTerminatedPods(Message, frozen=True, kw_only=True):
    """Pods that have ended and are not counted yet."""

    failed: tuple[str, ...] = ()
    succeeded: tuple[str, ...] = ()


class JobStatus(Message, frozen=True, kw_only=True):
    """How far a Job has come."""

    active: int | None = None
    completed_indexes: str | None = None
    completion_time: Timestamp | None = None
    conditions: tuple[JobCondition, ...] = ()
    failed: int | None = None
    failed_indexes: str | None = None
    ready: int | None = None
    start_time: Timestamp | None = None
    succeeded: int | None = None
    terminating: int | None = None
    uncounted_terminated_pods: UncountedTerminatedPods | None = None


class Job(Message, frozen=True, kw_only=True):
    """Pods that run until enough of them have succeeded."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: JobSpec
    status: JobStatus = field(default_factory=JobStatus)
