"""Kubernetes' Ingress behind the ingress gateway, as Istio's controller serves it."""

from __future__ import annotations

import pytest

from devmesh.config import kinds
from devmesh.config.store import Key
from tests.pilot.meshes import INGRESS, Mesh, mesh, service
from tests.pilot.test_gateways import PAIR, config, listeners, messages, secret

CLASS = """
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: istio}
spec: {controller: istio.io/ingress-controller}
"""
ONE = service("one", "http:8000", "admin:9000")
TWO = service("two", "http:8000")


def ingress(*rules: str, name: str = "web", meta: str = "", spec: str = "ingressClassName: istio") -> str:
    listed = "\n".join(f"  - {rule}" for rule in rules)
    return f"""
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, namespace: default, {meta}}}
spec:
  {spec}
  rules:
{listed}
"""


def rule(host: str, *paths: str) -> str:
    """Write a rule; a path is ``TYPE PATH SERVICE[:PORT]``, the port a number or a name."""
    found = []
    for path in paths:
        kind, text, to = path.split(" ")
        where, _, port = to.partition(":")
        named = f"name: {port}" if port.isalpha() else f"number: {port or 8000}"
        backend = f"{{service: {{name: {where}, port: {{{named}}}}}}}"
        found.append(f"{{path: '{text}', pathType: {kind}, backend: {backend}}}")
    return f"{{{f'host: {host!r}, ' if host else ''}http: {{paths: [{', '.join(found)}]}}}}"


def made(*texts: str) -> Mesh:
    return mesh(INGRESS, ONE, TWO, CLASS, *texts)


def asked(found: Mesh, path: str, host: str = "a.example") -> str | int | None:
    outcome = found.get("istio-ingressgateway", f"x:80{path}", host=host)
    return outcome.workload or outcome.status


@pytest.mark.parametrize(
    ("written", "path", "served"),
    [
        ("Exact /foo one", "/foo", True),
        ("Exact /foo one", "/foo/", False),
        ("Exact /foo one", "/foo?q=1", True),
        ("Prefix /foo one", "/foo", True),
        ("Prefix /foo one", "/foo/bar", True),
        ("Prefix /foo one", "/foobar", False),
        ("Prefix /foo/ one", "/foo", True),
        ("Prefix / one", "/anything", True),
        ("ImplementationSpecific /foo one", "/foo", True),
        ("ImplementationSpecific /foo one", "/foo/bar", False),
        ("ImplementationSpecific /foo.* one", "/foobar", True),
        ("ImplementationSpecific /foo/* one", "/foo/bar", True),
    ],
)
def test_paths_match_by_their_type(written: str, path: str, served: bool) -> None:
    found = made(ingress(rule("a.example", written)))
    assert asked(found, path) == ("one" if served else 404)
    assert asked(found, path, "b.example") == 404


def test_the_longer_path_comes_first_and_of_equals_the_exact_one() -> None:
    paths = ("Prefix / one", "Prefix /foo one", "Exact /foo two", "Prefix /foo/bar two")
    found = made(ingress(rule("a.example", *paths)))
    assert [asked(found, path) for path in ("/", "/foo", "/foo/x", "/foo/bar/x")] == [
        "one",
        "two",
        "one",
        "two",
    ]


def test_several_ingresses_share_a_host() -> None:
    found = made(
        ingress(rule("a.example", "Prefix / one")),
        ingress(rule("a.example", "Prefix /two two"), name="more"),
    )
    assert [asked(found, path) for path in ("/", "/two")] == ["one", "two"]


def test_hosts_may_be_wildcards_or_left_out() -> None:
    found = made(ingress(rule("*.example", "Prefix / one"), rule("", "Prefix / two")))
    assert [asked(found, "/", host) for host in ("a.example", "b.test")] == ["one", "two"]


def test_a_port_is_named_or_numbered() -> None:
    found = made(ingress(rule("a.example", "Prefix / one:admin", "Prefix /n one:8000")))
    ports = [found.get("istio-ingressgateway", f"x:80{p}", host="a.example").cluster for p in ("/", "/n")]
    host = "one.default.svc.cluster.local"
    assert ports == [f"outbound|9000||{host}", f"outbound|8000||{host}"]


@pytest.mark.parametrize(
    ("meta", "spec", "mode", "served"),
    [
        ("", "ingressClassName: istio", "STRICT", True),
        ("", "ingressClassName: nginx", "STRICT", False),
        ("", "", "STRICT", False),
        ("", "", "DEFAULT", True),
        ("", "ingressClassName: nginx", "DEFAULT", False),
        ("annotations: {kubernetes.io/ingress.class: istio}", "", "STRICT", True),
        ("annotations: {kubernetes.io/ingress.class: nginx}", "", "DEFAULT", False),
        ("annotations: {kubernetes.io/ingress.class: istio}", "", "OFF", False),
    ],
)
def test_which_ingresses_are_istios(meta: str, spec: str, mode: str, served: bool) -> None:
    text = ingress(rule("a.example", "Prefix / one"), meta=meta, spec=spec)
    found = made(config(f"ingressControllerMode: '{mode}'"), text)
    assert asked(found, "/") == ("one" if served else None if not listeners(found) else 404)
    assert bool(messages(found, "DM0307")) is not served


def test_the_mesh_names_the_class_and_the_gateway() -> None:
    text = ingress(
        rule("a.example", "Prefix / one"),
        meta="annotations: {kubernetes.io/ingress.class: mine}",
        spec="",
    )
    assert asked(made(config("ingressClass: mine"), text), "/") == "one"
    assert not listeners(made(config("ingressClass: mine\ningressSelector: other"), text))


def test_tls_is_by_the_secrets_of_the_gateways_namespace() -> None:
    tls = "ingressClassName: istio\n  tls: [{hosts: [a.example], secretName: one}]"
    text = ingress(rule("a.example", "Prefix / one"), spec=tls)
    found = made(text)
    assert messages(found, "DM0301")[0].startswith("web spec.tls[0].secretName: there is no Secret 'one'")
    found.apply(secret("one", **PAIR))
    assert not messages(found, "DM0301")
    assert found.get("istio-ingressgateway", "x:443/", host="a.example").workload == "one"
    https = next(each for each in listeners(found) if each.target_port == 8443)
    assert [(tls.hosts, tls.certificate_pem) for tls in https.tls] == [(("a.example",), "CERT")]


def test_the_status_tells_the_gateways_address_until_it_says_so() -> None:
    found = made(ingress(rule("a.example", "Prefix / one")))
    statuses = found.compile().statuses
    (key,) = [key for key in statuses if key.kind.kind == "Ingress"]
    assert (key.namespace, key.name) == ("default", "web")
    assert statuses[key] == {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}}
    found.store.patch_status(Key(key.kind, key.namespace, key.name), statuses[key])
    assert not [key for key in found.compile().statuses if key.kind.kind == "Ingress"]


def test_what_cannot_be_served_is_told() -> None:
    found = made(
        ingress(
            rule("a.example", "Prefix /gone gone", "Prefix /port one:1234", "Prefix /name one:nothing"),
            spec="ingressClassName: istio\n  defaultBackend: {service: {name: one, port: {number: 8000}}}",
        )
    )
    assert asked(found, "/gone") == 503
    assert asked(found, "/name") == 404
    assert messages(found, "DM0304") == [
        "web spec.defaultBackend: has no effect, as in Istio: add a rule with the path / and no host"
    ]
    told = messages(found, "DM0308")
    assert len(told) == 3
    assert "there is no Service 'one' with the port nothing in namespace 'default'" in "".join(told)


def test_an_ingress_goes_with_gateways_and_virtual_services() -> None:
    found = made(
        ingress(rule("a.example", "Prefix / one")),
        """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [b.example]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: b, namespace: default}
spec:
  hosts: [b.example]
  gateways: [gw]
  http: [{route: [{destination: {host: two}}]}]
""",
    )
    assert [asked(found, "/", host) for host in ("a.example", "b.example")] == ["one", "two"]


def test_an_ingress_that_is_deleted_serves_nothing_more() -> None:
    found = made(ingress(rule("a.example", "Prefix / one")))
    assert asked(found, "/") == "one"
    (stored,) = found.store.list(kinds.INGRESS)
    found.store.delete(stored.key)
    assert not listeners(found)
