"""devmesh swap"""

from __future__ import annotations

import socket
from typing import Any

import click

from devmesh.cli.client import Api, ApiError
from devmesh.cli.failure import CliFailure
from devmesh.cli.options import api_of, mesh_option, namespace_option
from devmesh.cli.resources import Catalogue, Resource, pods_of
from devmesh.cli.table import table

ANNOTATION = "devmesh.dev/swap"
_WORKLOADS = ("deployments", "statefulsets", "daemonsets")
_INJECTED = "sidecar.istio.io/status"


@click.command("swap")
@click.argument("workload", required=False)
@mesh_option
@namespace_option
@click.option("--to", "to", metavar="HOST[:PORT]", help="Where the process listens: localhost:9080.")
@click.option(
    "--port",
    "ports",
    multiple=True,
    metavar="NAME[=PORT]",
    help="Which port of the workload (a Service's name for it, or its number), and where its like is; "
    "may repeat.",
)
@click.option("--back", is_flag=True, help="Give the workload its place again.")
@click.option("--force", is_flag=True, help="Swap even where nothing listens there yet.")
def command(
    workload: str | None,
    mesh: str | None,
    namespace: str,
    to: str | None,
    ports: tuple[str, ...],
    back: bool,
    force: bool,
) -> None:
    """Let a process of this machine, in an IDE say, take the place of a workload.

    Callers do not notice: swap reviews-v2 --to localhost:9080, and back: swap reviews-v2 --back. Identity,
    mutual TLS, policies and telemetry stay the workload's. Without a workload: list what is swapped.
    """
    if workload is None:
        if to or back or ports:
            raise CliFailure("say which workload: swap NAME --to localhost:PORT", 2)
        api = api_of(mesh)
        _list(api, Catalogue(api).find("workloadentries"))
        return
    if bool(to) == back:
        raise CliFailure("say --to HOST[:PORT], or --back", 2)
    place = _place(to) if to else None
    wanted = _ports(ports)
    api = api_of(mesh)
    catalogue = Catalogue(api)
    found = _workload(api, catalogue, workload, namespace)
    entries = catalogue.find("workloadentries")
    if place is None:
        _end(api, entries, namespace, found)
    else:
        _begin(api, catalogue, entries, namespace, found, place, wanted, force)


def _begin(
    api: Api,
    catalogue: Catalogue,
    entries: Resource,
    namespace: str,
    found: dict[str, Any],
    place: tuple[str, int | None],
    wanted: dict[str, int | None],
    force: bool,
) -> None:
    kind, name = found["kind"], found["metadata"]["name"]
    title = f"{kind.lower()}/{name}"
    pods = pods_of(api, catalogue, title, namespace)
    if not any(_INJECTED in (pod["metadata"].get("annotations") or {}) for pod in pods):
        raise CliFailure(f"{title} is outside the mesh: it has no proxy that could lead elsewhere")
    offered = _offered(api, catalogue, namespace, pods[0])
    host, port = place
    served = _served(title, offered, port, wanted)
    numbers = sorted(set(served.values()) or {target for target, _ in offered})
    address = _address(host, numbers, force)
    template = found["spec"]["template"]
    document: dict[str, Any] = {
        "apiVersion": f"{entries.group}/{entries.version}",
        "kind": entries.kind,
        "metadata": {"name": name, "annotations": {ANNOTATION: f"{kind}/{name}"}},
        "spec": {
            "address": address,
            "ports": served,
            "labels": template["metadata"].get("labels") or {},
            "serviceAccount": template["spec"].get("serviceAccountName") or "default",
        },
    }
    existing = _swap_of(api, entries, namespace, kind, name)
    if existing is not None:
        document["metadata"]["name"] = existing["metadata"]["name"]
        document["metadata"]["resourceVersion"] = existing["metadata"]["resourceVersion"]
        api.request("PUT", entries.path(namespace, document["metadata"]["name"]), document)
    else:
        _create(api, entries, namespace, document)
    where = ", ".join(f"{_bracketed(address)}:{number}" for number in numbers)
    click.echo(f"{title} is served at {where} now; `devmesh swap {name} --back` ends that")


def _create(api: Api, entries: Resource, namespace: str, document: dict[str, Any]) -> None:
    try:
        api.request("POST", entries.path(namespace), document)
    except ApiError as refused:
        if refused.code != 409:
            raise
        document["metadata"]["name"] += "-swap"  # the name is a WorkloadEntry's of the user's own
        api.request("POST", entries.path(namespace), document)


def _end(api: Api, entries: Resource, namespace: str, found: dict[str, Any]) -> None:
    kind, name = found["kind"], found["metadata"]["name"]
    existing = _swap_of(api, entries, namespace, kind, name)
    if existing is None:
        click.echo(f"{kind.lower()}/{name} is not swapped")
        return
    api.request("DELETE", entries.path(namespace, existing["metadata"]["name"]))
    click.echo(f"{kind.lower()}/{name} is served by its own pods again")
    status = found.get("status") or {}
    if not (status.get("readyReplicas") or status.get("numberReady")):
        click.echo("none of them is ready: callers get 503 until one is", err=True)


def _list(api: Api, entries: Resource) -> None:
    rows = [
        (
            item["metadata"]["namespace"],
            item["metadata"]["annotations"][ANNOTATION],
            item["spec"]["address"],
            ",".join(f"{name}={port}" for name, port in (item["spec"].get("ports") or {}).items()) or "all",
        )
        for item in api.get(entries.path(""))["items"]
        if ANNOTATION in (item["metadata"].get("annotations") or {})
    ]
    if not rows:
        click.echo("nothing is swapped", err=True)
        return
    click.echo(table(("NAMESPACE", "WORKLOAD", "TO", "PORTS"), rows))


def _workload(api: Api, catalogue: Catalogue, name: str, namespace: str) -> dict[str, Any]:
    """Return the Deployment, StatefulSet or DaemonSet that ``NAME`` or ``TYPE/NAME`` means."""
    kind, slash, rest = name.partition("/")
    kinds = (kind,) if slash else _WORKLOADS
    for resource in (catalogue.find(each) for each in kinds):
        try:
            found: dict[str, Any] = api.get(resource.path(namespace, rest if slash else name))
        except ApiError as error:
            if error.code != 404:
                raise
            continue
        if "template" not in (found.get("spec") or {}):
            raise CliFailure(f"{name} is no workload: name a Deployment, StatefulSet or DaemonSet", 2)
        return found
    where = f"no workload {rest or name!r} in namespace {namespace!r}"
    raise CliFailure(f"there is {where}; see `devmesh get deploy -n {namespace}`, or give -n")


def _offered(api: Api, catalogue: Catalogue, namespace: str, pod: dict[str, Any]) -> list[tuple[int, str]]:
    """Return the ports by which Services know a pod: its number, and the Service's name for it."""
    labels = (pod["metadata"].get("labels") or {}).items()
    named = {
        port["name"]: port["containerPort"]
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or ()
        if port.get("name")
    }
    found: dict[tuple[int, str], None] = {}
    for service in api.get(catalogue.find("services").path(namespace))["items"]:
        selector = service["spec"].get("selector") or {}
        if not selector or not selector.items() <= labels:
            continue
        for port in service["spec"].get("ports") or ():
            target = port.get("targetPort") or port["port"]
            number = named.get(target) if isinstance(target, str) and not target.isdigit() else int(target)
            if number is not None and port.get("protocol", "TCP") == "TCP":
                found[number, port.get("name") or ""] = None
    return list(found)


def _served(
    title: str, offered: list[tuple[int, str]], port: int | None, wanted: dict[str, int | None]
) -> dict[str, int]:
    """Return a WorkloadEntry's ports: which of the workload's are served, and at what number.

    Args:
        port: What ``--to`` says.
        wanted: What ``--port`` says; None is the number of ``--to``, else the workload's own.
    """
    listed = ", ".join(f"{name or 'unnamed'} ({number})" for number, name in offered)
    targets = sorted({number for number, _ in offered})
    if not targets:
        raise CliFailure(f"no Service leads to {title}: there are no callers whose calls could be taken over")
    numbers = {str(number): number for number in targets}
    numbers |= {name: number for number, name in offered if name}
    for name in wanted:
        if name not in numbers:
            raise CliFailure(f"{title} has no port {name}: its Services name {listed}", 2)
    if wanted:
        return {name: number or port or numbers[name] for name, number in wanted.items()}
    if port is None:
        return {}
    chosen = targets[0] if len(targets) == 1 else port
    if chosen not in targets:
        raise CliFailure(
            f"{title} has the ports {listed}: say which is to be at {port}, --port {targets[0]}", 2
        )
    return {_key(chosen, offered): port}


def _key(number: int, offered: list[tuple[int, str]]) -> str:
    """Return the Services' name for a port where all have the same, else its number."""
    names = {name for target, name in offered if target == number}
    only = names.pop()
    return only if only and not names else str(number)


def _swap_of(api: Api, entries: Resource, namespace: str, kind: str, name: str) -> dict[str, Any] | None:
    for item in api.get(entries.path(namespace))["items"]:
        if (item["metadata"].get("annotations") or {}).get(ANNOTATION) in (f"{kind}/{name}", name):
            found: dict[str, Any] = item
            return found
    return None


def _place(text: str) -> tuple[str, int | None]:
    """Read ``HOST``, ``HOST:PORT``, ``:PORT`` or ``[::1]:PORT``."""
    host, colon, port = text.rpartition(":")
    if not colon or (text.count(":") > 1 and not text.startswith("[")) or text.endswith("]"):
        host, port = text, ""
    if (port and not _is_port(port)) or (colon and not port and text.endswith(":")):
        raise CliFailure(f"--to {text}: {port or 'nothing'!r} is no port", 2)
    return host.strip("[]") or "localhost", int(port) if port else None


def _ports(given: tuple[str, ...]) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for each in given:
        name, equals, number = each.partition("=")
        if not name or (equals and not _is_port(number)):
            raise CliFailure(f"--port {each}: write NAME or NAME=PORT, http=9080", 2)
        found[name] = int(number) if equals else None
    return found


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 65536


def _address(host: str, ports: list[int], force: bool) -> str:
    """Return the address of a host on which something listens on the first of `ports`."""
    port = ports[0] if ports else 0
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise CliFailure(f"--to {host}: the name has no address ({error.strerror})", 2) from error
    addresses = [str(entry[4][0]) for entry in sorted(entries, key=lambda e: e[0] != socket.AF_INET)]
    for address in addresses if port else ():
        if _listens(address, port):
            return address
    if port and not force:
        raise CliFailure(
            f"nothing listens on {_bracketed(host)}:{port}: start the process first, or say --force"
        )
    return addresses[0]


def _listens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
