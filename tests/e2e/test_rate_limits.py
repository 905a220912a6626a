"""Istio's rate-limit task (PE01, PE02), with the real kubectl, on Bookinfo."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.bookinfo import Bookinfo, eventually
from tests.pilot.envoy_filters.tasks import (
    API_ROUTE,
    CONFIG,
    GLOBAL,
    LOCAL,
    PER_ROUTE,
    VIRTUAL_HOSTS,
    VIRTUAL_SERVICE,
)

STATUS = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}")


@pytest.fixture
def limited(bookinfo: Bookinfo) -> Iterator[Bookinfo]:
    """The mesh, whose EnvoyFilters and quotas go with the test."""
    yield bookinfo
    bookinfo.kubectl("delete", "envoyfilters", "--all", "-A", "--ignore-not-found")
    bookinfo.kubectl("delete", "configmap", "ratelimit-config", "--ignore-not-found")
    bookinfo.apply("bookinfo-gateway.yaml")


def from_inside(mesh: Bookinfo, *more: str) -> str:
    """Call productpage from the pod of ratings, as the task does."""
    url = "http://productpage:9080/productpage"
    return mesh.kubectl("exec", "deploy/reviews-v1", "-c", "reviews", "--", *STATUS, *more, url)


def apply(mesh: Bookinfo, *texts: str) -> str:
    return mesh.kubectl("apply", "-f", "-", stdin="\n---\n".join(texts))


@pytest.mark.parametrize("text", [LOCAL, PER_ROUTE], ids=["all-routes", "one-route"])
def test_local_rate_limit(limited: Bookinfo, text: str) -> None:
    """PE02: four requests a minute reach productpage."""
    apply(limited, text)
    assert [from_inside(limited) for _ in range(5)] == ["200"] * 4 + ["429"]
    if text is LOCAL:
        shown = limited.kubectl(
            "exec", "deploy/reviews-v1", "-c", "reviews", "--",
            "curl", "-si", "http://productpage:9080/productpage",
        )  # fmt: skip
        head, _, body = shown.replace("\r", "").partition("\n\n")
        assert head.startswith("HTTP/1.1 429 Too Many Requests\n")
        assert "\nx-local-rate-limit: true" in head
        assert body == "local_rate_limited"
        stats = limited.kubectl(
            "exec", "deploy/productpage-v1", "-c", "istio-proxy", "--",
            "pilot-agent", "request", "GET", "stats",
        )  # fmt: skip
        assert "http_local_rate_limiter.http_local_rate_limit.rate_limited: 2\n" in stats
    limited.kubectl("delete", "envoyfilter", "local", "-n", "istio-system")
    assert eventually(lambda: from_inside(limited) == "200", 5)


def test_global_rate_limit(limited: Bookinfo) -> None:
    """PE01: one request a minute through the gateway, and two of the products; devmesh keeps the count."""
    said = apply(limited, CONFIG, GLOBAL, VIRTUAL_HOSTS)
    assert "envoyfilter.networking.istio.io/filter-ratelimit created" in said
    statuses = [limited.get().status for _ in range(3)]
    assert 200 in statuses[:2]  # a minute may end between two
    assert statuses[-1] == 429
    page = limited.get()
    assert (page.body, page.headers["x-envoy-ratelimited"]) == ("", "true")
    apply(limited, VIRTUAL_SERVICE, API_ROUTE)

    def products() -> list[int]:
        return [limited.get(f"/api/v1/products/{number}").status for number in (1, 2, 3, 4)]

    assert products().count(429) in (1, 2)
    assert limited.get("/api/v1/products").status == 200  # the route's rule means single ones


def test_other_filters_are_told(limited: Bookinfo) -> None:
    lua = LOCAL.replace("name: local,", "name: lua,").replace(
        "local_ratelimit.v3.LocalRateLimit", "lua.v3.Lua"
    )
    said = limited.kubectl("apply", "-f", "-", stdin=lua, check=False)
    assert "Warning: spec.configPatches[0]: has no effect in devmesh" in said
    wasm = """
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: auth}
spec: {url: "oci://registry.example/auth:1"}
"""
    said = limited.kubectl("apply", "-f", "-", stdin=wasm, check=False)
    assert "WasmPlugin has no effect in devmesh: devmesh runs no WebAssembly in its data plane" in said
    limited.kubectl("delete", "wasmplugin", "auth")
