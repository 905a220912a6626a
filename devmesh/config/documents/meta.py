"""What every resource has, and how resources refer to each other."""

from __future__ import annotations

from typing import Any

from msgspec import field

from devmesh.config.documents.message import Message
from devmesh.config.documents.scalars import Timestamp


class ManagedFieldsEntry(Message, frozen=True, kw_only=True):
    """Which fields a manager has set (server-side apply)."""

    api_version: str | None = None
    fields_type: str | None = None
    fields_v1: dict[str, Any] = field(default_factory=dict)
    manager: str | None = None
    operation: str | None = None
    subresource: str | None = None
    time: Timestamp | None = None


class OwnerReference(Message, frozen=True, kw_only=True):
    """The object that this one belongs to; it goes when that goes."""

    api_version: str
    kind: str
    name: str
    uid: str
    block_owner_deletion: bool | None = None
    controller: bool | None = None


class ObjectMeta(Message, frozen=True, kw_only=True):
    """What every object carries: its name, labels, owners, versions."""

    annotations: dict[str, str] = field(default_factory=dict)
    creation_timestamp: Timestamp | None = None
    deletion_grace_period_seconds: int | None = None
    deletion_timestamp: Timestamp | None = None
    finalizers: tuple[str, ...] = ()
    generate_name: str | None = None
    generation: int | None = None
    labels: dict[str, str] = field(default_factory=dict)
    managed_fields: tuple[ManagedFieldsEntry, ...] = ()
    name: str | None = None
    namespace: str | None = None
    owner_references: tuple[OwnerReference, ...] = ()
    resource_version: str | None = None
    self_link: str | None = None
    uid: str | None = None


class LabelSelectorRequirement(Message, frozen=True, kw_only=True):
    """One condition on a label: In, NotIn, Exists, DoesNotExist."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class LabelSelector(Message, frozen=True, kw_only=True):
    """Chooses objects by label; an empty one chooses all, a missing one none."""

    match_expressions: tuple[LabelSelectorRequirement, ...] = ()
    match_labels: dict[str, str] = field(default_factory=dict)


class LocalObjectReference(Message, frozen=True, kw_only=True):
    """Names an object in the same namespace."""

    name: str | None = None


class TypedLocalObjectReference(Message, frozen=True, kw_only=True):
    """Names an object of any kind in the same namespace."""

    kind: str
    name: str
    api_group: str | None = None


class TypedObjectReference(Message, frozen=True, kw_only=True):
    """Names an object of any kind, in another namespace where allowed."""

    kind: str
    name: str
    api_group: str | None = None
    namespace: str | None = None


class Condition(Message, frozen=True, kw_only=True):
    """One observed fact about an object, with its reason."""

    last_transition_time: Timestamp = ""
    message: str = ""
    reason: str = ""
    status: str = ""
    type: str = ""
    observed_generation: int | None = None


class ObjectReference(Message, frozen=True, kw_only=True):
    """Names an object anywhere."""

    api_version: str | None = None
    field_path: str | None = None
    kind: str | None = None
    name: str | None = None
    namespace: str | None = None
    resource_version: str | None = None
    uid: str | None = None
