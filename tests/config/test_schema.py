import json

import pytest

from devmesh.config import kinds
from devmesh.config.documents.structs import STRUCTS
from devmesh.config.kinds import BUILT_IN
from devmesh.config.merge_keys import list_map_keys, patch_merge_key
from devmesh.config.schema import descriptions, schema_name, schemas
from devmesh.config.shapes import Items, Map, Object, shape_of

GROUPS = sorted({(kind.group, version) for kind in BUILT_IN for version in kind.versions})


@pytest.mark.parametrize(("group", "version"), GROUPS)
def test_every_reference_is_answered(group: str, version: str) -> None:
    found = schemas(BUILT_IN, group, version)
    for part in json.dumps(found).split('"#/components/schemas/')[1:]:
        assert part.split('"')[0] in found


def test_every_kind_of_a_group_has_its_schema() -> None:
    found = schemas(BUILT_IN, "networking.istio.io", "v1beta1")
    schema = found[schema_name(kinds.VIRTUAL_SERVICE, "v1beta1")]
    assert schema["x-kubernetes-group-version-kind"] == [
        {"group": "networking.istio.io", "kind": "VirtualService", "version": "v1beta1"}
    ]
    assert list(schema["properties"]) == ["apiVersion", "kind", "metadata", "spec", "status"]
    assert schema_name(kinds.GATEWAY, "v1") in schemas(BUILT_IN, "networking.istio.io", "v1")


def test_lists_that_merge_say_by_what() -> None:
    containers = schemas(BUILT_IN, "apps", "v1")["pods.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-patch-strategy"] == "merge"
    assert containers["x-kubernetes-list-map-keys"] == ["name"]
    hosts = schemas(BUILT_IN, "networking.istio.io", "v1")["virtualservice.VirtualServiceSpec"]["properties"][
        "hosts"
    ]
    assert hosts["x-kubernetes-list-type"] == "atomic"


def test_values_say_what_they_can_be() -> None:
    found = schemas(BUILT_IN, "security.istio.io", "v1")["security.MutualTLS"]["properties"]["mode"]
    assert found["enum"] == ["DISABLE", "PERMISSIVE", "STRICT", "UNSET"]
    assert "STRICT" in found["description"]


def test_each_description_is_that_of_a_field() -> None:
    known: set[str] = set()

    def walk(shape: Object) -> None:
        for member in shape.members.values():
            name = f"{shape.struct.__name__}.{member.name}"
            if name in known:
                continue
            known.add(name)
            inner = member.shape
            while isinstance(inner, Items | Map):
                inner = inner.item if isinstance(inner, Items) else inner.value
            if isinstance(inner, Object):
                walk(inner)

    for struct in STRUCTS.values():
        walk(shape_of(struct))
    assert set(descriptions()) <= known


@pytest.mark.parametrize(
    ("group", "kind", "path", "key", "keys"),
    [
        ("apps", "Deployment", "spec.template.spec.containers", "name", ("name",)),
        (
            "apps",
            "Deployment",
            "spec.template.spec.containers.ports",
            "containerPort",
            ("containerPort", "protocol"),
        ),
        ("apps", "Deployment", "spec.template.spec.containers.env", "name", ("name",)),
        ("apps", "Deployment", "spec.template.spec.containers.volumeMounts", "mountPath", ("mountPath",)),
        ("apps", "Deployment", "spec.template.spec.tolerations", None, None),
        ("", "Pod", "spec.volumes", "name", ("name",)),
        ("", "Service", "spec.ports", "port", ("port", "protocol")),
        ("", "Pod", "status.conditions", "type", ("type",)),
        ("", "ConfigMap", "metadata.ownerReferences", "uid", ("uid",)),
        ("", "ConfigMap", "metadata.finalizers", "", ()),
        ("networking.istio.io", "VirtualService", "spec.http", None, None),
    ],
)
def test_lists_merge_as_in_kubernetes(
    group: str, kind: str, path: str, key: str | None, keys: tuple[str, ...] | None
) -> None:
    assert patch_merge_key(group, kind, path) == key
    assert list_map_keys(group, kind, path) == keys
