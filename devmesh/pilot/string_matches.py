"""Istio's StringMatch, compiled."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from devmesh.config.documents.selectors import StringMatch as Written
from devmesh.snapshot.match import Exact, Pattern, Prefix, Present, Regex, StringMatch


@functools.lru_cache(maxsize=4096)
def pattern(source: str) -> Pattern:
    """Compile RE2 (`re2.error` where it isn't; admission refuses such)."""
    import re2  # few meshes need it

    compiled: Pattern = re2.compile(source)
    return compiled


def string_match(written: Written, *, ignore_case: bool = False) -> StringMatch:
    """Compile one condition; one without a kind is fulfilled by any value."""
    if written.exact is not None:
        return Exact(written.exact, ignore_case)
    if written.prefix is not None:
        return Prefix(written.prefix, ignore_case)
    if written.regex is not None:
        return Regex(written.regex, pattern(written.regex))
    return Present()


def value_match(written: Written) -> StringMatch:
    """Compile a condition on a header or a query parameter, where the regex ``*`` means presence."""
    return Present() if written.regex == "*" else string_match(written)


def value_matches(written: Mapping[str, Written]) -> tuple[tuple[str, StringMatch], ...]:
    """Compile the conditions on headers; names become lower case."""
    return tuple((name.lower(), value_match(match)) for name, match in written.items())
