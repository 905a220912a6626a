"""DestinationRules with real workloads: hashing, localities, pools, outliers, TLS by files and by Secrets."""

from __future__ import annotations

import collections
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from tests.e2e.applications import OUTSIDE, Applications, outside
from tests.e2e.bookinfo import eventually
from tests.e2e.certificates import Certificates
from tests.e2e.test_traffic import destination_rule

ECHO = "http://echo/"


def pods(answers: list[list[object]]) -> set[object]:
    return {pod for status, pod, *_ in answers if status == 200}


def test_a_header_keeps_requests_at_one_pod(clean: Applications) -> None:
    clean.apply(destination_rule("trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}}"))
    client = clean.agent("client")

    def of(user: str) -> set[object]:
        return pods(client("many", url=ECHO, times=6, threads=2, headers={"x-user": user}))

    assert eventually(lambda: len(of("jason")) == 1, 10)
    each = [of(f"user-{n}") for n in range(12)]
    assert all(len(found) == 1 for found in each)
    assert len(set().union(*each)) > 1


def test_a_cookie_is_made_and_leads_back(clean: Applications) -> None:
    cookie = "{name: user, path: /, ttl: 60s}"
    clean.apply(
        destination_rule(f"trafficPolicy: {{loadBalancer: {{consistentHash: {{httpCookie: {cookie}}}}}}}")
    )
    first = eventually(lambda: clean.get(ECHO)["headers"].get("set-cookie"), 10)
    assert first.endswith("; Max-Age=60; Path=/; HttpOnly")
    told = first.partition(";")[0]
    found = {clean.get(ECHO, headers={"Cookie": told})["seen"]["pod"] for _ in range(6)}
    assert len(found) == 1


def test_the_tasks_circuit_breaker(clean: Applications) -> None:
    clean.apply(
        destination_rule(
            "trafficPolicy: {connectionPool: {tcp: {maxConnections: 1},"
            " http: {http1MaxPendingRequests: 1, maxRequestsPerConnection: 1}}}",
            host="legacy.old.svc.cluster.local",
        )
    )
    client, url = clean.agent("client"), "http://legacy.old/?delay=0.1"

    def statuses() -> collections.Counter[int]:
        return collections.Counter(answer[0] for answer in client("many", url=url, times=15, threads=5))

    assert eventually(lambda: set(statuses()) == {200, 503}, 10)
    assert clean.logged("503 UO", "upstream_reset_before_response_started{overflow}")
    assert clean.get("http://legacy.old/")["status"] == 200


THREE = (OUTSIDE, "198.51.100.78", "198.51.100.79")
PLACES = f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: places}}
spec:
  hosts: [places.test]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints:
  - {{address: {THREE[0]}, ports: {{http: 8101}}, locality: r1/z1}}
  - {{address: {THREE[1]}, ports: {{http: 8102}}, locality: r1/z2}}
  - {{address: {THREE[2]}, ports: {{http: 8103}}, locality: r2/z1}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: places}}
spec:
  host: places.test
  trafficPolicy:
    loadBalancer:
      simple: ROUND_ROBIN
      localityLbSetting:
        distribute: [{{from: "*", to: {{r1/z1: 70, r1/z2: 30}}}}]
"""


def test_localities_have_their_shares(clean: Applications) -> None:
    with ExitStack() as undo:
        for number, address in enumerate(THREE):
            undo.enter_context(outside(address, f"http={8101 + number}", POD=f"place-{number}"))
        clean.apply(PLACES)

        def shares() -> collections.Counter[str]:
            answers = [clean.get("http://places.test/") for _ in range(20)]
            return collections.Counter(str(answer["seen"]["pod"]) for answer in answers)

        assert eventually(lambda: shares() == {"place-0": 14, "place-1": 6}, 10)


def test_who_does_not_answer_is_ejected(clean: Applications) -> None:
    rule = PLACES.replace(
        PLACES[PLACES.index("    loadBalancer:") :],
        "    outlierDetection: {consecutive5xxErrors: 1, interval: 1s, baseEjectionTime: 60s,"
        " maxEjectionPercent: 100}\n",
    )
    with outside(THREE[0]), outside(THREE[1], "http=8102"), outside(THREE[2], "http=8103"):
        clean.apply(rule)
        many = {"url": "http://places.test/", "times": 20, "threads": 2}
        eventually(lambda: clean.get("http://places.test/")["status"] in (200, 503), 10)
        clean.agent("client")("many", **many)
        assert {answer[0] for answer in clean.agent("client")("many", **many)} == {200}


SECURE = f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: secure}}
spec:
  hosts: [secure.test]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 8443}}]
  endpoints: [{{address: {OUTSIDE}}}]
"""


@pytest.fixture
def certificates(clean: Applications, tmp_path: Path) -> Iterator[Certificates]:
    """Certificates of which those of a client lie in the pods, too, under /agents."""
    made = Certificates(tmp_path)
    files = [made.ca, *made.make("client")]
    for file in files:
        shutil.copy(file, clean.agents / file.name)
        (clean.agents / file.name).chmod(0o644)
    yield made
    for file in files:
        (clean.agents / file.name).unlink()


def together(made: Certificates, name: str) -> str:
    certificate, key = made.make(name)
    path = certificate.with_suffix(".both")
    path.write_bytes(certificate.read_bytes() + key.read_bytes())
    return str(path)


def test_tls_by_files_in_the_pod(clean: Applications, certificates: Certificates) -> None:
    tls = (
        "{mode: MUTUAL, clientCertificate: /agents/client.pem, privateKey: /agents/client.key,"
        " caCertificates: /agents/ca.pem}"
    )
    both = together(certificates, "secure.test")
    with outside(OUTSIDE, "tls=8443", TLS=both, TLS_CLIENTS=str(certificates.ca)):
        clean.apply(SECURE + "---" + destination_rule(f"trafficPolicy: {{tls: {tls}}}", "secure.test"))
        assert eventually(lambda: clean.get("http://secure.test/")["status"] == 200, 10)
        assert clean.get("http://secure.test/")["got"]["host"] == "secure.test"


def test_tls_by_a_secret_for_the_workloads_that_are_selected(
    clean: Applications, certificates: Certificates
) -> None:
    certificate, key = certificates.make("client")
    texts = {"tls.crt": certificate.read_text(), "tls.key": key.read_text()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "client-credential"}}
    spec = (
        "workloadSelector: {matchLabels: {app: client}},"
        " trafficPolicy: {tls: {mode: MUTUAL, credentialName: client-credential, sni: secure.test}}"
    )
    both = together(certificates, "secure.test")
    with outside(OUTSIDE, "tls=8443", TLS=both, TLS_CLIENTS=str(certificates.ca)):
        clean.apply(SECURE + "---" + destination_rule(spec, "secure.test"))
        assert eventually(lambda: clean.get("http://secure.test/")["status"] == 503, 10)
        assert clean.logged("TLS_error:_Secret_is_not_supplied_by_SDS")
        texts["ca.crt"] = certificates.ca.read_text()
        clean.apply(yaml.safe_dump({**secret, "stringData": texts}))
        try:
            assert eventually(lambda: clean.get("http://secure.test/")["status"] == 200, 10)
        finally:
            clean.mesh.kubectl("delete", "secret", "client-credential")
