"""ControllerRevisions: the history of a StatefulSet's or DaemonSet's template, for ``kubectl rollout``."""

from __future__ import annotations

from devmesh.config.kinds import CONTROLLER_REVISION
from devmesh.config.store import Store, Stored
from devmesh.runtime.controllers.objects import owned, owner_reference, template_hash

REVISION_LABEL = "controller-revision-hash"
_KEPT = 10


def current_revision(store: Store, owner: Stored) -> Stored:
    """Return the revision of the template in force, made where it isn't there, and forget the oldest.

    An old template that comes back (``rollout undo``) is its old revision with a new number.
    """
    template = owner.raw["spec"]["template"]
    name = f"{owner.name}-{template_hash(template)}"
    known = owned(store, CONTROLLER_REVISION, owner)
    newest = max((number(r) for r in known), default=0)
    found = next((r for r in known if r.name == name), None)
    if found is None:
        labels = {**((template.get("metadata") or {}).get("labels") or {}), REVISION_LABEL: name}
        found = store.create(
            CONTROLLER_REVISION,
            {
                "metadata": {
                    "name": name,
                    "namespace": owner.namespace,
                    "labels": labels,
                    "ownerReferences": [owner_reference(owner)],
                },
                "revision": newest + 1,
                "data": {"spec": {"template": {**template, "$patch": "replace"}}},
            },
        )
    elif number(found) < newest:
        found = store.update(CONTROLLER_REVISION, {**found.raw, "revision": newest + 1})
    limit = int(owner.raw["spec"].get("revisionHistoryLimit", _KEPT))
    old = sorted((r for r in known if r.name != name), key=number)
    for revision in old[: max(0, len(old) - limit)]:
        store.delete(revision.key)
    return found


def number(revision: Stored) -> int:
    return int(revision.raw.get("revision") or 0)
