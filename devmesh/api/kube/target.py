"""What a URL names: a kind in one of its versions, a namespace, an object, a subresource."""

from __future__ import annotations

from dataclasses import dataclass

from devmesh.api.kube.errors import no_such_path
from devmesh.config.kinds import Kind, Kinds
from devmesh.config.store import Key


@dataclass(frozen=True, slots=True)
class Target:
    """`namespace` is empty for all of them; `name` is empty for a collection."""

    kind: Kind
    version: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def api_version(self) -> str:
        return f"{self.kind.group}/{self.version}" if self.kind.group else self.version

    @property
    def key(self) -> Key:
        return Key(self.kind, self.namespace, self.name)


def parse(path: str, kinds: Kinds) -> Target:
    """Read ``/api/v1/...`` or ``/apis/<group>/<version>/...``.

    Raises:
        ApiError: 404: no such kind, version or subresource.
    """
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) >= 3:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise no_such_path()
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and not _is_namespace_subresource(group, rest):
        namespace, rest = rest[1], rest[2:]
    kind = kinds.plural(group, rest[0])
    if kind is None or version not in kind.versions or len(rest) > 3:
        raise no_such_path()
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if bool(namespace) != kind.namespaced and (namespace or name):
        raise no_such_path()
    return Target(kind, version, namespace, name, subresource)


def _is_namespace_subresource(group: str, rest: list[str]) -> bool:
    return not group and len(rest) == 3 and rest[2] in ("status", "finalize")
