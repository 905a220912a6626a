"""devmesh proxy-config"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import click

from devmesh.cli.client import Api
from devmesh.cli.envoy_json import camel
from devmesh.cli.failure import CliFailure
from devmesh.cli.options import api_of, mesh_option, namespace_option, output_option
from devmesh.cli.table import table

Row = dict[str, Any]

# What istioctl prints: column titles, and the cells of a row.
VIEWS: dict[str, tuple[Sequence[str], Callable[[Row], Sequence[object]]]] = {
    "clusters": (
        ("SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"),
        lambda r: (
            r["service_fqdn"], r["port"], r["subset"], r["direction"], r["type"], r["destination_rule"],
        ),
    ),
    "listeners": (
        ("ADDRESSES", "PORT", "MATCH", "DESTINATION"),
        lambda r: (r["addresses"], r["port"], r["match"], r["destination"]),
    ),
    "routes": (
        ("NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"),
        lambda r: (r["name"], r["vhost_name"], _domains(r["domains"]), r["match"], r["virtual_service"]),
    ),
    "endpoints": (
        ("ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"),
        lambda r: (r["endpoint"], r["status"], r["outlier_check"], r["cluster"]),
    ),
    "secret": (
        ("RESOURCE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE"),
        lambda r: (
            r["resource_name"], r["type"], r["status"], str(r["valid_cert"]).lower(), r["serial_number"],
            r["not_after"], r["not_before"],
        ),
    ),
}  # fmt: skip
ALIASES = {
    "cluster": "clusters", "c": "clusters", "listener": "listeners", "l": "listeners", "route": "routes",
    "r": "routes", "endpoint": "endpoints", "ep": "endpoints", "secrets": "secret", "s": "secret",
    "b": "bootstrap", "a": "all",
}  # fmt: skip
OTHERS = ("bootstrap", "log", "all")
# Where config_dump has what a view shows: the resource, and the way to each one in it.
_DUMPED = {
    "clusters": ("dynamic_active_clusters", ("cluster",)),
    "listeners": ("dynamic_listeners", ("active_state", "listener")),
    "routes": ("dynamic_route_configs", ("route_config",)),
}


@click.command("proxy-config")
@click.argument("what")
@click.argument("workload")
@mesh_option
@namespace_option
@click.option("--fqdn", help="Of that host alone.")
@click.option("--port", help="Of that port alone.")
@click.option("--subset", help="Of that subset alone.")
@click.option("--direction", help="inbound or outbound clusters alone.")
@click.option("--address", help="Of that address alone.")
@click.option("--cluster", help="Endpoints of that cluster alone.")
@click.option("--status", help="Endpoints in that state alone: healthy or unhealthy.")
@click.option("--name", help="Of the route table of that name alone.")
@click.option("--level", help="With log: set levels, warning or http:debug,router:info.")
@output_option("short", "json", "yaml", default="short")
def command(
    what: str,
    workload: str,
    mesh: str | None,
    namespace: str,
    level: str | None,
    output: str,
    **wanted: str | None,
) -> None:
    """Show what a proxy decides by, as istioctl does.

    proxy-config clusters|listeners|routes|endpoints|secret|bootstrap|log|all WORKLOAD

    WORKLOAD is a pod or a Deployment, with its namespace or without: reviews-v1, reviews-v1.shop. With
    -o json or yaml it is Envoy's own configuration.
    """
    view = ALIASES.get(what, what)
    if view not in VIEWS and view not in OTHERS:
        raise CliFailure(f"{what!r}: expected one of {', '.join((*VIEWS, *OTHERS))}", 2)
    who = workload.rpartition("/")[2]
    if namespace == "default" and "." in who:
        who, _, namespace = who.partition(".")
    proxy = _Proxy(api_of(mesh), namespace, who)
    given = {name: value for name, value in wanted.items() if value is not None}
    if view == "log":
        click.echo(proxy.log(level))
    elif output == "short" and view == "all":
        click.echo("\n\n".join(proxy.table(each, given) for each in VIEWS))
    elif output == "short" and view in VIEWS:
        click.echo(proxy.table(view, given))
    else:
        _print(proxy.document(view, given), output)


@dataclass(frozen=True, slots=True)
class _Proxy:
    """One proxy, over the mesh's API."""

    api: Api
    namespace: str
    name: str

    def rows(self, view: str, given: Mapping[str, str]) -> list[Row]:
        path = f"/devmesh/v1/proxy-config/{view}/{quote(self.namespace)}/{quote(self.name)}"
        return [row for row in self.api.get(path) if _is_wanted(view, row, given)]

    def table(self, view: str, given: Mapping[str, str]) -> str:
        header, cells = VIEWS[view]
        return table(header, [cells(row) for row in self.rows(view, given)])

    def document(self, view: str, given: Mapping[str, str]) -> Any:
        """Return what istioctl prints as JSON."""
        if view == "all":
            return camel(self.ask("config_dump", include_eds="true"))
        if view == "endpoints":
            found = self.ask("clusters", format="json")["cluster_statuses"]
            names = {row["cluster"] for row in self.rows(view, given)}
            return camel([each for each in found if each["name"] in names])
        if view == "secret":
            return {"dynamicActiveSecrets": camel(self._configs("dynamic_active_secrets"))}
        if view == "bootstrap":
            [found] = self._configs("bootstrap")
            return {"bootstrap": camel({name: value for name, value in found.items() if name != "@type"})}
        resource, steps = _DUMPED[view]
        made = []
        for each in self._configs(resource):
            for step in steps:
                each = each[step]
            made.append(each)
        return camel([each for each in made if self._is_meant(view, each, given)])

    def _is_meant(self, view: str, found: Row, given: Mapping[str, str]) -> bool:
        if not given:
            return True
        if view == "clusters":
            return found["name"] in {row["name"] for row in self.rows(view, given)}
        if view == "routes":
            return found["name"] in {row["name"] for row in self.rows(view, given)}
        place = found["address"]["socket_address"]
        port, host = given.get("port"), given.get("address")
        return port in (None, str(place["port_value"])) and host in (None, place["address"])

    def log(self, level: str | None) -> str:
        """Return the levels of the loggers, changed first where that is asked for."""
        query: dict[str, str] = {}
        if level is not None:
            query = {"paths": level} if ":" in level else {"level": level}
        text = self._text("POST", "logging", query)
        return f"{self.name}.{self.namespace}:\n{text.rstrip()}"

    def ask(self, target: str, **query: str) -> Any:
        return json.loads(self._text("GET", target, query))

    def _configs(self, resource: str) -> list[Row]:
        found: list[Row] = self.ask("config_dump", resource=resource)["configs"]
        return found

    def _text(self, method: str, target: str, query: Mapping[str, str]) -> str:
        path = f"/devmesh/v1/proxies/{quote(self.namespace)}/{quote(self.name)}/admin/{target}"
        return self.api.request(method, f"{path}?{urlencode(query)}" if query else path).decode()


def _print(document: Any, output: str) -> None:
    if output == "yaml":
        import yaml

        click.echo(yaml.safe_dump(document, sort_keys=False).rstrip())
    else:
        click.echo(json.dumps(document, indent=4))


def _is_wanted(view: str, row: Row, given: Mapping[str, str]) -> bool:
    text = " ".join(str(value) for value in row.values())
    tests: dict[str, Callable[[str], bool]] = {
        "fqdn": lambda value: value in text,
        "port": lambda value: str(row.get("port", row.get("name", ""))) == value or f"|{value}|" in text,
        "subset": lambda value: row.get("subset") == value,
        "direction": lambda value: row.get("direction") == value,
        "address": lambda value: value in str(row.get("addresses", row.get("endpoint", ""))),
        "cluster": lambda value: row.get("cluster") == value,
        "status": lambda value: str(row.get("status", "")).lower() == value.lower(),
        "name": lambda value: row.get("name") == value,
    }
    return all(tests[name](value) for name, value in given.items())


def _domains(domains: Sequence[str]) -> str:
    first = domains[0] if domains else ""
    return f"{first} + {len(domains) - 1} more" if len(domains) > 1 else first
