"""Making one path of the many that mean the same (MeshConfig's `pathNormalization`), as Envoy does.

Rules that allow or deny by path must not be talked round by ``/a/../b`` or ``/%61``, so a path is made
canonical before any route or rule sees it, and goes on like that. Query strings are left as they are.
"""

from __future__ import annotations

import re

from devmesh.snapshot.snapshot import PathNormalization

# What BASE leaves as it is: nothing is escaped, and no segment begins with a dot.
_CANONICAL = re.compile(r"(?:/(?!\.)[\w.~!$&'()*+,;=:@\[\]\-]*)+", re.ASCII)
_SLASH = re.compile(r"%2f|%5c", re.IGNORECASE)
_SLASHES = re.compile(r"//+")
_ESCAPED = re.compile(r"%([0-9a-fA-F]{2})")
_UNWISE = re.compile(r'["<>^`{|}]')
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class BadPath(ValueError):
    """A path that Envoy refuses with 400: it holds an escaped NUL."""


def normalized(target: str, how: PathNormalization = PathNormalization.BASE) -> str:
    """Return `target`, a path that begins with a slash and maybe a query, in its canonical form.

    BASE is RFC 3986, section 6.2.2 (dot segments, escaped unreserved characters), with backslashes taken
    for slashes and what no path may hold escaped; ``MERGE_SLASHES`` makes several slashes one;
    ``DECODE_AND_MERGE_SLASHES`` before all that unescapes slashes.

    Raises:
        BadPath: It holds an escaped NUL.
    """
    if how is PathNormalization.NONE or not target.startswith("/"):
        return target
    path, mark, query = target.partition("?")
    if how is PathNormalization.DECODE_AND_MERGE_SLASHES and "%" in path:
        path = _SLASH.sub(lambda found: "/" if found[0][1] == "2" else "\\", path)
    if not _CANONICAL.fullmatch(path):
        path = _canonical(path)
    if how is not PathNormalization.BASE and "//" in path:
        path = _SLASHES.sub("/", path)
    return path + mark + query


def _canonical(path: str) -> str:
    if "%00" in path:
        raise BadPath("path_normalization_failed")
    path = _ESCAPED.sub(_unescaped, path.replace("\\", "/"))
    path = _UNWISE.sub(lambda found: f"%{ord(found[0]):02X}", path)
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _unescaped(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return character if character in _UNRESERVED else found[0]
