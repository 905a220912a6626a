"""What the documentation has to name, it names."""

import re
from pathlib import Path

from devmesh.cli.reference import reference
from devmesh.config.meshfile import Build, ImageRule, LocalGateways, MeshSpec, Process

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CODE = re.compile(r"\b(?:DM|KIA|IST)\d{4}\b")


def test_the_command_reference_is_current() -> None:
    """Mend it with ``python -m devmesh.cli.reference > docs/cli.md``."""
    assert (DOCS / "cli.md").read_text() == reference()


def test_every_message_code_has_its_line() -> None:
    used = {code for path in (ROOT / "devmesh").rglob("*.py") for code in CODE.findall(path.read_text())}
    listed = re.findall(r"^\| (\w+) \|", (DOCS / "codes.md").read_text(), re.MULTILINE)
    assert used <= set(listed), "add a line to docs/codes.md"
    assert len(listed) == len(set(listed))


def test_every_field_of_the_mesh_file_is_explained() -> None:
    page = (DOCS / "mesh-file.md").read_text()
    for struct in (MeshSpec, ImageRule, Build, Process, LocalGateways):
        for name in struct.__struct_encode_fields__:
            assert re.search(rf"\b{name}\b", page), f"{struct.__name__}.{name}"


def test_links_between_pages_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "ARCHITECTURE.md", *DOCS.glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_tests_that_the_tasks_page_names_are_there() -> None:
    named = re.findall(r"`(test_\w+(?:\.py)?)`", (DOCS / "istio-tasks.md").read_text())
    files = list((ROOT / "tests").rglob("test_*.py"))
    known = {path.name for path in files}.union(
        *(re.findall(r"def (test_\w+)", f.read_text()) for f in files)
    )
    assert set(named) <= known
