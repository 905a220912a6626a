"""devmesh proxy-config"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import click

from devmesh.cli.failure import CliFailure
from devmesh.cli.options import api_of, mesh_option, namespace_option, output_option, print_json
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
}  # fmt: skip


@click.command("proxy-config")
@click.argument("what")
@click.argument("workload")
@mesh_option
@namespace_option
@click.option("--fqdn", help="Of that host alone.")
@click.option("--port", help="Of that port alone.")
@click.option("--name", help="Of the route table of that name alone.")
@output_option("json")
def command(
    what: str,
    workload: str,
    mesh: str | None,
    namespace: str,
    fqdn: str | None,
    port: str | None,
    name: str | None,
    output: str | None,
) -> None:
    """Show what a proxy decides by: proxy-config routes|clusters|endpoints|listeners|secret WORKLOAD.

    WORKLOAD is a pod or a Deployment, with its namespace or without: reviews-v1, reviews-v1.shop.
    """
    view = ALIASES.get(what, what)
    if view not in VIEWS:
        raise CliFailure(f"{what!r}: expected one of {', '.join(VIEWS)}", 2)
    who = workload.rpartition("/")[2]
    if namespace == "default" and "." in who:
        who, _, namespace = who.partition(".")
    rows: list[Row] = api_of(mesh).get(f"/devmesh/v1/proxy-config/{view}/{quote(namespace)}/{quote(who)}")
    rows = [row for row in rows if _is_wanted(row, fqdn, port, name)]
    if output == "json":
        print_json(rows)
        return
    header, cells = VIEWS[view]
    click.echo(table(header, [cells(row) for row in rows]))


def _is_wanted(row: Row, fqdn: str | None, port: str | None, name: str | None) -> bool:
    text = " ".join(str(value) for value in row.values())
    return (
        (fqdn is None or fqdn in text)
        and (port is None or str(row.get("port", row.get("name", ""))) == port or f"|{port}|" in text)
        and (name is None or row.get("name") == name)
    )


def _domains(domains: Sequence[str]) -> str:
    first = domains[0] if domains else ""
    return f"{first} + {len(domains) - 1} more" if len(domains) > 1 else first
