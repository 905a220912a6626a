"""BackendTLSPolicies: TLS towards backends, and what their status says."""

from __future__ import annotations

from typing import Any

import pytest

from devmesh.config import gateway_kinds as gk
from devmesh.snapshot.cluster import TlsMode, UpstreamTls
from tests.pilot.gateway_api.resources import at_gateway, http, resource, rule, to
from tests.pilot.meshes import Mesh

CA = """
apiVersion: v1
kind: ConfigMap
metadata: {name: ca, namespace: default}
data: {ca.crt: "-----BEGIN CERTIFICATE-----"}
"""


def policy(name: str = "p", target: str = "", validation: str = "") -> str:
    refs = target or '{group: "", kind: Service, name: a}'
    trust = (
        validation or 'caCertificateRefs: [{group: "", kind: ConfigMap, name: ca}], hostname: a.example.com'
    )
    return resource("BackendTLSPolicy", name, f"targetRefs: [{refs}]\nvalidation: {{{trust}}}")


def made_with(*texts: str) -> Mesh:
    return at_gateway(http("r", f"[{rule('', to('a'))}]"), *texts)


def upstream(made: Mesh, source: str = "gw-istio-0") -> UpstreamTls:
    clusters = made.compile().snapshot.proxies[source].outbound.clusters
    return clusters["outbound|80||a.default.svc.cluster.local"].tls


def conditions(made: Mesh, name: str = "p") -> dict[str, tuple[str, str]]:
    (found,) = made.status(gk.BACKEND_TLS_POLICY, name)["ancestors"]
    listed: list[dict[str, Any]] = found["conditions"]
    return {c["type"]: (c["status"], c["reason"]) for c in listed}


@pytest.mark.parametrize("source", ["gw-istio-0", "b-0"])
def test_a_backend_is_verified_by_a_config_map_and_its_name(source: str) -> None:
    made = made_with(CA, policy())
    tls = upstream(made, source)
    assert (tls.mode, tls.sni, tls.sans) == (TlsMode.SIMPLE, "a.example.com", ("a.example.com",))
    assert tls.ca_pem == "-----BEGIN CERTIFICATE-----"
    assert conditions(made) == {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs")}
    assert made.codes() == []


def test_other_names_and_the_systems_authorities() -> None:
    sans = "subjectAltNames: [{type: Hostname, hostname: b.org}]"
    made = made_with(policy(validation=f"wellKnownCACertificates: System, hostname: a.example.com, {sans}"))
    tls = upstream(made)
    assert (tls.sni, tls.sans, tls.ca_pem, tls.error) == ("a.example.com", ("b.org",), "", "")


def test_without_its_authority_nobody_connects() -> None:
    made = made_with(policy())
    assert upstream(made).error
    assert conditions(made) == {
        "Accepted": ("False", "NoValidCACertificate"),
        "ResolvedRefs": ("False", "InvalidCACertificateRef"),
    }
    made.apply(CA)
    assert not upstream(made).error
    assert conditions(made)["Accepted"] == ("True", "Accepted")


def test_a_port_has_its_own_policy() -> None:
    made = made_with(CA, policy(target='{group: "", kind: Service, name: a, sectionName: http}'))
    assert upstream(made).mode is TlsMode.SIMPLE
    made.apply(policy(target='{group: "", kind: Service, name: a, sectionName: nobody}'))
    assert upstream(made).mode is TlsMode.AUTO
    assert conditions(made)["Accepted"] == ("False", "TargetNotFound")


def test_of_two_policies_for_a_backend_the_older_wins() -> None:
    made = made_with(CA, policy("old"), policy("new"))
    assert conditions(made, "old")["Accepted"] == ("True", "Accepted")
    assert conditions(made, "new")["Accepted"] == ("False", "Conflicted")
