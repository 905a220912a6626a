"""Documents that a command's ``-f`` names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from devmesh.cli.failure import CliFailure
from devmesh.config.reading import STDIN, Document, Unreadable, files_of, is_document_file, read_file

F = TypeVar("F", bound=Callable[..., Any])


def files_option(*, required: bool) -> Callable[[F], F]:
    """Add ``-f PATH``, which may repeat."""
    return click.option(
        "-f", "--filename", "paths", multiple=True, required=required, metavar="PATH",
        help="A file, a folder, or - for standard input; may repeat.",
    )  # fmt: skip


def read(paths: Sequence[str], *, recursive: bool = False) -> list[Document]:
    """Return all documents; the members of a List one by one.

    Raises:
        CliFailure: A path isn't there, what it holds isn't YAML, or there is no document at all.
    """
    try:
        files = [file for path in paths for file in _files(path, recursive)]
        found = [document for file in files for document in read_file(file)]
    except Unreadable as error:
        raise CliFailure(str(error.finding)) from error
    for document in found:
        if not document.api_version or not document.kind:
            raise CliFailure(str(document.finding("DM0004", "error", "a resource has apiVersion and kind")))
    if paths and not found:
        raise CliFailure(f"no resource in {', '.join(paths)}")
    return found


def named(document: Document) -> str:
    """Return the name of what a document is about.

    Raises:
        CliFailure: It has none.
    """
    name = document.metadata.get("name")
    if not isinstance(name, str) or not name:
        wrong = document.finding("DM0007", "error", "metadata.name: Required value", ("metadata",))
        raise CliFailure(str(wrong))
    return name


def _files(path: str, recursive: bool) -> Iterator[str]:
    folder = Path(path)
    if path == STDIN or not (recursive and folder.is_dir()):
        yield from files_of([path])
        return
    yield from (str(file) for file in sorted(folder.rglob("*")) if file.is_file() and is_document_file(file))
