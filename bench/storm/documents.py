"""Plans as the documents that users write."""

from __future__ import annotations

from typing import Any

from bench.storm.plans import Match, Plan, Rule

Document = dict[str, Any]
VIA = "%UPSTREAM_REMOTE_ADDRESS%"


def virtual_service(name: str, host: str, plan: Plan, gateways: tuple[str, ...] = ()) -> Document:
    """Return the VirtualService of `plan`; its destinations are subsets of `shop`."""
    http = [_http(rule, f"{plan.version}.{number}") for number, rule in enumerate(plan.rules)]
    spec: Document = {"hosts": [host], "http": http}
    if gateways:
        spec["gateways"] = list(gateways)
    return _document("networking.istio.io/v1", "VirtualService", name, spec)


def _document(version: str, kind: str, name: str, spec: Document) -> Document:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def _http(rule: Rule, stamp: str) -> Document:
    found: Document = {"name": f"rule-{stamp}"}
    if rule.matches:
        found["match"] = [_match(match) for match in rule.matches]
    if rule.local == "redirect":
        return found | {"redirect": {"uri": f"/moved/{stamp}", "redirectCode": rule.status}}
    if rule.local == "direct":
        return found | {"directResponse": {"status": rule.status, "body": {"string": f"direct {stamp}"}}}
    found["route"] = [_route(rule, number) for number in range(len(rule.destinations))]
    remove = ["x-junk"] if rule.remove_junk else []
    found["headers"] = {
        "request": {"set": {"x-stamp": stamp}, "remove": remove},
        "response": {"add": {"x-stamp": stamp}, "set": {"x-via": VIA}, "remove": remove},
    }
    if rule.local == "abort":
        found["fault"] = {"abort": {"httpStatus": rule.status, "percentage": {"value": 100}}}
    if rule.delay:
        found["fault"] = {"delay": {"fixedDelay": f"{rule.delay}s", "percentage": {"value": 100}}}
    if rule.rewrite:
        found["rewrite"] = {"uriRegexRewrite": {"match": "^.*$", "rewrite": rule.rewrite}}
    if rule.timeout:
        found["timeout"] = f"{rule.timeout}s"
    if rule.attempts >= 0:
        found["retries"] = {"attempts": rule.attempts}
        if rule.attempts:
            found["retries"] |= {"retryOn": rule.retry_on}
        if rule.attempts and rule.per_try:
            found["retries"] |= {"perTryTimeout": f"{rule.per_try}s"}
    if rule.mirror:
        found["mirrors"] = [{"destination": {"host": rule.mirror}, "percentage": {"value": 50}}]
    return found


def _match(match: Match) -> Document:
    found: Document = {}
    for kind in ("exact", "prefix", "regex"):
        if value := getattr(match, kind):
            found["uri"] = {kind: value}
    if match.method:
        found["method"] = {"exact": match.method}
    if match.user:
        found["headers"] = {"x-user": {"exact": match.user}}
    if match.without_user:
        found["withoutHeaders"] = {"x-user": {}}
    if match.query:
        found["queryParams"] = {"x": {"exact": match.query}}
    return found


def _route(rule: Rule, number: int) -> Document:
    destination = rule.destinations[number]
    place: Document = {"host": "shop.default.svc.cluster.local", "port": {"number": 80}}
    if destination.subset:
        place["subset"] = destination.subset
    mark = {"set": {"x-dest": str(number)}}
    found: Document = {"destination": place, "headers": {"request": mark, "response": mark}}
    if len(rule.destinations) > 1:
        found["weight"] = destination.weight
    return found


def http_route(name: str, service: str, plan: Plan) -> Document:
    """Return the HTTPRoute of `plan` on a Service; its destinations are SERVICE-v1 and SERVICE-v2."""
    rules = [_gateway_rule(rule, f"{plan.version}.{n}", service) for n, rule in enumerate(plan.rules)]
    parent = {"group": "", "kind": "Service", "name": service, "port": 80}
    spec: Document = {"parentRefs": [parent], "rules": rules}
    return _document("gateway.networking.k8s.io/v1", "HTTPRoute", name, spec)


def _gateway_rule(rule: Rule, stamp: str, service: str) -> Document:
    matches = [_gateway_match(match) for match in rule.matches]
    if rule.local == "redirect":
        path = {"type": "ReplaceFullPath", "replaceFullPath": f"/moved/{stamp}"}
        redirect = {"path": path, "statusCode": rule.status}
        return {"matches": matches, "filters": [{"type": "RequestRedirect", "requestRedirect": redirect}]}
    remove = {"remove": ["x-junk"]} if rule.remove_junk else {}
    request = {"set": [{"name": "x-stamp", "value": stamp}]} | remove
    response = {"set": [{"name": "x-stamp", "value": stamp}, {"name": "x-via", "value": VIA}]} | remove
    filters: list[Document] = [
        {"type": "RequestHeaderModifier", "requestHeaderModifier": request},
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": response},
    ]
    if rule.rewrite:
        path = {"type": "ReplaceFullPath", "replaceFullPath": rule.rewrite}
        filters.append({"type": "URLRewrite", "urlRewrite": {"path": path}})
    found: Document = {"matches": matches, "filters": filters}
    found["backendRefs"] = [_backend(rule, number, service) for number in range(len(rule.destinations))]
    if rule.timeout:
        found["timeouts"] = {"request": f"{round(rule.timeout * 1000)}ms"}
    return found


def _gateway_match(match: Match) -> Document:
    path = {"type": "PathPrefix", "value": match.prefix or "/"}
    if match.exact:
        path = {"type": "Exact", "value": match.exact}
    found: Document = {"path": path}
    if match.method:
        found["method"] = match.method
    if match.user:
        found["headers"] = [{"name": "x-user", "value": match.user}]
    if match.query:
        found["queryParams"] = [{"name": "x", "value": match.query}]
    return found


def _backend(rule: Rule, number: int, service: str) -> Document:
    destination = rule.destinations[number]
    name = f"{service}-{destination.subset}" if destination.subset else service
    mark = {"set": [{"name": "x-dest", "value": str(number)}]}
    filters = [
        {"type": "RequestHeaderModifier", "requestHeaderModifier": mark},
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": mark},
    ]
    return {"name": name, "port": 80, "weight": destination.weight, "filters": filters}
