"""Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs (Kubernetes: apps and batch validation)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from devmesh.config.documents.apps import PodTemplateSpec
from devmesh.config.documents.kubernetes import (
    DaemonSet,
    Deployment,
    Job,
    Pod,
    ReplicaSet,
    StatefulSet,
)
from devmesh.config.documents.meta import LabelSelector
from devmesh.config.problems import Cause, Path, forbidden, invalid, required, unsupported
from devmesh.config.validation.names import label_value, labels, qualified_name
from devmesh.config.validation.pods import pod_spec

_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
_PERCENT = re.compile(r"[0-9]+%")


def pod(resource: Pod) -> Iterator[Cause]:
    yield from pod_spec(resource.spec, ("spec",))


def deployment(resource: Deployment) -> Iterator[Cause]:
    spec = resource.spec
    yield from _count(spec.replicas, ("spec", "replicas"))
    yield from _selected_template(spec.selector, spec.template, "deployment")
    strategy = spec.strategy
    if strategy is not None:
        path: Path = ("spec", "strategy")
        if strategy.type not in ("Recreate", "RollingUpdate"):
            yield unsupported((*path, "type"), strategy.type, ("Recreate", "RollingUpdate"))
        if strategy.type == "Recreate" and strategy.rolling_update is not None:
            yield forbidden(
                (*path, "rollingUpdate"), "may not be specified when strategy `type` is 'Recreate'"
            )
        rolling = strategy.rolling_update
        if strategy.type == "RollingUpdate" and rolling is not None:
            path = (*path, "rollingUpdate")
            yield from _step(rolling.max_unavailable, (*path, "maxUnavailable"))
            yield from _step(rolling.max_surge, (*path, "maxSurge"))
            if _is_none(rolling.max_unavailable) and _is_none(rolling.max_surge):
                detail = "may not be 0 when `maxSurge` is 0"
                yield invalid((*path, "maxUnavailable"), rolling.max_unavailable, detail)
    for field, value in (
        ("minReadySeconds", spec.min_ready_seconds),
        ("revisionHistoryLimit", spec.revision_history_limit),
        ("progressDeadlineSeconds", spec.progress_deadline_seconds),
    ):
        yield from _count(value, ("spec", field))
    deadline = spec.progress_deadline_seconds
    if deadline is not None and deadline <= (spec.min_ready_seconds or 0):
        yield invalid(("spec", "progressDeadlineSeconds"), deadline, "must be greater than minReadySeconds")


def replica_set(resource: ReplicaSet) -> Iterator[Cause]:
    yield from _count(resource.spec.replicas, ("spec", "replicas"))
    if resource.spec.template is None:
        yield required(("spec", "template"))
    else:
        yield from _selected_template(resource.spec.selector, resource.spec.template, "replicaset")


def stateful_set(resource: StatefulSet) -> Iterator[Cause]:
    spec = resource.spec
    yield from _count(spec.replicas, ("spec", "replicas"))
    if spec.pod_management_policy not in (None, "OrderedReady", "Parallel"):
        known = ("OrderedReady", "Parallel")
        yield unsupported(("spec", "podManagementPolicy"), spec.pod_management_policy, known)
    strategy = spec.update_strategy.type if spec.update_strategy else None
    if strategy not in (None, "RollingUpdate", "OnDelete"):
        yield unsupported(("spec", "updateStrategy", "type"), strategy, ("OnDelete", "RollingUpdate"))
    claims = [claim.metadata.name or "" for claim in spec.volume_claim_templates]
    yield from _selected_template(spec.selector, spec.template, "statefulset", claims)


def daemon_set(resource: DaemonSet) -> Iterator[Cause]:
    yield from _selected_template(resource.spec.selector, resource.spec.template, "daemonset")
    strategy = resource.spec.update_strategy.type if resource.spec.update_strategy else None
    if strategy not in (None, "RollingUpdate", "OnDelete"):
        yield unsupported(("spec", "updateStrategy", "type"), strategy, ("OnDelete", "RollingUpdate"))


def job(resource: Job) -> Iterator[Cause]:
    spec = resource.spec
    for field, value in (
        ("parallelism", spec.parallelism),
        ("completions", spec.completions),
        ("backoffLimit", spec.backoff_limit),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished),
    ):
        yield from _count(value, ("spec", field))
    path: Path = ("spec", "template", "spec")
    if spec.template.spec.restart_policy == "Always":
        yield unsupported((*path, "restartPolicy"), "Always", ("OnFailure", "Never"))
    yield from labels(spec.template.metadata.labels, ("spec", "template", "metadata", "labels"))
    yield from pod_spec(spec.template.spec, path)


def selector_matches(selector: LabelSelector, values: Mapping[str, str]) -> bool:
    """Tell whether a selector accepts an object's labels."""
    if any(values.get(key) != value for key, value in selector.match_labels.items()):
        return False
    for need in selector.match_expressions:
        value = values.get(need.key)
        accepted = {
            "In": value is not None and value in need.values,
            "NotIn": value is None or value not in need.values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not accepted.get(need.operator, False):
            return False
    return True


def label_selector(selector: LabelSelector, path: Path) -> Iterator[Cause]:
    yield from labels(selector.match_labels, (*path, "matchLabels"))
    for n, need in enumerate(selector.match_expressions):
        at: Path = (*path, "matchExpressions", n)
        if wrong := qualified_name(need.key):
            yield invalid((*at, "key"), need.key, wrong)
        if need.operator not in _OPERATORS:
            yield invalid((*at, "operator"), need.operator, "not a valid selector operator")
        elif need.operator in ("In", "NotIn") and not need.values:
            yield required((*at, "values"), "must be specified when `operator` is 'In' or 'NotIn'")
        elif need.operator in ("Exists", "DoesNotExist") and need.values:
            yield forbidden(
                (*at, "values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            )
        for value in need.values:
            if wrong := label_value(value):
                yield invalid((*at, "values"), value, wrong)


def _selected_template(
    selector: LabelSelector, template: PodTemplateSpec, word: str, claims: list[str] | None = None
) -> Iterator[Cause]:
    path: Path = ("spec", "template")
    yield from label_selector(selector, ("spec", "selector"))
    if not selector.match_labels and not selector.match_expressions:
        yield invalid(("spec", "selector"), {}, f"empty selector is invalid for {word}")
    elif not selector_matches(selector, template.metadata.labels):
        at: Path = (*path, "metadata", "labels")
        yield invalid(at, template.metadata.labels, "`selector` does not match template `labels`")
    yield from labels(template.metadata.labels, (*path, "metadata", "labels"))
    yield from pod_spec(template.spec, (*path, "spec"), claims=claims or ())
    policy = template.spec.restart_policy
    if policy in ("OnFailure", "Never"):
        yield unsupported((*path, "spec", "restartPolicy"), policy, ("Always",))


def _count(value: int | None, path: Path) -> Iterator[Cause]:
    if value is not None and value < 0:
        yield invalid(path, value, "must be greater than or equal to 0")


def _step(value: int | str | None, path: Path) -> Iterator[Cause]:
    if isinstance(value, int):
        yield from _count(value, path)
    elif isinstance(value, str) and not _PERCENT.fullmatch(value):
        yield invalid(path, value, "a valid percent string must be a number followed by an ending '%'")


def _is_none(value: Any) -> bool:
    return value in (0, "0%")
