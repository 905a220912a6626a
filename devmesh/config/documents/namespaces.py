"""Namespace (v1)."""

from __future__ import annotations

from msgspec import field

from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import ObjectMeta
from devmesh.config.documents.scalars import Timestamp


class NamespaceSpec(Message, frozen=True, kw_only=True):
    """What must happen before a namespace is gone."""

    finalizers: tuple[str, ...] = ()


class NamespaceCondition(Message, frozen=True, kw_only=True):
    """Why a namespace is not gone yet."""

    status: str = ""
    type: str = ""
    last_transition_time: Timestamp | None = None
    message: str | None = None
    reason: str | None = None


class NamespaceStatus(Message, frozen=True, kw_only=True):
    """Active, or being emptied."""

    conditions: tuple[NamespaceCondition, ...] = ()
    phase: str | None = None


class Namespace(Message, frozen=True, kw_only=True):
    """A room for names."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: NamespaceSpec = field(default_factory=NamespaceSpec)
    status: NamespaceStatus = field(default_factory=NamespaceStatus)
