"""What a kind of resource is, and a registry of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One kind of resource, as Kubernetes' discovery describes it.

    `version` is the storage version, in which the store keeps its objects; `versions` are all
    served ones, the preferred first. `effect` is False for kinds that are stored and
    reported as without effect here; `custom` is for those of a CustomResourceDefinition. Two
    kinds are the same when they are one object.
    """

    group: str
    kind: str
    plural: str
    versions: tuple[str, ...]
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ("status",)
    effect: bool = True
    custom: bool = False

    @property
    def version(self) -> str:
        return self.versions[0]

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """The name that errors use: ``deployments.apps``, ``pods``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def __str__(self) -> str:
        return self.kind


class Kinds:
    """A registry of kinds; CustomResourceDefinitions add to it."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self._by_name: dict[tuple[str, str], Kind] = {}
        self._by_plural: dict[tuple[str, str], Kind] = {}
        for kind in kinds:
            self.add(kind)

    def add(self, kind: Kind) -> None:
        self._by_name[kind.group, kind.kind] = kind
        self._by_plural[kind.group, kind.plural] = kind

    def remove(self, kind: Kind) -> None:
        self._by_name.pop((kind.group, kind.kind), None)
        self._by_plural.pop((kind.group, kind.plural), None)

    def __iter__(self) -> Iterator[Kind]:
        return iter(tuple(self._by_name.values()))

    def named(self, api_version: str, kind: str) -> Kind | None:
        """Find by a document's ``apiVersion`` and ``kind``; None where group, version or kind is unknown."""
        group, _, version = api_version.rpartition("/")
        found = self._by_name.get((group, kind))
        return found if found and version in found.versions else None

    def plural(self, group: str, plural: str) -> Kind | None:
        """Find by the names in a URL."""
        return self._by_plural.get((group, plural))

    def get(self, kind: str, group: str | None = None) -> Kind:
        """Find by kind alone where the group is clear.

        Raises:
            KeyError: There is none, or several groups have one.
        """
        found = [k for k in self._by_name.values() if k.kind == kind and group in (None, k.group)]
        if len(found) != 1:
            raise KeyError(f"{len(found)} kinds are named {kind!r}")
        return found[0]
