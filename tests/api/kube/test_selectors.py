from __future__ import annotations

import pytest

from devmesh.api.kube.errors import ApiError
from devmesh.api.kube.selectors import field_selector, label_selector
from devmesh.config.kinds import POD, VIRTUAL_SERVICE
from devmesh.config.store import Key, Stored

LABELS = {"app": "reviews", "version": "v2", "example.com/team": "red", "n": "5"}


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("app=reviews", True),
        ("app==reviews", True),
        ("app = reviews , version=v2", True),
        ("app!=reviews", False),
        ("absent!=x", True),
        ("app=ratings", False),
        ("version in (v1, v2)", True),
        ("version notin (v1,v2)", False),
        ("absent notin (v1)", True),
        ("absent in (v1)", False),
        ("app", True),
        ("!app", False),
        ("!absent", True),
        ("example.com/team=red,version in (v2),app", True),
        ("n>4", True),
        ("n<5", False),
        ("app>4", False),
        ("absent=", False),
        ("", True),
    ],
)
def test_label_selectors(text: str, fits: bool) -> None:
    assert label_selector(text)(LABELS) is fits


@pytest.mark.parametrize("text", ["a=b=c", "in (a)", "a in b", "a in (b", "-a=b", "a,,=b", "a b"])
def test_label_selectors_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        label_selector(text)
    assert refused.value.code == 400


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("metadata.name=a", True),
        ("metadata.name!=a", False),
        ("metadata.namespace=default,status.phase=Running", True),
        ("status.phase==Failed", False),
        ("spec.nodeName=", True),
        ("spec.hostNetwork=false", True),
    ],
)
def test_field_selectors(text: str, fits: bool) -> None:
    raw = {"metadata": {"name": "a", "namespace": "default"}, "spec": {}, "status": {"phase": "Running"}}
    assert field_selector(POD, text)(Stored(Key(POD, "default", "a"), raw, 1)) is fits


def test_fields_that_a_kind_does_not_offer_are_refused() -> None:
    with pytest.raises(ApiError, match=r"field label not supported: spec\.hosts"):
        field_selector(VIRTUAL_SERVICE, "spec.hosts=a")
