"""What proxies tell of themselves, and what the admin interface does to them."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest

from devmesh.proxy.admin.application import Scrape
from devmesh.proxy.admin.http import AdminServer, Asked, Reply
from devmesh.proxy.admin.ports import ADMIN_PORT, AGENT_PORT, HEALTH_PORT, STATS_PORT, Admin
from devmesh.proxy.admin.view import Listening
from devmesh.proxy.reactor import Connection
from devmesh.security.contexts import SecretInfo
from devmesh.snapshot.cluster import Limits, OutlierDetection
from devmesh.snapshot.proxy import Proxy
from tests.proxy.meshes import APP, CLUSTER, GET, App, End, Mesh, cluster, endpoint, snapshot, status_of

SECURE = snapshot(clusters=(cluster(endpoint(mtls=True)),))


class Recorded:
    """Controls that keep what they were told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def drain(self, instance: str, *, inbound_only: bool) -> None:
        self.told.append(f"drain {instance} {'inbound' if inbound_only else 'all'}")

    def restart(self, instance: str) -> None:
        self.told.append(f"restart {instance}")

    def listening(self, instance: str) -> list[Listening]:
        return [("virtualOutbound", "0.0.0.0", 15001), ("0.0.0.0_80", "0.0.0.0", 80)]


class Asking:
    """A mesh with an admin interface."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh, self.controls = mesh, Recorded()
        self.scrape: Scrape | None = None
        self.admin = Admin(
            mesh.plane,
            self.controls,
            self._secret,
            lambda proxy: ["istio_build 1\n"],
            lambda instance: self.scrape,
        )

    def _secret(self, proxy: Proxy) -> SecretInfo:
        return self.mesh.certificates.describe(proxy.instance.identity)

    def reply(self, target: str, *, of: str = "a", method: str = "GET", port: int = ADMIN_PORT) -> Reply:
        replies: list[Reply] = []
        self.admin.answer(of, port, Asked.of(method, target), replies.append)
        self.mesh.reactor.settle()
        return replies[0]

    def text(self, target: str, *, of: str = "a", method: str = "GET", port: int = ADMIN_PORT) -> str:
        reply = self.reply(target, of=of, method=method, port=port)
        assert reply.status == 200, reply.body
        return reply.body

    def stat(self, name: str, of: str = "a") -> int:
        found = [line for line in self.text("/stats", of=of).splitlines() if line.startswith(f"{name}: ")]
        assert found, f"no {name}"
        return int(found[0].rpartition(" ")[2])


@pytest.fixture
def asking() -> Asking:
    return Asking(Mesh(SECURE))


def test_both_sides_count_a_request_under_envoys_names(asking: Asking) -> None:
    asking.mesh.call(GET)
    for of, name in (("a", CLUSTER), ("b", "inbound|8080||")):
        assert asking.stat(f"cluster.{name}.upstream_rq_total", of) == 1
        assert asking.stat(f"cluster.{name}.upstream_cx_active", of) == 1
        assert asking.stat(f"cluster.{name}.upstream_rq_200", of) == 1
    assert asking.stat("http.outbound_0.0.0.0_80.downstream_rq_2xx") == 1
    assert asking.stat("http.inbound_0.0.0.0_8080.downstream_rq_total", "b") == 1
    assert asking.stat("http.inbound_0.0.0.0_8080.downstream_cx_active", "b") == 1


def test_the_lines_that_the_circuit_breaking_task_greps(asking: Asking) -> None:
    tight = replace(cluster(endpoint()), limits=Limits(max_connections=1, max_pending_requests=1))
    asking.mesh.publish(snapshot(clusters=(tight,)))
    asking.mesh.app.answer = None
    clients = [asking.mesh.client() for _ in range(4)]
    for client in clients:
        client.connection.send(GET)
        asking.mesh.reactor.settle()
    pending = [line for line in asking.text("/stats").splitlines() if "|b." in line and "pending" in line]
    assert pending == [
        f"cluster.{CLUSTER}.circuit_breakers.default.remaining_pending: 0",
        f"cluster.{CLUSTER}.circuit_breakers.default.rq_pending_open: 1",
        f"cluster.{CLUSTER}.circuit_breakers.high.rq_pending_open: 0",
        f"cluster.{CLUSTER}.upstream_rq_pending_active: 1",
        f"cluster.{CLUSTER}.upstream_rq_pending_failure_eject: 0",
        f"cluster.{CLUSTER}.upstream_rq_pending_overflow: 2",
        f"cluster.{CLUSTER}.upstream_rq_pending_total: 2",
    ]


def test_a_mirrors_copy_is_no_request_of_a_client(asking: Asking) -> None:
    from devmesh.snapshot.route import Mirror
    from tests.proxy.meshes import TO_B

    asking.mesh.publish(snapshot(replace(TO_B, mirrors=(Mirror(CLUSTER),))))
    asking.mesh.call(GET)
    assert asking.stat("http.outbound_0.0.0.0_80.downstream_rq_total") == 1
    assert asking.stat(f"cluster.{CLUSTER}.upstream_rq_total") == 2


def test_a_client_that_goes_early_is_a_reset(asking: Asking) -> None:
    asking.mesh.app.answer = None
    client = asking.mesh.client()
    client.connection.send(GET)
    asking.mesh.reactor.settle()
    assert asking.stat("http.outbound_0.0.0.0_80.downstream_rq_active") == 1
    client.connection.close()
    asking.mesh.reactor.settle()
    assert asking.stat("http.outbound_0.0.0.0_80.downstream_rq_rx_reset") == 1
    assert asking.stat("http.outbound_0.0.0.0_80.downstream_rq_active") == 0
    assert asking.stat("http.outbound_0.0.0.0_80.downstream_cx_active") == 0
    assert asking.stat("http.outbound_0.0.0.0_80.downstream_cx_destroy") == 1


def test_statistics_can_be_chosen(asking: Asking) -> None:
    asking.mesh.call(GET)
    assert asking.text("/stats?filter=upstream_rq_total$").count("\n") == 1
    kept = asking.text("/stats?usedonly")
    assert ": 0\n" not in kept
    assert "server.live: 1" in kept
    rest = asking.text("/stats?filter=^cluster&invert_filter")
    assert "cluster." not in rest.replace("cluster_manager.", "")
    assert "upstream_rq_total" not in asking.text("/stats?type=Gauges")
    refused = asking.reply("/stats?filter=(")
    assert (refused.status, refused.body[:17]) == (400, "Invalid re2 regex")
    found = json.loads(asking.text("/stats?format=json&filter=upstream_rq_200"))
    assert {"name": f"cluster.{CLUSTER}.upstream_rq_200", "value": 1} in found["stats"]
    assert asking.reply("/stats?format=html5").status == 400


@pytest.mark.parametrize(
    ("target", "port"),
    [
        ("/stats/prometheus", ADMIN_PORT),
        ("/stats/prometheus", STATS_PORT),
        ("/stats/prometheus", AGENT_PORT),
        ("/stats?format=prometheus", ADMIN_PORT),
    ],
)
def test_prometheus_sees_envoys_names_with_istios_labels(asking: Asking, target: str, port: int) -> None:
    asking.mesh.call(GET)
    text = asking.text(target, port=port)
    assert f'envoy_cluster_upstream_cx_active{{cluster_name="{CLUSTER}"}} 1' in text
    assert f'envoy_cluster_upstream_rq{{response_code="200",cluster_name="{CLUSTER}"}} 1' in text
    assert f'envoy_cluster_upstream_rq{{response_code_class="2xx",cluster_name="{CLUSTER}"}} 1' in text
    assert "# TYPE envoy_cluster_upstream_cx_active gauge" in text
    assert "envoy_http_outbound_0_0_0_0_80_downstream_rq_total{} 1" in text
    assert "istio_build 1" in text


def test_clusters_tell_of_each_host(asking: Asking) -> None:
    asking.mesh.call(GET)
    lines = asking.text("/clusters").splitlines()
    host = f"{CLUSTER}::{APP[0]}:{APP[1]}"
    for wanted in ("cx_active::1", "cx_total::1", "rq_total::1", "rq_success::1", "health_flags::healthy"):
        assert f"{host}::{wanted}" in lines
    assert f"{CLUSTER}::default_priority::max_connections::4294967295" in lines
    assert f"{CLUSTER}::added_via_api::true" in lines
    assert "inbound|8080||::10.1.0.2:8080::rq_total::1" in asking.text("/clusters", of="b").splitlines()


def test_clusters_tell_of_an_ejected_host(asking: Asking) -> None:
    strict = replace(
        cluster(endpoint()), outlier=OutlierDetection(consecutive_5xx=1, max_ejection_percent=100)
    )
    mesh = asking.mesh = Mesh(
        snapshot(clusters=(strict,)), App(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")
    )
    asking = Asking(mesh)
    assert status_of(mesh.call(GET)) == 500
    assert f"{CLUSTER}::{APP[0]}:{APP[1]}::health_flags::/failed_outlier_check" in asking.text("/clusters")
    [found] = [
        each
        for each in json.loads(asking.text("/clusters?format=json"))["cluster_statuses"]
        if each["name"] == CLUSTER
    ]
    [host] = found["host_statuses"]
    assert host["health_status"]["failed_outlier_check"]
    assert {"value": "1", "name": "rq_error"} in host["stats"]
    assert asking.stat(f"cluster.{CLUSTER}.outlier_detection.ejections_active") == 1


def test_counters_can_be_reset(asking: Asking) -> None:
    asking.mesh.call(GET)
    assert asking.text("/reset_counters", method="POST") == "OK\n"
    assert asking.stat(f"cluster.{CLUSTER}.upstream_rq_total") == 0
    assert asking.stat(f"cluster.{CLUSTER}.upstream_cx_active") == 1  # a gauge
    asking.mesh.call(GET)
    assert asking.stat(f"cluster.{CLUSTER}.upstream_rq_total") == 1
    assert asking.stat("http.outbound_0.0.0.0_80.downstream_rq_total") == 1


def test_what_changes_something_has_to_be_posted(asking: Asking) -> None:
    reply = asking.reply("/drain_listeners")
    assert (reply.status, reply.body) == (405, "Method GET not allowed, POST required.")
    assert not asking.controls.told


def test_an_unknown_path_is_answered_with_the_help(asking: Asking) -> None:
    reply = asking.reply("/nothing")
    assert reply.status == 404
    assert reply.body.startswith("invalid path. admin commands are:\n")
    assert "  /drain_listeners (POST): " in asking.text("/help")
    assert "<a href='clusters'>" in asking.text("/")


def test_listeners_are_drained_at_once_or_after_the_drain_time(asking: Asking) -> None:
    assert asking.text("/drain_listeners", of="b", method="POST") == "OK\n"
    assert asking.text("/drain_listeners?inboundonly", of="b", method="POST") == "OK\n"
    assert asking.controls.told == ["drain b all", "drain b inbound"]
    asking.controls.told.clear()
    asking.text("/drain_listeners?graceful", of="b", method="POST")
    asking.text("/drain_listeners?graceful", of="b", method="POST")
    asking.mesh.reactor.advance(44)
    assert not asking.controls.told
    asking.mesh.reactor.advance(1.5)
    assert asking.controls.told == ["drain b all"]
    assert asking.reply("/drain_listeners?skip_exit", of="b", method="POST").status == 400


@pytest.mark.parametrize("command", ["/drain_listeners?graceful", "/healthcheck/fail"])
def test_clients_of_a_draining_proxy_are_told_to_go(command: str) -> None:
    asking = Asking(Mesh(snapshot()))
    client = asking.mesh.client()
    client.connection.send(GET)
    asking.mesh.reactor.settle()
    assert b"connection: close" not in client.data
    asking.text(command, method="POST")
    client.connection.send(GET)
    asking.mesh.reactor.settle()
    assert b"connection: close" in client.data
    assert client.ended


def test_health_follows_what_was_asked_for(asking: Asking) -> None:
    assert asking.text("/ready") == "LIVE\n"
    assert asking.reply("/healthz/ready", port=HEALTH_PORT) == Reply("", 200)
    asking.text("/healthcheck/fail", method="POST")
    assert (asking.reply("/ready").status, asking.reply("/ready").body) == (503, "DRAINING\n")
    assert asking.reply("/healthz/ready", port=AGENT_PORT).status == 503
    asking.text("/healthcheck/ok", method="POST")
    assert asking.reply("/healthz/ready", port=HEALTH_PORT).status == 200
    assert asking.reply("/ready", of="nobody").body == "INITIALIZING\n"


def test_other_ports_serve_nothing_but_their_own(asking: Asking) -> None:
    assert asking.reply("/config_dump", port=STATS_PORT).status == 404
    assert asking.reply("/stats/prometheus", port=HEALTH_PORT).status == 404
    assert asking.reply("/quitquitquit", port=AGENT_PORT).status == 405
    assert asking.reply("/quitquitquit", port=AGENT_PORT, method="POST").status == 200
    assert asking.controls.told == ["restart a"]


def test_the_server_its_listeners_and_certificates_are_told(asking: Asking) -> None:
    info = json.loads(asking.text("/server_info"))
    assert info["state"] == "LIVE"
    assert info["node"]["id"] == "sidecar~10.1.0.1~a-pod.default~default.svc.cluster.local"
    assert asking.text("/listeners").splitlines() == [
        "0.0.0.0_80::0.0.0.0:80",
        "virtualOutbound::0.0.0.0:15001",
    ]
    assert len(json.loads(asking.text("/listeners?format=json"))["listener_statuses"]) == 2
    [pair] = json.loads(asking.text("/certs"))["certificates"]
    assert pair["cert_chain"][0]["subject_alt_names"] == [{"uri": "spiffe://cluster.local/ns/default/sa/a"}]
    assert int(json.loads(asking.text("/memory"))["allocated"]) > 0
    assert json.loads(asking.text("/runtime")) == {"entries": {}, "layers": []}


def test_log_levels_can_be_seen_and_set(asking: Asking) -> None:
    from logging import NOTSET, getLogger

    logger = getLogger("devmesh.proxy.engine")
    try:
        assert "  engine: " in asking.text("/logging", method="POST")
        assert "  engine: debug\n" in asking.text("/logging?engine=debug", method="POST")
        assert logger.level == 10
        assert "  engine: warning\n" in asking.text("/logging?paths=engine:warning", method="POST")
        assert asking.reply("/logging?level=loud", method="POST").status == 400
        assert asking.reply("/logging?nobody=debug", method="POST").status == 400
    finally:
        logger.setLevel(NOTSET)


def over_the_wire(asking: Asking, data: bytes) -> End:
    reactor = asking.mesh.reactor
    client = End(reactor.connect(partial(asking.admin.serve, "a", ADMIN_PORT)))
    client.connection.send(data)
    reactor.settle()
    return client


def test_requests_over_one_connection_are_answered_in_turn(asking: Asking) -> None:
    ready = b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n"
    post = b"POST /reset_counters HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc"
    client = over_the_wire(asking, ready + post + ready)
    assert client.data.count(b"HTTP/1.1 200 OK") == 3
    assert client.data.count(b"LIVE\n") == 2
    assert not client.ended
    client = over_the_wire(asking, b"GET /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert client.ended


def test_what_is_no_request_is_refused(asking: Asking) -> None:
    client = over_the_wire(asking, b"nonsense\r\n\r\n")
    assert status_of(client.data) == 400
    assert client.ended


def test_an_idle_connection_is_closed(asking: Asking) -> None:
    client = over_the_wire(asking, b"GET /rea")
    asking.mesh.reactor.advance(61)
    assert client.ended


def test_a_body_may_come_later(asking: Asking) -> None:
    client = over_the_wire(asking, b"POST /healthcheck/ok HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\na")
    assert not client.data
    client.connection.send(b"bc")
    asking.mesh.reactor.settle()
    assert client.data.endswith(b"OK\n")


def test_a_reply_is_sent_once(asking: Asking) -> None:
    later: list[object] = []
    reactor = asking.mesh.reactor
    client = End(
        reactor.connect(lambda c: AdminServer(reactor, c, lambda asked, then: later.append(then)) and None)
    )
    client.connection.send(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n")
    reactor.settle()
    for then in later * 2:
        then(Reply("once"))  # type: ignore[operator]
    reactor.settle()
    assert client.data.count(b"once") == 1


APPLICATION = b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nmy_total 1\n"


def scraped(asking: Asking, answer: bytes | None) -> str:
    """What port 15020 says while the application answers `answer` on port 9102 and closes."""

    def serve(connection: Connection) -> None:
        def heard(end: End) -> None:
            if answer is not None and not end.ended:
                end.connection.send(answer)
                end.connection.finish()

        End(connection).on_data = heard

    asking.mesh.reactor.serve("a", "127.0.0.1", 9102, serve)
    asking.scrape = Scrape(9102)
    replies: list[Reply] = []
    asking.admin.answer("a", AGENT_PORT, Asked.of("GET", "/stats/prometheus"), replies.append)
    asking.mesh.reactor.settle()
    asking.mesh.reactor.advance(6)
    return replies[0].body


def test_the_agent_adds_the_applications_own_metrics(asking: Asking) -> None:
    text = scraped(asking, APPLICATION)
    assert text.endswith("my_total 1\n")
    assert "istio_build 1" in text
    assert "my_total" not in asking.text("/stats/prometheus", port=STATS_PORT)


@pytest.mark.parametrize("answer", [None, b"HTTP/1.0 500 No\r\n\r\nmy_total 1\n", b""])
def test_an_application_that_says_nothing_leaves_the_rest_as_it_is(
    asking: Asking, answer: bytes | None
) -> None:
    text = scraped(asking, answer)
    assert "my_total" not in text
    assert "istio_build 1" in text


def test_an_application_that_isnt_there_leaves_the_rest_as_it_is(asking: Asking) -> None:
    asking.scrape = Scrape(9999)
    assert "istio_build 1" in asking.text("/stats/prometheus", port=AGENT_PORT)
