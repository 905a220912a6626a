from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devmesh.api.kube.errors import ApiError
from devmesh.api.kube.protobuf import decode_object


def varint(number: int) -> bytes:
    found = b""
    number &= (1 << 64) - 1
    while number > 127:
        found += bytes([number & 127 | 128])
        number >>= 7
    return found + bytes([number])


def put(number: int, value: int | str | bytes) -> bytes:
    """Encode one field."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def enveloped(version: str, kind: str, content: bytes) -> bytes:
    return b"k8s\0" + put(1, put(1, version) + put(2, kind)) + put(2, content)


def test_a_config_map_with_maps_and_bytes() -> None:
    metadata = put(1, "c") + put(2, "") + put(8, b"") + put(11, put(1, "a") + put(2, "b"))
    content = put(1, metadata) + put(2, put(1, "k") + put(2, "v")) + put(3, put(1, "b") + put(2, b"\xff"))
    assert decode_object(enveloped("v1", "ConfigMap", content)) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "labels": {"a": "b"}},
        "data": {"k": "v"},
        "binaryData": {"b": "/w=="},
    }


def test_zero_is_kept_where_it_means_something() -> None:
    spec = put(1, 0) + put(4, b"") + put(5, 0)
    found = decode_object(enveloped("apps/v1", "Deployment", put(2, spec)))
    assert found["spec"] == {"replicas": 0}


def test_inlined_structs_belong_to_their_owner() -> None:
    volume = put(1, "v") + put(2, put(19, put(1, put(1, "config")) + put(3, 0o644)))
    pod = put(2, put(1, volume))
    found = decode_object(enveloped("v1", "Pod", pod))
    assert found["spec"]["volumes"] == [{"name": "v", "configMap": {"name": "config", "defaultMode": 420}}]


def test_times_quantities_and_numbers_or_names() -> None:
    port = put(3, 80) + put(4, put(1, 1) + put(2, 0) + put(3, "http"))
    service = put(1, put(8, put(1, 1767225600))) + put(2, put(1, port))
    found = decode_object(enveloped("v1", "Service", service))
    assert found["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"
    assert found["spec"]["ports"] == [{"port": 80, "targetPort": "http"}]
    quota = put(2, put(1, put(1, "cpu") + put(2, put(1, "500m"))))
    assert decode_object(enveloped("v1", "ResourceQuota", quota))["spec"]["hard"] == {"cpu": "500m"}


def test_negative_numbers() -> None:
    assert decode_object(enveloped("scheduling.k8s.io/v1", "PriorityClass", put(2, -5)))["value"] == -5


def test_a_field_that_is_not_known_is_never_dropped() -> None:
    with pytest.raises(ApiError, match="ConfigMap has no field 99"):
        decode_object(enveloped("v1", "ConfigMap", put(99, 1)))


def test_a_kind_that_is_not_known_is_told() -> None:
    with pytest.raises(ApiError, match="application/json") as refused:
        decode_object(enveloped("v1", "Binding", b""))
    assert refused.value.code == 415


def test_nesting_has_a_limit() -> None:
    content = b""
    for _ in range(100):
        content = put(1, content)
    with pytest.raises(ApiError):
        decode_object(enveloped("v1", "Pod", put(2, put(2, content))))


@given(st.binary(max_size=60))
def test_damaged_bodies_are_refused_and_nothing_else(content: bytes) -> None:
    for body in (content, b"k8s\0" + content, enveloped("apps/v1", "Deployment", content)):
        with suppress(ApiError):
            decode_object(body)


@given(st.integers(-(1 << 31), (1 << 31) - 1))
def test_every_integer_survives(number: int) -> None:
    content = put(2, put(1, number))
    found = decode_object(enveloped("apps/v1", "Deployment", content))
    assert found["spec"]["replicas"] == number
