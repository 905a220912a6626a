"""A compile uses again what has not changed, contains what fails, and gives the same as from nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devmesh.config import kinds
from devmesh.pilot import routes
from devmesh.pilot.compiler import compile_mesh
from devmesh.pilot.mesh_config import of_mesh
from devmesh.pilot.pilot import Pilot
from devmesh.snapshot.dump import dump
from devmesh.snapshot.feed import SnapshotFeed
from tests.pilot.meshes import Mesh, bookinfo, istio, mesh, networking_file, service

NAME = "outbound|9080||{}.default.svc.cluster.local"


def parts(made: Mesh):  # type: ignore[no-untyped-def]
    outbound = made.compile().snapshot.proxies["productpage-v1-0"].outbound
    table = outbound.by_port[9080].routes
    assert table
    return outbound, table


def test_a_compile_without_a_change_gives_the_same_parts() -> None:
    made = bookinfo("bookinfo-gateway", "destination-rule-all", "virtual-service-all-v1")
    before, after = made.compile().snapshot, made.compile().snapshot
    assert before.version + 1 == after.version
    for name in before.proxies:
        assert before.proxies[name] is after.proxies[name], name


def test_a_new_endpoint_leaves_routes_and_other_clusters_as_they_were() -> None:
    made = bookinfo("destination-rule-all", "virtual-service-all-v1")
    before, table = parts(made)
    made.change("ratings-v1-0", ready=False)
    after, table_after = parts(made)
    assert after is not before
    assert table_after is table
    assert after.clusters[NAME.format("reviews")] is before.clusters[NAME.format("reviews")]
    assert after.clusters[NAME.format("ratings")] is not before.clusters[NAME.format("ratings")]


def test_a_new_rule_leaves_other_virtual_hosts_as_they_were() -> None:
    made = bookinfo("destination-rule-all", "virtual-service-all-v1")
    _, before = parts(made)
    made.apply(networking_file("virtual-service-reviews-50-v3").read_text())
    _, after = parts(made)
    assert after.exact["ratings"] is before.exact["ratings"]
    assert after.exact["reviews"] is not before.exact["reviews"]


FILES = st.sampled_from(
    [
        "virtual-service-all-v1",
        "virtual-service-reviews-50-v3",
        "virtual-service-reviews-test-v2",
        "virtual-service-ratings-test-abort",
        "destination-rule-all",
        "destination-rule-all-mtls",
        "bookinfo-gateway",
    ]
)
CHANGES = st.one_of(
    FILES.map(lambda name: ("apply", name)),
    st.sampled_from(["reviews-v1-0", "reviews-v2-0", "ratings-v1-0"]).map(lambda i: ("toggle", i)),
    st.sampled_from(["VirtualService reviews", "DestinationRule ratings"]).map(lambda r: ("delete", r)),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(CHANGES, min_size=1, max_size=6))
def test_step_by_step_gives_the_same_as_all_at_once(changes: list[tuple[str, str]]) -> None:
    made = bookinfo()
    made.compile()
    for action, name in changes:
        if action == "apply":
            made.apply(networking_file(name).read_text())
        elif action == "toggle":
            made.instances = [
                type(i)(**{**{f: getattr(i, f) for f in i.__dataclass_fields__}, "ready": not i.ready})
                if i.id == name
                else i
                for i in made.instances
            ]
        else:
            kind, _, object_name = name.partition(" ")
            found = made.store.get(made.store.kinds.get(kind), "default", object_name)
            if found:
                made.store.remove(found.key)
        made.compile()
    assert made.last
    fresh = compile_mesh(made.store, made.instances, version=made.last.snapshot.version)
    assert dump(made.last.snapshot) == dump(fresh.snapshot)
    assert made.last.findings == fresh.findings


def test_a_bug_costs_the_resource_that_shows_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    real = routes.actions.fault

    def broken(written: object) -> object:
        if written is not None:
            raise ZeroDivisionError("a bug")
        return real(None)

    monkeypatch.setattr(routes.actions, "fault", broken)
    made = bookinfo("virtual-service-all-v1", "virtual-service-ratings-test-abort")
    for _ in range(2):  # the second compile reuses what the first left
        (finding,) = [f for f in made.compile().findings if f.severity == "error" and f.code == "DM0001"]
        assert (finding.kind, finding.name) == ("VirtualService", "ratings")
    assert made.get("reviews-v2", "ratings:9080/").workload == "ratings-v1"
    monkeypatch.undo()
    made.apply(networking_file("virtual-service-ratings-test-delay").read_text())
    assert "DM0001" not in [f.code for f in made.compile().findings]


def test_a_resource_that_does_not_decode_is_told_and_left_out() -> None:
    made = mesh(service("a"), istio("VirtualService", "bad", "hosts: 7"))
    assert made.codes() == ["DM0001"]
    assert made.get("a", "a").workload == "a"


def test_mesh_config_that_is_no_yaml_leaves_the_defaults() -> None:
    made = mesh(
        service("a"),
        """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "a: b: c"}
""",
    )
    assert made.codes() == ["DM0302"]
    assert made.get("a", "unknown.example").status is None


def test_the_pilot_publishes_each_compile() -> None:
    made, feed = bookinfo(), SnapshotFeed()
    pilot = Pilot(made.store, feed)
    seen: list[int] = []
    feed.subscribe(lambda snapshot: seen.append(snapshot.version))
    first = pilot.update(made.instances)
    second = pilot.update(made.instances)
    assert seen == [1, 2]
    assert feed.current is second.snapshot
    assert second.snapshot.proxies["ratings-v1-0"] is first.snapshot.proxies["ratings-v1-0"]


def test_what_cannot_be_compiled_leaves_the_old_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    made, feed = bookinfo(), SnapshotFeed()
    pilot = Pilot(made.store, feed)
    good = pilot.update(made.instances)
    broken = [*made.instances, None]
    assert pilot.update(broken) is good  # type: ignore[list-item]
    assert pilot.error is not None
    assert feed.current is good.snapshot
    pilot.update(made.instances)
    assert pilot.error is None


def test_the_store_is_not_written() -> None:
    made = bookinfo("destination-rule-all")
    version = made.store.version
    made.compile()
    assert made.store.version == version
    assert made.store.list(kinds.SERVICE)[0].decoded is not None


def test_mesh_config_is_istios() -> None:
    found = of_mesh(
        {
            "trustDomain": "example.org",
            "accessLogFile": "/dev/stdout",
            "accessLogEncoding": "JSON",
            "connectTimeout": "3s",
            "protocolDetectionTimeout": "0s",
            "enableAutoMtls": False,
            "defaultConfig": {"tracing": {"sampling": 42}},
            "defaultHttpRetryPolicy": {"attempts": 0},
            "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"},
            "unknown": 1,
        }
    )
    assert (found.mesh.trust_domain, found.mesh.access_log, found.mesh.access_log_json) == (
        "example.org",
        "/dev/stdout",
        True,
    )
    assert (found.connect_timeout, found.mesh.sniff_timeout, found.mesh.sampling_percent) == (3.0, 0.0, 42.0)
    assert (found.auto_mtls, found.allow_any, found.retry) == (False, False, None)
    assert of_mesh({}).mesh.sampling_percent == 1.0
    assert of_mesh({"enableTracing": False}).mesh.sampling_percent == 0.0


def test_what_does_nothing_yet_is_told() -> None:
    made = mesh(
        service("a"),
        istio(
            "DestinationRule",
            "a",
            """
host: a
trafficPolicy:
  retryBudget: {percent: 10, budgetInterval: 1s}
  tunnel: {protocol: POST, targetHost: x.example, targetPort: 443}
  portLevelSettings: [{port: {number: 80}, outlierDetection: {consecutiveErrors: 1}}]
""",
        ),
        istio(
            "VirtualService",
            "a",
            """
hosts: [a]
http:
- match: [{headers: {"@request.auth.claims.group": {exact: admin}}}]
  directResponse: {status: 201}
""",
        ),
        istio(
            "ServiceEntry",
            "range",
            "hosts: [a.example]\nresolution: STATIC\nports: [{number: 1, name: t}]\n"
            "endpoints: [{address: 'unix:///x'}]",
        ),
        istio(
            "Sidecar",
            "a",
            "ingress: [{port: {number: 1, protocol: TCP, name: x}, defaultEndpoint: 'unix:///x'}]",
        ),
    )
    pending = [f"{f.kind} {f.path}" for f in made.compile().findings if f.code == "DM0304"]
    assert pending == [
        "DestinationRule spec.trafficPolicy.portLevelSettings[0].outlierDetection.consecutiveErrors",
        "DestinationRule spec.trafficPolicy.retryBudget.budgetInterval",
        "DestinationRule spec.trafficPolicy.tunnel.protocol",
        "VirtualService spec.http[0].match[0].headers.@request.auth.claims.group",
    ]
