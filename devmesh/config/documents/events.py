"""Event (v1)."""

from __future__ import annotations

from msgspec import field

from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import ObjectMeta, ObjectReference
from devmesh.config.documents.scalars import Timestamp


class EventSeries(Message, frozen=True, kw_only=True):
    """How often an event was seen again."""

    count: int | None = None
    last_observed_time: Timestamp | None = None


class EventSource(Message, frozen=True, kw_only=True):
    """Who reports an event."""

    component: str | None = None
    host: str | None = None


class Event(Message, frozen=True, kw_only=True):
    """Something that happened to an object."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    involved_object: ObjectReference | None = None
    action: str | None = None
    count: int | None = None
    event_time: Timestamp | None = None
    first_timestamp: Timestamp | None = None
    last_timestamp: Timestamp | None = None
    message: str | None = None
    reason: str | None = None
    related: ObjectReference | None = None
    reporting_component: str | None = None
    reporting_instance: str | None = None
    series: EventSeries | None = None
    source: EventSource | None = None
    type: str | None = None
