"""YAML and JSON as plain values, with the place of every field.

Built from the parser's flat stream of events, so that neither depth nor aliases can exhaust
the process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from devmesh.config.problems import Path
from devmesh.config.scalar_resolution import resolve

Place = tuple[int, int]
"""Line and column, both from 1."""

_DEEPEST = 100
_MOST_VALUES = 200_000
_TAG = "tag:yaml.org,2002:"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class NotYAML(ValueError):
    """The text is neither YAML nor JSON as Kubernetes reads them; its author has to change it."""

    def __init__(self, message: str, place: Place = (1, 1)) -> None:
        super().__init__(message)
        self.place = place


@dataclass(slots=True)
class Value:
    """One document; `places` tells where each field begins (its key) and each item."""

    value: Any
    place: Place
    places: dict[Path, Place] = field(default_factory=dict)


def read_values(text: str) -> Iterator[Value]:
    """Yield the documents of `text`; empty ones are left out.

    Raises:
        NotYAML: With the place.
    """
    if text.lstrip("\ufeff \t\r\n").startswith("{"):
        try:
            yield from _json(text)
            return
        except ValueError:
            pass  # YAML's flow style begins so too; if it isn't that either, YAML's error is told.
        except RecursionError:
            raise NotYAML(f"nested deeper than {_DEEPEST} levels") from None
    yield from _yaml(text)


def _json(text: str) -> Iterator[Value]:
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
    found: list[Any] = []
    at, text = 0, text.lstrip("\ufeff")
    while rest := text[at:].lstrip():
        value, at = decoder.raw_decode(text, len(text) - len(rest))
        found.append(value)
    try:
        places = [value.places for value in _yaml(text)] if len(found) == 1 else []
    except NotYAML:
        places = []
    for n, value in enumerate(found):
        yield Value(value, (1, 1), places[n] if n < len(places) else {})


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _yaml(text: str) -> Iterator[Value]:
    try:
        loader = _Loader(text.lstrip("\ufeff"))
        try:
            yield from _documents(loader)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(part for part in (error.context, error.problem) if part)
        raise NotYAML(said, _place(mark) if mark else (1, 1)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise NotYAML(f"the character U+{_code(error.character):04X} is not allowed", (line, 1)) from None
    except yaml.YAMLError as error:
        raise NotYAML(str(error)) from None


def _code(character: Any) -> int:
    return character if isinstance(character, int) else ord(str(character)[:1] or "\0")


def _documents(loader: Any) -> Iterator[Value]:
    while loader.check_event():
        event = loader.get_event()
        if not isinstance(event, yaml.DocumentStartEvent):
            continue
        builder = _Builder(loader)
        value = builder.build()
        if value is not None:
            yield Value(value, builder.place, builder.places)


def _place(mark: Any) -> Place:
    return mark.line + 1, mark.column + 1


class _Builder:
    """Builds one document."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._anchors: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}
        self._count = 0
        self.place: Place = (1, 1)
        self.places: dict[Path, Place] = {}

    def build(self) -> Any:
        event = self._loader.get_event()
        self.place = _place(event.start_mark)
        return self._value(event, (), 0)

    def _value(self, event: Any, path: Path, depth: int) -> Any:
        place = _place(event.start_mark)
        self._add(1, place)
        if depth > _DEEPEST:
            raise NotYAML(f"nested deeper than {_DEEPEST} levels", place)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, place)
        before = self._count
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event, place)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(path, depth)
        else:
            value = self._mapping(path, depth)
        if event.anchor:
            self._anchors[event.anchor] = value
            self._sizes[event.anchor] = self._count - before + 1
        return value

    def _add(self, values: int, place: Place) -> None:
        self._count += values
        if self._count > _MOST_VALUES:
            raise NotYAML(
                f"the document has more than {_MOST_VALUES} values (aliases count each time)", place
            )

    def _alias(self, event: Any, place: Place) -> Any:
        if event.anchor not in self._anchors:
            raise NotYAML(f"*{event.anchor} has no finished anchor before it", place)
        self._add(self._sizes[event.anchor], place)
        return self._anchors[event.anchor]

    def _sequence(self, path: Path, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self._loader.get_event(), yaml.SequenceEndEvent):
            self.places[*path, len(items)] = _place(event.start_mark)
            items.append(self._value(event, (*path, len(items)), depth + 1))
        return items

    def _mapping(self, path: Path, depth: int) -> dict[str, Any]:
        given: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not isinstance(event := self._loader.get_event(), yaml.MappingEndEvent):
            place = _place(event.start_mark)
            merges = isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]
            key = "<<" if merges else self._key(event, depth)
            value = self._value(self._loader.get_event(), (*path, key), depth + 1)
            if merges:
                merged = {**_mergeable(value, place), **merged}
                continue
            if key in given:
                first = self.places.get((*path, key), place)
                raise NotYAML(f"the key {key!r} is there twice (first in line {first[0]})", place)
            given[key] = value
            self.places[*path, key] = place
        return {**merged, **given}

    def _key(self, event: Any, depth: int) -> str:
        key = self._value(event, (), depth + 1)
        if isinstance(key, bool):
            return "true" if key else "false"
        if key is None:
            return "null"
        if isinstance(key, str | int | float):
            return str(key)
        raise NotYAML("a key must be text", _place(event.start_mark))


def _scalar(event: Any, place: Place) -> Any:
    try:
        if event.implicit[0]:
            return resolve(event.value)
        if event.implicit[1] or event.tag in ("!", _TAG + "str", _TAG + "binary"):
            return event.value
        if event.tag in (_TAG + "int", _TAG + "float", _TAG + "bool", _TAG + "null", _TAG + "timestamp"):
            return resolve(event.value)
    except ValueError as error:
        raise NotYAML(str(error), place) from None
    raise NotYAML(f"the tag {event.tag} is not known", place)


def _mergeable(value: Any, place: Place) -> Mapping[str, Any]:
    """Return what ``<<`` brings: one mapping, or a list of which the earlier ones win."""
    found: dict[str, Any] = {}
    for part in reversed(value) if isinstance(value, list) else (value,):
        if not isinstance(part, dict):
            raise NotYAML("<< takes a mapping, or a list of mappings", place)
        found |= part
    return found
