"""The commands of the admin interface: port 15000 of a pod's loopback, as Envoy's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from devmesh.proxy.admin import actions, information
from devmesh.proxy.admin.clusters import clusters
from devmesh.proxy.admin.dump.configuration import config_dump
from devmesh.proxy.admin.http import Asked, Reply
from devmesh.proxy.admin.prometheus import prometheus
from devmesh.proxy.admin.stats import stats
from devmesh.proxy.admin.view import View


@dataclass(frozen=True, slots=True)
class Command:
    """One path. What only reads is answered on another thread: a large mesh's takes tens of milliseconds."""

    path: str
    help: str
    answer: Callable[[View, Asked], Reply]
    changes: bool = False
    parameters: tuple[tuple[str, str], ...] = ()


_FILTER = ("filter", "Regular expression (Google re2) for filtering")
COMMANDS = (
    Command("/certs", "print certs on machine", information.certs),
    Command("/clusters", "upstream cluster status", clusters, parameters=(_FILTER,)),
    Command(
        "/config_dump",
        "dump current Envoy configs",
        config_dump,
        parameters=(
            ("resource", "The resource to dump"),
            ("mask", "The fields that are kept (a field mask)"),
            ("name_regex", "Only what has such a name (Google re2)"),
            ("include_eds", "Endpoints, too"),
        ),
    ),
    Command(
        "/drain_listeners",
        "drain listeners",
        actions.drain_listeners,
        True,
        (
            ("graceful", "Tell clients to go, and close the listeners when drainDuration has passed"),
            ("skip_exit", "With graceful: tell clients to go, but never close the listeners"),
            ("inboundonly", "Drain inbound listeners alone"),
        ),
    ),
    Command("/healthcheck/fail", "cause the server to fail health checks", actions.fail, True),
    Command("/healthcheck/ok", "cause the server to pass health checks", actions.pass_, True),
    Command("/help", "print out list of admin commands", lambda view, asked: help_text()),
    Command("/hot_restart_version", "print the hot restart compatibility version", information.no_restart),
    Command(
        "/listeners",
        "print listener info",
        information.listeners,
        parameters=(("format", "File format to use; One of (text, json)"),),
    ),
    Command(
        "/logging",
        "query/change logging levels",
        actions.logging_levels,
        True,
        (
            ("level", "desired logging level of all loggers; One of (trace, debug, info, warning, error)"),
            ("paths", "<logger>:<level>,<logger>:<level>; <logger>=<level> does too"),
        ),
    ),
    Command("/memory", "print current allocation/heap usage", information.memory),
    Command("/quitquitquit", "exit the server: devmesh begins it anew", actions.quit_, True),
    Command("/ready", "print server state, return 200 if LIVE, otherwise return 503", information.ready),
    Command("/reset_counters", "reset all counters to zero", actions.reset_counters, True),
    Command("/runtime", "print runtime values", information.runtime),
    Command("/server_info", "print server version/status information", information.server_info),
    Command(
        "/stats",
        "print server stats",
        stats,
        parameters=(
            ("usedonly", "Only include stats that are not zero"),
            _FILTER,
            ("invert_filter", "Invert the filter regex"),
            ("format", "Format to use; One of (text, json, prometheus)"),
            ("type", "Stat types to include; One of (All, Counters, Gauges)"),
        ),
    ),
    Command(
        "/stats/prometheus", "print server stats in prometheus format", prometheus, parameters=(_FILTER,)
    ),
)
_BY_PATH = {command.path: command for command in COMMANDS}


def find(asked: Asked) -> Command | Reply:
    """Return the command of a path, or what is answered where there is none of it."""
    if asked.path == "/":
        return Command("/", "Admin home page", lambda view, asked: home())
    command = _BY_PATH.get(asked.path)
    if command is None:
        return Reply("invalid path. " + help_text().body, 404)
    if command.changes and asked.method != "POST":
        return Reply(f"Method {asked.method} not allowed, POST required.", 405)
    return command


def help_text() -> Reply:
    """Return what ``/help`` says."""
    lines = ["admin commands are:\n", "  /: Admin home page\n"]
    for command in COMMANDS:
        lines.append(f"  {command.path}{' (POST)' if command.changes else ''}: {command.help}\n")
        lines += [f"      {name}: {what}\n" for name, what in command.parameters]
    return Reply("".join(lines))


def home() -> Reply:
    """Return a page with a link to each command that only reads."""
    rows = "".join(
        f"<tr><td><a href='{command.path[1:]}'>{command.path}</a></td><td>{command.help}</td></tr>\n"
        if not command.changes
        else f"<tr><td>{command.path} (POST)</td><td>{command.help}</td></tr>\n"
        for command in COMMANDS
    )
    return Reply(
        f"<!DOCTYPE html><html><head><title>Envoy Admin</title></head><body><table>\n{rows}"
        "</table></body></html>\n",
        content_type="text/html; charset=UTF-8",
    )
