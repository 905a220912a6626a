from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devmesh.config import kinds
from devmesh.config.admission import admit, served
from devmesh.config.documents.containers import Container, ContainerPort, SecurityContext, VolumeMount
from devmesh.config.documents.pods import PodSecurityContext, PodSpec
from devmesh.config.effects_pods import POD_FIELDS
from devmesh.config.kinds import BUILT_IN, Kinds
from devmesh.config.problems import Invalid, Malformed, Refused
from devmesh.config.store import Store
from tests.config.conftest import Apply

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: nginx:1.27
        ports: [{containerPort: 80}]
        readinessProbe: {httpGet: {port: 80}}
        resources: {limits: {cpu: 100m}}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}], selector: {app: web}}
"""


def test_a_deployment_gets_what_kubernetes_fills_in(apply: Apply) -> None:
    spec = apply.admit(DEPLOYMENT).raw["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    pod = spec["template"]["spec"]
    assert (pod["restartPolicy"], pod["terminationGracePeriodSeconds"]) == ("Always", 30)
    (container,) = pod["containers"]
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert container["readinessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert container["resources"]["requests"] == {"cpu": "100m"}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("localhost:5000/nginx", "Always"),
        ("localhost:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
    ],
)
def test_images_without_a_tag_are_always_pulled(apply: Apply, image: str, policy: str) -> None:
    raw = apply.admit(DEPLOYMENT.replace("nginx:1.27", image)).raw
    assert raw["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_the_document_itself_is_left_alone(store: Store) -> None:
    raw: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "a"},
        "spec": {"ports": [{"port": 1}]},
    }
    admit(kinds.SERVICE, raw, store=store)
    assert raw["spec"] == {"ports": [{"port": 1}]}
    assert raw["metadata"] == {"name": "a"}


def test_a_service_gets_an_address_and_keeps_it(apply: Apply) -> None:
    first = apply(SERVICE).raw["spec"]
    assert first["clusterIP"].startswith("240.240.")
    assert first["clusterIPs"] == [first["clusterIP"]]
    assert first["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    again = apply(SERVICE.replace("port: 80", "port: 81")).raw["spec"]
    assert again["clusterIP"] == first["clusterIP"]


def test_what_cannot_change_is_refused(apply: Apply) -> None:
    apply(DEPLOYMENT)
    apply(SERVICE)
    other = DEPLOYMENT.replace("app: web", "app: other")
    with pytest.raises(
        Invalid, match=r'Deployment.apps "web" is invalid: spec.selector: .*field is immutable'
    ):
        apply.admit(other)
    with pytest.raises(Invalid, match="may not change once set"):
        apply.admit(SERVICE.replace("{ports", "{clusterIP: 10.0.0.1, ports"))


def test_unknown_fields_are_refused_or_told_or_dropped(apply: Apply) -> None:
    wrong = SERVICE.replace("selector:", "selectr:")
    with pytest.raises(Malformed) as caught:
        apply.admit(wrong)
    assert str(caught.value) == (
        'Service in version "v1" cannot be handled as a Service: strict decoding error: '
        'unknown field "spec.selectr" (did you mean "selector"?)'
    )
    warned = apply.admit(wrong, field_validation="Warn")
    assert warned.said == ('unknown field "spec.selectr" (did you mean "selector"?)',)
    assert apply.admit(wrong, field_validation="Ignore").said == ()
    assert "selectr" not in warned.raw["spec"]


def test_wrong_types_are_refused_whatever_the_validation(apply: Apply) -> None:
    for validation in ("Strict", "Warn", "Ignore"):
        with pytest.raises(Malformed, match="expected an integer, got a string"):
            apply.admit(SERVICE.replace("port: 80", 'port: "80"'), field_validation=validation)


def test_several_causes_stand_in_brackets(apply: Apply) -> None:
    with pytest.raises(Invalid) as caught:
        apply.admit(SERVICE.replace("name: web", "name: 1web").replace("port: 80", "port: 0"))
    assert str(caught.value).startswith('Service "1web" is invalid: [metadata.name: Invalid value: "1web": ')
    assert [cause.field for cause in caught.value.causes][:2] == ["metadata.name", "spec.ports[0].port"]


def test_every_served_version_is_stored_in_one(apply: Apply) -> None:
    raw = apply.admit(
        "apiVersion: networking.istio.io/v1alpha3\nkind: DestinationRule\n"
        "metadata: {name: a}\nspec: {host: a}\n"
    ).raw
    assert raw["apiVersion"] == "networking.istio.io/v1"
    assert served(kinds.DESTINATION_RULE, raw, "v1beta1")["apiVersion"] == "networking.istio.io/v1beta1"


def test_status_is_not_for_clients(apply: Apply) -> None:
    raw = apply.admit(DEPLOYMENT + "status: {replicas: 7}\n").raw
    assert "status" not in raw


def test_a_secrets_text_becomes_data(apply: Apply) -> None:
    raw = apply.admit(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {b: Yg==}\nstringData: {a: hello}\n"
    ).raw
    assert raw["data"] == {"b": "Yg==", "a": "aGVsbG8="}
    assert raw["type"] == "Opaque"
    assert "stringData" not in raw


def test_a_job_chooses_its_pods_by_its_uid(apply: Apply) -> None:
    text = """
apiVersion: batch/v1
kind: Job
metadata: {name: a}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: b:1}]}}}
"""
    job = apply(text)
    labels = job.raw["spec"]["template"]["metadata"]["labels"]
    assert job.raw["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": job.uid}}
    assert labels["job-name"] == "a"
    assert apply(text).version == job.version


def test_a_service_entry_gets_addresses_for_its_hosts(apply: Apply) -> None:
    text = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.example.com, "*.example.org"]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: DNS
  endpoints: [{address: x.example.com}]
"""
    before = apply(text).raw["status"]["addresses"]
    assert [a["host"] for a in before] == ["a.example.com"]
    assert before[0]["value"].startswith("240.240.")
    after = apply(text.replace("[a.example.com", "[a.example.com, b.example.com")).raw["status"]["addresses"]
    assert after[0] == before[0]
    assert after[1]["host"] == "b.example.com"
    given = apply(text.replace("  resolution", "  addresses: [10.1.1.1]\n  resolution")).raw
    assert "addresses" not in given["status"]


def test_kinds_without_a_struct_keep_what_is_written(apply: Apply) -> None:
    admitted = apply.admit(
        "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\n"
        "metadata: {name: a}\nspec: {x: [1, {z: 2}]}\n"
    )
    assert admitted.raw["spec"] == {"x": [1, {"z": 2}]}
    assert "no effect" in admitted.said[0]


POD = """
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  dnsConfig: {searches: [a.example]}
  hostNetwork: true
  schedulerName: default-scheduler
  containers:
  - name: a
    image: a
    stdin: true
    ports: [{containerPort: 80, hostPort: 80}]
    resources: {limits: {cpu: 1, memory: 1Mi, example.com/gpu: 1}}
    securityContext: {procMount: Default, runAsNonRoot: true}
"""


def test_what_of_a_pod_has_no_effect_is_said(apply: Apply) -> None:
    said = [line.partition(":")[0] for line in apply.admit(POD).said]
    assert sorted(said) == [
        "spec.containers[0].ports[0].hostPort",
        "spec.containers[0].resources.limits.example.com/gpu",
        "spec.containers[0].stdin",
        "spec.dnsConfig",
        "spec.hostNetwork",
    ]


# What runtime/ acts on; everything else is said to have no effect.
EFFECTIVE = {
    PodSpec: "activeDeadlineSeconds containers enableServiceLinks ephemeralContainers hostAliases hostname "
    "initContainers nodeName os priority readinessGates restartPolicy securityContext serviceAccount "
    "serviceAccountName subdomain terminationGracePeriodSeconds volumes",
    PodSecurityContext: "fsGroup fsGroupChangePolicy runAsGroup runAsNonRoot runAsUser supplementalGroups "
    "sysctls seccompProfile appArmorProfile",
    Container: "args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports "
    "readinessProbe resources restartPolicy securityContext startupProbe stdinOnce terminationMessagePath "
    "terminationMessagePolicy volumeMounts workingDir",
    SecurityContext: "allowPrivilegeEscalation capabilities privileged readOnlyRootFilesystem runAsGroup "
    "runAsNonRoot runAsUser seccompProfile appArmorProfile",
    ContainerPort: "containerPort name protocol",
    VolumeMount: "mountPath name readOnly subPath subPathExpr",
}
PLACES = {
    PodSpec: "",
    PodSecurityContext: "securityContext.",
    Container: "containers[].",
    SecurityContext: "containers[].securityContext.",
    ContainerPort: "containers[].ports[].",
    VolumeMount: "containers[].volumeMounts[].",
}


@pytest.mark.parametrize("struct", list(EFFECTIVE))
def test_each_field_of_a_pod_has_an_effect_or_is_said_to_have_none(struct: type) -> None:
    fields = {field.encode_name for field in msgspec.structs.fields(struct)}
    said = {name for name in fields if PLACES[struct] + name in POD_FIELDS}
    assert fields - said == set(EFFECTIVE[struct].split())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "spec",
                    "metadata",
                    "name",
                    "namespace",
                    "labels",
                    "template",
                    "containers",
                    "ports",
                    "hosts",
                    "host",
                    "selector",
                    "matchLabels",
                    "http",
                    "port",
                    "type",
                    "versions",
                    "names",
                    "data",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@given(st.dictionaries(st.sampled_from(["spec", "metadata", "data", "status", "stringData"]), JSON))
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60, deadline=None)
def test_anything_is_admitted_or_refused(raw: dict[str, Any]) -> None:
    store = Store(Kinds(BUILT_IN))
    for kind in BUILT_IN:
        with suppress(Refused):
            assert admit(kind, raw, store=store, field_validation="Ignore").raw["kind"] == kind.kind
