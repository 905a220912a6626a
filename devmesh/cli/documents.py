"""Documents that a command's ``-f`` names."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import yaml

from devmesh.cli.failure import CliFailure

F = TypeVar("F", bound=Callable[..., Any])
SUFFIXES = (".yaml", ".yml", ".json")


def files_option(*, required: bool) -> Callable[[F], F]:
    """Add ``-f PATH``, which may repeat."""
    return click.option(
        "-f", "--filename", "paths", multiple=True, required=required, metavar="PATH",
        help="A file, a folder, or - for standard input; may repeat.",
    )  # fmt: skip


def read(paths: Sequence[str], *, recursive: bool = False) -> Iterator[dict[str, Any]]:
    """Yield each document; the members of a List one by one.

    Raises:
        CliFailure: A path isn't there, or what it holds isn't YAML.
    """
    for path in paths:
        for name, text in _texts(path, recursive):
            try:
                for document in yaml.safe_load_all(text):
                    yield from _members(document, name)
            except yaml.YAMLError as error:
                raise CliFailure(f"{name}: {error}") from error


def _members(document: Any, name: str) -> Iterator[dict[str, Any]]:
    if document is None:
        return
    if not isinstance(document, dict) or "kind" not in document or "apiVersion" not in document:
        raise CliFailure(f"{name}: a document needs apiVersion and kind")
    if document["kind"] == "List":
        for item in document.get("items") or ():
            yield from _members(item, name)
    else:
        yield document


def _texts(path: str, recursive: bool) -> Iterator[tuple[str, str]]:
    if path == "-":
        yield "standard input", sys.stdin.read()
        return
    where = Path(path)
    if where.is_dir():
        found = sorted(where.rglob("*") if recursive else where.iterdir())
        for file in found:
            if file.is_file() and file.suffix in SUFFIXES:
                yield str(file), file.read_text()
        return
    try:
        yield path, where.read_text()
    except OSError as error:
        raise CliFailure(f"{path}: {error.strerror}") from error
