"""Commands that change something: draining, health, counters, log levels."""

from __future__ import annotations

import logging

from devmesh.proxy.admin.http import Asked, Reply
from devmesh.proxy.admin.view import View

_OK = Reply("OK\n")
_ROOT = "devmesh.proxy"
# Envoy's levels by Python's; what Python has no word for is the next one.
_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "off": logging.CRITICAL + 10,
}
_NAMES = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning", logging.ERROR: "error",
          logging.CRITICAL: "critical", logging.CRITICAL + 10: "off"}  # fmt: skip


def drain_listeners(view: View, asked: Asked) -> Reply:
    """Envoy: without ``graceful`` the listeners are closed at once; with it clients are first told to go
    (``connection: close``), for the drain time."""
    state, query = view.state, asked.query
    inbound_only = "inboundonly" in query
    if "skip_exit" in query and "graceful" not in query:
        return Reply("skip_exit requires graceful\n", 400)

    def close() -> None:
        view.controls.drain(view.instance, inbound_only=inbound_only)

    if "graceful" not in query:
        close()
    elif not state.draining:
        state.drain()
        if "skip_exit" not in query:
            view.plane.reactor.deadline(view.snapshot.mesh.drain_duration, close)
    return _OK


def fail(view: View, asked: Asked) -> Reply:
    """Envoy: health checks fail from now on, and clients are told to go."""
    view.state.fail(True)
    return _OK


def pass_(view: View, asked: Asked) -> Reply:
    view.state.fail(False)
    return _OK


def reset_counters(view: View, asked: Asked) -> Reply:
    """Gauges, and what counts single hosts, stay."""
    view.state.reset_counters()
    return _OK


def quit_(view: View, asked: Asked) -> Reply:
    """Istio's agent would end with Envoy, and the kubelet start both again: what a client sees of that."""
    view.controls.restart(view.instance)
    return _OK


def logging_levels(view: View, asked: Asked) -> Reply:
    """Tell the levels of the data plane's loggers, or change them: they are those of devmesh's own log,
    and all proxies of a mesh share them, since they are one process."""
    known = _loggers()
    changes: dict[str, str] = {}
    for name, value in asked.query.items():
        if name == "paths":
            pairs = [pair.partition(":") for pair in value.split(",")]
            changes.update({logger: level for logger, _, level in pairs})
        elif name == "level":
            changes.update(dict.fromkeys(known, value))
        else:
            changes[name] = value
    for name, level in changes.items():
        if level not in _LEVELS:
            return Reply(f"error: unknown logger level '{level}': one of {', '.join(_LEVELS)}\n", 400)
        if name not in known:
            return Reply(f"error: unknown logger name '{name}'\n", 400)
    for name, level in changes.items():
        known[name].setLevel(_LEVELS[level])
    lines = [
        f"  {name}: {_NAMES.get(each.getEffectiveLevel(), 'info')}\n" for name, each in sorted(known.items())
    ]
    return Reply("active loggers:\n" + "".join(lines) + "\n")


def _loggers() -> dict[str, logging.Logger]:
    prefix = f"{_ROOT}."
    names = [name for name in list(logging.root.manager.loggerDict) if name.startswith(prefix)]
    return {name.removeprefix(prefix): logging.getLogger(name) for name in names}
