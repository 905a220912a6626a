"""YAML as other programs read it."""

from __future__ import annotations

import pytest
import yaml

from devmesh.cli.yaml_text import write_yaml


@pytest.mark.parametrize(
    "text",
    [
        "y",
        "N",
        "yes",
        "on",
        "Off",
        "null",
        "~",
        "1e3",
        "-.5E-3",
        "1.",
        "0o17",
        "017",
        "0x1f",
        "12",
        "2026-01-01",
        "1:30",
    ],
)
def test_strings_that_some_reader_takes_for_something_else_are_quoted(text: str) -> None:
    assert write_yaml({"a": text, text: "b"}) == f"a: '{text}'\n'{text}': b\n"


@pytest.mark.parametrize("text", ["yy", "v1", "1.2.3", "10.0.0.1", "1e3s", "5s", "e3", "a-b", "no-way", ""])
def test_other_strings_are_as_they_were(text: str) -> None:
    assert write_yaml({"a": text}) == yaml.safe_dump({"a": text})


@pytest.mark.parametrize("value", [True, False, None, 1, 1.5, 1e300, -0.25, [], {}, 10**20])
def test_what_is_no_string_is_not_quoted(value: object) -> None:
    assert write_yaml({"a": value}) == yaml.safe_dump({"a": value})
