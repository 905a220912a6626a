from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from devmesh.config import kinds
from devmesh.config.files import FileSource
from devmesh.config.finding import Finding
from devmesh.config.kinds import BUILT_IN, Kinds
from devmesh.config.store import Key, Store


class Folder:
    """A folder of files, and a mesh that loads it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = Store(Kinds(BUILT_IN))
        self.store.create(kinds.NAMESPACE, {"metadata": {"name": "default"}})
        self.source = self.restarted()

    def restarted(self, *paths: str) -> FileSource:
        self.source = FileSource(self.store, paths or [str(self.path)], base=self.path)
        return self.source

    def write(self, file: str, text: str) -> None:
        (self.path / file).write_text(text)

    def load(self) -> list[str]:
        return [str(finding) for finding in self.source.load()]

    def data(self, name: str, namespace: str = "default") -> object:
        stored = self.store.get(kinds.CONFIG_MAP, namespace, name)
        return stored.raw.get("data") if stored else None

    def kubectl(self, name: str, **data: str) -> None:
        raw = {"metadata": {"name": name, "namespace": "default"}, "data": data}
        known = self.store.get(kinds.CONFIG_MAP, "default", name)
        (self.store.update if known else self.store.create)(kinds.CONFIG_MAP, raw, manager="kubectl")


def config(name: str, value: str, namespace: str = "") -> str:
    place = f", namespace: {namespace}" if namespace else ""
    return (
        f'---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}{place}}}\ndata: {{v: "{value}"}}\n'
    )


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


# Who owns an object


def test_a_document_is_applied_when_it_is_new_or_changed(folder: Folder) -> None:
    folder.write("a.yaml", config("a", "1"))
    assert folder.load() == []
    assert folder.data("a") == {"v": "1"}
    folder.write("a.yaml", config("a", "2"))
    folder.load()
    assert folder.data("a") == {"v": "2"}
    assert folder.store.manager_of(Key(kinds.CONFIG_MAP, "default", "a")) == "file:a.yaml"


def test_what_kubectl_wrote_stays_until_the_document_changes(folder: Folder) -> None:
    folder.write("a.yaml", config("a", "1"))
    folder.load()
    folder.kubectl("a", v="by kubectl")
    folder.load()
    folder.restarted().load()
    assert folder.data("a") == {"v": "by kubectl"}
    folder.write("a.yaml", "# a comment is no change\n" + config("a", "1"))
    folder.load()
    assert folder.data("a") == {"v": "by kubectl"}
    folder.write("a.yaml", config("a", "2"))
    folder.load()
    assert folder.data("a") == {"v": "2"}


def test_a_vanished_document_takes_its_object_along(folder: Folder) -> None:
    folder.write("a.yaml", config("a", "1") + config("b", "1"))
    folder.load()
    folder.write("a.yaml", config("b", "1"))
    folder.load()
    assert folder.data("a") is None
    assert folder.data("b")


def test_a_vanished_document_leaves_what_others_changed(folder: Folder) -> None:
    folder.write("a.yaml", config("a", "1"))
    folder.load()
    folder.kubectl("a", v="by kubectl")
    (folder.path / "a.yaml").unlink()
    folder.restarted()
    folder.write("other.yaml", config("c", "1"))
    folder.load()
    assert folder.data("a") == {"v": "by kubectl"}
    folder.write("other.yaml", "")
    folder.load()
    assert folder.data("c") is None


def test_a_document_that_moves_to_another_file_keeps_its_object(folder: Folder) -> None:
    folder.write("a.yaml", config("a", "1"))
    folder.load()
    before = folder.store.get(kinds.CONFIG_MAP, "default", "a")
    folder.write("a.yaml", "")
    folder.write("b.yaml", config("a", "1"))
    folder.load()
    after = folder.store.get(kinds.CONFIG_MAP, "default", "a")
    assert before is not None
    assert after is not None
    assert before.uid == after.uid
    folder.load()
    assert folder.data("a") == {"v": "1"}


def test_what_others_deleted_stays_deleted_and_is_told(folder: Folder) -> None:
    folder.write("a.yaml", config("a", "1"))
    folder.load()
    folder.store.delete(Key(kinds.CONFIG_MAP, "default", "a"), manager="kubectl")
    (said,) = folder.load()
    assert "was deleted by others" in said
    assert folder.data("a") is None
    folder.write("a.yaml", config("a", "2"))
    assert folder.load() == []
    assert folder.data("a") == {"v": "2"}


def test_a_file_takes_over_what_kubectl_created(folder: Folder) -> None:
    folder.kubectl("a", v="by kubectl")
    folder.write("a.yaml", config("a", "1"))
    folder.load()
    assert folder.data("a") == {"v": "1"}


def test_files_that_are_not_given_any_more_have_vanished(folder: Folder) -> None:
    folder.write("a.yaml", config("a", "1"))
    folder.write("b.yaml", config("b", "1"))
    folder.load()
    folder.restarted("b.yaml")
    folder.load()
    assert folder.data("a") is None
    assert folder.data("b")


# Broken files


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("a: [", "a.yaml:2:1: "),
        (
            config("a", "2") + "---\napiVersion: v1\nkind: ConfigMp\nmetadata: {name: x}\n",
            'did you mean "ConfigMap"?',
        ),
        (config("a", "2") + "---\napiVersion: v1\nkind: Pod\nmetadata: {name: x}\n", "spec: Required value"),
        (
            config("a", "2") + config("b", "1").replace("\ndata:", "\ndta:"),
            'unknown field "dta" (did you mean "data"?)',
        ),
        (config("a", "2") + config("a", "3"), "first in a.yaml:2"),
        ("---\nkind: ConfigMap\n", "has no apiVersion"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n", "metadata.name: Required"),
        ("apiVersion: v1\nkind: Deployment\nmetadata: {name: a}\n", "Deployment is in apps/v1"),
        (
            "apiVersion: devmesh.dev/v1alpha1\nkind: Mesh\nmetadata: {name: a}\n",
            "a mesh file is given by itself",
        ),
    ],
)
def test_a_broken_file_keeps_its_last_good_state_and_says_so(folder: Folder, broken: str, said: str) -> None:
    folder.write("a.yaml", config("a", "1"))
    folder.write("b.yaml", config("other", "1"))
    folder.load()
    folder.write("a.yaml", broken)
    folder.write("b.yaml", config("other", "2"))
    found = folder.load()
    assert said in found[0]
    assert "its last good state stays in force" in found[-1]
    assert folder.data("a") == {"v": "1"}
    assert folder.data("other") == {"v": "2"}
    folder.write("a.yaml", config("a", "4"))
    assert folder.load() == []
    assert folder.data("a") == {"v": "4"}


def test_nothing_of_a_broken_file_is_applied(folder: Folder) -> None:
    folder.write("a.yaml", config("good", "1") + config("bad", "1").replace("ConfigMap", "Nonsense"))
    assert "no matches for kind" in folder.load()[0]
    assert folder.data("good") is None


def test_an_unknown_kind_does_not_hide_what_else_is_wrong_in_its_file(folder: Folder) -> None:
    folder.write(
        "a.yaml", config("good", "1").replace("\ndata:", "\ndat:") + "---\n{apiVersion: v1, kind: Servce}\n"
    )
    assert sorted(said.rpartition(" ")[2] for said in folder.load()) == ["[DM0004]", "[DM0005]"]
    assert folder.data("good") is None


def test_findings_have_a_place(folder: Folder) -> None:
    folder.write(
        "a.yaml", "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\nspec:\n  ports:\n  - prt: 80\n"
    )
    folder.load()
    (finding, *_) = folder.source.findings
    assert (finding.file, finding.line, finding.column) == ("a.yaml", 7, 5)
    assert (finding.code, finding.severity, finding.path) == ("DM0005", "error", "spec.ports[0].prt")
    assert (finding.kind, finding.name) == ("Service", "a")


def test_missing_files_and_empty_folders_are_told(folder: Folder) -> None:
    (folder.path / "empty").mkdir()
    folder.restarted("none.yaml", "empty")
    assert [finding.message for finding in folder.source.load()] == [
        "no file in it ends in .yaml, .yml, .json",
        "cannot be read: No such file or directory",
    ]


def test_the_same_object_in_two_files_is_an_error_of_the_second(folder: Folder) -> None:
    folder.write("a.yaml", config("a", "1"))
    folder.write("b.yaml", config("a", "2"))
    (said,) = folder.load()
    assert said.startswith("b.yaml:2:1: ")
    assert "first in a.yaml:2" in said


def test_warnings_stay_in_force_after_the_document_is_applied(folder: Folder) -> None:
    folder.write(
        "a.yaml",
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a}\nspec: {}\n",
    )
    assert "NOT ENFORCED" in folder.load()[0]
    assert "NOT ENFORCED" in folder.load()[0]


# Namespaces and definitions


def test_namespaces_of_files_are_made_and_injected(folder: Folder) -> None:
    folder.write("a.yaml", config("a", "1", "shop"))
    folder.write(
        "b.yaml",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: own, labels: {istio-injection: disabled}}\n",
    )
    assert folder.load() == []
    labels = {n.name: n.labels.get("istio-injection") for n in folder.store.list(kinds.NAMESPACE)}
    assert labels == {"default": None, "shop": "enabled", "own": "disabled"}


def test_the_injection_label_survives_a_change_of_the_namespaces_file(folder: Folder) -> None:
    text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: a}}\n"
    folder.write("a.yaml", text)
    folder.load()
    folder.write("a.yaml", text.replace("team: a", "team: b"))
    folder.load()
    found = folder.store.get(kinds.NAMESPACE, "", "shop")
    assert found is not None
    assert (found.labels["istio-injection"], found.labels["team"]) == ("enabled", "b")


CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: toasters.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Toaster, plural: toasters}
  versions: [{name: v1, served: true, storage: true}]
"""


def test_a_definition_may_come_after_its_objects_and_in_another_file(folder: Folder) -> None:
    folder.write(
        "a.yaml", "apiVersion: example.com/v1\nkind: Toaster\nmetadata: {name: t}\nspec: {slots: 2}\n"
    )
    folder.write("b.yaml", CRD)
    assert all("no effect" in said for said in folder.load())
    assert [t.raw["spec"] for t in folder.store.list(folder.store.kinds.get("Toaster"))] == [{"slots": 2}]


def test_a_controllers_annotations_survive_a_change_of_the_file(folder: Folder) -> None:
    text = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: a, image: b}]}}
"""
    folder.write("a.yaml", text)
    folder.load()
    stored = folder.store.get(kinds.DEPLOYMENT, "default", "web")
    assert stored is not None
    revision = {"deployment.kubernetes.io/revision": "3"}
    folder.store.update(
        kinds.DEPLOYMENT, {**stored.raw, "metadata": {**stored.metadata, "annotations": revision}}
    )
    folder.write("a.yaml", text.replace("replicas: 1", "replicas: 2"))
    folder.load()
    after = folder.store.get(kinds.DEPLOYMENT, "default", "web")
    assert after is not None
    assert after.annotations == revision
    assert after.raw["spec"]["replicas"] == 2


# Following


async def test_a_saved_file_is_applied_and_a_broken_one_told(folder: Folder) -> None:
    folder.write("a.yaml", config("a", "1"))
    folder.load()
    reports: list[list[Finding]] = []

    async def until(condition: Callable[[], bool]) -> None:
        with trio.fail_after(5):
            while not condition():  # noqa: ASYNC110 (the disk tells no event)
                await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(folder.source.run, reports.append)
        await trio.sleep(0.1)  # until the folder is watched
        folder.write("a.yaml", config("a", "2"))
        await until(lambda: folder.data("a") == {"v": "2"})
        folder.write("new.yaml", config("b", "1") + "nonsense")
        await until(lambda: bool(reports))
        assert reports[0][0].file == "new.yaml"
        (folder.path / "new.yaml").unlink()
        folder.write("a.tmp", config("a", "3"))
        (folder.path / "a.tmp").rename(folder.path / "a.yaml")
        await until(lambda: folder.data("a") == {"v": "3"} and not folder.source.findings)
        nursery.cancel_scope.cancel()


async def test_other_files_may_be_given_while_they_are_followed(folder: Folder) -> None:
    folder.write("a.yaml", config("a", "1"))
    folder.load()
    other = folder.path / "other"
    other.mkdir()

    async def until(condition: Callable[[], bool]) -> None:
        with trio.fail_after(5):
            while not condition():  # noqa: ASYNC110 (the disk tells no event)
                await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(folder.source.run, print)
        await trio.sleep(0.05)
        (other / "b.yaml").write_text(config("b", "1"))
        folder.source.give([str(other / "*.yaml")])
        await until(lambda: folder.data("b") == {"v": "1"})
        assert folder.store.get(kinds.CONFIG_MAP, "default", "a") is None
        await trio.sleep(0.1)  # until the other folder is watched
        (other / "b.yaml").write_text(config("b", "2"))
        await until(lambda: folder.data("b") == {"v": "2"})
        nursery.cancel_scope.cancel()
