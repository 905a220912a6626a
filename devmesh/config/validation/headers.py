"""Names of headers, and operations on them (Istio: the validating webhook)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from devmesh.config.documents.virtualservice import HeaderOperations, Headers
from devmesh.config.problems import Cause, MapKey, Path, invalid

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CLAIM = re.compile(r"@request\.auth\.claims(\..+|(\[[^\[\]]+\])+)")
_PSEUDO = {":method", ":scheme", ":authority", ":path", ":status"}
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# Envoy's substitutions: %NAME%, %NAME(arguments)%, %NAME(arguments):7%; %% is a per cent sign.
_SUBSTITUTED = re.compile(r"(?:[^%]|%%|%[A-Za-z_]+(?:\([^)]*\))?(?::\d+)?%)*")


def header_name(name: str) -> str:
    """Return what is wrong with the name of a header to match, or ""."""
    if not name:
        return "a header's name may not be empty"
    if name in _PSEUDO or _CLAIM.fullmatch(name) or _NAME.fullmatch(name):
        return ""
    return "no header's name"


def header_operations(headers: Headers | None, path: Path) -> Iterator[Cause]:
    """Check the changes of headers that a route or destination asks for."""
    if headers is None:
        return
    if headers.request is not None:
        yield from _operations(headers.request, (*path, "request"), authority=True)
    if headers.response is not None:
        yield from _operations(headers.response, (*path, "response"), authority=False)


def _operations(operations: HeaderOperations, path: Path, *, authority: bool) -> Iterator[Cause]:
    for field, values in (("set", operations.set), ("add", operations.add)):
        for name, value in values.items():
            at: Path = (*path, field, MapKey(name))
            if wrong := _changeable(name, authority=authority):
                yield invalid(at, name, wrong)
            if _CONTROL.search(value):
                yield invalid(at, value, "control characters are not allowed in a header")
            elif not _SUBSTITUTED.fullmatch(value):
                yield invalid(at, value, "write %% for a per cent sign; %NAME% is a substitution")
    for n, name in enumerate(operations.remove):
        if wrong := _changeable(name, authority=False):
            yield invalid((*path, "remove", n), name, wrong)


def _changeable(name: str, *, authority: bool) -> str:
    if not name:
        return "a header's name may not be empty"
    if authority and name.lower() in ("host", ":authority"):
        return ""
    if name.lower() == "host":
        return "the Host header cannot be changed here"
    return "pseudo headers cannot be changed" if name.startswith(":") else ""
