"""Workloads: Deployment, ReplicaSet, StatefulSet, DaemonSet (apps/v1)."""

from __future__ import annotations

from typing import Any

from msgspec import field

from devmesh.config.documents.claims import PersistentVolumeClaim
from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import LabelSelector, ObjectMeta
from devmesh.config.documents.pods import PodSpec
from devmesh.config.documents.scalars import IntOrString, Timestamp


class PodTemplateSpec(Message, frozen=True, kw_only=True):
    """What the pods of a workload look like."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: PodSpec


class RollingUpdateDeployment(Message, frozen=True, kw_only=True):
    """How many pods may be missing or too many meanwhile."""

    max_surge: IntOrString | None = None
    max_unavailable: IntOrString | None = None


class DeploymentStrategy(Message, frozen=True, kw_only=True):
    """Replace all at once (Recreate) or step by step (RollingUpdate)."""

    rolling_update: RollingUpdateDeployment | None = None
    type: str | None = None


class DeploymentSpec(Message, frozen=True, kw_only=True):
    """Which pods, how many, how they are replaced."""

    selector: LabelSelector
    template: PodTemplateSpec
    min_ready_seconds: int | None = None
    paused: bool | None = None
    progress_deadline_seconds: int | None = None
    replicas: int | None = None
    revision_history_limit: int | None = None
    strategy: DeploymentStrategy | None = None


class DeploymentCondition(Message, frozen=True, kw_only=True):
    """One observed fact about a Deployment (Available, Progressing)."""

    last_transition_time: Timestamp | None = None
    last_update_time: Timestamp | None = None
    message: str | None = None
    reason: str | None = None
    status: str | None = None
    type: str | None = None


class DeploymentStatus(Message, frozen=True, kw_only=True):
    """How far a Deployment has come."""

    available_replicas: int | None = None
    collision_count: int | None = None
    conditions: tuple[DeploymentCondition, ...] = ()
    observed_generation: int | None = None
    ready_replicas: int | None = None
    replicas: int | None = None
    terminating_replicas: int | None = None
    unavailable_replicas: int | None = None
    updated_replicas: int | None = None


class Deployment(Message, frozen=True, kw_only=True):
    """Keeps a number of equal pods running, and replaces them step by step."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: DeploymentSpec
    status: DeploymentStatus = field(default_factory=DeploymentStatus)


class ReplicaSetSpec(Message, frozen=True, kw_only=True):
    """Which pods and how many."""

    selector: LabelSelector
    min_ready_seconds: int | None = None
    replicas: int | None = None
    template: PodTemplateSpec | None = None


class ReplicaSetCondition(Message, frozen=True, kw_only=True):
    """One observed fact about a ReplicaSet."""

    last_transition_time: Timestamp | None = None
    message: str | None = None
    reason: str | None = None
    status: str | None = None
    type: str | None = None


class ReplicaSetStatus(Message, frozen=True, kw_only=True):
    """How many of its pods there are."""

    replicas: int = 0
    available_replicas: int | None = None
    conditions: tuple[ReplicaSetCondition, ...] = ()
    fully_labeled_replicas: int | None = None
    observed_generation: int | None = None
    ready_replicas: int | None = None
    terminating_replicas: int | None = None


class ReplicaSet(Message, frozen=True, kw_only=True):
    """Keeps a number of equal pods running."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: ReplicaSetSpec
    status: ReplicaSetStatus = field(default_factory=ReplicaSetStatus)


class StatefulSetOrdinals(Message, frozen=True, kw_only=True):
    """With which number the pods' names begin."""

    start: int | None = None


class StatefulSetPersistentVolumeClaimRetentionPolicy(Message, frozen=True, kw_only=True):
    """What becomes of the claims."""

    when_deleted: str | None = None
    when_scaled: str | None = None


class RollingUpdateStatefulSetStrategy(Message, frozen=True, kw_only=True):
    """From which ordinal on pods are replaced."""

    max_unavailable: IntOrString | None = None
    partition: int | None = None


class StatefulSetUpdateStrategy(Message, frozen=True, kw_only=True):
    """How pods are replaced."""

    rolling_update: RollingUpdateStatefulSetStrategy | None = None
    type: str | None = None


class StatefulSetSpec(Message, frozen=True, kw_only=True):
    """Which pods, how many, with what storage."""

    selector: LabelSelector
    template: PodTemplateSpec
    min_ready_seconds: int | None = None
    ordinals: StatefulSetOrdinals | None = None
    persistent_volume_claim_retention_policy: StatefulSetPersistentVolumeClaimRetentionPolicy | None = None
    pod_management_policy: str | None = None
    replicas: int | None = None
    revision_history_limit: int | None = None
    service_name: str | None = None
    update_strategy: StatefulSetUpdateStrategy | None = None
    volume_claim_templates: tuple[PersistentVolumeClaim, ...] = ()


class StatefulSetCondition(Message, frozen=True, kw_only=True):
    """One observed fact about a StatefulSet."""

    last_transition_time: Timestamp | None = None
    message: str | None = None
    reason: str | None = None
    status: str | None = None
    type: str | None = None


class StatefulSetStatus(Message, frozen=True, kw_only=True):
    """How far a StatefulSet has come."""

    replicas: int = 0
    available_replicas: int | None = None
    collision_count: int | None = None
    conditions: tuple[StatefulSetCondition, ...] = ()
    current_replicas: int | None = None
    current_revision: str | None = None
    observed_generation: int | None = None
    ready_replicas: int | None = None
    update_revision: str | None = None
    updated_replicas: int | None = None


class StatefulSet(Message, frozen=True, kw_only=True):
    """Pods with stable names, started in order."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: StatefulSetSpec
    status: StatefulSetStatus = field(default_factory=StatefulSetStatus)


class RollingUpdateDaemonSet(Message, frozen=True, kw_only=True):
    """How many pods may be missing meanwhile."""

    max_surge: IntOrString | None = None
    max_unavailable: IntOrString | None = None


class DaemonSetUpdateStrategy(Message, frozen=True, kw_only=True):
    """How pods are replaced."""

    rolling_update: RollingUpdateDaemonSet | None = None
    type: str | None = None


class DaemonSetSpec(Message, frozen=True, kw_only=True):
    """Which pods, and how they are replaced."""

    selector: LabelSelector
    template: PodTemplateSpec
    min_ready_seconds: int | None = None
    revision_history_limit: int | None = None
    update_strategy: DaemonSetUpdateStrategy | None = None


class DaemonSetCondition(Message, frozen=True, kw_only=True):
    """One observed fact about a DaemonSet."""

    last_transition_time: Timestamp | None = None
    message: str | None = None
    reason: str | None = None
    status: str | None = None
    type: str | None = None


class DaemonSetStatus(Message, frozen=True, kw_only=True):
    """How far a DaemonSet has come."""

    current_number_scheduled: int = 0
    desired_number_scheduled: int = 0
    number_misscheduled: int = 0
    number_ready: int = 0
    collision_count: int | None = None
    conditions: tuple[DaemonSetCondition, ...] = ()
    number_available: int | None = None
    number_unavailable: int | None = None
    observed_generation: int | None = None
    updated_number_scheduled: int | None = None


class DaemonSet(Message, frozen=True, kw_only=True):
    """One pod on every node."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: DaemonSetSpec
    status: DaemonSetStatus = field(default_factory=DaemonSetStatus)


class ControllerRevision(Message, frozen=True, kw_only=True):
    """A former state of a StatefulSet or DaemonSet."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    data: Any = None
    revision: int | None = None
