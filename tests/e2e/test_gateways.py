"""Gateways on a real mesh, asked with curl and openssl from this machine."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.applications import Applications
from tests.e2e.bookinfo import eventually
from tests.security.certificates import Made, authority, issue, revoke

GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: default}
spec:
  selector: {istio: SELECTOR}
  servers:
SERVERS
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: all, namespace: default}
spec:
  hosts: ["*"]
  gateways: [gw]
  http: [{route: [{destination: {host: echo, port: {number: 80}}}]}]
  tcp: [{match: [{port: 31400}], route: [{destination: {host: echo, port: {number: 9000}}}]}]
"""


def gateway(*servers: str, selector: str = "ingressgateway") -> str:
    listed = "\n".join(f"  - {server}" for server in servers)
    return GATEWAY.replace("SELECTOR", selector).replace("SERVERS", listed)


def https(host: str, tls: str, name: str = "https") -> str:
    port = f"{{number: 443, name: {name}, protocol: HTTPS}}"
    return f"{{port: {port}, hosts: [{host}], tls: {{{tls}}}}}"


@dataclass(frozen=True)
class Answer:
    """What curl got. `code` is its exit status."""

    code: int
    status: int
    headers: dict[str, str]
    body: str
    errors: str

    @property
    def seen(self) -> dict[str, str]:
        """The headers that reached the application."""
        return dict(json.loads(self.body)["headers"])


def curl(url: str, *args: str) -> Answer:
    done = subprocess.run(
        ["curl", "-sS", "-i", "--max-time", "10", *args, url], capture_output=True, text=True, check=False
    )
    head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
    lines = head.splitlines()
    status = int(lines[0].split()[1]) if lines else 0
    fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    return Answer(done.returncode, status, fields, body, done.stderr)


@dataclass(frozen=True)
class World:
    """The mesh, with certificates in files."""

    apps: Applications
    folder: Path

    @property
    def http(self) -> str:
        return str(self.apps.mesh.status["gateways"]["http"])

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def secret(self, name: str, pair: Made, **more: str) -> None:
        """Make a Secret in the gateway's namespace, or replace it, as `kubectl create` does."""
        data = {
            "tls.crt": pair.pem,
            "tls.key": pair.key_pem,
            **{k.replace("_", "."): v for k, v in more.items()},
        }
        made = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": "istio-system"},
            "stringData": data,
        }
        self.apps.apply(json.dumps(made))

    def ask(self, host: str, ca: Made, *args: str, path: str = "/") -> Answer:
        address, _, port = str(self.apps.mesh.status["gateways"]["https"]).partition(":")
        roots = self.file("ca.crt", ca.pem)
        return curl(
            f"https://{host}:{port}{path}", "--cacert", roots, "--resolve", f"{host}:{port}:{address}", *args
        )

    def client(self, pair: Made) -> tuple[str, ...]:
        return ("--cert", self.file("client.crt", pair.pem), "--key", self.file("client.key", pair.key_pem))


@pytest.fixture
def world(clean: Applications, tmp_path: Path) -> Iterator[World]:
    yield World(clean, tmp_path)
    clean.mesh.kubectl("delete", "ingresses", "--all", "-A", "--ignore-not-found")
    names = ("one", "two")
    clean.mesh.kubectl("delete", "secret", "-n", "istio-system", *names, "--ignore-not-found")


CA = authority()
SIMPLE = "mode: SIMPLE, credentialName: one"


def test_simple_tls_waits_for_its_secret_and_follows_it(world: World) -> None:
    said = world.apps.mesh.kubectl(
        "apply", "-f", "-", stdin=gateway(https("one.example", SIMPLE)), check=False
    )
    assert "there is no Secret 'one'" in said
    assert world.ask("one.example", CA).code == 35  # reset in the handshake
    world.secret("one", issue(CA, "one.example"))
    answer = world.ask("one.example", CA)
    assert (answer.status, answer.headers["server"]) == (200, "istio-envoy")
    assert answer.seen["x-forwarded-proto"] == "https"
    other = authority("another")
    world.secret("one", issue(other, "one.example"))
    assert world.ask("one.example", CA).code == 60  # the old authority is no longer the one
    assert world.ask("one.example", other).status == 200


def test_hosts_on_one_port_have_their_own_certificates_and_routes(world: World) -> None:
    world.secret("one", issue(CA, "one.example"))
    world.secret("two", issue(CA, "two.example"))
    two = "mode: SIMPLE, credentialName: two"
    world.apps.apply(gateway(https("one.example", SIMPLE), https("two.example", two, "two")))
    for host in ("one.example", "two.example"):
        assert world.ask(host, CA).status == 200
        assert world.ask(host, CA, "--http1.1").status == 200
    assert world.ask("one.example", CA, "-H", "Host: two.example").status == 404
    assert world.ask("three.example", CA).code == 35


def test_mutual_tls_verifies_clients(world: World) -> None:
    client, gone = issue(CA, "client.example"), issue(CA, "gone.example")
    world.secret("one", issue(CA, "one.example"), ca_crt=CA.pem, ca_crl=revoke(CA, gone))
    mutual = "mode: MUTUAL, credentialName: one, subjectAltNames: [client.example, gone.example]"
    world.apps.apply(gateway(https("one.example", mutual)))
    assert world.ask("one.example", CA).code in (35, 55, 56)  # in TLS 1.3 it may be writing by then
    assert world.ask("one.example", CA, *world.client(issue(CA, "other.example"))).code
    assert world.ask("one.example", CA, *world.client(gone)).code
    answer = world.ask("one.example", CA, *world.client(client), "-H", "x-forwarded-client-cert: forged")
    assert answer.status == 200
    assert answer.seen["x-forwarded-client-cert"].startswith("Hash=")
    assert "forged" not in answer.seen["x-forwarded-client-cert"]


def test_versions_and_ciphers_are_those_of_the_server(world: World) -> None:
    world.secret("one", issue(CA, "one.example"))
    rules = f"{SIMPLE}, maxProtocolVersion: TLSV1_2, cipherSuites: [ECDHE-ECDSA-AES256-GCM-SHA384]"
    world.apps.apply(gateway(https("one.example", rules)))
    said = openssl(world, "-servername", "one.example")
    assert "TLSv1.2, Cipher is ECDHE-ECDSA-AES256-GCM-SHA384" in said
    assert "Cipher is (NONE)" in openssl(world, "-servername", "one.example", "-tls1_3")


def openssl(world: World, *args: str) -> str:
    where = str(world.apps.mesh.status["gateways"]["https"])
    done = subprocess.run(
        ["openssl", "s_client", "-connect", where, *args],
        input="",
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    return done.stdout + done.stderr


def test_https_redirect(world: World) -> None:
    server = "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*'], tls: {httpsRedirect: true}}"
    world.apps.apply(gateway(server))
    answer = curl(f"http://{world.http}/a?b=c", "-H", "Host: one.example")
    assert (answer.status, answer.headers["location"]) == (301, "https://one.example/a?b=c")


def test_tcp_on_31400_is_reached_from_the_host(world: World) -> None:
    world.apps.apply(gateway("{port: {number: 31400, name: tcp, protocol: TCP}, hosts: ['*']}"))
    path = 'jsonpath={.spec.ports[?(@.name=="tcp")].nodePort}'
    service = ("get", "svc", "-n", "istio-system", "istio-ingressgateway")
    port = int(world.apps.mesh.kubectl(*service, "-o", path))

    def echoed() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(b"hello")
                return b"hello" in connection.recv(100)
        except OSError:
            return False

    assert eventually(echoed, 5)


def test_an_ingress_is_served_and_told(world: World) -> None:
    world.apps.apply(
        """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: default, annotations: {kubernetes.io/ingress.class: istio}}
spec:
  rules:
  - host: web.example
    http:
      paths: [{path: /in, pathType: Prefix, backend: {service: {name: echo, port: {name: http}}}}]
"""
    )
    answer = curl(f"http://{world.http}/in/side", "-H", "Host: web.example")
    assert (answer.status, answer.headers["server"]) == (200, "istio-envoy")
    assert curl(f"http://{world.http}/out", "-H", "Host: web.example").status == 404
    path = "jsonpath={.status.loadBalancer.ingress[0].ip}"
    assert eventually(lambda: world.apps.mesh.kubectl("get", "ingress", "web", "-o", path) == "127.0.0.1", 5)


MINE = """
apiVersion: v1
kind: Service
metadata: {name: mine, namespace: istio-system}
spec:
  type: NodePort
  selector: {istio: mine}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: mine, namespace: istio-system}
spec:
  selector: {matchLabels: {istio: mine}}
  template:
    metadata:
      labels: {istio: mine, sidecar.istio.io/inject: "true"}
      annotations:
        inject.istio.io/templates: gateway
        proxy.istio.io/config: |
          gatewayTopology: {proxyProtocol: {}, numTrustedProxies: 1}
    spec: {containers: [{name: istio-proxy, image: auto}]}
"""


def test_a_gateway_of_ones_own_with_what_stands_before_it(world: World) -> None:
    mesh = world.apps.mesh
    world.apps.apply(MINE)
    try:
        mesh.kubectl("rollout", "status", "-n", "istio-system", "deploy/mine", "--timeout=60s", timeout=90)
        server = "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}"
        world.apps.apply(gateway(server, selector="mine"))
        path = "jsonpath={.spec.ports[0].nodePort}"
        port = mesh.kubectl("get", "svc", "mine", "-n", "istio-system", "-o", path)
        url, forwarded = f"http://127.0.0.1:{port}/", ("-H", "X-Forwarded-For: 203.0.113.7")

        def told() -> Answer:
            found = curl(url, "--haproxy-protocol", *forwarded)
            assert found.status == 200, found.errors
            return found

        answer = eventually(told, 10)
        assert isinstance(answer, Answer)
        assert answer.seen["x-envoy-external-address"] == "203.0.113.7"
        assert curl(url, *forwarded).code == 56  # without the PROXY header
    finally:
        mesh.kubectl("delete", "-n", "istio-system", "deploy/mine", "svc/mine", "--timeout=60s")


def test_the_ingress_gateway_speaks_http2_by_alpn(world: World) -> None:
    world.secret("one", issue(CA, "one.example"))
    world.apps.apply(gateway(https("one.example", SIMPLE)))
    address, _, port = str(world.apps.mesh.status["gateways"]["https"]).partition(":")
    context = ssl.create_default_context(cadata=CA.pem)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection((address, int(port)), timeout=5) as raw,
        context.wrap_socket(raw, server_hostname="one.example") as secure,
    ):
        assert secure.selected_alpn_protocol() == "h2"
