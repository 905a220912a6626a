"""Istio's egress tasks in their Gateway API variants, as far as routing decides them."""

from __future__ import annotations

from tests.pilot.gateway_api.resources import gateway, http, rule
from tests.pilot.meshes import Mesh, deployment, istio, mesh

ENTRY = istio(
    "ServiceEntry",
    "cnn",
    """
hosts: [edition.cnn.com]
ports: [{number: 80, name: http-port, protocol: HTTP}, {number: 443, name: https, protocol: HTTPS}]
resolution: DNS
""",
)
PARENT = "[{group: networking.istio.io, kind: ServiceEntry, name: cnn}]"
CNN = "{group: networking.istio.io, kind: Hostname, name: edition.cnn.com, port: PORT}"
LISTENER = "{name: http, hostname: edition.cnn.com, port: 80, protocol: HTTP}"
INTERNAL = "annotations: {networking.istio.io/service-type: ClusterIP}"


def cluster(made: Mesh, source: str, url: str, **headers: str) -> str:
    return made.get(source, url, **headers).cluster


def test_tm17g_a_service_entry_has_a_timeout() -> None:
    rules = f"[{rule('', CNN.replace('PORT', '80'), more='timeouts: {request: 3s}')}]"
    made = mesh(deployment("client"), ENTRY, http("timeout", rules, parents=PARENT))
    route = made.get("client", "edition.cnn.com:80/delay/5").route
    assert route is not None
    assert route.timeout == 3.0
    assert made.codes() == []


def test_tm18g_requests_go_to_another_port_which_originates_tls() -> None:
    tls = istio(
        "DestinationRule",
        "cnn",
        """
host: edition.cnn.com
trafficPolicy: {portLevelSettings: [{port: {number: 443}, tls: {mode: SIMPLE}}]}
""",
    )
    rules = f"[{rule('', CNN.replace('PORT', '443'))}]"
    made = mesh(deployment("client"), ENTRY, tls, http("redirect", rules, parents=PARENT))
    assert cluster(made, "client", "edition.cnn.com:80/politics") == "outbound|443||edition.cnn.com"
    assert made.codes() == []


def test_tm19g_requests_go_by_an_egress_gateway() -> None:
    direct = rule("", "{name: cnn-egress-istio, port: 80}")
    forward = rule("", CNN.replace("PORT", "80"))
    made = mesh(
        deployment("client"),
        ENTRY,
        gateway(LISTENER, name="cnn-egress", metadata=INTERNAL),
        http("direct", f"[{direct}]", parents=PARENT),
        http("forward", f"[{forward}]", parents="[{name: cnn-egress}]", hosts="[edition.cnn.com]"),
    ).deploy()
    assert cluster(made, "client", "edition.cnn.com:80/politics") == (
        "outbound|80||cnn-egress-istio.default.svc.cluster.local"
    )
    at_gateway = cluster(made, "cnn-egress-istio", "x:80/politics", host="edition.cnn.com")
    assert at_gateway == "outbound|80||edition.cnn.com"
    assert made.codes() == []


def test_tm21g_the_egress_gateway_originates_tls() -> None:
    tls = istio("DestinationRule", "cnn", "host: edition.cnn.com\ntrafficPolicy: {tls: {mode: SIMPLE}}")
    forward = rule("", CNN.replace("PORT", "443"))
    made = mesh(
        deployment("client"),
        ENTRY,
        tls,
        gateway(LISTENER, name="cnn-egress", metadata=INTERNAL),
        http("forward", f"[{forward}]", parents="[{name: cnn-egress}]", hosts="[edition.cnn.com]"),
    ).deploy()
    at_gateway = cluster(made, "cnn-egress-istio", "x:80/politics", host="edition.cnn.com")
    assert at_gateway == "outbound|443||edition.cnn.com"
