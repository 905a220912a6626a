from typing import Any

import pytest
import yaml

from devmesh.config import kinds
from devmesh.config.admission import Admitted, admit
from devmesh.config.kinds import BUILT_IN, Kinds
from devmesh.config.store import Store, Stored


class Apply:
    """Admits and stores documents, as the API and the file loader do."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def admit(self, text: str, **options: Any) -> Admitted:
        raw = yaml.safe_load(text)
        kind = self.store.kinds.named(raw["apiVersion"], raw["kind"])
        assert kind, raw
        namespace = raw["metadata"].get("namespace", "default") if kind.namespaced else ""
        before = self.store.get(kind, namespace, raw["metadata"].get("name", ""))
        return admit(kind, raw, store=self.store, before=before, **options)

    def __call__(self, text: str, *, manager: str = "kubectl") -> Stored:
        raw = self.admit(text).raw
        kind = self.store.kinds.named(raw["apiVersion"], raw["kind"])
        assert kind
        if self.store.get(kind, raw["metadata"].get("namespace", ""), raw["metadata"].get("name", "")):
            return self.store.update(kind, raw, manager=manager)
        return self.store.create(kind, raw, manager=manager)


@pytest.fixture
def store() -> Store:
    store = Store(Kinds(BUILT_IN), clock=lambda: 1_700_000_000.0)
    store.create(kinds.NAMESPACE, {"metadata": {"name": "default"}})
    return store


@pytest.fixture
def apply(store: Store) -> Apply:
    return Apply(store)
