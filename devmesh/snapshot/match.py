"""Tests on one string, compiled: what VirtualService's StringMatch becomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class StringMatch(Protocol):
    """Whether a text is accepted. Called per request: no allocation, no compilation."""

    def __call__(self, text: str, /) -> bool: ...


class Pattern(Protocol):
    """The part of a compiled RE2 pattern that is used."""

    def fullmatch(self, text: str, /) -> object | None: ...


@dataclass(frozen=True, slots=True)
class Exact:
    value: str
    ignore_case: bool = False

    def __call__(self, text: str, /) -> bool:
        return text == self.value or (self.ignore_case and text.lower() == self.value.lower())


@dataclass(frozen=True, slots=True)
class Prefix:
    value: str
    ignore_case: bool = False

    def __call__(self, text: str, /) -> bool:
        if self.ignore_case:
            return text.lower().startswith(self.value.lower())
        return text.startswith(self.value)


@dataclass(frozen=True, slots=True)
class PathPrefix:
    """A prefix of whole path segments: ``/foo`` accepts ``/foo`` and ``/foo/bar``, not ``/foobar`` (Gateway
    API; Envoy: path_separated_prefix). `value` has no ``/`` at its end."""

    value: str

    def __call__(self, text: str, /) -> bool:
        value = self.value
        return text.startswith(value) and (len(text) == len(value) or text[len(value)] == "/")


@dataclass(frozen=True, slots=True)
class Suffix:
    value: str

    def __call__(self, text: str, /) -> bool:
        return text.endswith(self.value)


@dataclass(frozen=True, slots=True)
class Regex:
    """RE2 syntax, and the whole value has to match (Istio; Envoy: safe_regex_match)."""

    source: str
    pattern: Pattern

    def __call__(self, text: str, /) -> bool:
        return self.pattern.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Present:
    """Any value does, an empty one too (Istio: a header match without a kind)."""

    def __call__(self, text: str, /) -> bool:
        return True
