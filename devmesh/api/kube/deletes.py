"""Deleting one object or a collection, with Kubernetes' options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from devmesh.api.kube.body import read_object
from devmesh.api.kube.deps import KubeDeps
from devmesh.api.kube.errors import invalid_option
from devmesh.api.kube.request import Request
from devmesh.api.kube.selectors import select
from devmesh.api.kube.target import Target
from devmesh.config.problems import unsupported
from devmesh.config.store import Conflict, NotFound, Raw, Stored

_POLICIES = ("Background", "Foreground", "Orphan")


@dataclass(frozen=True, slots=True)
class Options:
    """DeleteOptions; `grace` is seconds, None the object's own."""

    grace: int | None
    policy: str
    uid: str
    version: str
    dry_run: bool


def read_options(request: Request) -> Options:
    """Read the options from the body and, where they are missing there, from the URL."""
    given: dict[str, Any] = read_object(request) if request.body.strip() else {}
    grace = given.get("gracePeriodSeconds")
    if grace is None:
        grace = request.number("gracePeriodSeconds")
    policy = given.get("propagationPolicy") or request.get("propagationPolicy")
    if not policy:
        orphan = given.get("orphanDependents")
        orphans = orphan if orphan is not None else request.flag("orphanDependents")
        policy = "Orphan" if orphans else "Background"
    if policy not in _POLICIES:
        raise invalid_option("DeleteOptions", unsupported(("propagationPolicy",), policy, _POLICIES))
    conditions = given.get("preconditions") or {}
    dry_run = request.dry_run or "All" in (given.get("dryRun") or ())
    uid, version = conditions.get("uid") or "", conditions.get("resourceVersion") or ""
    return Options(None if grace is None else max(0, int(grace)), policy, uid, version, dry_run)


def delete(deps: KubeDeps, target: Target, options: Options, manager: str) -> tuple[Stored, bool]:
    """Delete one object; return it, and whether it is still there, waiting for its end."""
    before = deps.store.by_key(target.key)
    if before is None:
        raise NotFound(f'{target.kind.resource} "{target.name}" not found')
    _check(before, options)
    if options.dry_run:
        return before, False
    deps.store.delete(
        before.key,
        grace=options.grace,
        orphan=options.policy == "Orphan",
        foreground=options.policy == "Foreground",
        manager=manager,
    )
    after = deps.store.by_key(before.key)
    return (after, True) if after is not None and after.uid == before.uid else (before, False)


def delete_all(deps: KubeDeps, target: Target, request: Request, options: Options) -> list[Raw]:
    """Delete every object that the selectors choose; return what they were."""
    chosen = select(target.kind, request.get("labelSelector"), request.get("fieldSelector"))
    found = [s for s in deps.store.list(target.kind, target.namespace) if chosen(s)]
    for stored in found:
        if deps.store.by_key(stored.key):
            one = Target(target.kind, target.version, stored.namespace, stored.name)
            delete(deps, one, options, request.manager)
    return [stored.raw for stored in found]


def _check(before: Stored, options: Options) -> None:
    wrong = ""
    if options.uid and options.uid != before.uid:
        wrong = f"UID in precondition: {options.uid}, UID in object meta: {before.uid}"
    elif options.version and options.version != before.metadata["resourceVersion"]:
        wrong = (
            f"ResourceVersion in precondition: {options.version}, ResourceVersion in object meta: "
            f"{before.metadata['resourceVersion']}"
        )
    if wrong:
        raise Conflict(
            f'Operation cannot be fulfilled on {before.key.kind.resource} "{before.name}": '
            f"Precondition failed: {wrong}"
        )
