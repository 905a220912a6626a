"""What statuses say, and that they come to rest."""

from __future__ import annotations

from typing import Any

import pytest

from devmesh.config import gateway_kinds as gk
from devmesh.config import kinds
from tests.pilot.gateway_api.resources import at_gateway, gateway, http, resource, rule, to
from tests.pilot.meshes import Mesh, mesh, service


def conditions(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in found["conditions"]}


def route_conditions(made: Mesh, name: str, namespace: str = "default") -> dict[str, tuple[str, str]]:
    (parent,) = made.status(gk.HTTP_ROUTE, name, namespace)["parents"]
    assert parent["controllerName"] == "istio.io/gateway-controller"
    return conditions(parent)


def refused(made: Mesh, name: str = "r", namespace: str = "default") -> str:
    status, reason = route_conditions(made, name, namespace)["Accepted"]
    assert status == "False"
    return reason


BEGIN_CERTIFICATE = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t"


def secret(name: str, namespace: str = "default") -> str:
    return f"""
---
apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: {namespace}}}
data: {{tls.crt: {BEGIN_CERTIFICATE}, tls.key: LS0tLS1CRUdJTiBLRVktLS0tLQ==}}
"""


def https(refs: str, hostname: str = "") -> str:
    host = f"hostname: {hostname}, " if hostname else ""
    tls = f"tls: {{mode: Terminate, certificateRefs: {refs}}}"
    return f"{{name: https, port: 443, {host}protocol: HTTPS, {tls}}}"


def test_a_gateway_is_programmed_when_its_proxy_runs() -> None:
    made = mesh(gateway())
    found = made.status(gk.KUBERNETES_GATEWAY, "gw")
    assert conditions(found)["Accepted"] == ("True", "Accepted")
    assert conditions(found)["Programmed"][0] == "False"
    made.deploy()
    found = made.status(gk.KUBERNETES_GATEWAY, "gw")
    assert conditions(found)["Programmed"] == ("True", "Programmed")
    programmed = next(c for c in found["conditions"] if c["type"] == "Programmed")
    assert programmed["message"] == (
        "Resource programmed, assigned to service(s) gw-istio.default.svc.cluster.local:80"
    )
    assert found["addresses"] == [{"type": "Hostname", "value": "gw-istio.default.svc.cluster.local"}]


def test_its_address_is_that_of_the_load_balancer() -> None:
    made = mesh(gateway()).deploy()
    stored = made.store.get(kinds.SERVICE, "default", "gw-istio")
    assert stored is not None
    made.store.patch_status(stored.key, {"loadBalancer": {"ingress": [{"ip": "127.1.2.3"}]}})
    assert made.status(gk.KUBERNETES_GATEWAY, "gw")["addresses"] == [
        {"type": "IPAddress", "value": "127.1.2.3"}
    ]
    (listener,) = made.compile().snapshot.proxies["gw-istio-0"].gateway
    assert ("127.1.2.3", 80) in listener.shown


def test_an_internal_gateway_has_its_services_name_as_address_whatever_the_service_was_before() -> None:
    made = mesh(gateway()).deploy()
    stored = made.store.get(kinds.SERVICE, "default", "gw-istio")
    assert stored is not None
    made.store.patch_status(stored.key, {"loadBalancer": {"ingress": [{"ip": "127.1.2.3"}]}})
    made.apply(gateway(metadata="annotations: {networking.istio.io/service-type: ClusterIP}")).deploy()
    made.instances = made.instances[:1]
    name = "gw-istio.default.svc.cluster.local"
    assert made.status(gk.KUBERNETES_GATEWAY, "gw")["addresses"] == [{"type": "Hostname", "value": name}]


def test_node_ports_are_listened_on() -> None:
    made = mesh(gateway()).deploy()
    stored = made.store.get(kinds.SERVICE, "default", "gw-istio")
    assert stored is not None
    ports = [{**port, "nodePort": 30000 + port["port"]} for port in stored.raw["spec"]["ports"]]
    made.store.update(kinds.SERVICE, {**stored.raw, "spec": {**stored.raw["spec"], "ports": ports}})
    (listener,) = made.compile().snapshot.proxies["gw-istio-0"].gateway
    assert listener.shown == (("127.0.0.1", 30080),)


def test_an_address_that_is_asked_for_is_told_to_have_no_effect() -> None:
    made = mesh(gateway(spec="addresses: [{type: IPAddress, value: 10.0.0.1}]")).deploy()
    assert made.codes() == ["DM0304"]


def test_listeners_count_their_routes_and_tell_their_kinds() -> None:
    made = at_gateway(http("r", f"[{rule('', to('a'))}]"), http("s", f"[{rule('', to('b'))}]"))
    (listener,) = made.status(gk.KUBERNETES_GATEWAY, "gw")["listeners"]
    assert listener["attachedRoutes"] == 2
    assert [k["kind"] for k in listener["supportedKinds"]] == ["HTTPRoute", "GRPCRoute"]
    assert conditions(listener) == {
        "Accepted": ("True", "Accepted"),
        "Conflicted": ("False", "NoConflicts"),
        "Programmed": ("True", "Programmed"),
        "ResolvedRefs": ("True", "ResolvedRefs"),
    }


def test_a_status_that_was_written_is_not_written_again() -> None:
    made = at_gateway(http("r", f"[{rule('', to('a'))}]"))
    assert made.settle() <= 3
    before = made.compile()
    assert made.compile().statuses == {}
    assert before.snapshot.proxies["gw-istio-0"] is made.compile().snapshot.proxies["gw-istio-0"]


def test_a_status_follows_the_generation_and_keeps_its_times() -> None:
    made = at_gateway(http("r", f"[{rule('', to('a'))}]"))
    (before,) = made.status(gk.HTTP_ROUTE, "r")["parents"]
    made.apply(http("r", f"[{rule('', to('b'))}]"))
    (after,) = made.status(gk.HTTP_ROUTE, "r")["parents"]
    assert {c["observedGeneration"] for c in after["conditions"]} == {2}
    times = [[c["lastTransitionTime"] for c in p["conditions"]] for p in (before, after)]
    assert times[0] == times[1]


def test_an_accepted_route() -> None:
    made = at_gateway(http("r", f"[{rule('', to('a'))}]"))
    assert route_conditions(made, "r") == {
        "Accepted": ("True", "Accepted"),
        "ResolvedRefs": ("True", "ResolvedRefs"),
    }


@pytest.mark.parametrize("parent", ["sectionName: nobody", "port: 81"])
def test_no_listener_of_that_name_or_port(parent: str) -> None:
    made = at_gateway(http("r", f"[{rule('', to('a'))}]", parents=f"[{{name: gw, {parent}}}]"))
    assert refused(made) == "NoMatchingParent"


def test_no_host_in_common() -> None:
    foo = '{name: http, port: 80, protocol: HTTP, hostname: "*.foo.com"}'
    made = mesh(service("a"), gateway(foo), http("r", f"[{rule('', to('a'))}]", hosts="[bar.com]"))
    assert refused(made) == "NoMatchingListenerHostname"


def test_another_namespace_is_not_allowed_by_default() -> None:
    made = mesh(
        gateway("{name: http, port: 80, protocol: HTTP}"),
        http("r", f"[{rule('', to('a'))}]", parents="[{name: gw, namespace: default}]", namespace="other"),
    )
    assert refused(made, "r", "other") == "NotAllowedByListeners"


def test_a_selector_lets_namespaces_in_by_their_labels() -> None:
    by_name = "{matchLabels: {kubernetes.io/metadata.name: other}}"
    allowed = f"allowedRoutes: {{namespaces: {{from: Selector, selector: {by_name}}}}}"
    listener = f"{{name: http, port: 80, protocol: HTTP, {allowed}}}"
    route = http("r", f"[{rule('', to('a'))}]", parents="[{name: gw, namespace: default}]", namespace="other")
    made = mesh(service("a", namespace="other"), gateway(listener), route)
    assert route_conditions(made, "r", "other")["Accepted"] == ("True", "Accepted")


def test_a_kind_that_the_listener_does_not_take() -> None:
    made = mesh(
        service("a"), gateway("{name: tcp, port: 9000, protocol: TCP}"), http("r", f"[{rule('', to('a'))}]")
    )
    assert refused(made) == "NotAllowedByListeners"


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        (to("nobody"), "BackendNotFound"),
        ("{group: x, kind: Y, name: z, port: 80}", "InvalidKind"),
        (to("far", more="namespace: other"), "RefNotPermitted"),
    ],
)
def test_a_backend_that_does_not_resolve(backend: str, reason: str) -> None:
    made = at_gateway(http("r", f"[{rule('', backend)}]"))
    assert route_conditions(made, "r")["ResolvedRefs"] == ("False", reason)
    assert route_conditions(made, "r")["Accepted"] == ("True", "Accepted")


def test_listeners_in_each_others_way_are_told() -> None:
    made = mesh(
        gateway(
            "{name: one, port: 80, protocol: HTTP}",
            "{name: two, port: 80, protocol: HTTP}",
            "{name: three, port: 80, protocol: TCP}",
        )
    )
    found = made.status(gk.KUBERNETES_GATEWAY, "gw")
    assert [conditions(each)["Conflicted"] for each in found["listeners"]] == [
        ("False", "NoConflicts"),
        ("True", "HostnameConflict"),
        ("True", "ProtocolConflict"),
    ]
    assert conditions(found)["Accepted"] == ("True", "ListenersNotValid")


def test_a_protocol_in_lower_case_is_not_served_and_the_right_one_is_told() -> None:
    made = mesh(gateway("{name: x, port: 80, protocol: http}"))
    (listener,) = made.status(gk.KUBERNETES_GATEWAY, "gw")["listeners"]
    assert conditions(listener)["Accepted"] == ("False", "UnsupportedProtocol")
    assert "'HTTP' (uppercase)" in listener["conditions"][0]["message"]


def test_a_certificate_of_the_same_namespace_resolves() -> None:
    made = mesh(secret("cert"), gateway(https("[{name: cert}]")))
    (listener,) = made.status(gk.KUBERNETES_GATEWAY, "gw")["listeners"]
    assert conditions(listener)["ResolvedRefs"] == ("True", "ResolvedRefs")


def test_a_certificate_that_is_not_there_is_told_until_it_is() -> None:
    made = mesh(gateway(https("[{name: cert}]")))
    (listener,) = made.status(gk.KUBERNETES_GATEWAY, "gw")["listeners"]
    assert conditions(listener)["ResolvedRefs"] == ("False", "InvalidCertificateRef")
    assert "DM0312" in made.codes()
    made.apply(secret("cert"))
    (listener,) = made.status(gk.KUBERNETES_GATEWAY, "gw")["listeners"]
    assert conditions(listener)["ResolvedRefs"] == ("True", "ResolvedRefs")


def test_a_certificate_that_is_none_is_told() -> None:
    made = mesh(secret("cert").replace(BEGIN_CERTIFICATE, "eA=="), gateway(https("[{name: cert}]")))
    (listener,) = made.status(gk.KUBERNETES_GATEWAY, "gw")["listeners"]
    assert conditions(listener)["ResolvedRefs"] == ("False", "InvalidCertificateRef")


def test_a_certificate_of_another_namespace_needs_a_grant() -> None:
    made = mesh(secret("cert", "certs"), gateway(https("[{name: cert, namespace: certs}]"))).deploy()
    (listener,) = made.status(gk.KUBERNETES_GATEWAY, "gw")["listeners"]
    assert conditions(listener)["ResolvedRefs"] == ("False", "RefNotPermitted")
    made.apply(
        resource(
            "ReferenceGrant",
            "grant",
            "from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: default}]\n"
            'to: [{group: "", kind: Secret, name: cert}]',
            "certs",
        )
    )
    (listener,) = made.status(gk.KUBERNETES_GATEWAY, "gw")["listeners"]
    assert conditions(listener)["ResolvedRefs"] == ("True", "ResolvedRefs")
    (served,) = made.compile().snapshot.proxies["gw-istio-0"].gateway
    assert served.tls[0].certificate_pem.startswith("-----BEGIN")


def test_an_address_that_is_no_service_is_not_usable() -> None:
    made = mesh(gateway(spec="addresses: [{type: Hostname, value: nobody.default.svc.cluster.local}]"))
    found = made.status(gk.KUBERNETES_GATEWAY, "gw")
    assert conditions(found)["Programmed"] == ("False", "AddressNotUsable")
    assert made.compile().wanted == ()


def test_a_listener_set_adds_listeners_where_the_gateway_lets_it() -> None:
    extra = "parentRef: {name: gw}\nlisteners: [{name: more, port: 8080, protocol: HTTP}]"
    made = mesh(service("a"), gateway(), resource("ListenerSet", "more", extra))
    assert conditions(made.status(gk.LISTENER_SET, "more"))["Accepted"] == ("False", "NotAllowed")
    made.apply(gateway(spec="allowedListeners: {namespaces: {from: Same}}")).deploy()
    made.apply(http("r", f"[{rule('', to('a'))}]", parents="[{kind: ListenerSet, name: more}]"))
    assert conditions(made.status(gk.LISTENER_SET, "more"))["Accepted"] == ("True", "Accepted")
    assert made.get("gw-istio", "gw:8080/", host="x").workload == "a"
    assert made.get("gw-istio", "gw:80/", host="x").status == 404


def test_a_class_of_ours_is_accepted() -> None:
    text = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: mine}
spec: {controllerName: istio.io/gateway-controller}
"""
    made = mesh(text)
    made.settle()
    stored = made.store.get(gk.GATEWAY_CLASS, "", "mine")
    assert stored is not None
    assert conditions(stored.raw["status"])["Accepted"] == ("True", "Accepted")
