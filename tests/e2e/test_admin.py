"""What tools ask a pod's proxy, with the real kubectl: Envoy's admin interface and the agent's ports."""

from __future__ import annotations

import json

import pytest

from tests.e2e.bookinfo import Bookinfo, eventually

REVIEWS = "cluster.outbound|9080||reviews.default.svc.cluster.local"


def agent(mesh: Bookinfo, path: str, workload: str = "deploy/productpage-v1", method: str = "GET") -> str:
    return mesh.kubectl("exec", workload, "-c", "istio-proxy", "--", "pilot-agent", "request", method, path)


def in_proxy(
    mesh: Bookinfo, *command: str, workload: str = "deploy/productpage-v1", namespace: str = "default"
) -> str:
    return mesh.kubectl("exec", workload, "-n", namespace, "-c", "istio-proxy", "--", *command)


def test_pilot_agent_tells_envoys_statistics(bookinfo: Bookinfo) -> None:
    assert bookinfo.get().status == 200
    lines = [line for line in agent(bookinfo, "stats").splitlines() if line.startswith(REVIEWS)]
    pending = [line for line in lines if "pending" in line]
    assert [line.rpartition(".")[2].partition(":")[0] for line in pending] == [
        "remaining_pending",
        "rq_pending_open",
        "rq_pending_open",
        "upstream_rq_pending_active",
        "upstream_rq_pending_failure_eject",
        "upstream_rq_pending_overflow",
        "upstream_rq_pending_total",
    ]
    total = next(line for line in lines if ".upstream_rq_total: " in line)
    assert int(total.rpartition(" ")[2]) > 0


def test_curl_asks_the_admin_interface(bookinfo: Bookinfo) -> None:
    assert bookinfo.get().status == 200
    clusters = in_proxy(bookinfo, "curl", "-s", "localhost:15000/clusters")
    assert "outbound|9080|v1|reviews.default.svc.cluster.local::default_priority::max_connections" in clusters
    assert "::health_flags::healthy" in clusters
    info = json.loads(in_proxy(bookinfo, "curl", "-s", "127.0.0.1:15000/server_info"))
    assert info["node"]["id"].startswith("sidecar~")
    for port in (15020, 15090):
        text = in_proxy(bookinfo, "curl", "-s", f"localhost:{port}/stats/prometheus")
        assert 'istio_requests_total{reporter="source",source_workload="productpage-v1"' in text
        assert 'envoy_cluster_upstream_rq_total{cluster_name="outbound|9080||reviews.default' in text
    health = in_proxy(
        bookinfo, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "localhost:15021/healthz/ready"
    )
    assert health == "200"


def test_the_application_reaches_the_same_ports(bookinfo: Bookinfo) -> None:
    said = bookinfo.kubectl(
        "exec", "deploy/productpage-v1", "-c", "productpage", "--",
        "python3", "-c",
        "import urllib.request as u; print(u.urlopen('http://127.0.0.1:15021/healthz/ready').status)",
    )  # fmt: skip
    assert said.strip() == "200"


def test_the_proxys_container_has_a_shell_and_the_roots(bookinfo: Bookinfo) -> None:
    counted = in_proxy(bookinfo, "sh", "-c", "pilot-agent request GET stats | grep -c upstream_rq_total")
    assert int(counted) > 0
    assert "BEGIN CERTIFICATE" in in_proxy(bookinfo, "cat", "/var/run/secrets/istio/root-cert.pem")
    with pytest.raises(AssertionError, match="No such file or directory"):
        in_proxy(bookinfo, "ls", "/etc/certs")
    shown = in_proxy(bookinfo, "sh", "-c", "openssl s_client -connect reviews:9080 </dev/null 2>&1 || true")
    assert "CONNECTED" in shown


def test_the_gateways_proxy_answers_too(bookinfo: Bookinfo) -> None:
    assert bookinfo.get().status == 200
    ready = in_proxy(
        bookinfo, "pilot-agent", "request", "GET", "ready",
        workload="deploy/istio-ingressgateway", namespace="istio-system",
    )  # fmt: skip
    assert ready == "LIVE\n"
    stats = in_proxy(
        bookinfo, "curl", "-s", "localhost:15000/stats?filter=downstream_rq_2xx",
        workload="deploy/istio-ingressgateway", namespace="istio-system",
    )  # fmt: skip
    assert "http.outbound_0.0.0.0_8080.downstream_rq_2xx: " in stats


def test_a_drained_pod_takes_no_more_requests(bookinfo: Bookinfo) -> None:
    """As in the locality failover task: its callers find nobody there."""
    workload = "deploy/ratings-v1"
    assert (
        in_proxy(bookinfo, "curl", "-sSL", "-X", "POST", "127.0.0.1:15000/drain_listeners", workload=workload)
        == "OK\n"
    )
    try:
        agent(bookinfo, "quitquitquit", "deploy/reviews-v2", "POST")  # its idle connections go
        asked = bookinfo.kubectl(
            "exec", "deploy/reviews-v2", "-c", "reviews", "--",
            "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://ratings:9080/ratings/0",
        )  # fmt: skip
        assert asked == "503"
    finally:
        agent(bookinfo, "quitquitquit", workload, "POST")

    def answers() -> bool:
        return bookinfo.kubectl(
            "exec", "deploy/reviews-v2", "-c", "reviews", "--",
            "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://ratings:9080/ratings/0",
        ) == "200"  # fmt: skip

    assert eventually(answers, 5)


def test_counters_begin_anew(bookinfo: Bookinfo) -> None:
    assert bookinfo.get().status == 200
    assert agent(bookinfo, "reset_counters", method="POST") == "OK\n"
    counted = in_proxy(bookinfo, "curl", "-s", "localhost:15000/stats?filter=reviews.*upstream_rq_total")
    assert f"{REVIEWS}.upstream_rq_total: 0" in counted.splitlines()


def test_what_is_wrong_is_told_with_an_exit_status(bookinfo: Bookinfo) -> None:
    with pytest.raises(AssertionError, match="exit code 255"):
        agent(bookinfo, "nothing")
    with pytest.raises(AssertionError, match="executable file not found"):
        in_proxy(bookinfo, "no-such-command")


def test_proxy_config_in_istioctls_formats(bookinfo: Bookinfo) -> None:
    assert bookinfo.get().status == 200
    lines = bookinfo.devmesh("pc", "endpoints", "productpage-v1", "--port", "9080").splitlines()
    assert lines[0].split() == ["ENDPOINT", "STATUS", "OUTLIER", "CHECK", "CLUSTER"]
    assert any("HEALTHY" in line and "reviews" in line for line in lines[1:])
    clusters = json.loads(bookinfo.devmesh("pc", "clusters", "productpage-v1", "-o", "json"))
    assert "outbound|9080||reviews.default.svc.cluster.local" in {each["name"] for each in clusters}
    dump = json.loads(agent(bookinfo, "config_dump?include_eds"))
    kinds = [each["@type"].rpartition(".")[2] for each in dump["configs"]]
    assert kinds == [
        "BootstrapConfigDump", "ClustersConfigDump", "EndpointsConfigDump", "ListenersConfigDump",
        "ScopedRoutesConfigDump", "RoutesConfigDump", "SecretsConfigDump",
    ]  # fmt: skip
    assert "productpage-v1" in bookinfo.devmesh("proxy-status")
    assert "active loggers:" in bookinfo.devmesh("pc", "log", "productpage-v1")
