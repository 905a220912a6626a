"""What became of each resource, told as kubectl does, or as one JSON list."""

from __future__ import annotations

from types import TracebackType

import click

from devmesh.cli.options import print_json
from devmesh.cli.resources import Resource


class Outcomes:
    """Lines as they come, or with ``-o json`` a list at the end: ``{kind, namespace, name, result}``.

    The list is printed when the block ends, by a failure too: what was done before it is done.
    """

    def __init__(self, output: str | None) -> None:
        self._is_json = output == "json"
        self._told: list[dict[str, str]] = []

    def __enter__(self) -> Outcomes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_json:
            print_json(self._told)

    def add(self, resource: Resource, namespace: str, name: str, result: str, line: str = "") -> None:
        """Tell of one; `line` is for people (default: ``deployment.apps/cart RESULT``)."""
        where = namespace if resource.namespaced else ""
        self._told.append({"kind": resource.kind, "namespace": where, "name": name, "result": result})
        if not self._is_json:
            click.echo(line or f"{resource.title}/{name} {result}")
