"""ServiceAccount, ConfigMap, Secret (v1)."""

from __future__ import annotations

from msgspec import field

from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import LocalObjectReference, ObjectMeta, ObjectReference
from devmesh.config.documents.scalars import Base64


class ServiceAccount(Message, frozen=True, kw_only=True):
    """The identity under which pods run."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    automount_service_account_token: bool | None = None
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    secrets: tuple[ObjectReference, ...] = ()


class ConfigMap(Message, frozen=True, kw_only=True):
    """Configuration as keys and values."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    binary_data: dict[str, Base64] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    immutable: bool | None = None


class Secret(Message, frozen=True, kw_only=True):
    """Keys and values that are not for everybody's eyes."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    data: dict[str, Base64] = field(default_factory=dict)
    immutable: bool | None = None
    string_data: dict[str, str] = field(default_factory=dict)
    type: str | None = None
