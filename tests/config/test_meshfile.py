from pathlib import Path

import pytest

from devmesh.config.meshfile import BadMeshFile, MeshFile, NoInput

MESH = """apiVersion: devmesh.dev/v1alpha1
kind: Mesh
metadata: {name: shop}
spec:
  runtime: process
  resources: [kube/*.yaml]
  images:
  - match: "*/reviews:*"
    build: {context: src, args: {version: v1}}
    process: {command: ["{python}", reviews.py], workdir: src}
  - match: "*"
    process: {command: [other]}
  gateways: {http: 0}
  meshConfig: {accessLogFile: ""}
"""


@pytest.fixture
def mesh(tmp_path: Path) -> Path:
    (tmp_path / "devmesh.yaml").write_text(MESH)
    (tmp_path / "more.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
    return tmp_path


def test_without_an_argument_the_mesh_file_here_is_read(mesh: Path) -> None:
    file = MeshFile.open([], mesh)
    assert (file.name, file.base, file.path) == ("shop", mesh, mesh / "devmesh.yaml")
    assert file.resources == (str(mesh / "kube/*.yaml"),)
    assert (file.spec.runtime, file.spec.injection) == ("process", "istio")
    assert (file.spec.gateways.http, file.spec.gateways.https) == (0, 8443)
    assert file.spec.mesh_config == {"accessLogFile": ""}


@pytest.mark.parametrize("given", ["mesh", "mesh/devmesh.yaml"])
def test_a_folder_stands_for_its_mesh_file(mesh: Path, given: str) -> None:
    inside = mesh / "mesh"
    inside.mkdir()
    (mesh / "devmesh.yaml").rename(inside / "devmesh.yaml")
    file = MeshFile.open([given, "more.yaml", "-"], mesh)
    assert file.base == inside
    assert file.resources == (str(inside / "kube/*.yaml"), str(mesh / "more.yaml"), "-")


def test_a_mesh_file_may_have_another_name(mesh: Path) -> None:
    (mesh / "devmesh.yaml").rename(mesh / "test.yaml")
    assert MeshFile.open(["test.yaml"], mesh).name == "shop"


def test_without_a_mesh_file_the_folder_names_the_mesh(mesh: Path) -> None:
    (mesh / "devmesh.yaml").unlink()
    file = MeshFile.open(["more.yaml"], mesh)
    assert file.path is None
    assert file.base == mesh
    assert file.resources == (str(mesh / "more.yaml"),)
    assert file.spec.runtime == "auto"


def test_the_first_image_rule_that_matches_counts(mesh: Path) -> None:
    file = MeshFile.open([], mesh)
    rule, other = file.image("docker.io/shop/reviews:1.0"), file.image("busybox")
    assert rule is not None
    assert other is not None
    assert rule.build is not None
    assert rule.process is not None
    assert (rule.build.context, rule.build.args) == ("src", {"version": "v1"})
    assert rule.process.command == ("{python}", "reviews.py")
    assert other.process is not None
    assert other.process.command == ("other",)
    assert file.images[1] == {"match": "*", "process": {"command": ["other"]}}


def test_what_was_looked_for_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoInput, match=r"no devmesh.yaml, compose.yaml, .* give files or folders with -f"):
        MeshFile.open([], tmp_path)
    (tmp_path / "docker-compose.yml").touch()
    with pytest.raises(NoInput, match="Compose file, which devmesh does not read yet"):
        MeshFile.open([], tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("runtime: process", "runtim: process", 'devmesh.yaml:5:3: .*unknown field "spec.runtim".*"runtime"'),
        ("runtime: process", "runtime: podman", 'supported values: "auto", "docker", "process"'),
        ("http: 0", "http: 70000", "between 0 and 65535"),
        ("http: 0", "http: x", "expected an integer"),
        ("    process: {command: [other]}", "    {}", "while scanning"),
        ("command: [other]", "command: []", "may not be empty"),
        ("process: {command: [other]}", "build: null", "give build, process, or both"),
        (
            "  gateways:",
            "  dns: {hosts: {a.example: [127.0.0.1, elsewhere]}}\n  gateways:",
            "must be an IP address",
        ),
        ('accessLogFile: ""', "accessLogFle: x", 'did you mean "accessLogFile"'),
        ("v1alpha1", "v2", "version devmesh.dev/v2 is not known"),
        ("kind: Mesh", "kind: Mush", "expected apiVersion: devmesh.dev/v1alpha1 and kind: Mesh"),
        ("metadata:", "---\nmetadata:", "holds the one document"),
    ],
)
def test_what_is_wrong_with_it_is_told(mesh: Path, old: str, new: str, said: str) -> None:
    assert old in MESH
    (mesh / "devmesh.yaml").write_text(
        MESH.replace(old, new) + ("kind: x\n" if new.startswith("---") else "")
    )
    with pytest.raises(BadMeshFile, match=said):
        MeshFile.open([], mesh)


def test_two_mesh_files_are_one_too_many(mesh: Path) -> None:
    (mesh / "other.yaml").write_text(MESH)
    with pytest.raises(BadMeshFile, match="several mesh files"):
        MeshFile.open(["devmesh.yaml", "other.yaml"], mesh)


def test_settings_without_effect_are_warned_of(mesh: Path) -> None:
    (mesh / "devmesh.yaml").write_text(MESH.replace('accessLogFile: ""', "trustDomainAliases: [a]"))
    (finding,) = MeshFile.open([], mesh).findings
    assert str(finding).startswith("devmesh.yaml:14:16: ")
    assert "no effect in devmesh" in finding.message


def test_bookinfos_mesh_file_is_right() -> None:
    file = MeshFile.open(["samples/bookinfo"], Path(__file__).parents[2])
    assert file.name == "bookinfo"
    assert file.findings == ()


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoInput, match=r"the path nothing.yaml does not exist"):
        MeshFile.open(["nothing.yaml"], tmp_path)
    assert MeshFile.open(["*.yaml", "-"], tmp_path).resources == (str(tmp_path / "*.yaml"), "-")
