"""Jobs: pods that are to end well, a number of times."""

from __future__ import annotations

from collections.abc import Iterable

from devmesh.config.kinds import JOB, POD
from devmesh.config.store import Event, Key, Raw, Store, Stored
from devmesh.runtime.controllers.objects import (
    controlled_by,
    create_pod,
    delete_pod,
    is_active,
    is_ready,
    owned,
    phase,
    seconds_since,
    set_condition,
)
from devmesh.runtime.events import Events, Level

INDEX = "batch.kubernetes.io/job-completion-index"
_BACKOFF_LIMIT = 6
_FIRST_BACKOFF, _LONGEST_BACKOFF = 10.0, 360.0


class Jobs:
    """Kubernetes' Job controller."""

    name = "job"

    def __init__(self, events: Events, *, inject_all: bool = False) -> None:
        self._events = events
        self._inject_all = inject_all

    def all(self, store: Store) -> Iterable[Key]:
        return [stored.key for stored in store.list(JOB)]

    def affected(self, store: Store, event: Event) -> Iterable[Key]:
        if event.object.key.kind is JOB:
            yield event.object.key
        elif event.object.key.kind is POD:
            yield from controlled_by(event, JOB, store)

    def reconcile(self, store: Store, key: Key) -> float | None:
        job = store.by_key(key)
        if job is None or job.deleting:
            return None
        status = dict(job.raw.get("status") or {})
        if finished(job):
            return _expire(store, job)
        status.setdefault("startTime", store.timestamp())
        pods = owned(store, POD, job)
        verdict = _verdict(job, status, pods, store.timestamp())
        again = self._finish(store, job, status, pods, *verdict) if verdict else None
        if not verdict and not job.raw["spec"].get("suspend"):
            again = self._start(store, job, pods)
        _count(status, owned(store, POD, job))
        stored = store.by_key(key)
        if stored is not None:
            store.update(JOB, {**stored.raw, "status": status}, status=True)
        limit = job.raw["spec"].get("activeDeadlineSeconds")
        if limit is not None and not verdict:
            left = max(0.0, float(limit) - seconds_since(status["startTime"], store.timestamp()))
            again = left if again is None else min(again, left)
        return again

    def _start(self, store: Store, job: Stored, pods: list[Stored]) -> float | None:
        """Start as many pods as may run, unless the last failure is too fresh."""
        spec = job.raw["spec"]
        active = [pod for pod in pods if is_active(pod)]
        done = sum(phase(pod) == "Succeeded" for pod in pods)
        parallel, completions = int(spec.get("parallelism", 1)), _completions(spec)
        if completions is None:
            # A work queue: its pods decide; once one has ended well no new ones are started.
            missing = 0 if done else parallel - len(active)
        else:
            missing = min(parallel, int(completions) - done) - len(active)
        wait = _backoff(pods, store.timestamp())
        if missing > 0 and wait > 0:
            return wait
        for index in _free_indexes(job, pods)[: max(0, missing)]:
            self._create(store, job, index)
        return None

    def _create(self, store: Store, job: Stored, index: int | None) -> None:
        uid, name = job.uid, job.name
        labels = {
            "job-name": name,
            "controller-uid": uid,
            "batch.kubernetes.io/job-name": name,
            "batch.kubernetes.io/controller-uid": uid,
        }
        template = job.raw["spec"]["template"]
        extra: Raw = {}
        annotations: dict[str, str] = {}
        if index is not None:
            annotations[INDEX] = labels[INDEX] = str(index)
            variable = {"name": "JOB_COMPLETION_INDEX", "value": str(index)}
            containers = template["spec"]["containers"]
            extra["containers"] = [{**c, "env": [*(c.get("env") or ()), variable]} for c in containers]
        pod = create_pod(
            store,
            job,
            template,
            labels=labels,
            annotations=annotations,
            spec=extra,
            inject_all=self._inject_all,
        )
        self._tell(job, "Normal", "SuccessfulCreate", f"Created pod: {pod.name}")

    def _finish(
        self, store: Store, job: Stored, status: Raw, pods: list[Stored], kind: str, reason: str, why: str
    ) -> float | None:
        for pod in pods:
            if is_active(pod):
                delete_pod(store, pod)
        now = store.timestamp()
        condition = {"type": kind, "status": "True", "reason": reason, "message": why, "lastProbeTime": now}
        status["conditions"] = set_condition(list(status.get("conditions") or ()), condition, now)
        if kind == "Complete":
            status["completionTime"] = now
            self._tell(job, "Normal", "Completed", "Job completed")
        else:
            self._tell(job, "Warning", reason, why)
        lasts = job.raw["spec"].get("ttlSecondsAfterFinished")
        return None if lasts is None else float(lasts)

    def _tell(self, about: Stored, level: Level, reason: str, message: str) -> None:
        self._events.record(about, level, reason, message, component="job-controller")


def finished(job: Stored) -> Raw | None:
    """Return the condition Complete or Failed of a job that is over."""
    for condition in (job.raw.get("status") or {}).get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return dict(condition)
    return None


def _verdict(job: Stored, status: Raw, pods: list[Stored], now: str) -> tuple[str, str, str] | None:
    """Return condition, reason and message of a job that is over now."""
    spec = job.raw["spec"]
    failures = sum(phase(pod) == "Failed" for pod in pods) + _restarts(job, pods)
    limit = int(spec.get("backoffLimit", _BACKOFF_LIMIT))
    if failures > limit:
        return "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and seconds_since(status["startTime"], now) >= float(deadline):
        return "Failed", "DeadlineExceeded", "Job was active longer than specified deadline"
    done = sum(phase(pod) == "Succeeded" for pod in pods)
    completions = _completions(spec)
    enough = done >= int(completions) if completions is not None else done and not any(map(is_active, pods))
    return ("Complete", "CompletionsReached", "Reached expected number of succeeded pods") if enough else None


def _completions(spec: Raw) -> int | None:
    """Return how many pods have to end well; None for a work queue. Neither given means one."""
    found = spec.get("completions")
    if found is None:
        return 1 if spec.get("parallelism") is None else None
    return int(found)


def _restarts(job: Stored, pods: list[Stored]) -> int:
    """Count restarts inside pods: with restartPolicy OnFailure they are the retries."""
    if (job.raw["spec"]["template"].get("spec") or {}).get("restartPolicy") != "OnFailure":
        return 0
    return sum(
        int(container.get("restartCount") or 0)
        for pod in pods
        if is_active(pod)
        for container in (pod.raw.get("status") or {}).get("containerStatuses") or ()
    )


def _backoff(pods: list[Stored], now: str) -> float:
    """Return the seconds until the next try: 10 s after the first failure, doubling up to six minutes."""
    failed = [pod for pod in pods if phase(pod) == "Failed"]
    if not failed:
        return 0.0
    last = max(_ended_at(pod) for pod in failed)
    delay = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2 ** min(len(failed) - 1, 10))
    return max(0.0, float(delay) - seconds_since(last, now))


def _ended_at(pod: Stored) -> str:
    states = [c.get("state") or {} for c in (pod.raw.get("status") or {}).get("containerStatuses") or ()]
    times = [s["terminated"].get("finishedAt", "") for s in states if "terminated" in s]
    return max((t for t in times if t), default=str(pod.metadata["creationTimestamp"]))


def _free_indexes(job: Stored, pods: list[Stored]) -> list[int] | list[None]:
    spec = job.raw["spec"]
    if spec.get("completionMode") != "Indexed":
        return [None] * int(spec.get("parallelism", 1))
    taken = {int(p.annotations.get(INDEX, -1)) for p in pods if is_active(p) or phase(p) == "Succeeded"}
    return [index for index in range(int(spec.get("completions", 1))) if index not in taken]


def _count(status: Raw, pods: list[Stored]) -> None:
    status["active"] = sum(map(is_active, pods))
    status["ready"] = sum(map(is_ready, pods))
    status["succeeded"] = sum(phase(pod) == "Succeeded" for pod in pods)
    status["failed"] = sum(phase(pod) == "Failed" for pod in pods)
    for name in ("active", "succeeded", "failed"):
        if not status[name]:
            del status[name]


def _expire(store: Store, job: Stored) -> float | None:
    """Delete a job that has been over for long enough; return the seconds until then."""
    lasts, condition = job.raw["spec"].get("ttlSecondsAfterFinished"), finished(job)
    if lasts is None or condition is None:
        return None
    left = float(lasts) - seconds_since(condition.get("lastTransitionTime"), store.timestamp())
    if left > 0:
        return left
    store.delete(job.key)
    return None
