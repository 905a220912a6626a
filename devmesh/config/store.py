"""The one place where resources live: versions, generations, watches, owners, SQLite."""

from __future__ import annotations

import logging
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from devmesh.config.applied import Applied
from devmesh.config.custom_kinds import custom_kind
from devmesh.config.database import Database
from devmesh.config.history import Change, Difference, History, differences
from devmesh.config.kinds import CUSTOM_RESOURCE_DEFINITION, EVENT, NAMESPACE, POD, SERVICE_ENTRY, Kind, Kinds
from devmesh.config.objects import (
    AlreadyExists,
    Conflict,
    Event,
    Expired,
    Forbidden,
    Key,
    NotFound,
    Raw,
    Stored,
    random_suffix,
)
from devmesh.config.owners import Owners
from devmesh.config.watch import KEPT_EVENTS, EventLog, Watch

__all__ = [
    "KEPT_EVENTS",
    "AlreadyExists",
    "Change",
    "Conflict",
    "Difference",
    "Event",
    "Expired",
    "Forbidden",
    "Key",
    "NotFound",
    "Raw",
    "Store",
    "Stored",
    "Watch",
]

log = logging.getLogger(__name__)

KEPT_EVENT_OBJECTS = 2_000
EVENT_SECONDS = 3_600.0
"""How many objects of the kind Event are kept, and how long (Kubernetes: --event-ttl)."""

OWN = "devmesh"
"""The manager of what devmesh's own parts write; it does not count as somebody's change."""

FOREGROUND = "foregroundDeletion"
_UNDELETABLE = {"default", "kube-system"}
_DEFAULT_GRACE = 30


class Store:
    """Objects by key, in memory and in SQLite.

    All methods are synchronous and short, and belong to one thread; a watcher wakes afterwards.
    Every write takes the next `version`, which is the object's ``resourceVersion``. `manager`
    names the writer (``file:<path>``, ``kubectl``, ``devmesh``).

    Args:
        path: The database; None keeps everything in memory.
        clock: Seconds since the epoch, for timestamps.
    """

    def __init__(
        self, kinds: Kinds, path: Path | None = None, clock: Callable[[], float] | None = None
    ) -> None:
        self.kinds = kinds
        self.history = History()
        self._clock = clock or (lambda: datetime.now(UTC).timestamp())
        self._objects: dict[Kind, dict[tuple[str, str], Stored]] = {}
        self._owners = Owners()
        self._listeners: list[Callable[[Event], None]] = []
        self._untold: deque[Event] = deque()
        self._telling = False
        self._event_times: dict[Key, float] = {}
        self._managers: dict[Key, str] = {}
        self._db = Database(path) if path else None
        # Restarted: versions go on above all that were handed out, and older watches must list again.
        self.version = self._db.reserved if self._db else 0
        self._log = EventLog(self.version)
        self.applied = Applied(self._db)
        if self._db:
            self._load(self._db)

    # Reading

    def get(self, kind: Kind, namespace: str, name: str) -> Stored | None:
        return self._objects.get(kind, {}).get((namespace, name))

    def by_key(self, key: Key) -> Stored | None:
        return self.get(key.kind, key.namespace, key.name)

    def by_uid(self, uid: str) -> Stored | None:
        key = self._owners.key(uid)
        return self.by_key(key) if key else None

    def list(self, kind: Kind, namespace: str | None = None) -> list[Stored]:
        """Return the objects of `kind`, by namespace and name; `namespace` None or "" means all."""
        found = self._objects.get(kind, {})
        return [found[key] for key in sorted(found) if not namespace or key[0] == namespace]

    def manager_of(self, key: Key) -> str:
        """Return who wrote an object last, devmesh's own parts and updates of status left out."""
        return self._managers.get(key, "")

    def all(self) -> Iterator[Stored]:
        """Yield every object."""
        for objects in tuple(self._objects.values()):
            yield from tuple(objects.values())

    def watch(self, since: int | None = None, kind: Kind | None = None) -> Watch:
        """Follow changes after version `since` (None: from now)."""
        return Watch(self._log, self.version if since is None else since, kind)

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Call `listener`, which must be quick, for each write before that returns.

        A listener may write itself; all listeners hear of all writes in their order.
        """
        self._listeners.append(listener)

    async def changed(self) -> None:
        """Wait for the next write."""
        await self._log.changed()

    def has_after(self, version: int) -> bool:
        return self._log.version > version

    def events_after(self, version: int) -> Iterator[Event]:
        """Yield the events after `version`.

        Raises:
            Expired: Some of them are no longer kept.
        """
        return iter(self._log.after(version))

    # Writing

    def create(self, kind: Kind, raw: Raw, *, manager: str = OWN) -> Stored:
        """Add an object.

        Raises:
            AlreadyExists: There is one of that name.
            NotFound: Its namespace isn't there.
            Forbidden: Its namespace is being deleted.
        """
        metadata = dict(raw.get("metadata") or {})
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + random_suffix()
        name = metadata["name"]
        namespace = metadata.get("namespace") or "default" if kind.namespaced else ""
        key = Key(kind, namespace, name)
        if self.by_key(key):
            raise AlreadyExists(f'{kind.resource} "{name}" already exists')
        self._check_namespace(key)
        for absent in ("deletionTimestamp", "deletionGracePeriodSeconds", "generation", "resourceVersion"):
            metadata.pop(absent, None)
        metadata["uid"] = metadata.get("uid") or str(uuid.uuid4())
        metadata["creationTimestamp"] = self.timestamp()
        if "spec" in raw:
            metadata["generation"] = 1
        if namespace:
            metadata["namespace"] = namespace
        return self._put(key, {**raw, "metadata": metadata}, None, manager)

    def update(
        self,
        kind: Kind,
        raw: Raw,
        *,
        manager: str = OWN,
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
        before = self._present(key)
        if expect is not None and expect != before.version:
            raise Conflict(
                f'Operation cannot be fulfilled on {kind.resource} "{key.name}": the object has been '
                "modified; please apply your changes to the latest version and try again"
            )
        after = _merged(kind, before.raw, raw, status=status)
        if after == before.raw:
            return before
        if before.deleting and not after["metadata"].get("finalizers") and not self._waits(before):
            return self._remove(Stored(key, after, before.version), manager)
        return self._put(key, after, before, manager, quiet=status)

    def patch_status(self, key: Key, status: Raw, *, manager: str = OWN) -> Stored | None:
        """Merge `status` over the object's (one level deep); None where it is gone."""
        before = self.by_key(key)
        if before is None:
            return None
        merged = {**(before.raw.get("status") or {}), **status}
        return self.update(key.kind, {**before.raw, "status": merged}, manager=manager, status=True)

    def delete(
        self,
        key: Key,
        *,
        grace: float | None = None,
        orphan: bool = False,
        foreground: bool = False,
        manager: str = OWN,
    ) -> Stored:
        """Ask for an object's end, and that of what it owns unless `orphan`.

        A Pod stays, marked with ``deletionTimestamp``, until the runtime has stopped it and calls
        `remove`; an object with finalizers until the last is taken away; a namespace until it is
        empty; with `foreground`, any object until what it owns (and blocks it) is gone.

        Raises:
            NotFound: It isn't there.
            Forbidden: It may not be deleted.
        """
        before = self._present(key)
        if key.kind is NAMESPACE and key.name in _UNDELETABLE:
            raise Forbidden(f'namespaces "{key.name}" is forbidden: this namespace may not be deleted')
        if orphan:
            self._orphan(before, manager)
        owned = () if orphan else self._owned(before)
        if foreground and owned and FOREGROUND not in before.finalizers:
            metadata = {**before.metadata, "finalizers": [*before.finalizers, FOREGROUND]}
            before = Stored(key, {**before.raw, "metadata": metadata}, before.version)
        waits = (
            bool(before.finalizers) or (key.kind is POD and grace != 0) or (key.kind is NAMESPACE and owned)
        )
        if not waits:
            return self._remove(before, manager, orphan=orphan)
        if not before.deleting:
            before = self._mark(before, grace, manager)
        if foreground or key.kind is NAMESPACE:
            for stored in owned:
                if self.by_key(stored.key):
                    self.delete(stored.key, foreground=foreground, manager=manager)
        return self.by_key(key) or before

    def remove(self, key: Key, *, manager: str = OWN) -> None:
        """Take an object away at once, whatever it waits for; nothing happens where it is gone."""
        if before := self.by_key(key):
            self._remove(before, manager)

    def timestamp(self) -> str:
        """Return now as Kubernetes writes it."""
        return datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def close(self) -> None:
        if self._db:
            self._db.close()
            self._db = self.applied.database = None

    # Inside

    def _present(self, key: Key) -> Stored:
        found = self.by_key(key)
        if found is None:
            raise NotFound(f'{key.kind.resource} "{key.name}" not found')
        return found

    def _check_namespace(self, key: Key) -> None:
        if not key.kind.namespaced:
            return
        namespace = self.get(NAMESPACE, "", key.namespace)
        if namespace is None:
            raise NotFound(f'namespaces "{key.namespace}" not found')
        if namespace.deleting and key.kind is not EVENT:
            raise Forbidden(
                f'{key.kind.resource} "{key.name}" is forbidden: unable to create new content in '
                f"namespace {key.namespace} because it is being terminated"
            )

    def _put(self, key: Key, raw: Raw, before: Stored | None, manager: str, *, quiet: bool = False) -> Stored:
        """Keep `raw` as the object's next version; `quiet` leaves it out of the history."""
        self.version += 1
        metadata = {**raw["metadata"], "resourceVersion": str(self.version)}
        raw = {**raw, "apiVersion": key.kind.api_version, "kind": key.kind.kind, "metadata": metadata}
        after = Stored(key, raw, self.version)
        if before is None or (not quiet and manager != OWN):
            self._managers[key] = manager
        change = None if quiet or key.kind is EVENT else self._change(after, before, manager)
        if self._db and key.kind is not EVENT:
            kind = key.kind
            writer = self._managers.get(key, manager)
            self._db.write(
                (kind.group, kind.kind, key.namespace, key.name, self.version, raw, writer), change
            )
        if change:
            self.history.add(change)
        self._hold(after)
        self._tell(Event("MODIFIED" if before else "ADDED", after, before))
        if key.kind is EVENT:
            self._expire_events(key)
        return after

    def _change(self, after: Stored, before: Stored | None, manager: str) -> Change | None:
        found = differences(before.raw, after.raw) if before else ()
        if before and not found and before.deleting == after.deleting:
            return None
        type_ = "ADDED" if before is None else "MODIFIED"
        return self._recorded(after, manager, type_, found)

    def _recorded(
        self, stored: Stored, manager: str, type_: str, found: tuple[Difference, ...] = ()
    ) -> Change:
        key = stored.key
        return Change(
            stored.version,
            self._clock(),
            manager,
            type_,
            key.kind.group,
            key.kind.kind,
            key.namespace,
            key.name,
            found,
        )

    def _hold(self, stored: Stored) -> None:
        key = stored.key
        self._objects.setdefault(key.kind, {})[key.namespace, key.name] = stored
        self._owners.add(stored)
        kind = custom_kind(stored.raw) if key.kind is CUSTOM_RESOURCE_DEFINITION else None
        if kind is not None and self.kinds.plural(kind.group, kind.plural) is None:
            self.kinds.add(kind)

    def _mark(self, before: Stored, grace: float | None, manager: str) -> Stored:
        if grace is None:
            given = (before.raw.get("spec") or {}).get("terminationGracePeriodSeconds")
            grace = _DEFAULT_GRACE if given is None else float(given)
        metadata = {**before.metadata, "deletionTimestamp": self.timestamp()}
        if before.key.kind is POD:
            metadata["deletionGracePeriodSeconds"] = int(grace)
        raw = {**before.raw, "metadata": metadata}
        if before.key.kind is NAMESPACE:
            raw["status"] = {**(raw.get("status") or {}), "phase": "Terminating"}
        return self._put(before.key, raw, self.by_key(before.key), manager)

    def _remove(self, before: Stored, manager: str, *, orphan: bool = False) -> Stored:
        key = before.key
        self.version += 1
        metadata = {**before.metadata, "resourceVersion": str(self.version)}
        gone = Stored(key, {**before.raw, "metadata": metadata}, self.version)
        if key.kind is not EVENT:
            change = self._recorded(gone, manager, "DELETED")
            self.history.add(change)
            if self._db:
                kind = key.kind
                self._db.delete(kind.group, kind.kind, key.namespace, key.name, self.version, change)
        del self._objects[key.kind][key.namespace, key.name]
        self._event_times.pop(key, None)
        self._managers.pop(key, None)
        self._owners.discard(before)
        self._tell(Event("DELETED", gone, before))
        if key.kind is CUSTOM_RESOURCE_DEFINITION:
            self._forget_kind(before, manager)
        if not orphan:
            self._delete_owned(before, manager)
        self._finish_waiting(before, manager)
        return gone

    def _forget_kind(self, definition: Stored, manager: str) -> None:
        kind = custom_kind(definition.raw)
        known = self.kinds.plural(kind.group, kind.plural) if kind else None
        if known is not None and known.custom:
            for stored in self.list(known):
                self.remove(stored.key, manager=manager)
            self.kinds.remove(known)

    # Owners

    def _owned(self, owner: Stored) -> tuple[Stored, ...]:
        if owner.key.kind is NAMESPACE:
            return tuple(s for s in self.all() if s.namespace == owner.name and s.key.kind.namespaced)
        keys = self._owners.owned_by(owner.uid)
        return tuple(stored for key in keys if (stored := self.by_key(key)) is not None)

    def _delete_owned(self, owner: Stored, manager: str) -> None:
        """Kubernetes' garbage collection: what has no other owner left goes too."""
        for stored in self._owned(owner):
            if self.by_key(stored.key) is None:
                continue
            others = [uid for uid in stored.owners if uid != owner.uid and self.by_uid(uid)]
            if not others or owner.key.kind is NAMESPACE:
                self.delete(stored.key, manager=manager)

    def _orphan(self, owner: Stored, manager: str) -> None:
        for stored in self._owned(owner):
            references = [o for o in stored.metadata["ownerReferences"] if o.get("uid") != owner.uid]
            metadata = {**stored.metadata, "ownerReferences": references}
            if not references:
                del metadata["ownerReferences"]
            self._put(stored.key, {**stored.raw, "metadata": metadata}, stored, manager)

    def _finish_waiting(self, gone: Stored, manager: str) -> None:
        """Take away the owners and the namespace that only waited for `gone`."""
        for uid in gone.owners:
            owner = self.by_uid(uid)
            if owner and owner.deleting and FOREGROUND in owner.finalizers and not self._blocked(owner):
                left = [name for name in owner.finalizers if name != FOREGROUND]
                metadata = {**owner.metadata, "finalizers": left}
                self.update(owner.key.kind, {**owner.raw, "metadata": metadata}, manager=manager)
        namespace = self.get(NAMESPACE, "", gone.namespace) if gone.namespace else None
        if namespace and namespace.deleting and not namespace.finalizers and self._is_empty(namespace):
            self._remove(namespace, manager)

    def _is_empty(self, namespace: Stored) -> bool:
        """Events keep no namespace alive: those of its last pods are written while it ends."""
        return all(stored.key.kind is EVENT for stored in self._owned(namespace))

    def _blocked(self, owner: Stored) -> bool:
        return any(
            reference.get("uid") == owner.uid and reference.get("blockOwnerDeletion")
            for stored in self._owned(owner)
            for reference in stored.metadata["ownerReferences"]
        )

    def _waits(self, stored: Stored) -> bool:
        """Tell whether something beside finalizers keeps an object that is being deleted."""
        return stored.key.kind is POD or (stored.key.kind is NAMESPACE and bool(self._owned(stored)))

    # Events

    def _expire_events(self, newest: Key) -> None:
        self._event_times.pop(newest, None)
        self._event_times[newest] = self._clock()
        oldest = self._clock() - EVENT_SECONDS
        while self._event_times:
            key, time = next(iter(self._event_times.items()))
            if len(self._event_times) <= KEPT_EVENT_OBJECTS and time >= oldest:
                return
            del self._event_times[key]
            if before := self.by_key(key):
                self._remove(before, OWN)

    def _tell(self, event: Event) -> None:
        self._log.add(event)
        self._untold.append(event)
        if self._telling:
            return
        self._telling = True
        try:
            while self._untold:
                event = self._untold.popleft()
                for listener in self._listeners:
                    try:
                        listener(event)
                    except Exception:
                        log.exception("a listener of the store failed", extra={"key": str(event.object.key)})
        finally:
            self._telling = False

    def _load(self, db: Database) -> None:
        rows = list(db.objects())
        definition = CUSTOM_RESOURCE_DEFINITION
        rows.sort(key=lambda row: (row[0], row[1]) != (definition.group, definition.kind))
        for group, kind_name, namespace, name, version, raw, manager in rows:
            kind = next((k for k in self.kinds if (k.group, k.kind) == (group, kind_name)), None)
            if kind is not None:
                stored = Stored(Key(kind, namespace, name), raw, version)
                self._hold(stored)
                self._managers[stored.key] = manager
        for change in db.changes():
            self.history.add(change)
        for stored in tuple(self.all()):
            # Ended between an owner's removal and that of what it owned.
            if stored.owners and self.by_key(stored.key) and not any(map(self.by_uid, stored.owners)):
                self.delete(stored.key)


_KEPT_METADATA = (
    "uid",
    "creationTimestamp",
    "generation",
    "resourceVersion",
    "namespace",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
_APART = ("metadata", "status", "apiVersion", "kind")


def _merged(kind: Kind, before: Raw, raw: Raw, *, status: bool) -> Raw:
    """Return `before` as the update leaves it, still at its old version."""
    if status:
        return {**before, "status": raw.get("status")} if raw.get("status") is not None else before
    body = {k: v for k, v in raw.items() if k not in _APART}
    body_before = {k: v for k, v in before.items() if k not in _APART}
    was = before["metadata"]
    given = {k: v for k, v in raw["metadata"].items() if k not in _KEPT_METADATA}
    metadata = {**given, **{name: was[name] for name in _KEPT_METADATA if name in was}}
    if body != body_before and "generation" in metadata:
        metadata["generation"] = int(metadata["generation"]) + 1
    merged: Raw = {"apiVersion": before["apiVersion"], "kind": before["kind"], "metadata": metadata, **body}
    # A ServiceEntry's addresses are admission's to give, with each update of its hosts.
    keeps = "status" in kind.subresources and kind is not SERVICE_ENTRY
    found = before.get("status") if keeps else raw.get("status")
    if found is not None:
        merged["status"] = found
    return merged
