"""What the store holds, in memory and on the disk, without the rules of who may change what."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from devmesh.config.applied import Applied
from devmesh.config.custom_kinds import custom_kind
from devmesh.config.database import Database
from devmesh.config.history import Change, Difference, History, differences
from devmesh.config.kinds import CUSTOM_RESOURCE_DEFINITION, EVENT, Kind, Kinds
from devmesh.config.objects import Event, Key, Raw, Stored
from devmesh.config.owners import Owners
from devmesh.config.watch import EventLog

log = logging.getLogger(__name__)

KEPT_EVENT_OBJECTS = 2_000
EVENT_SECONDS = 3_600.0
"""How many objects of the kind Event are kept, and how long (Kubernetes: --event-ttl)."""

FILE = "file:"
"""How the managers of files begin."""

OWN = "devmesh"
"""The manager of what devmesh's own parts write; it does not count as somebody's change."""


class Holding:
    """Objects by key. Each write is on the disk, in the log and in the history when it returns."""

    def __init__(self, kinds: Kinds, path: Path | None, clock: Callable[[], float] | None) -> None:
        self.kinds = kinds
        self.history = History()
        self.owners = Owners()
        self._clock = clock or (lambda: datetime.now(UTC).timestamp())
        self._objects: dict[Kind, dict[tuple[str, str], Stored]] = {}
        self._listeners: list[Callable[[Event], None]] = []
        self._untold: deque[Event] = deque()
        self._telling = False
        self._event_times: dict[Key, float] = {}
        self._managers: dict[Key, str] = {}
        self._db = Database(path) if path else None
        # Restarted: versions go on above all that were handed out, and older watches must list again.
        self.version = self._db.reserved if self._db else 0
        self.log = EventLog(self.version)
        self.applied = Applied(self._db)
        if self._db:
            self._load(self._db)

    def get(self, key: Key) -> Stored | None:
        return self._objects.get(key.kind, {}).get((key.namespace, key.name))

    def by_uid(self, uid: str) -> Stored | None:
        key = self.owners.key(uid)
        return self.get(key) if key else None

    def of_kind(self, kind: Kind) -> dict[tuple[str, str], Stored]:
        return self._objects.get(kind, {})

    def all(self) -> Iterator[Stored]:
        for objects in tuple(self._objects.values()):
            yield from tuple(objects.values())

    def manager_of(self, key: Key) -> str:
        return self._managers.get(key, "")

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        self._listeners.append(listener)

    def timestamp(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def close(self) -> None:
        if self._db:
            self._db.close()
            self._db = self.applied.database = None

    def put(self, key: Key, raw: Raw, before: Stored | None, manager: str, *, quiet: bool = False) -> Stored:
        """Keep `raw` as the object's next version; `quiet` leaves it out of the history."""
        self.version += 1
        metadata = {**raw["metadata"], "resourceVersion": str(self.version)}
        raw = {**raw, "apiVersion": key.kind.api_version, "kind": key.kind.kind, "metadata": metadata}
        after = Stored(key, raw, self.version)
        counts = before is None or (not quiet and manager != OWN)
        last = manager if counts else self._managers.get(key, manager)
        change = None if quiet or key.kind is EVENT else self._change(after, before, manager)
        if self._db and key.kind is not EVENT:
            name = (key.kind.group, key.kind.kind, key.namespace, key.name)
            self._db.write((*name, self.version, raw, last), change, may_wait=quiet or _is_known(manager))
        self._managers[key] = last
        if change:
            self.history.add(change)
        self._hold(after)
        self._tell(Event("MODIFIED" if before else "ADDED", after, before))
        if key.kind is EVENT:
            self._expire_events(key)
        return after

    def take(self, before: Stored, manager: str) -> Stored:
        """Take an object away, and nothing else; return it at the version of its end."""
        key = before.key
        self.version += 1
        metadata = {**before.metadata, "resourceVersion": str(self.version)}
        gone = Stored(key, {**before.raw, "metadata": metadata}, self.version)
        if key.kind is not EVENT:
            change = self._recorded(gone, manager, "DELETED")
            if self._db:
                kind = key.kind
                name = (kind.group, kind.kind, key.namespace, key.name)
                self._db.delete(*name, self.version, change, may_wait=_is_known(manager))
            self.history.add(change)
        del self._objects[key.kind][key.namespace, key.name]
        self._event_times.pop(key, None)
        self._managers.pop(key, None)
        self.owners.discard(before)
        self._tell(Event("DELETED", gone, before))
        return gone

    def _hold(self, stored: Stored) -> None:
        key = stored.key
        self._objects.setdefault(key.kind, {})[key.namespace, key.name] = stored
        self.owners.add(stored)
        kind = custom_kind(stored.raw) if key.kind is CUSTOM_RESOURCE_DEFINITION else None
        if kind is not None and self.kinds.plural(kind.group, kind.plural) is None:
            self.kinds.add(kind)

    def _change(self, after: Stored, before: Stored | None, manager: str) -> Change | None:
        found = differences(before.raw, after.raw) if before else ()
        if before and not found and before.deleting == after.deleting:
            return None
        return self._recorded(after, manager, "MODIFIED" if before else "ADDED", found)

    def _recorded(
        self, stored: Stored, manager: str, type_: str, found: tuple[Difference, ...] = ()
    ) -> Change:
        key, now = stored.key, self._clock()
        kind = key.kind
        return Change(
            stored.version, now, manager, type_, kind.group, kind.kind, key.namespace, key.name, found
        )

    def _expire_events(self, newest: Key) -> None:
        self._event_times.pop(newest, None)
        self._event_times[newest] = self._clock()
        oldest = self._clock() - EVENT_SECONDS
        while self._event_times:
            key, time = next(iter(self._event_times.items()))
            if len(self._event_times) <= KEPT_EVENT_OBJECTS and time >= oldest:
                return
            del self._event_times[key]
            if before := self.get(key):
                self.take(before, OWN)

    def _tell(self, event: Event) -> None:
        self.log.add(event)
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
        definition = (CUSTOM_RESOURCE_DEFINITION.group, CUSTOM_RESOURCE_DEFINITION.kind)
        rows.sort(key=lambda row: (row[0], row[1]) != definition)
        for group, kind_name, namespace, name, version, raw, manager in rows:
            kind = next((k for k in self.kinds if (k.group, k.kind) == (group, kind_name)), None)
            if kind is not None:
                stored = Stored(Key(kind, namespace, name), raw, version)
                self._hold(stored)
                self._managers[stored.key] = manager
        for change in db.changes():
            self.history.add(change)


def _is_known(manager: str) -> bool:
    """Tell whether what `manager` wrote would be made again: by devmesh itself, or from the file it is in."""
    return manager == OWN or manager.startswith(FILE)
