"""The one place where resources live: versions, generations, watches, owners, SQLite."""

from __future__ import annotations

import itertools
import json
import sqlite3
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import trio

from devmesh.config.kinds import NAMESPACE, POD, Kind, Kinds

Raw = dict[str, Any]
"""A resource as JSON has it. What the store holds is never changed in place: copy before writing."""

KEPT_EVENTS = 10_000


class NotFound(LookupError):
    """No such object, or no such namespace; the caller named it wrongly."""


class AlreadyExists(ValueError):
    """An object of that kind, namespace and name is there."""


class Conflict(ValueError):
    """The object has been modified since the version that the caller has read."""


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
    def controller(self) -> Raw | None:
        """The owner reference that controls this object."""
        return next((o for o in self.metadata.get("ownerReferences") or () if o.get("controller")), None)


@dataclass(frozen=True, slots=True)
class Event:
    """One change: what the object is now, or was when it was deleted."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: Stored
    before: Stored | None = field(default=None, compare=False)


class Watch:
    """The changes after a version, in order. Iterate it asynchronously; it ends with its `with` block.

    Raises:
        Expired: On iteration, when the reader fell more than `KEPT_EVENTS` behind.
    """

    def __init__(self, store: Store, since: int, kind: Kind | None) -> None:
        self._store, self._next, self._kind = store, since, kind

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Event:
        await trio.lowlevel.checkpoint()
        while True:
            for event in self.ready():
                return event
            await self._store.changed()

    def ready(self) -> Iterator[Event]:
        """Yield what is there without waiting, at most once each."""
        for event in self._store.events_after(self._next):
            self._next = event.object.version
            if self._kind in (None, event.object.key.kind):
                yield event
        self._next = (
            max(self._next, self._store.version) if not self._store.has_after(self._next) else self._next
        )


class Store:
    """Objects by key, in memory and in SQLite.

    All methods are synchronous and short; a watcher wakes afterwards. Every write takes the next
    `version`, which is the object's ``resourceVersion``. `manager` names the writer (``file:<path>``,
    ``kubectl``, ``devmesh``).

    Args:
        path: The database; None keeps everything in memory.
        clock: Seconds since the epoch, for timestamps.
    """

    def __init__(
        self, kinds: Kinds, path: Path | None = None, clock: Callable[[], float] | None = None
    ) -> None:
        self.kinds = kinds
        self.version = 0
        self._clock = clock or (lambda: datetime.now(UTC).timestamp())
        self._objects: dict[Kind, dict[tuple[str, str], Stored]] = {}
        self._events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._forgotten = 0
        self._changed = trio.Event()
        self._listeners: list[Callable[[Event], None]] = []
        self._db = _open(path) if path else None
        if self._db:
            self._load()

    # Reading

    def get(self, kind: Kind, namespace: str, name: str) -> Stored | None:
        return self._objects.get(kind, {}).get((namespace, name))

    def by_key(self, key: Key) -> Stored | None:
        return self.get(key.kind, key.namespace, key.name)

    def list(self, kind: Kind, namespace: str | None = None) -> list[Stored]:
        """Return the objects of `kind`, by namespace and name; `namespace` None or "" means all."""
        found = self._objects.get(kind, {})
        return [found[key] for key in sorted(found) if not namespace or key[0] == namespace]

    def watch(self, since: int | None = None, kind: Kind | None = None) -> Watch:
        """Follow changes after version `since` (None: from now)."""
        return Watch(self, self.version if since is None else since, kind)

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Call `listener`, which must be quick, within each write."""
        self._listeners.append(listener)

    async def changed(self) -> None:
        """Wait for the next write."""
        await self._changed.wait()

    def has_after(self, version: int) -> bool:
        return bool(self._events) and self._events[-1].object.version > version

    def events_after(self, version: int) -> Iterator[Event]:
        if version < self._forgotten:
            raise Expired(f"too old resource version: {version} ({self._forgotten})")
        start = len(self._events)
        while start and self._events[start - 1].object.version > version:
            start -= 1
        yield from tuple(itertools.islice(self._events, start, None))

    # Writing

    def create(self, kind: Kind, raw: Raw, *, manager: str = "devmesh") -> Stored:
        """Add an object.

        Raises:
            AlreadyExists: There is one of that name.
            NotFound: Its namespace isn't there.
        """
        metadata = dict(raw.get("metadata") or {})
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
        name = metadata["name"]
        namespace = metadata.get("namespace") or "default" if kind.namespaced else ""
        key = Key(kind, namespace, name)
        if self.by_key(key):
            raise AlreadyExists(f'{kind.resource} "{name}" already exists')
        if kind.namespaced and self.get(NAMESPACE, "", namespace) is None:
            raise NotFound(f'namespaces "{namespace}" not found')
        metadata |= {
            "uid": str(uuid.uuid4()),
            "creationTimestamp": self.timestamp(),
            "generation": 1,
        }
        if namespace:
            metadata["namespace"] = namespace
        for absent in ("deletionTimestamp", "deletionGracePeriodSeconds"):
            metadata.pop(absent, None)
        return self._put(key, {**raw, "metadata": metadata}, "ADDED", None, manager)

    def update(
        self,
        kind: Kind,
        raw: Raw,
        *,
        manager: str = "devmesh",
        expect: int | None = None,
        status: bool = False,
    ) -> Stored:
        """Replace an object by `raw`. An update without a change writes nothing.

        Args:
            expect: The version that the caller has read; None overwrites whatever is there.
            status: Take only ``status`` from `raw`; otherwise take everything but ``status``
                where the kind has that subresource.

        Raises:
            NotFound: It isn't there.
            Conflict: Its version is not `expect`.
        """
        metadata = raw["metadata"]
        namespace = metadata.get("namespace") or "default" if kind.namespaced else ""
        key = Key(kind, namespace, metadata["name"])
        before = self.by_key(key)
        if before is None:
            raise NotFound(f'{kind.resource} "{key.name}" not found')
        if expect is not None and expect != before.version:
            raise Conflict(
                f'Operation cannot be fulfilled on {kind.resource} "{key.name}": the object has been '
                "modified; please apply your changes to the latest version and try again"
            )
        after = _merged(before.raw, raw, status=status, keep_status="status" in kind.subresources)
        if after == before.raw:
            return before
        if before.deleting and not after["metadata"].get("finalizers") and kind is not POD:
            return self._remove(before)
        return self._put(key, after, "MODIFIED", before, manager)

    def patch_status(self, key: Key, status: Raw, *, manager: str = "devmesh") -> Stored | None:
        """Merge `status` over the object's (one level deep); None where it is gone."""
        before = self.by_key(key)
        if before is None:
            return None
        merged = {**(before.raw.get("status") or {}), **status}
        return self.update(key.kind, {**before.raw, "status": merged}, manager=manager, status=True)

    def delete(self, key: Key, *, grace: float | None = None, orphan: bool = False) -> Stored:
        """Ask for an object's end, and that of what it owns unless `orphan`.

        A Pod stays, marked with ``deletionTimestamp``, until the runtime has stopped it and calls
        `remove`; so does an object with finalizers, until the last is taken away.

        Raises:
            NotFound: It isn't there.
        """
        before = self.by_key(key)
        if before is None:
            raise NotFound(f'{key.kind.resource} "{key.name}" not found')
        waits = bool(before.metadata.get("finalizers")) or (key.kind is POD and grace != 0)
        if not waits:
            return self._remove(before, orphan=orphan)
        if before.deleting:
            return before
        seconds = 30 if grace is None else int(grace)
        metadata = {
            **before.metadata,
            "deletionTimestamp": self.timestamp(),
            "deletionGracePeriodSeconds": seconds,
        }
        return self._put(key, {**before.raw, "metadata": metadata}, "MODIFIED", before, "devmesh")

    def remove(self, key: Key) -> None:
        """Take an object away at once, whatever it waits for; nothing happens where it is gone."""
        if before := self.by_key(key):
            self._remove(before)

    def timestamp(self) -> str:
        """Return now as Kubernetes writes it."""
        return datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def close(self) -> None:
        if self._db:
            self._db.close()
            self._db = None

    # Inside

    def _put(
        self, key: Key, raw: Raw, type_: Literal["ADDED", "MODIFIED"], before: Stored | None, manager: str
    ) -> Stored:
        self.version += 1
        metadata = {**raw["metadata"], "resourceVersion": str(self.version)}
        raw = {"apiVersion": key.kind.api_version, "kind": key.kind.kind, **raw, "metadata": metadata}
        raw["apiVersion"] = key.kind.api_version
        after = Stored(key, raw, self.version)
        self._objects.setdefault(key.kind, {})[key.namespace, key.name] = after
        if self._db:
            self._db.execute(
                "insert or replace into objects values (?, ?, ?, ?, ?, ?)",
                (key.kind.group, key.kind.kind, key.namespace, key.name, self.version, json.dumps(raw)),
            )
            self._db.execute(
                "insert into history values (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    self.version,
                    self._clock(),
                    manager,
                    type_,
                    key.kind.group,
                    key.kind.kind,
                    key.namespace,
                    key.name,
                ),
            )
        self._tell(Event(type_, after, before))
        return after

    def _remove(self, before: Stored, *, orphan: bool = False) -> Stored:
        key = before.key
        self.version += 1
        metadata = {**before.metadata, "resourceVersion": str(self.version)}
        gone = Stored(key, {**before.raw, "metadata": metadata}, self.version)
        del self._objects[key.kind][key.namespace, key.name]
        if self._db:
            self._db.execute(
                'delete from objects where "group" = ? and kind = ? and namespace = ? and name = ?',
                (key.kind.group, key.kind.kind, key.namespace, key.name),
            )
        self._tell(Event("DELETED", gone, before))
        if not orphan:
            self._remove_owned(before)
        return gone

    def _remove_owned(self, owner: Stored) -> None:
        for objects in tuple(self._objects.values()):
            for stored in tuple(objects.values()):
                owners = stored.metadata.get("ownerReferences") or ()
                owned = any(reference.get("uid") == owner.uid for reference in owners)
                inside = owner.key.kind is NAMESPACE and stored.namespace == owner.name
                if (owned or inside) and self.by_key(stored.key) is not None:
                    self.delete(stored.key)

    def _tell(self, event: Event) -> None:
        if len(self._events) == KEPT_EVENTS:
            self._forgotten = self._events[0].object.version
        self._events.append(event)
        for listener in self._listeners:
            listener(event)
        self._changed.set()
        self._changed = trio.Event()

    def _load(self) -> None:
        assert self._db
        for group, kind_name, namespace, name, version, text in self._db.execute("select * from objects"):
            kind = next((k for k in self.kinds if (k.group, k.kind) == (group, kind_name)), None)
            if kind is not None:
                stored = Stored(Key(kind, namespace, name), json.loads(text), version)
                self._objects.setdefault(kind, {})[namespace, name] = stored
        row = self._db.execute("select max(version) from history").fetchone()
        newest = max((s.version for objects in self._objects.values() for s in objects.values()), default=0)
        # Restarted: versions go on above all that were handed out, and older watches must list again.
        self.version = self._forgotten = max(row[0] or 0, newest) + 1


def _merged(before: Raw, raw: Raw, *, status: bool, keep_status: bool) -> Raw:
    if status:
        return {**before, "status": raw.get("status")} if raw.get("status") is not None else before
    after = {k: v for k, v in raw.items() if k not in ("metadata", "status", "apiVersion", "kind")}
    body_before = {k: v for k, v in before.items() if k not in ("metadata", "status", "apiVersion", "kind")}
    kept = {
        name: before["metadata"][name]
        for name in (
            "uid",
            "creationTimestamp",
            "generation",
            "resourceVersion",
            "namespace",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        )
        if name in before["metadata"]
    }
    metadata = {**raw["metadata"], **kept}
    if after != body_before:
        metadata["generation"] = int(metadata.get("generation", 1)) + 1
    merged: Raw = {"apiVersion": before["apiVersion"], "kind": before["kind"], "metadata": metadata, **after}
    if keep_status:
        if "status" in before:
            merged["status"] = before["status"]
    elif "status" in raw:
        merged["status"] = raw["status"]
    return merged


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript(
        """
        pragma journal_mode = wal;
        pragma synchronous = normal;
        create table if not exists objects ("group" text, kind text, namespace text, name text,
            version integer, raw text, primary key ("group", kind, namespace, name));
        create table if not exists history (version integer primary key, time real, manager text,
            change text, "group" text, kind text, namespace text, name text);
        """
    )
    return db
