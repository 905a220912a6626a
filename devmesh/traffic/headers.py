"""Header operations of routes, and the command operators that their values may hold."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from devmesh.snapshot.route import HeaderOps

Headers = list[tuple[str, str]]
"""Names in lower case, in the order sent; a name may be there several times."""

Expand = Callable[[str, str], str | None]
"""What an operator stands for: its name (``REQ``) and its argument (``x-user``, or empty); None: nothing."""

_OPERATOR = re.compile(r"%(?:%|([A-Z0-9_]+)(?:\(([^)]*)\))?(?::(\d+))?%)")
_PROTECTED = ("host", ":authority", ":method", ":path", ":scheme")


def apply(ops: HeaderOps, headers: Headers, expand: Expand) -> str | None:
    """Change `headers` in place: remove, then set, then add.

    Returns:
        The new authority, where ``host`` or ``:authority`` is set; other pseudo headers are left alone.
    """
    for name in ops.remove:
        if name.lower() not in _PROTECTED:
            _remove(headers, name.lower())
    authority = None
    for name, template in ops.set:
        lower, value = name.lower(), render(template, expand)
        if lower in ("host", ":authority"):
            authority = value or None
        elif not lower.startswith(":") and value:  # Envoy: an empty value is not written
            _remove(headers, lower)
            headers.append((lower, value))
    for name, template in ops.add:
        lower, value = name.lower(), render(template, expand)
        if not lower.startswith(":") and value:
            headers.append((lower, value))
    return authority


def _remove(headers: Headers, name: str) -> None:
    if any(header == name for header, _ in headers):
        headers[:] = [pair for pair in headers if pair[0] != name]


def render(template: str, expand: Expand) -> str:
    """Return `template` with its operators expanded; ``%%`` is a percent sign.

    Envoy: an operator without a value is empty in a header (in an access log it is ``-``). ``:N`` cuts
    to N characters; ``REQ(a?b)`` is left to `expand`, with the help of `named`.
    """
    if "%" not in template:
        return template
    parts: list[str] = []
    for piece in parsed(template):
        if isinstance(piece, str):
            parts.append(piece)
        else:
            name, argument, length = piece
            parts.append((expand(name, argument) or "")[:length])
    return "".join(parts)


@functools.lru_cache(maxsize=4096)
def parsed(template: str) -> tuple[str | tuple[str, str, int | None], ...]:
    """Split `template` into plain text and operators (name, argument, longest length or None).

    A percent sign that begins no operator stays as it is.
    """
    parts: list[str | tuple[str, str, int | None]] = []
    end = 0
    for found in _OPERATOR.finditer(template):
        if found.start() > end:
            parts.append(template[end : found.start()])
        end = found.end()
        name, argument, length = found.groups()
        parts.append((name, argument or "", int(length) if length else None) if name else "%")
    if end < len(template):
        parts.append(template[end:])
    return tuple(parts)


def named(argument: str, get: Callable[[str], str | None]) -> str | None:
    """Look up ``first?other``, the argument of REQ and RESP, by `get`, which takes lower-case names."""
    first, _, other = argument.partition("?")
    value = get(first.lower())
    return get(other.lower()) if value is None and other else value
