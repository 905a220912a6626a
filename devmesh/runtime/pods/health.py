"""A running container's probes and lifecycle hooks."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import trio

from devmesh.config.store import Raw, Stored
from devmesh.runtime.events import Level
from devmesh.runtime.pods.backend import Container
from devmesh.runtime.pods.node import Node
from devmesh.runtime.pods.probes import ProbeFailure, Target, ask, watch
from devmesh.snapshot.network import MARK_PROXY


class Patient(Protocol):
    """A container that is watched."""

    raw: Raw

    @property
    def name(self) -> str: ...

    def set_ready(self, ready: bool) -> None: ...

    def set_started(self, ready: bool) -> None: ...

    async def kill(self, why: str, grace: float) -> None: ...

    def event(self, level: Level, reason: str, message: str) -> None: ...


class Ward(Protocol):
    """Its pod."""

    node: Node
    addresses: tuple[str, ...]
    folder: Path

    @property
    def pod(self) -> Stored: ...


async def watch_health(patient: Patient, ward: Ward, container: Container) -> None:
    """Run the postStart hook, then the probes, until cancelled.

    Kubernetes: liveness and readiness begin when the startup probe has succeeded; a container without
    a readiness probe is ready from then on.
    """
    target = target_of(patient, ward, container)
    hook = (patient.raw.get("lifecycle") or {}).get("postStart")
    if hook and not await run_hook(hook, patient, ward, container, "PostStart"):
        await patient.kill("failed its postStart hook", grace_of(ward, {}))
        return
    if (startup := patient.raw.get("startupProbe")) and not await _has_started(
        startup, patient, ward, target
    ):
        return
    patient.set_started(ready=not patient.raw.get("readinessProbe"))
    async with trio.open_nursery() as nursery:
        if readiness := patient.raw.get("readinessProbe"):
            nursery.start_soon(_watch_readiness, readiness, patient, target)
        if liveness := patient.raw.get("livenessProbe"):
            nursery.start_soon(_watch_liveness, liveness, patient, ward, target)


def takes_time(raw: Raw) -> bool:
    """Tell whether a container can be running for a while without being ready."""
    probes = raw.get("startupProbe") or raw.get("readinessProbe")
    return bool(probes or (raw.get("lifecycle") or {}).get("postStart"))


def target_of(patient: Patient, ward: Ward, container: Container) -> Target:
    """Return whom probes and hooks address."""
    instance = ward.pod.uid
    ports = {p["name"]: int(p["containerPort"]) for p in patient.raw.get("ports") or () if p.get("name")}

    def dial(address: str, port: int) -> socket.socket:
        return ward.node.dialer.dial(instance, address, port, mark=MARK_PROXY)

    return Target(ward.addresses[0], ports, dial, container)


def grace_of(ward: Ward, probe: Raw) -> float:
    """Return the seconds that a container has to end by itself."""
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is None:
        grace = ward.pod.raw["spec"].get("terminationGracePeriodSeconds", 30)
    return float(grace)


async def run_hook(hook: Raw, patient: Patient, ward: Ward, container: Container, name: str) -> bool:
    """Run a lifecycle hook; tell whether it went well. A failure is an event and nothing else."""
    try:
        if "sleep" in hook:
            await trio.sleep(float(hook["sleep"].get("seconds") or 0))
        else:
            await ask(hook, target_of(patient, ward, container))
    except ProbeFailure as problem:
        patient.event("Warning", f"Failed{name}Hook", f"{name}Hook failed: {problem}")
        return False
    return True


def _unhealthy(patient: Patient, kind: str) -> Callable[[str], None]:
    def tell(why: str) -> None:
        patient.event("Warning", "Unhealthy", f"{kind} probe failed: {why}")

    return tell


async def _has_started(probe: Raw, patient: Patient, ward: Ward, target: Target) -> bool:
    outcome: list[bool] = []

    async def on_result(good: bool) -> None:
        await trio.lowlevel.checkpoint()
        outcome.append(good)
        scope.cancel()

    with trio.CancelScope() as scope:
        await watch(probe, target, on_result, _unhealthy(patient, "Startup"), eager=True)
    if not outcome[0]:
        await patient.kill("failed startup probe, will be restarted", grace_of(ward, probe))
    return outcome[0]


async def _watch_readiness(probe: Raw, patient: Patient, target: Target) -> None:
    async def on_result(good: bool) -> None:
        await trio.lowlevel.checkpoint()
        patient.set_ready(good)

    await watch(probe, target, on_result, _unhealthy(patient, "Readiness"), eager=True)


async def _watch_liveness(probe: Raw, patient: Patient, ward: Ward, target: Target) -> None:
    async def on_result(good: bool) -> None:
        if good:
            await trio.lowlevel.checkpoint()
        else:
            await patient.kill("failed liveness probe, will be restarted", grace_of(ward, probe))

    await watch(probe, target, on_result, _unhealthy(patient, "Liveness"), eager=False)
