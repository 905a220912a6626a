"""devmesh has nothing to say against its own sample: no error, no warning, no field without effect."""

import pytest

from devmesh.config.finding import Finding
from devmesh.config.kinds import BUILT_IN, Kinds
from devmesh.config.loading import check, read_source, resource_of
from devmesh.config.meshfile import MeshFile
from devmesh.config.store import Store
from tests.samples.bookinfo import ROOT

FILES = sorted(
    str(path.relative_to(ROOT)) for folder in ("kube", "networking") for path in (ROOT / folder).iterdir()
)


@pytest.mark.parametrize("file", FILES)
def test_every_file_is_admitted_without_a_word(file: str) -> None:
    kinds = Kinds(BUILT_IN)
    store = Store(kinds)
    source = read_source(str(ROOT / file), file)
    assert source.documents, source.finding
    for document in source.documents:
        resource = resource_of(document, kinds)
        assert not isinstance(resource, Finding), resource
        assert check(resource, store, None) == []


def test_the_mesh_file_names_bookinfo_and_knows_its_images() -> None:
    mesh = MeshFile.open([str(ROOT / "devmesh.yaml")])
    assert (mesh.name, mesh.findings) == ("bookinfo", ())
    for version in ("v1", "v2", "v3"):
        image = mesh.image(f"docker.io/istio/examples-bookinfo-reviews-{version}:1.20.3")
        assert image is not None
        assert image.process is not None
        assert image.process.command == ("{python}", "reviews.py", "9080", version)
        assert image.build is not None
        assert dict(image.build.args) == {"service_version": version}
