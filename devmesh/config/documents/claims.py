"""PersistentVolumeClaim (v1)."""

from __future__ import annotations

from msgspec import field

from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import (
    LabelSelector,
    ObjectMeta,
    TypedLocalObjectReference,
    TypedObjectReference,
)
from devmesh.config.documents.podstatus import VolumeHealthCondition
from devmesh.config.documents.scalars import Quantity, Timestamp


class VolumeResourceRequirements(Message, frozen=True, kw_only=True):
    """How much storage a claim asks for."""

    limits: dict[str, Quantity] = field(default_factory=dict)
    requests: dict[str, Quantity] = field(default_factory=dict)


class PersistentVolumeClaimSpec(Message, frozen=True, kw_only=True):
    """What storage is wanted."""

    access_modes: tuple[str, ...] = ()
    data_source: TypedLocalObjectReference | None = None
    data_source_ref: TypedObjectReference | None = None
    resources: VolumeResourceRequirements | None = None
    selector: LabelSelector | None = None
    storage_class_name: str | None = None
    volume_attributes_class_name: str | None = None
    volume_mode: str | None = None
    volume_name: str | None = None


class PersistentVolumeClaimTemplate(Message, frozen=True, kw_only=True):
    """A claim made for each pod."""

    spec: PersistentVolumeClaimSpec
    metadata: ObjectMeta | None = None


class PersistentVolumeClaimCondition(Message, frozen=True, kw_only=True):
    """Persistent Volume Claim Condition, as in Kubernetes; without effect here."""

    status: str = ""
    type: str = ""
    last_probe_time: Timestamp | None = None
    last_transition_time: Timestamp | None = None
    message: str | None = None
    reason: str | None = None


class VolumeHealthStatus(Message, frozen=True, kw_only=True):
    """Volume Health Status, as in Kubernetes; without effect here."""

    health_conditions: tuple[VolumeHealthCondition, ...] = ()
    last_transition_time: Timestamp | None = None


class ModifyVolumeStatus(Message, frozen=True, kw_only=True):
    """Modify Volume Status, as in Kubernetes; without effect here."""

    status: str = ""
    target_volume_attributes_class_name: str | None = None


class PersistentVolumeClaimStatus(Message, frozen=True, kw_only=True):
    """What storage is there."""

    access_modes: tuple[str, ...] = ()
    allocated_resource_statuses: dict[str, str] = field(default_factory=dict)
    allocated_resources: dict[str, Quantity] = field(default_factory=dict)
    capacity: dict[str, Quantity] = field(default_factory=dict)
    conditions: tuple[PersistentVolumeClaimCondition, ...] = ()
    current_volume_attributes_class_name: str | None = None
    health_status: VolumeHealthStatus | None = None
    modify_volume_status: ModifyVolumeStatus | None = None
    phase: str | None = None


class PersistentVolumeClaim(Message, frozen=True, kw_only=True):
    """A claim to storage that outlives pods."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: PersistentVolumeClaimSpec
    status: PersistentVolumeClaimStatus = field(default_factory=PersistentVolumeClaimStatus)
