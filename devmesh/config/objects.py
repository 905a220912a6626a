"""What the store holds and tells: objects by key and version, events, errors."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from devmesh.config.kind import Kind

Raw = dict[str, Any]
"""A resource as JSON has it. What the store holds is never changed in place: copy before writing."""


class NotFound(LookupError):
    """No such object, or no such namespace; the caller named it wrongly."""


class AlreadyExists(ValueError):
    """An object of that kind, namespace and name is there."""


class Conflict(ValueError):
    """The object has been modified since the version that the caller has read."""


class Forbidden(Conflict):
    """The state of things does not allow it: the namespace is being deleted, or may not be (HTTP 403)."""


class Expired(LookupError):
    """The events since that version are no longer kept: list again (HTTP 410)."""


@dataclass(frozen=True, slots=True)
class Key:
    """What names an object; `namespace` is empty for kinds without one."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.resource} {self.namespace + '/' if self.namespace else ''}{self.name}"


@dataclass(frozen=True, slots=True)
class Stored:
    """One object at one version. `raw` is in the kind's storage version and must not be changed."""

    key: Key
    raw: Raw
    version: int
    decoded: Any = field(default=None, init=False, compare=False, repr=False)  # kept by `config.typed`

    @property
    def metadata(self) -> Raw:
        found: Raw = self.raw["metadata"]
        return found

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def namespace(self) -> str:
        return self.key.namespace

    @property
    def uid(self) -> str:
        return str(self.metadata["uid"])

    @property
    def labels(self) -> Mapping[str, str]:
        return self.metadata.get("labels") or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        return self.metadata.get("annotations") or {}

    @property
    def deleting(self) -> bool:
        return "deletionTimestamp" in self.metadata

    @property
    def finalizers(self) -> tuple[str, ...]:
        return tuple(self.metadata.get("finalizers") or ())

    @property
    def controller(self) -> Raw | None:
        """The owner reference that controls this object."""
        return next((o for o in self.metadata.get("ownerReferences") or () if o.get("controller")), None)

    @property
    def owners(self) -> tuple[str, ...]:
        """The uids of its owners."""
        return tuple(o.get("uid", "") for o in self.metadata.get("ownerReferences") or ())


@dataclass(frozen=True, slots=True)
class Event:
    """One change: what the object is now, or was when it was deleted."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: Stored
    before: Stored | None = field(default=None, compare=False)


def random_suffix(length: int = 5) -> str:
    """Return what Kubernetes appends to a ``generateName``: no vowels, nothing that looks alike."""
    return "".join(secrets.choice("bcdfghjklmnpqrstvwxz2456789") for _ in range(length))
