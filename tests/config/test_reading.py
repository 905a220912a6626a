from io import BytesIO
from pathlib import Path

import pytest

from devmesh.config.reading import Unreadable, files_of, read_file, read_text, same_twice

POD = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  x: 1\n"


def test_a_document_knows_its_file_and_places() -> None:
    (document,) = read_text(POD, "pod.yaml")
    assert document.where(("spec", "x")) == (6, 3)
    assert document.where(("spec", "x", "deeper", 3)) == (6, 3)
    assert document.where(("nothing",)) == (1, 1)


def test_a_list_becomes_its_items_at_their_places() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n- kind: A\n- kind: B\n  spec: {w: 1}\n"
    first, second = read_text(text, "list.yaml")
    assert (first.kind, first.place) == ("A", (4, 3))
    assert second.where(("spec", "w")) == (6, 10)


def test_the_digest_is_that_of_the_content() -> None:
    (one,), (same,), (other,) = (
        read_text(text, "f") for text in ("a: 1\nb: 2\n", "# comment\nb: 2\n\na:   1\n", "a: 1\nb: 3\n")
    )
    assert one.digest == same.digest != other.digest


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"a: \xff", "not UTF-8: byte 0xff"), (b"- 1", "expected a resource"), (b"text", "expected a resource")],
)
def test_what_is_no_resource_is_told(data: bytes, said: str) -> None:
    with pytest.raises(Unreadable, match=f"<stdin>:1:1: {said}"):
        read_file("-", stdin=BytesIO(data))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="cannot be read: No such file"):
        read_file(str(tmp_path / "none.yaml"))


def test_a_file_has_a_largest_size() -> None:
    with pytest.raises(Unreadable, match="larger than 16 MiB"):
        read_file("-", stdin=BytesIO(b" " * (17 << 20)))


def test_folders_and_patterns_give_their_files_in_order(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "c.json", "d.txt", ".e.yaml", "sub/f.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = files_of([".", "*.yaml", "sub/*", "-", "none.yaml"], tmp_path)
    assert [Path(f).name for f in found] == ["a.yml", "b.yaml", "c.json", "f.yaml", "-", "none.yaml"]


@pytest.mark.parametrize("given", ["empty", "*.yaml"])
def test_a_folder_or_pattern_without_files_is_told(tmp_path: Path, given: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(Unreadable, match=r"no file"):
        files_of([given], tmp_path)


def test_the_same_object_twice_names_both_places() -> None:
    documents = [*read_text(POD, "one.yaml"), *read_text("# x\n" + POD, "two.yaml")]
    (finding,) = same_twice([(d, "pods default/a") for d in documents])
    assert str(finding).startswith("two.yaml:2:1: ")
    assert "first in one.yaml:1" in finding.message
