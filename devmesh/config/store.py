"""The one place where resources live: versions, generations, watches, owners, SQLite."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from devmesh.config.applied import Applied
from devmesh.config.custom_kinds import custom_kind
from devmesh.config.history import Change, Difference, History
from devmesh.config.holding import EVENT_SECONDS, KEPT_EVENT_OBJECTS, OWN, Holding
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
from devmesh.config.watch import KEPT_EVENTS, Watch

__all__ = [
    "EVENT_SECONDS",
    "KEPT_EVENTS",
    "KEPT_EVENT_OBJECTS",
    "OWN",
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
        self._held = Holding(kinds, path, clock)
        for stored in tuple(self.all()):
            # Ended between an owner's removal and that of what it owned.
            if stored.owners and self.by_key(stored.key) and not any(map(self.by_uid, stored.owners)):
                self.delete(stored.key)

    @property
    def kinds(self) -> Kinds:
        return self._held.kinds

    @property
    def version(self) -> int:
        """The version of the last write."""
        return self._held.version

    @property
    def history(self) -> History:
        """Who changed what: the last thousand changes of what people and files write."""
        return self._held.history

    @property
    def applied(self) -> Applied:
        """Which documents were applied from which file."""
        return self._held.applied

    # Reading

    def get(self, kind: Kind, namespace: str, name: str) -> Stored | None:
        return self._held.get(Key(kind, namespace, name))

    def by_key(self, key: Key) -> Stored | None:
        return self._held.get(key)

    def by_uid(self, uid: str) -> Stored | None:
        return self._held.by_uid(uid)

    def list(self, kind: Kind, namespace: str | None = None) -> list[Stored]:
        """Return the objects of `kind`, by namespace and name; `namespace` None or "" means all."""
        found = self._held.of_kind(kind)
        return [found[key] for key in sorted(found) if not namespace or key[0] == namespace]

    def manager_of(self, key: Key) -> str:
        """Return who wrote an object last, devmesh's own parts and updates of status left out."""
        return self._held.manager_of(key)

    def all(self) -> Iterator[Stored]:
        """Yield every object."""
        return self._held.all()

    def watch(self, since: int | None = None, kind: Kind | None = None) -> Watch:
        """Follow changes after version `since` (None: from now)."""
        return Watch(self._held.log, self.version if since is None else since, kind)

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Call `listener`, which must be quick, for each write before that returns.

        A listener may write itself; all listeners hear of all writes in their order.
        """
        self._held.subscribe(listener)

    async def changed(self) -> None:
        """Wait for the next write."""
        await self._held.log.changed()

    def has_after(self, version: int) -> bool:
        return self._held.log.version > version

    def events_after(self, version: int) -> Iterator[Event]:
        """Yield the events after `version`.

        Raises:
            Expired: Some of them are no longer kept.
        """
        return iter(self._held.log.after(version))

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
        return self._held.put(key, {**raw, "metadata": metadata}, None, manager)

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
        return self._held.put(key, after, before, manager, quiet=status)

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

        A Pod stays, marked with ``deletionTimestamp``, until the runtime has stopped it and asks again
        without `grace`, which others may do before (a second call can shorten it); an object with
        finalizers until the last is taken away; a namespace until it is empty; with `foreground`, any
        object until what it owns (and blocks it) is gone.

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
        if not before.deleting or _shortens(before, grace):
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
        return self._held.timestamp()

    def close(self) -> None:
        self._held.close()

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

    def _mark(self, before: Stored, grace: float | None, manager: str) -> Stored:
        if grace is None:
            given = (before.raw.get("spec") or {}).get("terminationGracePeriodSeconds")
            grace = _DEFAULT_GRACE if given is None else float(given)
        metadata = {"deletionTimestamp": self.timestamp(), **before.metadata}
        if before.key.kind is POD:
            metadata["deletionGracePeriodSeconds"] = int(grace)
        raw = {**before.raw, "metadata": metadata}
        if before.key.kind is NAMESPACE:
            raw["status"] = {**(raw.get("status") or {}), "phase": "Terminating"}
        return self._held.put(before.key, raw, self.by_key(before.key), manager)

    def _remove(self, before: Stored, manager: str, *, orphan: bool = False) -> Stored:
        gone = self._held.take(before, manager)
        if before.key.kind is CUSTOM_RESOURCE_DEFINITION:
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
        keys = self._held.owners.owned_by(owner.uid)
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
            self._held.put(stored.key, {**stored.raw, "metadata": metadata}, stored, manager)

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
        if stored.key.kind is POD:
            return bool(stored.metadata.get("deletionGracePeriodSeconds"))
        return stored.key.kind is NAMESPACE and not self._is_empty(stored)


def _shortens(stored: Stored, grace: float | None) -> bool:
    """Tell whether a Pod that is being deleted is to go sooner than it was told."""
    told = stored.metadata.get("deletionGracePeriodSeconds")
    return told is not None and grace is not None and grace < told


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
