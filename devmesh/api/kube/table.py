"""Tables, which are what ``kubectl get`` prints: columns by kind, a row per object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from devmesh.api.kube import columns_core, columns_other, columns_workloads
from devmesh.api.kube.columns import AGE, NAME, Column
from devmesh.config import kinds
from devmesh.config.kinds import Kind
from devmesh.config.store import Raw

_OF_KINDS: Mapping[tuple[str, str], tuple[Column, ...]] = {
    (kind.group, kind.kind): columns
    for kind, columns in (
        (kinds.POD, columns_workloads.POD),
        (kinds.DEPLOYMENT, columns_workloads.DEPLOYMENT),
        (kinds.REPLICA_SET, columns_workloads.REPLICA_SET),
        (kinds.STATEFUL_SET, columns_workloads.STATEFUL_SET),
        (kinds.DAEMON_SET, columns_workloads.DAEMON_SET),
        (kinds.JOB, columns_workloads.JOB),
        (kinds.CONTROLLER_REVISION, columns_workloads.CONTROLLER_REVISION),
        (kinds.SERVICE, columns_core.SERVICE),
        (kinds.ENDPOINTS, columns_core.ENDPOINTS),
        (kinds.ENDPOINT_SLICE, columns_core.ENDPOINT_SLICE),
        (kinds.NAMESPACE, columns_core.NAMESPACE),
        (kinds.NODE, columns_core.NODE),
        (kinds.CONFIG_MAP, columns_core.CONFIG_MAP),
        (kinds.SECRET, columns_core.SECRET),
        (kinds.SERVICE_ACCOUNT, columns_core.SERVICE_ACCOUNT),
        (kinds.EVENT, columns_core.EVENT),
        (kinds.PERSISTENT_VOLUME_CLAIM, columns_core.PERSISTENT_VOLUME_CLAIM),
    )
}
_COLUMNS = {**_OF_KINDS, **columns_other.BY_NAME}


def columns_of(kind: Kind) -> tuple[Column, ...]:
    return _COLUMNS.get((kind.group, kind.kind), (NAME, AGE))


def table(kind: Kind, raws: Iterable[Raw], *, version: str, include: str = "Metadata") -> dict[str, Any]:
    """Return a ``meta.k8s.io/v1 Table``.

    Args:
        include: What each row carries of its object: None, Metadata or Object.
    """
    columns = columns_of(kind)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": [column.definition() for column in columns],
        "rows": [_row(columns, raw, include) for raw in raws],
    }


def _row(columns: tuple[Column, ...], raw: Raw, include: str) -> dict[str, Any]:
    row: dict[str, Any] = {"cells": [column.cell(raw) for column in columns]}
    if include == "Object":
        row["object"] = raw
    elif include == "Metadata":
        row["object"] = metadata_only(raw)
    return row


def metadata_only(raw: Raw) -> dict[str, Any]:
    """Return a ``PartialObjectMetadata``."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": raw["metadata"]}
