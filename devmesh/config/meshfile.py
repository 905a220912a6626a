"""The mesh file: everything that is local to this machine, so that manifests stay as on a cluster."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import field

from devmesh.config.decode import check
from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import ObjectMeta
from devmesh.config.finding import Finding
from devmesh.config.meshconfig import check_config
from devmesh.config.problems import HARMLESS, UNKNOWN, Cause, invalid
from devmesh.config.reading import STDIN, Document, Unreadable, read_file
from devmesh.config.statedir import mesh_name
from devmesh.config.typed import convert

FILE = "devmesh.yaml"
API_VERSION = "devmesh.dev/v1alpha1"
KIND = "Mesh"
_PATTERN = re.compile(r"[*?\[]")
_COMPOSE = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")


class Build(Message, frozen=True, kw_only=True):
    """How an image is built where it is missing; paths are relative to the mesh file."""

    context: str = "."
    dockerfile: str | None = None
    args: dict[str, str] = field(default_factory=dict)
    target: str | None = None


class Process(Message, frozen=True, kw_only=True):
    """What is run in place of the image; ``{python}`` is devmesh's own interpreter."""

    command: tuple[str, ...]
    workdir: str = "."
    env: dict[str, str] = field(default_factory=dict)


class ImageRule(Message, frozen=True, kw_only=True):
    """How an image that manifests name is had here; `match` is a glob whose ``*`` matches slashes too."""

    match: str
    build: Build | None = None
    process: Process | None = None


class LocalGateways(Message, frozen=True, kw_only=True):
    """Where the ingress gateway listens on 127.0.0.1; 0 chooses a port."""

    http: int = 8080
    https: int = 8443


class LocalDns(Message, frozen=True, kw_only=True):
    """Names of the world that are answered here: stand-ins for what the application calls outside.

    `hosts` has addresses by name; ``*.suffix`` is a wildcard.
    """

    hosts: dict[str, tuple[str, ...]] = field(default_factory=dict)


class MeshSpec(Message, frozen=True, kw_only=True):
    """What is local: the runtime, the manifests to load, images, ports."""

    runtime: Literal["auto", "docker", "process"] = "auto"
    resources: tuple[str, ...] = ()
    images: tuple[ImageRule, ...] = ()
    injection: Literal["istio", "all"] = "istio"
    gateways: LocalGateways = field(default_factory=LocalGateways)
    dns: LocalDns = field(default_factory=LocalDns)
    mesh_config: dict[str, Any] = field(default_factory=dict)


class Mesh(Message, frozen=True, kw_only=True):
    """The document of ``devmesh.yaml``."""

    api_version: str = API_VERSION
    kind: str = KIND
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: MeshSpec = field(default_factory=MeshSpec)


class NoInput(LookupError):
    """There is nothing to run; the message says what was looked for."""


class BadMeshFile(ValueError):
    """The mesh file cannot be used; `findings` say where and why."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("\n".join(map(str, findings)))
        self.findings = tuple(findings)


@dataclass(frozen=True, slots=True)
class MeshFile:
    """What ``devmesh up`` was given, resolved.

    Attributes:
        name: The mesh's: the mesh file's, else the folder's.
        base: The folder that relative paths in messages are relative to: the mesh file's, else
            the working directory.
        path: The mesh file; None where there is none.
        resources: Files, folders and patterns for `FileSource`; absolute, or ``-``.
        findings: Warnings about the mesh file.
        given, cwd: What it was opened with.
    """

    name: str
    base: Path
    spec: MeshSpec
    path: Path | None = None
    resources: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    given: tuple[str, ...] = ()
    cwd: Path = Path()

    @classmethod
    def open(cls, files: Sequence[str] = (), cwd: Path | None = None) -> MeshFile:
        """Find and read what `files` (the ``-f`` options) name; without any, ``./devmesh.yaml``.

        A folder that holds a ``devmesh.yaml`` stands for that; other files, folders, patterns and
        ``-`` are resources beside those of the mesh file.

        Raises:
            NoInput: Nothing was given, and nothing was found.
            BadMeshFile: The mesh file has errors, or there are several.
        """
        cwd = (cwd or Path.cwd()).resolve()
        given = list(files) or [_discover(cwd)]
        for file in given:
            if file != STDIN and not _PATTERN.search(file) and not (cwd / file).exists():
                raise NoInput(f"the path {file} does not exist")
        mesh_files: list[tuple[Path, Document]] = []
        resources: list[str] = []
        for file in given:
            found = _mesh_document(cwd, file)
            if found is not None:
                mesh_files.append(found)
            else:
                resources.append(file if file == STDIN else str(cwd / file))
        if len(mesh_files) > 1:
            message = f"several mesh files: {', '.join(str(path) for path, _ in mesh_files)}; give one"
            raise BadMeshFile([Finding("DM0008", "error", message)])
        if not mesh_files:
            return cls(
                mesh_name(cwd.name or "mesh"), cwd, MeshSpec(), None, tuple(resources), (), tuple(given), cwd
            )
        path, document = mesh_files[0]
        mesh, warnings = _decoded(document)
        own = [str(path.parent / resource) for resource in mesh.spec.resources]
        name = mesh_name(mesh.metadata.name or path.parent.name or "mesh")
        every = (*own, *resources)
        return cls(name, path.parent, mesh.spec, path, every, tuple(warnings), tuple(given), cwd)

    def reread(self) -> MeshFile:
        """Return what is there now.

        Raises:
            NoInput: It is gone.
            BadMeshFile: It has errors.
        """
        return MeshFile.open(self.given, self.cwd)

    def image(self, name: str) -> ImageRule | None:
        """Return how the image `name` is had: the first rule that matches; None: as it is."""
        return next((r for r in self.spec.images if fnmatch.fnmatchcase(name, r.match)), None)

    @property
    def images(self) -> list[dict[str, Any]]:
        """``spec.images`` as plain values."""
        return [_plain(rule) for rule in self.spec.images]


def _discover(cwd: Path) -> str:
    if (cwd / FILE).is_file():
        return FILE
    for name in _COMPOSE:
        if (cwd / name).is_file():
            raise NoInput(
                f"{cwd / name} is a Compose file, which devmesh does not read yet: write a {FILE} beside it, "
                "or give manifests with -f"
            )
    raise NoInput(f"nothing to run in {cwd}: no {FILE}, {', '.join(_COMPOSE)}; give files or folders with -f")


def _mesh_document(cwd: Path, file: str) -> tuple[Path, Document] | None:
    """Return the mesh file that `file` is or, being a folder, holds."""
    path = cwd / file
    if file == STDIN:
        return None
    inside = path / FILE if path.is_dir() else path
    if not inside.is_file() or (path.is_dir() and not inside.is_file()):
        return None
    if inside.name != FILE and inside.suffix not in (".yaml", ".yml", ".json"):
        return None
    try:
        documents = read_file(str(inside), shown=_shown(inside, cwd))
    except Unreadable as error:
        if inside.name == FILE:
            raise BadMeshFile([error.finding]) from None
        return None  # read again as a resource, which tells what is wrong
    meshes = [d for d in documents if d.kind == KIND and d.api_version.startswith("devmesh.dev/")]
    if not meshes:
        if inside.name == FILE:
            message = f"is no mesh file: expected apiVersion: {API_VERSION} and kind: {KIND}"
            raise BadMeshFile(
                [Finding("DM0004", "error", message, file=_shown(inside, cwd), line=1, column=1)]
            )
        return None
    if len(documents) > 1:
        message = (
            "a mesh file holds the one document: put the others into files of their own (spec.resources)"
        )
        raise BadMeshFile([documents[1].finding("DM0004", "error", message)])
    return inside.resolve(), meshes[0]


def _shown(path: Path, cwd: Path) -> str:
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)


def _decoded(document: Document) -> tuple[Mesh, list[Finding]]:
    if document.api_version != API_VERSION:
        message = f"version {document.api_version} is not known: write {API_VERSION}"
        raise BadMeshFile([document.finding("DM0004", "error", message, ("apiVersion",))])
    clean, causes = check(document.raw, Mesh, snake_case=False)
    if not causes:
        causes = [*causes, *_semantics(clean)]
    findings = [_finding(document, cause) for cause in causes]
    if any(finding.severity == "error" for finding in findings):
        raise BadMeshFile(findings)
    return convert(clean, Mesh), findings


def _semantics(clean: Mapping[str, Any]) -> list[Cause]:
    spec = clean.get("spec") or {}
    found = list(check_config(spec.get("meshConfig") or {}, ("spec", "meshConfig")))
    for name, port in (spec.get("gateways") or {}).items():
        if not 0 <= port <= 65535:
            found.append(invalid(("spec", "gateways", name), port, "must be between 0 and 65535, inclusive"))
    for name, given in ((spec.get("dns") or {}).get("hosts") or {}).items():
        wrong = [each for each in given if not _is_address(each)]
        found += [invalid(("spec", "dns", "hosts", name), each, "must be an IP address") for each in wrong]
    for n, rule in enumerate(spec.get("images") or ()):
        if "build" not in rule and "process" not in rule:
            found.append(invalid(("spec", "images", n), rule["match"], "give build, process, or both"))
        if "process" in rule and not rule["process"].get("command"):
            found.append(invalid(("spec", "images", n, "process", "command"), [], "may not be empty"))
    return found


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _finding(document: Document, cause: Cause) -> Finding:
    severity = "warning" if cause.reason in HARMLESS else "error"
    code = "DM0009" if severity == "warning" else "DM0005" if cause.reason == UNKNOWN else "DM0007"
    return document.finding(code, severity, cause.message, cause.path, cause.field)


def _plain(rule: ImageRule) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(rule))
    return found
