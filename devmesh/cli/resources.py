"""Names of resources as users type them, resolved by the API's own discovery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any
from urllib.parse import quote, urlencode

from devmesh.cli.client import Api
from devmesh.cli.failure import CliFailure
from devmesh.config.reading import Document


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind, as discovery lists it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    names: tuple[str, ...]
    categories: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """``deployment.apps``: what comes before the name in messages."""
        return f"{self.kind.lower()}.{self.group}" if self.group else self.kind.lower()

    def path(self, namespace: str, name: str = "", sub: str = "", /, **query: str | int | None) -> str:
        """Return a URL's path; `namespace` "" is all of them, query arguments that are None are left out."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        inside = f"/namespaces/{quote(namespace)}" if self.namespaced and namespace else ""
        tail = (f"/{quote(name)}" if name else "") + (f"/{sub}" if sub else "")
        given = {key: value for key, value in query.items() if value is not None}
        return f"{root}{inside}/{self.plural}{tail}" + (f"?{urlencode(given)}" if given else "")


class Catalogue:
    """All kinds of a mesh, asked once."""

    def __init__(self, api: Api) -> None:
        self._resources = [
            _resource(group, version, entry)
            for group, version, entries in _lists(api)
            for entry in entries
            if "/" not in entry["name"]
        ]

    def find(self, name: str) -> Resource:
        """Find by plural, singular, kind, short name, with ``.group`` or without.

        Raises:
            CliFailure: The mesh has no such kind.
        """
        word, _, group = name.lower().partition(".")
        for resource in self._resources:
            if word in resource.names and resource.group.startswith(group):
                return resource
        raise CliFailure(f'the mesh doesn\'t have a resource type "{name}"; see `kubectl api-resources`')

    def find_all(self, names: str) -> list[Resource]:
        """Find a comma-separated list; a category (``all``, ``istio-io``) stands for its kinds."""
        found: list[Resource] = []
        for name in names.split(","):
            members = [resource for resource in self._resources if name in resource.categories]
            found += members or [self.find(name)]
        return found

    def of(self, document: Document) -> Resource:
        """Find the kind of a document.

        Raises:
            CliFailure: The mesh has no such kind.
        """
        group, _, _ = document.api_version.rpartition("/")
        for resource in self._resources:
            if (resource.group, resource.kind) == (group, document.kind):
                return resource
        near = get_close_matches(document.kind, [resource.kind for resource in self._resources], 1, 0.7)
        hint = f' (did you mean "{near[0]}"?)' if near else ""
        message = f'no matches for kind "{document.kind}" in version "{document.api_version}"{hint}'
        raise CliFailure(str(document.finding("DM0004", "error", message, ("kind",))))


def targets(catalogue: Catalogue, words: Sequence[str]) -> list[tuple[Resource, str | None]]:
    """Read ``TYPE``, ``TYPE NAME...`` or ``TYPE/NAME...``; a name of None means all."""
    if not words:
        raise CliFailure("say which: TYPE, TYPE NAME or TYPE/NAME", 2)
    if "/" in words[0]:
        pairs = [word.partition("/") for word in words]
        return [(catalogue.find(kind), name) for kind, _, name in pairs]
    if len(words) == 1:
        return [(resource, None) for resource in catalogue.find_all(words[0])]
    return [(catalogue.find(words[0]), name) for name in words[1:]]


def pods_of(api: Api, catalogue: Catalogue, target: str, namespace: str) -> list[dict[str, Any]]:
    """Return the pods that ``NAME``, ``pod/NAME``, ``deploy/NAME``, ``svc/NAME`` ... mean, the oldest first.

    Raises:
        CliFailure: There are none.
    """
    kind, slash, name = target.partition("/")
    pod = catalogue.find("pods")
    resource = catalogue.find(kind) if slash else pod
    found = api.get(resource.path(namespace, name if slash else kind))
    if resource.kind == "Pod":
        return [found]
    selector = found["spec"].get("selector") or {}
    labels = selector.get("matchLabels", selector)
    wanted = ",".join(f"{key}={value}" for key, value in labels.items())
    pods: list[dict[str, Any]] = api.get(pod.path(namespace, labelSelector=wanted))["items"]
    if not pods:
        raise CliFailure(f"{target} has no pods; see `devmesh describe {target}`")
    return sorted(pods, key=lambda p: (str(p["metadata"]["creationTimestamp"]), str(p["metadata"]["name"])))


def _lists(api: Api) -> list[tuple[str, str, list[dict[str, Any]]]]:
    core = api.get("/api/v1")["resources"]
    found = [("", "v1", core)]
    for group in api.get("/apis")["groups"]:
        preferred = group["preferredVersion"]["groupVersion"]
        name, _, version = preferred.partition("/")
        found.append((name, version, api.get(f"/apis/{preferred}")["resources"]))
    return found


def _resource(group: str, version: str, entry: dict[str, Any]) -> Resource:
    names = (entry["name"], entry.get("singularName") or entry["kind"].lower(), *entry.get("shortNames", ()))
    return Resource(
        group,
        version,
        entry["name"],
        entry["kind"],
        entry["namespaced"],
        names,
        tuple(entry.get("categories", ())),
    )
