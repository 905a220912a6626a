from pathlib import Path

from devmesh.config.watching import folders_of


def test_the_folders_of_files_folders_and_patterns_are_watched(tmp_path: Path) -> None:
    for name in ("kube/deep", "other", "single"):
        (tmp_path / name).mkdir(parents=True)
    found = folders_of(["kube/**/*.yaml", "other", "single/a.yaml", "-", "none/b.yaml"], tmp_path)
    assert {str(folder.relative_to(tmp_path)) for folder in found} == {"kube", "kube/deep", "other", "single"}
