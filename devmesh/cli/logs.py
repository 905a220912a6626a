"""devmesh logs"""

from __future__ import annotations

import sys
import threading

import click

from devmesh.cli.client import Api, ApiError
from devmesh.cli.failure import CliFailure
from devmesh.cli.options import api_of, mesh_option, namespace_option
from devmesh.cli.resources import Catalogue, pods_of
from devmesh.cli.traffic import seconds

PROXY = "istio-proxy"


@click.command("logs")
@click.argument("target", required=False)
@mesh_option
@namespace_option
@click.option("-c", "--container", help="Which container (default: the first).")
@click.option("-l", "--selector", help="All pods with these labels, in place of a name.")
@click.option("-f", "--follow", is_flag=True, help="Go on as lines come.")
@click.option("--tail", type=int, help="Only the last lines.")
@click.option("--since", help="Only what is newer than 90s, 5m, 1h.")
@click.option("--timestamps", is_flag=True, help="Each line with its time.")
@click.option("-p", "--previous", is_flag=True, help="Of the container before its last restart.")
@click.option("--all-containers", is_flag=True, help="Of all containers.")
@click.option("--prefix", is_flag=True, help="Each line with its pod and container.")
@click.option("--access", is_flag=True, help="The proxy's access log; without a target, of the whole mesh.")
def command(
    target: str | None,
    mesh: str | None,
    namespace: str,
    container: str | None,
    selector: str | None,
    follow: bool,
    tail: int | None,
    since: str | None,
    timestamps: bool,
    previous: bool,
    all_containers: bool,
    prefix: bool,
    access: bool,
) -> None:
    """Print logs: logs POD, logs deploy/NAME, logs -l app=reviews. The proxy writes the --access log."""
    api = api_of(mesh)
    if access and target is None and selector is None:
        _copy(
            api,
            f"/devmesh/v1/access-log?follow={str(follow).lower()}" + (f"&tail={tail}" if tail else ""),
            "",
        )
        return
    catalogue = Catalogue(api)
    resource = catalogue.find("pods")
    if selector:
        pods = api.get(resource.path(namespace, labelSelector=selector))["items"]
    elif target:
        pods = pods_of(api, catalogue, target, namespace)[:1]
    else:
        raise CliFailure("say whose: POD, deploy/NAME, or -l LABELS", 2)
    if not pods:
        raise CliFailure(f"no pods with labels {selector} in namespace {namespace}")
    query = {
        "follow": "true" if follow else None,
        "tailLines": tail if tail is not None else 10 if selector and not follow else None,
        "sinceSeconds": max(1, round(seconds(since))) if since else None,
        "timestamps": "true" if timestamps else None,
        "previous": "true" if previous else None,
    }
    streams = []
    for pod in pods:
        names = [c["name"] for c in pod["spec"]["containers"]]
        apps = [name for name in names if name != PROXY] or names
        wanted = [PROXY] if access else names if all_containers else [container or apps[0]]
        for name in wanted:
            path = resource.path(namespace, pod["metadata"]["name"], "log", container=name, **query)
            streams.append(
                (path, f"[pod/{pod['metadata']['name']}/{name}] " if prefix or len(pods) > 1 else "")
            )
    _copy_all(api, streams, follow)


def _copy_all(api: Api, streams: list[tuple[str, str]], follow: bool) -> None:
    if len(streams) == 1 or not follow:
        for path, prefix in streams:
            _copy(api, path, prefix)
        return
    failures: list[str] = []

    def run(path: str, prefix: str) -> None:
        try:
            _copy(api, path, prefix)
        except CliFailure as failure:
            failures.append(str(failure))

    threads = [threading.Thread(target=run, args=stream, daemon=True) for stream in streams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise CliFailure("\n".join(failures))


def _copy(api: Api, path: str, prefix: str) -> None:
    try:
        for piece in api.stream(path):
            if prefix:
                text = "".join(f"{prefix}{line}\n" for line in piece.decode(errors="replace").splitlines())
                sys.stdout.write(text)
            else:
                sys.stdout.buffer.write(piece)
            sys.stdout.flush()
    except ApiError as refused:
        raise CliFailure(str(refused)) from refused
