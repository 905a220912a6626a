"""What of a DestinationRule will surprise whoever wrote it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from devmesh.config.documents.destinationrule import (
    ClientTLSSettings,
    DestinationRuleSpec,
    OutlierDetection,
    TrafficPolicy,
)
from devmesh.config.finding import Finding, Severity
from devmesh.model.host import qualify
from devmesh.pilot.credentials import CONFIG_MAP_SCHEME, Credentials
from devmesh.pilot.memo import Memo
from devmesh.pilot.registry import Instances, Registry
from devmesh.pilot.resources import Loaded
from devmesh.pilot.traffic_policies import suffices
from devmesh.snapshot.cluster import OutlierDetection as Ejecting

ENVOYS = Ejecting()
Rule = Loaded[DestinationRuleSpec]


def findings(
    rules: Sequence[Rule],
    registry: Registry,
    instances: Instances,
    credentials: Credentials,
    domain: str,
    memo: Memo,
) -> Iterator[Finding]:
    """Yield what is to be told of the rules in the store."""
    for rule in rules:
        yield from _credentials(rule, instances, credentials)
        entries = registry.within(qualify(rule.spec.host, rule.namespace, domain))
        sizes = [len(endpoints) for entry in entries for endpoints in entry.endpoints.values()]
        key = ("ejections of", rule.stored.key, max(sizes, default=0))
        yield from memo.get(key, (rule,), _ejections, rule, max(sizes, default=0))


def _credentials(rule: Rule, instances: Instances, credentials: Credentials) -> Iterator[Finding]:
    for path, tls in _tls(rule.spec):
        name, selector = tls.credential_name, rule.spec.workload_selector
        if not name or tls.mode not in ("SIMPLE", "MUTUAL"):
            continue
        if name.startswith(CONFIG_MAP_SCHEME) or (selector is not None and selector.match_labels):
            namespaces = {rule.namespace}
        else:
            namespaces = {i.namespace for i in instances.all.values() if i.gateway}
            message = (
                "means nothing to sidecars, which speak plain text: only a rule with a workloadSelector "
                "gives them a Secret; add one, or name files in the pod"
            )
            yield _finding(rule, "DM0320", "warning", f"{path}.credentialName", message)
        for namespace in sorted(namespaces):
            if not suffices(tls, credentials.of_client(namespace, name)):
                wanted = "tls.crt, tls.key and ca.crt" if tls.mode == "MUTUAL" else "ca.crt"
                message = (
                    f"there is no Secret {namespace}/{name} with {wanted}: connections fail (503 UF) until "
                    "there is one"
                )
                severity: Severity = "warning" if selector is None else "error"
                yield _finding(rule, "DM0321", severity, f"{path}.credentialName", message)


def _ejections(rule: Rule, most: int) -> tuple[Finding, ...]:
    """Tell where too few endpoints are there for one to go: Envoy counts it against the percentage."""
    found = []
    for path, written in _outliers(rule.spec):
        percent = written.max_ejection_percent or ENVOYS.max_ejection_percent
        if 0 < most < 100 / percent:
            message = (
                f"of {most} endpoints none is ejected: one would be {100 / most:.0f} %, and "
                f"maxEjectionPercent is {percent}; give more"
            )
            found.append(_finding(rule, "DM0322", "info", path, message))
    return tuple(found)


def _policies(spec: DestinationRuleSpec) -> Iterator[tuple[str, TrafficPolicy]]:
    if spec.traffic_policy is not None:
        yield "spec.trafficPolicy", spec.traffic_policy
    for number, subset in enumerate(spec.subsets):
        if subset.traffic_policy is not None:
            yield f"spec.subsets[{number}].trafficPolicy", subset.traffic_policy


def _tls(spec: DestinationRuleSpec) -> Iterator[tuple[str, ClientTLSSettings]]:
    for path, policy in _policies(spec):
        if policy.tls is not None:
            yield f"{path}.tls", policy.tls
        for number, port in enumerate(policy.port_level_settings):
            if port.tls is not None:
                yield f"{path}.portLevelSettings[{number}].tls", port.tls


def _outliers(spec: DestinationRuleSpec) -> Iterator[tuple[str, OutlierDetection]]:
    for path, policy in _policies(spec):
        if policy.outlier_detection is not None:
            yield f"{path}.outlierDetection", policy.outlier_detection
        for number, port in enumerate(policy.port_level_settings):
            if port.outlier_detection is not None:
                yield f"{path}.portLevelSettings[{number}].outlierDetection", port.outlier_detection


def _finding(rule: Rule, code: str, severity: Severity, path: str, message: str) -> Finding:
    key = rule.stored.key
    return Finding(code, severity, message, key.kind.kind, key.namespace, key.name, path)
