from __future__ import annotations

import pytest

from tests.pilot.meshes import Mesh, istio, mesh, service

A = service("a")
ELSEWHERE = service("b", namespace="other")


@pytest.mark.parametrize(
    "host",
    ["b.other", "b.other.svc", "b.other.svc.cluster.local", "b.other:80", "B.Other.svc.Cluster.LOCAL"],
)
def test_every_name_of_a_service_of_another_namespace(host: str) -> None:
    assert mesh(A, ELSEWHERE).get("a", host).workload == "b"


def test_a_short_name_is_of_the_own_namespace() -> None:
    made = mesh(A, ELSEWHERE, service("b"))
    assert made.get("a", "b").endpoint == made.get("a", "b.default").endpoint
    assert made.get("a", "b").endpoint != made.get("a", "b.other").endpoint
    assert made.get("other/b", "b").endpoint == made.get("a", "b.other").endpoint


def test_the_virtual_address_is_a_name_too() -> None:
    made = mesh(A, ELSEWHERE)
    (address,) = made.compile().snapshot.names["b.other.svc.cluster.local"]
    assert made.get("a", address).workload == "b"


@pytest.mark.parametrize(
    ("export_to", "seen"), [("'*'", True), (".", False), ("'default,x'", True), ("x", False), ("'~'", False)]
)
def test_a_service_is_seen_where_it_is_exported_to(export_to: str, seen: bool) -> None:
    text = ELSEWHERE.replace(
        "{name: b, namespace: other}",
        f"{{name: b, namespace: other, annotations: {{networking.istio.io/exportTo: {export_to}}}}}",
        1,
    )
    found = mesh(A, text).get("a", "b.other")
    assert found.cluster == ("outbound|80||b.other.svc.cluster.local" if seen else "PassthroughCluster")


ALL_TO_404 = "hosts: [b.other.svc.cluster.local]\nhttp: [{directResponse: {status: 418}}]\n"


@pytest.mark.parametrize(
    ("namespace", "export_to", "status"),
    [
        ("other", "", 418),
        ("other", "exportTo: [.]", None),
        ("other", "exportTo: [default]", 418),
        ("third", "", 418),
        ("default", "exportTo: [.]", 418),
    ],
)
def test_a_virtual_service_steers_where_it_is_exported_to(
    namespace: str, export_to: str, status: int | None
) -> None:
    made = mesh(A, ELSEWHERE, istio("VirtualService", "b", ALL_TO_404 + export_to, namespace))
    assert made.get("a", "b.other").status == status


def with_sidecar(spec: str, *, namespace: str = "default") -> Mesh:
    return mesh(
        A,
        ELSEWHERE,
        service("c"),
        istio("Sidecar", "default", spec, namespace),
        service("d", namespace="third"),
    )


@pytest.mark.parametrize(
    ("egress", "seen"),
    [
        ("[{hosts: ['*/*']}]", "bcd"),
        ("[{hosts: ['./*']}]", "c"),
        ("[{hosts: ['other/*']}]", "b"),
        ("[{hosts: ['*/b.other.svc.cluster.local']}]", "b"),
        ("[{hosts: ['*/*.other.svc.cluster.local', './*']}]", "bc"),
        ("[{hosts: ['~/*']}]", ""),
        ("[{port: {number: 81, protocol: HTTP, name: x}, hosts: ['*/*']}]", ""),
        ("[{port: {number: 80, protocol: HTTP, name: x}, hosts: ['third/*']}, {hosts: ['./*']}]", "cd"),
        ("[{hosts: ['*/*', '~other/*']}]", "cd"),
        ("[{hosts: ['*/*', '~other/b.other.svc.cluster.local']}]", "cd"),
        ("[{hosts: ['*/*', '~/*.default.svc.cluster.local']}]", "bd"),
        ("[{hosts: ['*/*', '~./*']}]", "bd"),
        ("[{hosts: ['*/*', '~third/b.other.svc.cluster.local']}]", "bcd"),
    ],
)
def test_a_sidecar_hides_what_it_does_not_list(egress: str, seen: str) -> None:
    made = with_sidecar(f"egress: {egress}")
    hosts = {"b": "b.other", "c": "c", "d": "d.third"}
    assert "".join(name for name, host in hosts.items() if made.get("a", host).workload == name) == seen


def test_a_sidecar_of_the_root_namespace_is_for_all_that_have_none() -> None:
    made = with_sidecar("egress: [{hosts: ['./*']}]", namespace="istio-system")
    assert made.get("a", "b.other").cluster == "PassthroughCluster"
    assert made.get("other/b", "b").workload == "b"
    made.apply(istio("Sidecar", "default", "egress: [{hosts: ['*/*']}]"))
    assert made.get("a", "b.other").workload == "b"


def test_a_sidecar_that_selects_comes_first() -> None:
    made = with_sidecar("egress: [{hosts: ['~/*']}]")
    made.apply(istio("Sidecar", "a", "workloadSelector: {labels: {app: a}}\negress: [{hosts: ['*/*']}]"))
    assert made.get("a", "c").workload == "c"
    assert made.get("c", "a").workload == ""


def test_a_sidecar_may_forbid_what_the_mesh_allows() -> None:
    made = with_sidecar("outboundTrafficPolicy: {mode: REGISTRY_ONLY}")
    assert made.get("a", "unknown.example").status == 502
    assert made.get("other/b", "unknown.example").status is None


def test_an_egress_proxy_gets_what_nobody_knows() -> None:
    made = with_sidecar(
        """
outboundTrafficPolicy:
  mode: ALLOW_ANY
  egressProxy: {host: c, port: {number: 80}}
"""
    )
    assert made.get("a", "unknown.example").workload == "c"
    assert made.connect("a", "203.0.113.1:443").workload == "c"
    assert made.get("other/b", "unknown.example").cluster == "PassthroughCluster"


def test_a_sidecar_chooses_virtual_services_and_keeps_what_they_lead_to() -> None:
    rule = """
hosts: [c.default.svc.cluster.local]
http: [{route: [{destination: {host: b.other.svc.cluster.local}}]}]
"""
    made = with_sidecar("egress: [{hosts: ['./*']}]")
    made.apply(istio("VirtualService", "foreign", rule, "third"))
    assert made.get("a", "c").workload == "c"
    made.apply(istio("VirtualService", "own", rule))
    assert made.get("a", "c").workload == "b"


def test_proxies_that_see_the_same_share_one_outbound() -> None:
    proxies = mesh(A, service("c"), ELSEWHERE).compile().snapshot.proxies
    assert proxies["a-0"].outbound is proxies["c-0"].outbound
    assert proxies["a-0"].outbound is not proxies["other/b-0"].outbound


def test_source_labels_and_namespaces_choose_routes() -> None:
    made = mesh(
        A,
        service("c"),
        ELSEWHERE,
        istio(
            "VirtualService",
            "c",
            """
hosts: [c.default.svc.cluster.local]
http:
- match: [{sourceLabels: {app: a, version: v1}}]
  directResponse: {status: 201}
- match: [{sourceNamespace: other}]
  directResponse: {status: 202}
- directResponse: {status: 203}
""",
        ),
    )
    callers = ("a", "other/b", "c")
    assert [made.get(caller, "c.default").status for caller in callers] == [201, 202, 203]
