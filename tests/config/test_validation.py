"""Each line: what is wrong in a document, and where the refusal or warning points."""

# ruff: noqa: E501 (a document a line reads best)

import pytest

from devmesh.config.problems import Refused
from tests.config.conftest import Apply


def document(kind: str, spec: str, *, name: str = "a") -> str:
    versions = {"PeerAuthentication": "security.istio.io/v1", "Pod": "v1", "Service": "v1"}
    return (
        f"apiVersion: {versions.get(kind, 'networking.istio.io/v1')}\nkind: {kind}\n"
        f"metadata: {{name: {name}}}\nspec: {spec}\n"
    )


def refusals(apply: Apply, text: str) -> dict[str, str]:
    with pytest.raises(Refused) as caught:
        apply.admit(text)
    return {cause.field: cause.message for cause in caught.value.causes}


ROUTE = "route: [{destination: {host: b}}]"
VIRTUAL_SERVICES = [
    ("{hosts: [a]}", "spec", "http, tcp or tls must be given"),
    (f"{{hosts: ['*'], http: [{{{ROUTE}}}]}}", "spec.hosts[0]", "gateways only"),
    (f"{{hosts: [a, a], http: [{{{ROUTE}}}]}}", "spec.hosts[1]", "Duplicate"),
    (f"{{hosts: ['*.b.c', a.b.c], http: [{{{ROUTE}}}]}}", "spec.hosts[1]", "Duplicate"),
    (f"{{hosts: [a_b], http: [{{{ROUTE}}}]}}", "spec.hosts[0]", "DNS label"),
    (f"{{hosts: ['a.*.c'], http: [{{{ROUTE}}}]}}", "spec.hosts[0]", "DNS label"),
    (f"{{gateways: [mesh], http: [{{{ROUTE}}}]}}", "spec.gateways", "delegate"),
    (f"{{hosts: [a], gateways: [a/b/c], http: [{{{ROUTE}}}]}}", "spec.gateways[0]", "NAMESPACE/NAME"),
    (f"{{hosts: [a], exportTo: ['*', b], http: [{{{ROUTE}}}]}}", "spec.exportTo", "stands alone"),
    ("{hosts: [a], http: [{}]}", "spec.http[0].route", "Required"),
    ("{hosts: [a], http: [{route: [{}]}]}", "spec.http[0].route[0].destination", "Required"),
    (
        "{hosts: [a], http: [{route: [{destination: {host: '*'}}]}]}",
        "spec.http[0].route[0].destination.host",
        "one host",
    ),
    (
        "{hosts: [a], http: [{route: [{destination: {host: b, subset: V_1}}]}]}",
        "spec.http[0].route[0].destination.subset",
        "DNS label",
    ),
    (
        "{hosts: [a], http: [{route: [{destination: {host: b, port: {number: 0}}}]}]}",
        "spec.http[0].route[0].destination.port.number",
        "between 1 and 65535",
    ),
    (
        "{hosts: [a], http: [{route: [{destination: {host: b}, weight: -1}]}]}",
        "spec.http[0].route[0].weight",
        "0 or more",
    ),
    (
        "{hosts: [a], http: [{route: [{destination: {host: b}}, {destination: {host: c}}]}]}",
        "spec.http[0].route",
        "all 0",
    ),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, redirect: {{uri: /}}}}]}}",
        "spec.http[0].route",
        "not beside redirect",
    ),
    ("{hosts: [a], http: [{redirect: {}}]}", "spec.http[0].redirect", "give uri"),
    (
        "{hosts: [a], http: [{redirect: {uri: /, redirectCode: 200}}]}",
        "spec.http[0].redirect.redirectCode",
        "3xx",
    ),
    (
        "{hosts: [a], http: [{redirect: {uri: /, scheme: ftp}}]}",
        "spec.http[0].redirect.scheme",
        '"http", "https"',
    ),
    (
        "{hosts: [a], http: [{directResponse: {status: 99}}]}",
        "spec.http[0].directResponse.status",
        "200 and 599",
    ),
    (f"{{hosts: [a], http: [{{{ROUTE}, timeout: 0s}}]}}", "spec.http[0].timeout", "1ms or more"),
    (f"{{hosts: [a], http: [{{{ROUTE}, timeout: 0.0015s}}]}}", "spec.http[0].timeout", "whole milliseconds"),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, retries: {{attempts: -1}}}}]}}",
        "spec.http[0].retries.attempts",
        "0 or more",
    ),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, retries: {{retryOn: 5xx}}}}]}}",
        "spec.http[0].retries.attempts",
        "above 0",
    ),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, retries: {{attempts: 1, retryOn: '5xx,99'}}}}]}}",
        "spec.http[0].retries.retryOn",
        "Unsupported",
    ),
    (f"{{hosts: [a], http: [{{{ROUTE}, fault: {{}}}}]}}", "spec.http[0].fault", "an abort, a delay"),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, fault: {{abort: {{httpStatus: 700, percentage: {{value: 1}}}}}}}}]}}",
        "spec.http[0].fault.abort.httpStatus",
        "200 and 599",
    ),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, fault: {{abort: {{grpcStatus: OOPS, percentage: {{value: 1}}}}}}}}]}}",
        "spec.http[0].fault.abort.grpcStatus",
        "UNAVAILABLE",
    ),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, fault: {{delay: {{fixedDelay: 1s, percentage: {{value: 101}}}}}}}}]}}",
        "spec.http[0].fault.delay.percentage.value",
        "between 0 and 100",
    ),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, mirror: {{host: c}}, mirrors: [{{destination: {{host: d}}}}]}}]}}",
        "spec.http[0].mirrors",
        "not beside mirror",
    ),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, mirrorPercentage: {{value: 101}}}}]}}",
        "spec.http[0].mirrorPercentage.value",
        "between 0 and 100",
    ),
    (f"{{hosts: [a], http: [{{{ROUTE}, rewrite: {{}}}}]}}", "spec.http[0].rewrite", "give uri"),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, rewrite: {{uriRegexRewrite: {{match: '(', rewrite: x}}}}}}]}}",
        "spec.http[0].rewrite.uriRegexRewrite.match",
        "RE2",
    ),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, rewrite: {{uriRegexRewrite: {{match: '(a)', rewrite: '\\2'}}}}}}]}}",
        "spec.http[0].rewrite.uriRegexRewrite.rewrite",
        "none of the 1 groups",
    ),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, rewrite: {{uriRegexRewrite: {{match: '(a)', rewrite: '\\n'}}}}}}]}}",
        "spec.http[0].rewrite.uriRegexRewrite.rewrite",
        "number of a group",
    ),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, rewrite: {{authority: x}}, headers: {{request: {{set: {{Host: y}}}}}}}}]}}",
        "spec.http[0].headers.request.set[Host]",
        "set already",
    ),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, headers: {{response: {{set: {{Host: y}}}}}}}}]}}",
        "spec.http[0].headers.response.set[Host]",
        "cannot be changed",
    ),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, headers: {{request: {{add: {{x: '50%'}}}}}}}}]}}",
        "spec.http[0].headers.request.add[x]",
        "%%",
    ),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, corsPolicy: {{allowMethods: [GETT]}}}}]}}",
        "spec.http[0].corsPolicy.allowMethods[0]",
        "Unsupported",
    ),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, corsPolicy: {{allowOrigins: [{{}}]}}}}]}}",
        "spec.http[0].corsPolicy.allowOrigins[0]",
        "one of exact",
    ),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, match: [{{uri: {{regex: '(?=a)'}}}}]}}]}}",
        "spec.http[0].match[0].uri.regex",
        "RE2",
    ),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, match: [{{uri: {{regex: '[^/]{{1,999}}[^a]{{1,999}}[^b]{{1,999}}[^c]{{1,999}}'}}}}]}}]}}",
        "spec.http[0].match[0].uri.regex",
        "Istio allows 32768",
    ),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, match: [{{uri: {{regex: '\\pL{{999}}'}}}}]}}]}}",
        "spec.http[0].match[0].uri.regex",
        "too large",
    ),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, match: [{{uri: {{exact: /a, prefix: /b}}}}]}}]}}",
        "spec.http[0].match[0].uri",
        "one of exact",
    ),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, match: [{{method: {{prefix: ''}}}}]}}]}}",
        "spec.http[0].match[0].method.prefix",
        "empty",
    ),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, match: [{{headers: {{'a b': {{}}}}}}]}}]}}",
        "spec.http[0].match[0].headers[a b]",
        "no header's name",
    ),
    (
        f"{{hosts: [a], http: [{{{ROUTE}, match: [{{headers: {{'@request.auth.claims.x': {{}}}}}}]}}]}}",
        "spec.http[0].match[0].headers[@request.auth.claims.x]",
        "gateways only",
    ),
    (f"{{hosts: [a], tls: [{{{ROUTE}}}]}}", "spec.tls[0].match", "sniHosts"),
    (
        f"{{hosts: [a.b], tls: [{{{ROUTE}, match: [{{sniHosts: [c.d]}}]}}]}}",
        "spec.tls[0].match[0].sniHosts[0]",
        "not among",
    ),
    (
        f"{{hosts: [a], tcp: [{{{ROUTE}, match: [{{destinationSubnets: [x]}}]}}]}}",
        "spec.tcp[0].match[0].destinationSubnets[0]",
        "no CIDR",
    ),
    ("{hosts: [a], tcp: [{}]}", "spec.tcp[0].route", "Required"),
]
POLICY = "spec.trafficPolicy"
DESTINATION_RULES = [
    ("{}", "spec.host", "Required"),
    ("{host: a, subsets: [{name: v1}, {name: v1}]}", "spec.subsets[1].name", "Duplicate"),
    ("{host: a, subsets: [{}]}", "spec.subsets[0].name", "Required"),
    ("{host: a, subsets: [{name: v.1}]}", "spec.subsets[0].name", "DNS label"),
    ("{host: a, trafficPolicy: {}}", POLICY, "at least one field"),
    ("{host: a, trafficPolicy: {connectionPool: {}}}", f"{POLICY}.connectionPool", "http or tcp"),
    (
        "{host: a, trafficPolicy: {connectionPool: {tcp: {maxConnections: -1}}}}",
        f"{POLICY}.connectionPool.tcp.maxConnections",
        "0 or more",
    ),
    (
        "{host: a, trafficPolicy: {outlierDetection: {interval: 0s}}}",
        f"{POLICY}.outlierDetection.interval",
        "1ms",
    ),
    (
        "{host: a, trafficPolicy: {outlierDetection: {maxEjectionPercent: 101}}}",
        f"{POLICY}.outlierDetection.maxEjectionPercent",
        "between 0 and 100",
    ),
    (
        "{host: a, trafficPolicy: {outlierDetection: {consecutiveLocalOriginFailures: 3}}}",
        f"{POLICY}.outlierDetection.consecutiveLocalOriginFailures",
        "splitExternalLocalOriginErrors",
    ),
    (
        "{host: a, trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: a, useSourceIp: true}}}}",
        f"{POLICY}.loadBalancer.consistentHash",
        "give one of",
    ),
    (
        "{host: a, trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {ttl: 1s}}}}}",
        f"{POLICY}.loadBalancer.consistentHash.httpCookie.name",
        "Required",
    ),
    (
        "{host: a, trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 10}}}}}",
        f"{POLICY}.loadBalancer.consistentHash.maglev.tableSize",
        "prime",
    ),
    (
        "{host: a, trafficPolicy: {loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {b: 50}}]}}}}",
        f"{POLICY}.loadBalancer.localityLbSetting.distribute[0].to",
        "add up to 100",
    ),
    (
        "{host: a, trafficPolicy: {loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {b: 50, b/c: 50}}]}}}}",
        f"{POLICY}.loadBalancer.localityLbSetting.distribute[0].to",
        "overlaps",
    ),
    ("{host: a, trafficPolicy: {tls: {mode: MUTUAL}}}", f"{POLICY}.tls.clientCertificate", "Required"),
    (
        "{host: a, trafficPolicy: {tls: {mode: SIMPLE, credentialName: x, caCertificates: y}}}",
        f"{POLICY}.tls.caCertificates",
        "not beside credentialName",
    ),
    (
        "{host: a, trafficPolicy: {portLevelSettings: [{tls: {mode: SIMPLE}}]}}",
        f"{POLICY}.portLevelSettings[0].port",
        "Required",
    ),
    (
        "{host: a, workloadSelector: {matchLabels: {a: b}}, exportTo: [other]}",
        "spec.exportTo",
        "own namespace only",
    ),
]
GATEWAYS = [
    ("{}", "spec.servers", "at least one server"),
    ("{servers: [{hosts: ['*']}]}", "spec.servers[0].port", "Required"),
    ("{servers: [{port: {number: 80, name: a, protocol: HTTP}}]}", "spec.servers[0].hosts", "any host"),
    (
        "{servers: [{port: {number: 80, name: a, protocol: HTPT}, hosts: ['*']}]}",
        "spec.servers[0].port.protocol",
        "supported are",
    ),
    (
        "{servers: [{port: {number: 0, name: a, protocol: HTTP}, hosts: ['*']}]}",
        "spec.servers[0].port.number",
        "65535",
    ),
    (
        "{servers: [{port: {number: 443, name: a, protocol: HTTPS}, hosts: ['*']}]}",
        "spec.servers[0].tls",
        "needs its TLS",
    ),
    (
        "{servers: [{port: {number: 443, name: a, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE}}]}",
        "spec.servers[0].tls.serverCertificate",
        "credentialName",
    ),
    (
        "{servers: [{port: {number: 80, name: a, protocol: HTTP}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: x}}]}",
        "spec.servers[0].tls",
        "httpsRedirect only",
    ),
    (
        "{servers: [{port: {number: 80, name: a, protocol: TCP}, hosts: ['*'], tls: {mode: PASSTHROUGH}}]}",
        "spec.servers[0].tls",
        "HTTPS or TLS",
    ),
    (
        "{servers: [{port: {number: 80, name: a, protocol: HTTP}, hosts: [short]}]}",
        "spec.servers[0].hosts[0]",
        "short names",
    ),
    (
        "{servers: [{port: {number: 80, name: a, protocol: HTTP}, hosts: ['~/*']}]}",
        "spec.servers[0].hosts[0]",
        "no namespace",
    ),
    (
        "{servers: [{port: {number: 80, name: a, protocol: HTTP}, hosts: ['*']},"
        " {port: {number: 81, name: a, protocol: HTTP}, hosts: ['*']}]}",
        "spec.servers[1].port.name",
        "Duplicate",
    ),
]
PORT = "ports: [{number: 80, name: http, protocol: HTTP}]"
SERVICE_ENTRIES = [
    (f"{{{PORT}}}", "spec.hosts", "Required"),
    (f"{{hosts: ['*'], {PORT}}}", "spec.hosts[0]", "every host"),
    (f"{{hosts: [a.b], addresses: [x], {PORT}}}", "spec.addresses[0]", "no IP address"),
    (f"{{hosts: [a.b], addresses: [10.0.0.0/8], resolution: DNS, {PORT}}}", "spec.addresses[0]", "no CIDR"),
    (
        "{hosts: [a.b], ports: [{number: 80, name: a}, {number: 80, name: b}]}",
        "spec.ports[1].number",
        "Duplicate",
    ),
    ("{hosts: [a.b], ports: [{number: 80, name: a, protocol: QUIC}]}", "spec.ports[0].protocol", "supported"),
    (f"{{hosts: [a.b], endpoints: [{{address: 1.2.3.4}}], {PORT}}}", "spec.endpoints", "STATIC or DNS"),
    (
        f"{{hosts: [a.b], resolution: STATIC, endpoints: [{{address: c.d}}], {PORT}}}",
        "spec.endpoints[0].address",
        "IP address",
    ),
    (
        f"{{hosts: [a.b], resolution: STATIC, endpoints: [{{address: 1.2.3.4, ports: {{x: 1}}}}], {PORT}}}",
        "spec.endpoints[0].ports[x]",
        "no port of this name",
    ),
    (f"{{hosts: ['*.b'], resolution: DNS, {PORT}}}", "spec.hosts[0]", "resolved"),
    (
        "{hosts: [a.b, c.d], resolution: DNS, ports: [{number: 1, name: t, protocol: TCP}]}",
        "spec.hosts",
        "told apart",
    ),
    (
        f"{{hosts: [a.b], workloadSelector: {{labels: {{a: b}}}}, endpoints: [{{}}], resolution: STATIC, {PORT}}}",
        "spec.endpoints",
        "workloadSelector",
    ),
]
OTHERS = [
    ("Sidecar", "{}", "spec", "give egress"),
    ("Sidecar", "{egress: [{}]}", "spec.egress[0].hosts", "Required"),
    ("Sidecar", "{egress: [{hosts: [a.b]}]}", "spec.egress[0].hosts[0]", "NAMESPACE/HOST"),
    ("Sidecar", "{egress: [{hosts: ['*/*']}, {hosts: ['./*']}]}", "spec.egress[0]", "must be the last"),
    (
        "Sidecar",
        "{ingress: [{port: {number: 1, protocol: HTTP}, defaultEndpoint: '1.2.3.4:80'}]}",
        "spec.ingress[0].defaultEndpoint",
        "127.0.0.1:PORT",
    ),
    (
        "PeerAuthentication",
        "{portLevelMtls: {'80': {mode: STRICT}}}",
        "spec.portLevelMtls",
        "needs a selector",
    ),
    (
        "PeerAuthentication",
        "{selector: {matchLabels: {a: b}}, portLevelMtls: {'0': {mode: STRICT}}}",
        "spec.portLevelMtls[0]",
        "between 1 and 65535",
    ),
    ("PeerAuthentication", "{mtls: {mode: STRCT}}", "spec.mtls.mode", 'did you mean "STRICT"'),
    ("WorkloadEntry", "{}", "spec.address", "Required"),
    ("WorkloadEntry", "{address: a_b}", "spec.address", "DNS label"),
    ("WorkloadGroup", "{}", "spec.template", "Required"),
    (
        "Pod",
        "{containers: [{name: a, image: b, env: [{value: x}]}]}",
        "spec.containers[0].env[0].name",
        "Required",
    ),
    (
        "Pod",
        "{containers: [{name: a, image: b, lifecycle: {preStop: {}}}]}",
        "spec.containers[0].lifecycle.preStop",
        "exactly one",
    ),
    (
        "Pod",
        "{containers: [{name: a, image: b, ports: [{containerPort: 1, name: x}, {containerPort: 2, name: x}]}]}",
        "spec.containers[0].ports[1].name",
        "Duplicate",
    ),
    (
        "Pod",
        "{initContainers: [{name: i, image: b, readinessProbe: {exec: {command: [a]}}}], containers: [{name: a, image: b}]}",
        "spec.initContainers[0].readinessProbe",
        "restartPolicy=Always",
    ),
    (
        "Gateway",
        "{servers: [{bind: 'unix:///a', port: {number: 1, name: a, protocol: HTTP}, hosts: ['*']}]}",
        "spec.servers[0].port.number",
        "must be 0",
    ),
    (
        "Sidecar",
        "{egress: [{port: {number: 0, protocol: HTTP}, hosts: ['./*']}]}",
        "spec.egress[0].port.number",
        "65535",
    ),
    (
        "Sidecar",
        "{ingress: [{port: {number: 1, protocol: HTTP}, tls: {mode: SIMPLE, credentialName: x}}]}",
        "spec.ingress[0].tls.credentialName",
        "not supported in a Sidecar",
    ),
    (
        "VirtualService",
        "{hosts: [a], http: [{match: [{uri: {exact: /a}}], redirect: {prefixRewrite: /b}}]}",
        "spec.http[0].redirect.prefixRewrite",
        "must be prefixes",
    ),
    ("VirtualService", "{http: [{delegate: {name: b}}]}", "spec.http[0].delegate", "cannot delegate again"),
    (
        "VirtualService",
        "{hosts: [a], http: [{delegate: {name: b}, redirect: {uri: /}}]}",
        "spec.http[0].redirect",
        "the delegate has it",
    ),
    (
        "Pod",
        "{containers: [{name: a, image: b, envFrom: [{}]}]}",
        "spec.containers[0].envFrom[0]",
        "must specify one of",
    ),
    (
        "Pod",
        "{volumes: [{name: s, secret: {}}], containers: [{name: a, image: b}]}",
        "spec.volumes[0].secret.secretName",
        "Required",
    ),
    (
        "Pod",
        "{volumes: [{name: s, configMap: {}}], containers: [{name: a, image: b}]}",
        "spec.volumes[0].configMap.name",
        "Required",
    ),
    ("Service", "{}", "spec.ports", "Required"),
    ("Service", "{ports: [{port: 1}, {port: 2}]}", "spec.ports[0].name", "names each"),
    ("Service", "{type: ExternalName}", "spec.externalName", "Required"),
    ("Service", "{ports: [{port: 1, targetPort: A}]}", "spec.ports[0].targetPort", "lower case"),
    ("Service", "{ports: [{port: 1}], clusterIP: x}", "spec.clusterIPs[0]", "valid IP"),
    ("Pod", "{containers: []}", "spec.containers", "Required"),
    ("Pod", "{containers: [{name: a}]}", "spec.containers[0].image", "Required"),
    ("Pod", "{containers: [{name: A, image: b}]}", "spec.containers[0].name", "RFC 1123"),
    (
        "Pod",
        "{containers: [{name: a, image: b}, {name: a, image: b}]}",
        "spec.containers[1].name",
        "Duplicate",
    ),
    (
        "Pod",
        "{containers: [{name: a, image: b, ports: [{containerPort: 99999}]}]}",
        "spec.containers[0].ports[0].containerPort",
        "65535",
    ),
    (
        "Pod",
        "{containers: [{name: a, image: b, volumeMounts: [{name: v, mountPath: /v}]}]}",
        "spec.containers[0].volumeMounts[0].name",
        'Not found: "v"',
    ),
    (
        "Pod",
        "{containers: [{name: a, image: b, livenessProbe: {}}]}",
        "spec.containers[0].livenessProbe",
        "handler type",
    ),
    (
        "Pod",
        "{containers: [{name: a, image: b, env: [{name: x, valueFrom: {}}]}]}",
        "spec.containers[0].env[0].valueFrom",
        "must specify one of",
    ),
    (
        "Pod",
        "{containers: [{name: a, image: b, resources: {limits: {cpu: 1}, requests: {cpu: 2}}}]}",
        "spec.containers[0].resources.requests",
        "cpu limit of 1",
    ),
    (
        "Pod",
        "{volumes: [{name: v, emptyDir: {}, secret: {secretName: s}}], containers: [{name: a, image: b}]}",
        "spec.volumes[0].secret",
        "more than 1 volume type",
    ),
    (
        "Pod",
        "{restartPolicy: Sometimes, containers: [{name: a, image: b}]}",
        "spec.restartPolicy",
        "Unsupported",
    ),
]


@pytest.mark.parametrize(
    ("kind", "spec", "field", "message"),
    [
        *(("VirtualService", *row) for row in VIRTUAL_SERVICES),
        *(("DestinationRule", *row) for row in DESTINATION_RULES),
        *(("Gateway", *row) for row in GATEWAYS),
        *(("ServiceEntry", *row) for row in SERVICE_ENTRIES),
        *OTHERS,
    ],
)
def test_what_is_wrong_is_refused_at_its_field(
    apply: Apply, kind: str, spec: str, field: str, message: str
) -> None:
    found = refusals(apply, document(kind, spec))
    assert message in found.get(field, ""), found


@pytest.mark.parametrize(
    ("kind", "spec", "warning"),
    [
        (
            "VirtualService",
            f"{{hosts: [a], http: [{{{ROUTE}}}, {{{ROUTE}}}]}}",
            "spec.http[1]: is never used",
        ),
        (
            "VirtualService",
            f"{{hosts: [a], http: [{{match: [{{uri: {{prefix: /}}}}], {ROUTE}}},"
            f" {{match: [{{uri: {{prefix: /}}}}], {ROUTE}}}]}}",
            "spec.http[1].match[0]: is never used: http[0] has the same match",
        ),
        (
            "VirtualService",
            f"{{hosts: [a], http: [{{{ROUTE}, fault: {{abort: {{httpStatus: 500}}}}}}]}}",
            "aborts nothing: it has no percentage",
        ),
        (
            "VirtualService",
            f"{{hosts: [a], http: [{{{ROUTE}, match: [{{statPrefix: x}}]}}]}}",
            "spec.http[0].match[0].statPrefix: has no effect in devmesh",
        ),
        ("VirtualService", f"{{hosts: [a], gateways: [a.b], http: [{{{ROUTE}}}]}}", "write b/a"),
        ("VirtualService", f"{{hosts: [a], http: [{{{ROUTE}, mirrorPercent: 1}}]}}", "use mirrorPercentage"),
        (
            "DestinationRule",
            "{host: a, subsets: [{name: b, trafficPolicy: {tunnel: {targetHost: c, targetPort: 1}}}]}",
            "spec.subsets[0].trafficPolicy.tunnel: has no effect in devmesh",
        ),
        (
            "DestinationRule",
            "{host: a, trafficPolicy: {outlierDetection: {consecutiveErrors: 3}}}",
            "is deprecated",
        ),
        (
            "DestinationRule",
            "{host: a, trafficPolicy: {loadBalancer: {localityLbSetting: {failover: [{from: a, to: b}]}}}}",
            "only where outlierDetection is given",
        ),
        ("Sidecar", "{workloadSelector: {}, egress: [{hosts: ['*/*']}]}", "selects all workloads"),
        ("PeerAuthentication", "{selector: {}, mtls: {mode: STRICT}}", "selects all workloads"),
        ("Pod", "{nodeSelector: {a: b}, containers: [{name: a, image: b}]}", "there is one node"),
    ],
)
def test_what_is_allowed_and_hardly_meant_is_warned_of(
    apply: Apply, kind: str, spec: str, warning: str
) -> None:
    assert warning in " ".join(apply.admit(document(kind, spec)).said)


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        (
            "VirtualService",
            f"{{hosts: ['*'], gateways: [g], http: [{{{ROUTE}, match: [{{uri: {{prefix: ''}}}}]}}]}}",
        ),
        (
            "VirtualService",
            "{http: [{route: [{destination: {host: b.c.svc.cluster.local, subset: v1}, weight: 5}]}]}",
        ),
        ("VirtualService", "{hosts: [1.2.3.4], tcp: [{route: [{destination: {host: b}}]}]}"),
        (
            "VirtualService",
            f"{{hosts: [a], http: [{{{ROUTE}, match: [{{headers: {{x: {{regex: '*'}}, ':method': {{}}}}}}]}}]}}",
        ),
        (
            "VirtualService",
            f"{{hosts: [a], http: [{{{ROUTE}, headers: {{request: {{set: {{x: '%REQ(:PATH):10% 50%%'}}}}}}}}]}}",
        ),
        ("VirtualService", f"{{hosts: [a], http: [{{{ROUTE}, retries: {{attempts: 0}}}}]}}"),
        (
            "VirtualService",
            f"{{hosts: [a], http: [{{{ROUTE}, retries: {{attempts: 1, retryOn: 'reset,503'}}}}]}}",
        ),
        ("VirtualService", "{hosts: [a], http: [{delegate: {name: b}}]}"),
        ("DestinationRule", "{host: '*.local', trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}"),
        ("DestinationRule", "{host: a, trafficPolicy: {connectionPool: {tcp: {idleTimeout: 0s}}}}"),
        (
            "Gateway",
            "{servers: [{port: {number: 80, name: a, protocol: http}, hosts: ['*'], tls: {httpsRedirect: true}}]}",
        ),
        (
            "Gateway",
            "{servers: [{port: {number: 443, name: a, protocol: HTTPS}, hosts: [ns/a.b], "
            "tls: {mode: MUTUAL, credentialName: c}}]}",
        ),
        ("ServiceEntry", f"{{hosts: ['*.b.com'], location: MESH_EXTERNAL, {PORT}}}"),
        ("ServiceEntry", f"{{hosts: [a.b, c.d], resolution: DNS, exportTo: ['~'], {PORT}}}"),
        (
            "Sidecar",
            "{egress: [{port: {number: 9080, protocol: HTTP}, hosts: ['./*']}, {hosts: ['istio-system/*']}]}",
        ),
        ("PeerAuthentication", "{selector: {matchLabels: {a: b}}, portLevelMtls: {'8080': {mode: DISABLE}}}"),
        ("WorkloadEntry", "{address: vm.example.com, labels: {app: a}}"),
        ("WorkloadEntry", "{address: 1.2.3.4, ports: {http: 8080}}"),
        (
            "Pod",
            "{containers: [{name: a, image: b, env: [{name: x}], lifecycle: {preStop: {sleep: {seconds: 1}}}}]}",
        ),
        ("Sidecar", "{ingress: [{port: {number: 1, protocol: HTTP}, defaultEndpoint: 'unix:///a'}]}"),
        (
            "VirtualService",
            "{hosts: [a], http: [{redirect: {prefixRewrite: /b}, match: [{uri: {prefix: /a}}]}]}",
        ),
        ("VirtualService", f"{{hosts: [a], http: [{{{ROUTE}, timeout: 1ms}}]}}"),
        (
            "VirtualService",
            f"{{hosts: ['{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 63}'], http: [{{{ROUTE}}}]}}",
        ),
        (
            "DestinationRule",
            "{host: a, trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 7}}}}}",
        ),
        (
            "Pod",
            "{volumes: [{name: s, secret: {secretName: x}}, {name: c, configMap: {name: y}}, {name: e}],"
            " containers: [{name: a, image: b, envFrom: [{configMapRef: {name: x}}, {secretRef: {name: y}}]}]}",
        ),
        ("Service", "{clusterIP: None, selector: {app: a}}"),
        ("Service", "{ports: [{port: 53, protocol: UDP, name: a}, {port: 53, name: b}]}"),
    ],
)
def test_what_istio_and_kubernetes_accept_is_accepted(apply: Apply, kind: str, spec: str) -> None:
    assert apply.admit(document(kind, spec)).said == ()


@pytest.mark.parametrize(
    ("kind", "spec", "name", "said"),
    [
        ("Gateway", "{servers: []}", "a.b", "no dots"),
        ("DestinationRule", "{host: a}", "A", "RFC 1123"),
        ("DestinationRule", "{host: a}", "x" * 254, "no more than 253"),
        ("Service", "{ports: [{port: 1}]}", "1a", "DNS-1035"),
        ("Service", "{ports: [{port: 1}]}", "a" * 64, "no more than 63"),
    ],
)
def test_names_have_rules(apply: Apply, kind: str, spec: str, name: str, said: str) -> None:
    text = document(kind, spec, name=name)
    assert said in refusals(apply, text)["metadata.name"]


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ("{name: a, labels: {'-x': b}}", "metadata.labels"),
        ("{name: a, labels: {x: 'b c'}}", "metadata.labels[x]"),
        ("{name: a, annotations: {'a b': c}}", "metadata.annotations"),
        ("{name: a, namespace: B}", "metadata.namespace"),
        ("{}", "metadata.name"),
        (
            "{name: a, ownerReferences: [{apiVersion: v1, kind: Pod, name: p, uid: ''}]}",
            "metadata.ownerReferences[0].uid",
        ),
    ],
)
def test_metadata_has_rules(apply: Apply, metadata: str, field: str) -> None:
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {metadata}\n"
    assert field in refusals(apply, text)


def test_kinds_that_do_not_protect_say_so_loudly(apply: Apply) -> None:
    said = apply.admit(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}\nspec: {}\n"
    ).said
    assert "NOT ENFORCED" in said[0]


def test_a_stateful_sets_claims_are_its_volumes(apply: Apply) -> None:
    text = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: a}
spec:
  serviceName: a
  selector: {matchLabels: {app: a}}
  template:
    metadata: {labels: {app: a}}
    spec: {containers: [{name: a, image: b, volumeMounts: [{name: data, mountPath: /d}]}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""
    assert apply.admit(text).said == ()


CLAIM = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a}\nspec: {spec}\n"


def test_a_claim_says_how_much_and_how_it_is_used(apply: Apply) -> None:
    good = "{accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}"
    assert apply.admit(CLAIM.replace("{spec}", good)).said == ()
    assert set(refusals(apply, CLAIM.replace("{spec}", "{}"))) == {
        "spec.accessModes",
        "spec.resources[storage]",
    }


POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: b:1}]}\n"


def test_of_a_pod_little_more_than_the_image_can_change(apply: Apply) -> None:
    apply(POD)
    apply.admit(POD.replace("b:1", "b:2"))
    found = refusals(apply, POD.replace("{containers", "{hostNetwork: true, containers"))
    assert "pod updates may not change fields other than" in found["spec"]


def test_a_labels_value_has_a_longest_length(apply: Apply) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {x: VALUE}}\n"
    assert apply.admit(text.replace("VALUE", "x" * 63))
    assert "63 characters" in refusals(apply, text.replace("VALUE", "x" * 64))["metadata.labels[x]"]


def test_a_recreating_deployment_has_no_rolling_update(apply: Apply) -> None:
    text = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec:
  selector: {matchLabels: {app: a}}
  strategy: {type: Recreate, rollingUpdate: {maxSurge: 1}}
  template: {metadata: {labels: {app: a}}, spec: {containers: [{name: a, image: b}]}}
"""
    assert "Recreate" in refusals(apply, text)["spec.strategy.rollingUpdate"]
    nothing = text.replace(
        "Recreate, rollingUpdate: {maxSurge: 1}",
        "RollingUpdate, rollingUpdate: {maxSurge: 0, maxUnavailable: 0}",
    )
    assert "may not be 0" in refusals(apply, nothing)["spec.strategy.rollingUpdate.maxUnavailable"]
