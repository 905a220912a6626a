"""What was seen of Envoy 1.40; tests/proxy/test_differential.py compares with it."""

from __future__ import annotations

import pytest

from devmesh.snapshot.snapshot import PathNormalization
from devmesh.traffic.paths import BadPath, normalized

MERGE, DECODE = PathNormalization.MERGE_SLASHES, PathNormalization.DECODE_AND_MERGE_SLASHES


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/../b", "/b"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/a/b/../../..", "/"),
        ("/a/..b", "/a/..b"),
        ("/.well-known/x", "/.well-known/x"),
        ("/a//../b", "/a/b"),
        ("/a//b", "/a//b"),
        (r"/a\b\..\c", "/a/c"),
        ("/a/%2f/b", "/a/%2f/b"),
        ("/a%5c..%5Cb", "/a%5c..%5Cb"),
        ("/a%2e%2e/b", "/a../b"),
        ("/%zz%2%", "/%zz%2%"),
        ("/a%41%7e%2D", "/aA~-"),
        ('/"<>^`{|}', "/%22%3C%3E%5E%60%7B%7C%7D"),
        ("/a/..?q=/../%41", "/?q=/../%41"),
        ("/a?x=\\", "/a?x=\\"),
        ("*", "*"),
        ("/", "/"),
    ],
)
def test_base_makes_the_path_canonical(path: str, canonical: str) -> None:
    assert normalized(path) == canonical
    assert normalized(canonical) == canonical


def test_slashes_are_merged_after_dots_are_gone() -> None:
    assert normalized("///a//b/..//", MERGE) == "/a/"
    assert normalized("/a/%2f/b", MERGE) == "/a/%2f/b"


def test_escaped_slashes_are_slashes_where_they_are_decoded() -> None:
    assert normalized("/a%2F..%2fb", DECODE) == "/b"
    assert normalized("/a%5c..%5Cb", DECODE) == "/b"
    assert normalized("/a/%2f..%2fb?%2f", DECODE) == "/a/b?%2f"


def test_none_leaves_everything() -> None:
    assert normalized("/a/../%41//", PathNormalization.NONE) == "/a/../%41//"


def test_an_escaped_nul_is_refused() -> None:
    with pytest.raises(BadPath):
        normalized("/a%00")
