import pytest

from devmesh.cli.progress import Progress, unready
from devmesh.config.finding import Finding


def workload(name: str, ready: int, problem: str = "") -> dict[str, object]:
    return {"name": name, "namespace": "default", "ready": ready, "replicas": 1, "problem": problem}


def test_one_that_is_not_ready_is_enough_whatever_comes_after_it() -> None:
    progress = Progress()
    assert not progress.update([workload("first", 0), workload("last", 1)])
    assert progress.update([workload("first", 1), workload("last", 1)])


def test_each_thing_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    broken = workload("cart", 0, "cart: CrashLoopBackOff")
    for _ in range(3):
        progress.update([broken])
    for _ in range(3):
        progress.update([workload("cart", 1)])
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines] == [
        "✗ cart: cart: CrashLoopBackOff",
        "✓ cart ready 1/1",
    ]


def test_warnings_wait_until_all_are_ready(capsys: pytest.CaptureFixture[str]) -> None:
    progress, finding = Progress(), Finding("KIA0302", "warning", "no workload")
    progress.update([workload("gateway", 0)], [finding])
    assert "KIA0302" not in capsys.readouterr().err
    progress.update([workload("gateway", 1)], [finding])
    assert "KIA0302" in capsys.readouterr().err


def test_an_error_names_who_is_not_ready_and_why() -> None:
    assert unready([workload("a", 1), workload("b", 0, "b: ErrImagePull")]) == "  b 0/1: b: ErrImagePull"
