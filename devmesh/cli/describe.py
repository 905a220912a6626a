"""devmesh describe"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import click

from devmesh.cli.client import Api
from devmesh.cli.failure import CliFailure
from devmesh.cli.options import api_of, mesh_option, namespace_option, output_option, print_json
from devmesh.cli.resources import Catalogue, targets
from devmesh.cli.table import table

Raw = Mapping[str, Any]


@click.command("describe")
@click.argument("what", nargs=-1, required=True)
@mesh_option
@namespace_option
@click.option("-l", "--selector", help="By labels.")
@output_option("json")
def command(
    what: tuple[str, ...], mesh: str | None, namespace: str, selector: str | None, output: str | None
) -> None:
    """Show resources in words, with their events: describe TYPE NAME, describe TYPE -l LABELS."""
    api = api_of(mesh)
    catalogue = Catalogue(api)
    objects: list[dict[str, Any]] = []
    for resource, name in targets(catalogue, what):
        answer = api.get(resource.path(namespace, name or "", labelSelector=selector))
        objects += [answer] if name else [{"kind": resource.kind, **item} for item in answer["items"]]
    if not objects:
        raise CliFailure(f"No resources found in {namespace} namespace.")
    if output == "json":
        print_json([{**one, "events": _events(api, catalogue, one)} for one in objects])
        return
    for n, one in enumerate(objects):
        if n:
            click.echo("\n")
        click.echo("\n".join(description(one)))
        click.echo("\n".join(event_lines(_events(api, catalogue, one))))


def description(one: Raw) -> list[str]:
    """Return an object's lines, without its events."""
    metadata = one["metadata"]
    lines = [_field("Name", metadata["name"])]
    if "namespace" in metadata:
        lines.append(_field("Namespace", metadata["namespace"]))
    lines += _pairs("Labels", metadata.get("labels") or {}, "=")
    lines += _pairs("Annotations", metadata.get("annotations") or {}, ": ")
    controller = next((o for o in metadata.get("ownerReferences") or () if o.get("controller")), None)
    if controller:
        lines.append(_field("Controlled By", f"{controller['kind']}/{controller['name']}"))
    return lines + list(BODIES.get(one["kind"], _nested_body)(one))


def event_lines(events: list[dict[str, Any]]) -> list[str]:
    """Return the events as kubectl prints them, the oldest first."""
    if not events:
        return [_field("Events", "<none>")]
    now = datetime.now(UTC)
    rows = [
        (e.get("type", ""), e.get("reason", ""), _age(e, now),
         (e.get("source") or {}).get("component", ""),
         e.get("message", ""))
        for e in sorted(events, key=_last)
    ]  # fmt: skip
    body = table(("TYPE", "REASON", "AGE", "FROM", "MESSAGE"), rows)
    return ["Events:", *(f"  {line}" for line in body.splitlines())]


def _pod(one: Raw) -> Iterator[str]:
    spec, status = one["spec"], one.get("status") or {}
    deleting = "deletionTimestamp" in one["metadata"]
    yield _field("Service Account", spec.get("serviceAccountName", "default"))
    yield _field("Node", spec.get("nodeName", "<none>"))
    yield _field("Start Time", status.get("startTime", "<none>"))
    yield _field("Status", "Terminating" if deleting else status.get("phase", "Pending"))
    yield _field("IP", status.get("podIP", "<none>"))
    for title, key in (("Init Containers", "initContainers"), ("Containers", "containers")):
        states = {s["name"]: s for s in status.get(f"{key.removesuffix('s')}Statuses") or ()}
        if spec.get(key):
            yield f"{title}:"
        for container in spec.get(key) or ():
            yield from _container(container, states.get(container["name"], {}))
    yield from _conditions(status)
    if spec.get("volumes"):
        yield "Volumes:"
        for volume in spec["volumes"]:
            kind = next((key for key in volume if key != "name"), "")
            yield f"  {volume['name']}: {kind}"


def _container(container: Raw, state: Raw) -> Iterator[str]:
    yield f"  {container['name']}:"
    yield _field("Image", container.get("image", ""), 4)
    ports = ", ".join(
        f"{p['containerPort']}/{p.get('protocol', 'TCP')}" for p in container.get("ports") or ()
    )
    yield _field("Ports", ports or "<none>", 4)
    for key, title in (("command", "Command"), ("args", "Args")):
        if container.get(key):
            yield _field(title, " ".join(map(str, container[key])), 4)
    yield from _state("State", state.get("state") or {})
    if state.get("lastState"):
        yield from _state("Last State", state["lastState"])
    yield _field("Ready", state.get("ready", False), 4)
    yield f"    Restart Count:  {state.get('restartCount', 0)}"
    for entry in container.get("env") or ():
        yield _field("Env", f"{entry['name']}={entry.get('value', '(from a reference)')}", 4)
    for mount in container.get("volumeMounts") or ():
        mode = "ro" if mount.get("readOnly") else "rw"
        yield _field("Mount", f"{mount['mountPath']} from {mount['name']} ({mode})", 4)


def _state(title: str, state: Raw) -> Iterator[str]:
    name = next(iter(state), "waiting")
    inner = state.get(name) or {}
    yield _field(title, name.capitalize(), 4)
    for key, label in (("reason", "Reason"), ("message", "Message"), ("exitCode", "Exit Code"),
                       ("startedAt", "Started"), ("finishedAt", "Finished")):  # fmt: skip
        if key in inner and inner[key] not in ("", None):
            yield _field(label, inner[key], 6)


def _service(one: Raw) -> Iterator[str]:
    spec = one["spec"]
    yield from _pairs("Selector", spec.get("selector") or {}, "=")
    yield _field("Type", spec.get("type", "ClusterIP"))
    yield _field("IP", spec.get("clusterIP", "<none>"))
    for port in spec.get("ports") or ():
        node = f", node port {port['nodePort']}" if port.get("nodePort") else ""
        target = port.get("targetPort", port["port"])
        name = port.get("name") or "<unset>"
        yield _field("Port", f"{name}  {port['port']}/{port.get('protocol', 'TCP')} to {target}{node}")


def _workload(one: Raw) -> Iterator[str]:
    spec, status = one["spec"], one.get("status") or {}
    yield from _pairs("Selector", (spec.get("selector") or {}).get("matchLabels") or {}, "=")
    counts = (
        f"{spec.get('replicas', 1)} desired | {status.get('updatedReplicas', 0)} updated | "
        f"{status.get('replicas', 0)} total | {status.get('readyReplicas', 0)} ready"
    )
    yield _field("Replicas", counts)
    yield "Pod Template:"
    yield from _pairs("Labels", spec["template"]["metadata"].get("labels") or {}, "=", 2)
    for container in spec["template"]["spec"].get("containers") or ():
        yield _field(container["name"], container.get("image", ""), 2)
    yield from _conditions(status)


def _conditions(status: Raw) -> Iterator[str]:
    if status.get("conditions"):
        rows = [(c["type"], c["status"], c.get("reason", "")) for c in status["conditions"]]
        yield "Conditions:"
        yield from (f"  {line}" for line in table(("TYPE", "STATUS", "REASON"), rows).splitlines())


def _nested_body(one: Raw) -> Iterator[str]:
    """Show whatever else an object holds, as YAML; Secrets' values by their length alone."""
    from devmesh.cli.yaml_text import write_yaml

    kept = {
        k: v
        for k, v in one.items()
        if k not in ("apiVersion", "kind", "metadata") and v not in (None, {}, [])
    }
    if one["kind"] == "Secret":
        kept["data"] = {
            key: f"{len(str(value))} characters of base64" for key, value in (one.get("data") or {}).items()
        }
    for key, value in kept.items():
        if isinstance(value, dict | list):
            yield f"{key[:1].upper()}{key[1:]}:"
            yield from (f"  {line}" for line in write_yaml(value).splitlines())
        else:
            yield _field(f"{key[:1].upper()}{key[1:]}", value)


BODIES: dict[str, Callable[[Raw], Iterator[str]]] = {
    "Pod": _pod,
    "Service": _service,
    "Deployment": _workload,
    "ReplicaSet": _workload,
    "StatefulSet": _workload,
}


def _field(title: str, value: object, indent: int = 0) -> str:
    return f"{' ' * indent}{title + ':':<{18 - min(indent, 4)}}{value}"


def _pairs(title: str, pairs: Mapping[str, str], between: str, indent: int = 0) -> list[str]:
    texts = [f"{key}{between}{value}" for key, value in sorted(pairs.items())] or ["<none>"]
    return [
        _field(title, texts[0], indent),
        *(_field(" ", text, indent).replace(":", " ", 1) for text in texts[1:]),
    ]


def _age(event: Raw, now: datetime) -> str:
    """Return ``5s`` or, for several, ``5s (x3 over 2m)``."""
    last = _since(_last(event), now)
    count = event.get("count") or 1
    if count < 2:
        return last
    return f"{last} (x{count} over {_since(event.get('firstTimestamp') or '', now)})"


def _last(event: Raw) -> str:
    return str(event.get("lastTimestamp") or event["metadata"]["creationTimestamp"])


def _since(timestamp: str, now: datetime) -> str:
    try:
        seconds = int((now - datetime.fromisoformat(timestamp)).total_seconds())
    except ValueError:
        return "<unknown>"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(0, seconds)}s"


def _events(api: Api, catalogue: Catalogue, one: Raw) -> list[dict[str, Any]]:
    metadata = one["metadata"]
    selector = f"involvedObject.uid={metadata.get('uid', '')}"
    path = catalogue.find("events").path(metadata.get("namespace", ""), fieldSelector=selector)
    found: list[dict[str, Any]] = api.get(path)["items"]
    return found
