"""Documents from files, folders, patterns and standard input."""

from __future__ import annotations

import glob
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import IO, Any

from devmesh.config.finding import Finding
from devmesh.config.problems import Path
from devmesh.config.yaml_values import NotYAML, Place, Value, read_values

STDIN = "-"
_SUFFIXES = (".yaml", ".yml", ".json")
_LARGEST_FILE = 16 * 1024 * 1024


class Unreadable(ValueError):
    """A file cannot be had or understood; `finding` says where and why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


@dataclass(frozen=True, slots=True)
class Document:
    """One resource as it was written, and where."""

    raw: dict[str, Any]
    file: str
    place: Place = (1, 1)
    places: Mapping[Path, Place] = field(default_factory=dict, repr=False, compare=False)

    @property
    def api_version(self) -> str:
        return str(self.raw.get("apiVersion") or "")

    @property
    def kind(self) -> str:
        return str(self.raw.get("kind") or "")

    @property
    def metadata(self) -> Mapping[str, Any]:
        found = self.raw.get("metadata")
        return found if isinstance(found, dict) else {}

    @property
    def digest(self) -> str:
        """A hash of the content: comments, order of keys and layout don't count."""
        written = json.dumps(self.raw, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(written.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def where(self, path: Path) -> Place:
        """Return the line and column of a field, or of the nearest thing around it that was written."""
        for length in range(len(path), 0, -1):
            if (found := self.places.get(tuple(path[:length]))) is not None:
                return found
        return self.place

    def finding(self, code: str, severity: Any, message: str, path: Path = (), text: str = "") -> Finding:
        """Say something about a field of this document."""
        line, column = self.where(path)
        namespace, name = self.metadata.get("namespace"), self.metadata.get("name")
        return Finding(
            code,
            severity,
            message,
            kind=self.kind,
            namespace=str(namespace or ""),
            name=str(name or ""),
            path=text,
            file=self.file,
            line=line,
            column=column,
        )


def read_text(text: str, file: str) -> list[Document]:
    """Read the resources of `text`; a ``List`` becomes its items.

    Raises:
        Unreadable: It is no YAML or JSON, or holds something else than objects.
    """
    try:
        return [document for value in read_values(text) for document in _documents(value, file)]
    except NotYAML as error:
        line, column = error.place
        raise Unreadable(
            Finding("DM0002", "error", str(error), file=file, line=line, column=column)
        ) from None


def read_file(path: str, *, stdin: IO[bytes] | None = None, shown: str = "") -> list[Document]:
    """Read a file, or standard input for ``-``.

    Args:
        shown: The name for messages; default: `path`.

    Raises:
        Unreadable: There is none, it is too large, or it isn't UTF-8, YAML, JSON.
    """
    shown = shown or ("<stdin>" if path == STDIN else path)
    try:
        if path == STDIN:
            data = (stdin or sys.stdin.buffer).read(_LARGEST_FILE + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(_LARGEST_FILE + 1)
        if len(data) > _LARGEST_FILE:
            message = f"larger than {_LARGEST_FILE >> 20} MiB: split it into several files"
            raise Unreadable(Finding("DM0001", "error", message, file=shown))
        text = data.decode()
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        raise Unreadable(Finding("DM0001", "error", message, file=shown)) from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"not UTF-8: byte {data[error.start]:#04x}"
        raise Unreadable(Finding("DM0002", "error", message, file=shown, line=line, column=1)) from None
    return read_text(text, shown)


def files_of(paths: Iterable[str], base: FilePath | None = None) -> list[str]:
    """Return the files that `paths` name, each once: files, folders (not those within), patterns, ``-``.

    A file that is named is returned whether it is there or not; reading it tells. Folders and
    patterns give ``.yaml``, ``.yml`` and ``.json`` in order of their names.

    Args:
        base: What relative paths are relative to; default: the working directory.

    Raises:
        Unreadable: A pattern or folder has no such file.
    """
    found: dict[str, None] = {}
    for given in paths:
        found |= dict.fromkeys(_files(given, base))
    return list(found)


def is_document_file(path: FilePath) -> bool:
    return path.suffix in _SUFFIXES and not path.name.startswith(".")


def _files(given: str, base: FilePath | None) -> Iterator[str]:
    if given == STDIN:
        yield STDIN
        return
    path = FilePath(given) if base is None else base / given
    if path.is_dir():
        inside = sorted(str(p) for p in path.iterdir() if is_document_file(p) and p.is_file())
    elif glob.has_magic(given) and not path.exists():
        matching = sorted(glob.glob(str(path), recursive=True))
        inside = [p for p in matching if FilePath(p).is_file() and is_document_file(FilePath(p))]
    else:
        yield str(path)
        return
    if not inside:
        message = f"no file in it ends in {', '.join(_SUFFIXES)}" if path.is_dir() else "no file matches"
        raise Unreadable(Finding("DM0001", "error", message, file=given))
    yield from inside


def same_twice(documents: Sequence[tuple[Document, str]]) -> list[Finding]:
    """Find objects that are there twice; each document comes with its object's full name."""
    first: dict[str, Document] = {}
    found: list[Finding] = []
    for document, key in documents:
        other = first.setdefault(key, document)
        if other is not document:
            message = f"{key} is there twice: first in {other.file}:{other.place[0]}"
            found.append(document.finding("DM0008", "error", message))
    return found


def _documents(value: Value, file: str) -> Iterator[Document]:
    raw = value.value
    if not isinstance(raw, dict):
        raise NotYAML(f"expected a resource with apiVersion and kind, got {type(raw).__name__}", value.place)
    items = raw.get("items")
    is_list = str(raw.get("kind") or "").endswith("List") and isinstance(items, list)
    if not is_list:
        yield Document(raw, file, value.place, value.places)
        return
    for n, item in enumerate(items or ()):
        place = value.places.get(("items", n), value.place)
        inner = {path[2:]: at for path, at in value.places.items() if path[:2] == ("items", n)}
        yield from _documents(Value(item, place, inner), file)
