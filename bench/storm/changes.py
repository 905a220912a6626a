"""Random valid versions of the storm's resources.

Only what leaves every request an answer is drawn: pools are never smaller than the load needs, and outlier
detection never leaves a subset without an endpoint (``minHealthPercent``), since there even a correct Istio
answers 503.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.storm.documents import Document, http_route, virtual_service
from bench.storm.plans import Destination, Match, Plan, Rule

NORMAL = {"v1": "v1", "v2": "v2"}
SWAPPED = {"v1": "v2", "v2": "v1"}
ISTIO = "networking.istio.io/v1"
REDIRECTS = (301, 302, 307)


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one object, and what of it the judge has to know.

    Attributes:
        plan: Which routes it has, where it has routes.
        pods: Which version the pods of each subset have, where it says that.
        serves: Whether the gateway serves the host.
        mode: Of mutual TLS, which the replicas have.
    """

    document: Document
    plan: Plan | None = None
    pods: Mapping[str, str] = field(default_factory=lambda: NORMAL)
    serves: bool = True
    mode: str = ""


PLAIN = (Rule((Match(prefix="/"),), (Destination("v1", 50), Destination("v2", 50))),)
"""The routes of the first versions."""
Drawn = Callable[[random.Random, int], Version]


def shop(draw: random.Random, version: int) -> Version:
    """A VirtualService of the mesh."""
    plan = Plan(version, _rules(draw) if version > len(DRAWN) else PLAIN)
    return Version(virtual_service("shop", "shop", plan), plan)


def front(draw: random.Random, version: int) -> Version:
    """A VirtualService of the ingress gateway."""
    plan = Plan(version, _rules(draw) if version > len(DRAWN) else PLAIN)
    return Version(virtual_service("front", "front.test", plan, ("front",)), plan)


def till(draw: random.Random, version: int) -> Version:
    """An HTTPRoute on a Service."""
    plan = Plan(
        version, _rules(draw, gateway_api=True) if version > len(DRAWN) else PLAIN, is_gateway_api=True
    )
    return Version(http_route("till", "till", plan), plan)


def gateway(draw: random.Random, version: int) -> Version:
    """The Gateway of `front`, now and then without its host."""
    serves = version <= len(DRAWN) or draw.random() < 0.8
    hosts = draw.choice((["front.test"], ["*"], ["*.test"], ["other.test", "front.test"]))
    if not serves:
        hosts = draw.choice((["other.test"], ["*.elsewhere.test"]))
    port = {"number": 80, "name": "http", "protocol": "HTTP"}
    servers = [{"port": port, "hosts": hosts}]
    if draw.random() < 0.3:
        servers.append({"port": port | {"name": "more"}, "hosts": [f"more-{version}.example"]})
    spec = {"selector": {"istio": "ingressgateway"}, "servers": servers}
    return Version(_object("Gateway", "front", spec), serves=serves)


def shop_rule(draw: random.Random, version: int) -> Version:
    """The DestinationRule of `shop`, whose two subsets change places now and then."""
    pods = SWAPPED if draw.random() < 0.3 else NORMAL
    policy = _policy(draw)
    subsets = []
    for name, label in pods.items():
        subset: Document = {"name": name, "labels": {"version": label}}
        if draw.random() < 0.3:
            subset["trafficPolicy"] = _policy(draw)
        subsets.append(subset)
    spec = {"host": "shop", "trafficPolicy": policy, "subsets": subsets}
    return Version(_object("DestinationRule", "shop", spec), pods=pods)


def other_rule(name: str) -> Drawn:
    """The DestinationRule of a service without subsets."""

    def drawn(draw: random.Random, version: int) -> Version:
        policy = _policy(draw)
        document = _object("DestinationRule", name.partition(".")[0], {"host": name, "trafficPolicy": policy})
        return Version(document)

    return drawn


def peer_authentication(draw: random.Random, version: int) -> Version:
    """What `shop` asks of its callers, which are all in the mesh."""
    mode = draw.choice(("STRICT", "PERMISSIVE", "DISABLE"))
    spec: Document = {"mtls": {"mode": mode}}
    spec["selector"] = {"matchLabels": {"app": "shop"}}
    if draw.random() < 0.3:
        mode = draw.choice(("STRICT", "PERMISSIVE", "DISABLE"))
        spec["portLevelMtls"] = {"8080": {"mode": mode}}
    document = _object("PeerAuthentication", "shop", spec)
    return Version(document | {"apiVersion": "security.istio.io/v1"}, mode=mode)


def sidecar(draw: random.Random, version: int) -> Version:
    """What the client sees: always what has rules, `aside` now and then."""
    in_scope = draw.random() < 0.6
    names = (f"./{name}.default.svc.cluster.local" for name in ("shop", "till", "till-v1", "till-v2"))
    always = [*names, "*/ext.test"]
    hosts = draw.choice((["*/*"], ["./*"])) if in_scope else always
    spec = {"workloadSelector": {"labels": {"app": "client"}}, "egress": [{"hosts": hosts}]}
    return Version(_object("Sidecar", "client", spec))


def service_entry(draw: random.Random, version: int) -> Version:
    """ext.test, which is one version of `till`'s pods or the other."""
    label = draw.choice(("v1", "v2"))
    port = {"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 8080}
    spec = {
        "hosts": ["ext.test"], "location": "MESH_INTERNAL", "resolution": "STATIC", "ports": [port],
        "workloadSelector": {"labels": {"app": "till", "version": label}},
    }  # fmt: skip
    return Version(_object("ServiceEntry", "ext", spec), pods={"": label})


def bystander(draw: random.Random, version: int) -> Version:
    """A ServiceEntry that nobody asks for."""
    port = {"number": draw.choice((80, 443, 9000)), "name": "any", "protocol": draw.choice(("HTTP", "TCP"))}
    spec = {
        "hosts": [f"by-{version % 3}.test"],
        "location": "MESH_EXTERNAL",
        "resolution": "DNS",
        "ports": [port],
    }
    return Version(_object("ServiceEntry", "bystander", spec))


DRAWN: Mapping[str, tuple[Drawn, int]] = {
    "shop": (shop, 5),
    "front": (front, 3),
    "till": (till, 4),
    "gateway": (gateway, 1),
    "shop-rule": (shop_rule, 3),
    "till-rule": (other_rule("till-v1.default.svc.cluster.local"), 1),
    "aside-rule": (other_rule("aside"), 1),
    "peers": (peer_authentication, 1),
    "sidecar": (sidecar, 1),
    "ext": (service_entry, 1),
    "bystander": (bystander, 1),
}
"""What changes, and how often beside the others."""


def _object(kind: str, name: str, spec: Document) -> Document:
    return {
        "apiVersion": ISTIO,
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def _policy(draw: random.Random) -> Document:
    """Return a traffic policy."""
    found: Document = {}
    kind = draw.choice(("ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "header", "cookie", "source", "maglev"))
    if kind.isupper():
        found["loadBalancer"] = {"simple": kind}
        if kind != "RANDOM" and draw.random() < 0.3:
            found["loadBalancer"]["warmup"] = {"duration": "2s"}
    else:
        found["loadBalancer"] = {"consistentHash": {
            "header": {"httpHeaderName": "x-user"},
            "cookie": {"httpCookie": {"name": "sticky", "ttl": "10s"}},
            "source": {"useSourceIp": True},
            "maglev": {"httpHeaderName": "x-user", "maglev": {"tableSize": 101}},
        }[kind]}  # fmt: skip
    if draw.random() < 0.6:
        http: Document = {"http1MaxPendingRequests": 1024, "http2MaxRequests": 1024, "maxRetries": 512}
        if draw.random() < 0.5:
            http["maxRequestsPerConnection"] = draw.choice((1, 2, 10))
        if draw.random() < 0.3:
            http["h2UpgradePolicy"] = "UPGRADE"
        tcp = {"maxConnections": draw.choice((1, 2, 16, 256)), "connectTimeout": "5s"}
        found["connectionPool"] = {"tcp": tcp, "http": http}
    if draw.random() < 0.4:
        found["outlierDetection"] = {
            "consecutive5xxErrors": draw.choice((1, 3, 7)), "interval": "0.5s", "baseEjectionTime": "1s",
            "maxEjectionPercent": draw.choice((10, 50, 100)), "minHealthPercent": 70,
        }  # fmt: skip
    return found


def _rules(draw: random.Random, *, gateway_api: bool = False) -> tuple[Rule, ...]:
    count = draw.randint(1, 4)
    rules = [_rule(draw, _matches(draw, gateway_api=gateway_api), gateway_api) for _ in range(count)]
    if draw.random() < 0.9:
        rules.append(_rule(draw, (Match(prefix="/"),) if gateway_api else (), gateway_api))
    return tuple(rules)


def _matches(draw: random.Random, *, gateway_api: bool) -> tuple[Match, ...]:
    return tuple(_match(draw, gateway_api) for _ in range(draw.randint(1, 2)))


def _match(draw: random.Random, gateway_api: bool) -> Match:
    path: dict[str, str] = draw.choice((
        {"exact": "/exact"}, {"exact": "/b"}, {"prefix": "/a"}, {"prefix": "/b"}, {"prefix": "/v1"},
        {"prefix": "/"} if gateway_api else {"regex": "/v[0-9]+/.*"},
    ))  # fmt: skip
    user = draw.choice(("", "", "anna", "bert"))
    return Match(
        **path,
        user=user,
        method=draw.choice(("", "", "", "POST")),
        without_user=not gateway_api and not user and draw.random() < 0.2,
        query=draw.choice(("", "", "", "1")),
    )


def _rule(draw: random.Random, matches: tuple[Match, ...], gateway_api: bool) -> Rule:
    chance = draw.random()
    if chance < 0.08:
        return Rule(
            matches, local="redirect", status=draw.choice(REDIRECTS[:2] if gateway_api else REDIRECTS)
        )
    if chance < 0.16 and not gateway_api:
        return Rule(matches, local="direct", status=draw.choice((200, 418, 503)))
    destinations = _destinations(draw)
    if chance < 0.24 and not gateway_api:
        return Rule(matches, destinations, local="abort", status=draw.choice((400, 500, 503)))
    retry = draw.choice(("", "", "5xx", "gateway-error", "connect-failure,reset", "503", "none"))
    return Rule(
        matches,
        destinations,
        rewrite=draw.choice(("", "", "/rewritten")),
        delay=0.0 if gateway_api else draw.choice((0.0, 0.0, 0.0, 0.03)),
        timeout=draw.choice((0.0, 0.0, 0.15, 10.0)),
        attempts=-1 if gateway_api or not retry else 0 if retry == "none" else 3,
        retry_on=retry,
        per_try=0.0 if gateway_api or not retry or retry == "none" else draw.choice((0.0, 5.0)),
        remove_junk=draw.random() < 0.3,
        mirror="" if gateway_api or draw.random() < 0.8 else "aside",
    )


def _destinations(draw: random.Random) -> tuple[Destination, ...]:
    first, second = draw.sample(("v1", "v2", ""), 2)
    if draw.random() < 0.4:
        return (Destination(first, 1),)
    weight = draw.choice((0, 10, 50))
    return (Destination(first, 100 - weight), Destination(second, weight))
