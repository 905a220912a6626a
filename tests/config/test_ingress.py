"""What the API server refuses of an Ingress."""

import pytest

from devmesh.config.problems import Refused
from tests.config.conftest import Apply

BACKEND = "backend: {service: {name: one, port: {number: 80}}}"
PATHS = "rules: [{http: {paths: [{%s}]}}]"


def document(spec: str, kind: str = "Ingress") -> str:
    return f"apiVersion: networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{{spec}}}\n"


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ("ingressClassName: istio", "spec", "must be specified"),
        (PATHS % f"path: foo, pathType: Prefix, {BACKEND}", "spec.rules[0].http.paths[0].path", "absolute"),
        (PATHS % f"path: /a//b, pathType: Exact, {BACKEND}", "spec.rules[0].http.paths[0].path", "'//'"),
        (PATHS % f"path: /a/.., pathType: Exact, {BACKEND}", "spec.rules[0].http.paths[0].path", "end with"),
        (PATHS % f"path: /a, {BACKEND}", "spec.rules[0].http.paths[0].pathType", "equired"),
        (PATHS % "path: /, pathType: Prefix, backend: {}", "spec.rules[0].http.paths[0].backend", "required"),
        (
            PATHS % "path: /, pathType: Prefix, backend: {service: {name: one}}",
            "spec.rules[0].http.paths[0].backend.service.port",
            "name or number",
        ),
        ("rules: [{host: 10.0.0.1}]", "spec.rules[0].host", "not an IP address"),
        ("rules: [{host: 'a.*.example'}]", "spec.rules[0].host", "RFC 1123"),
        ("rules: [{}], tls: [{hosts: [a_b]}]", "spec.tls[0].hosts[0]", "RFC 1123"),
    ],
)
def test_what_is_refused(apply: Apply, spec: str, field: str, message: str) -> None:
    with pytest.raises(Refused) as caught:
        apply.admit(document(spec))
    found = {cause.field: cause.message for cause in caught.value.causes}
    assert message in found[field]


def test_an_ingress_class_names_a_controller(apply: Apply) -> None:
    with pytest.raises(Refused):
        apply.admit(document("controller: istio", "IngressClass"))


def test_a_whole_one_is_taken(apply: Apply) -> None:
    rules = PATHS % f"path: /, pathType: Prefix, {BACKEND}"
    apply.admit(
        document(f"ingressClassName: istio, tls: [{{hosts: ['*.a.example'], secretName: x}}], {rules}")
    )
    apply.admit(document("controller: istio.io/ingress-controller", "IngressClass"))
