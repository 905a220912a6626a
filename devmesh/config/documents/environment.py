"""The environment of a container."""

from __future__ import annotations

from devmesh.config.documents.message import Message
from devmesh.config.documents.scalars import Quantity


class ConfigMapKeySelector(Message, frozen=True, kw_only=True):
    """One key of a ConfigMap."""

    key: str
    name: str | None = None
    optional: bool | None = None


class ObjectFieldSelector(Message, frozen=True, kw_only=True):
    """A field of the pod itself, such as status.podIP."""

    field_path: str
    api_version: str | None = None


class FileKeySelector(Message, frozen=True, kw_only=True):
    """One key of a file in a volume."""

    key: str
    path: str
    volume_name: str
    optional: bool | None = None


class ResourceFieldSelector(Message, frozen=True, kw_only=True):
    """A limit or request of a container."""

    resource: str
    container_name: str | None = None
    divisor: Quantity | None = None


class SecretKeySelector(Message, frozen=True, kw_only=True):
    """One key of a Secret."""

    key: str
    name: str | None = None
    optional: bool | None = None


class EnvVarSource(Message, frozen=True, kw_only=True):
    """Where a variable's value is from."""

    config_map_key_ref: ConfigMapKeySelector | None = None
    field_ref: ObjectFieldSelector | None = None
    file_key_ref: FileKeySelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    secret_key_ref: SecretKeySelector | None = None


class EnvVar(Message, frozen=True, kw_only=True):
    """A variable of a container's environment."""

    name: str
    value: str | None = None
    value_from: EnvVarSource | None = None


class ConfigMapEnvSource(Message, frozen=True, kw_only=True):
    """All keys of a ConfigMap."""

    name: str | None = None
    optional: bool | None = None


class SecretEnvSource(Message, frozen=True, kw_only=True):
    """All keys of a Secret."""

    name: str | None = None
    optional: bool | None = None


class EnvFromSource(Message, frozen=True, kw_only=True):
    """All keys of a ConfigMap or Secret as variables."""

    config_map_ref: ConfigMapEnvSource | None = None
    prefix: str | None = None
    secret_ref: SecretEnvSource | None = None
