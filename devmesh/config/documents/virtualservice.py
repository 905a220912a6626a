"""VirtualService: how requests and connections find their destination."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import ObjectMeta
from devmesh.config.documents.scalars import Base64, Duration, Int32, UInt32
from devmesh.config.documents.selectors import IstioStatus, Percent, PortSelector, StringMatch


class HTTPMatchRequest(Message, frozen=True, kw_only=True):
    """Conditions on a request, all of which must hold."""

    name: str = ""
    uri: StringMatch | None = None
    scheme: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: dict[str, StringMatch] = field(default_factory=dict)
    port: UInt32 = 0
    source_labels: dict[str, str] = field(default_factory=dict)
    gateways: tuple[str, ...] = ()
    query_params: dict[str, StringMatch] = field(default_factory=dict)
    ignore_uri_case: bool = False
    without_headers: dict[str, StringMatch] = field(default_factory=dict)
    source_namespace: str = ""
    stat_prefix: str = ""


class Destination(Message, frozen=True, kw_only=True):
    """Where to: a host, a subset of its endpoints, a port."""

    host: str = ""
    subset: str = ""
    port: PortSelector | None = None


class HeaderOperations(Message, frozen=True, kw_only=True):
    """Headers to set, to add, to remove."""

    set: dict[str, str] = field(default_factory=dict)
    add: dict[str, str] = field(default_factory=dict)
    remove: tuple[str, ...] = ()


class Headers(Message, frozen=True, kw_only=True):
    """Changes of headers, on the way there and back."""

    request: HeaderOperations | None = None
    response: HeaderOperations | None = None


class HTTPRouteDestination(Message, frozen=True, kw_only=True):
    """A destination of requests, with its share."""

    destination: Destination | None = None
    weight: Int32 = 0
    headers: Headers | None = None


class HTTPRedirect(Message, frozen=True, kw_only=True):
    """Answer with a redirect."""

    uri: str = ""
    authority: str = ""
    port: UInt32 | None = None
    derive_port: Literal["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"] | None = None
    scheme: str = ""
    redirect_code: UInt32 = 0
    prefix_rewrite: str = ""


class HTTPBody(Message, frozen=True, kw_only=True):
    """The body of a direct response, as text or as base64."""

    string: str | None = None
    bytes: Base64 | None = None


class HTTPDirectResponse(Message, frozen=True, kw_only=True):
    """Answer at once, without a destination."""

    status: UInt32 = 0
    body: HTTPBody | None = None


class Delegate(Message, frozen=True, kw_only=True):
    """Another VirtualService that holds the routes."""

    name: str = ""
    namespace: str = ""


class RegexRewrite(Message, frozen=True, kw_only=True):
    """Change the path by a regular expression (RE2)."""

    match: str = ""
    rewrite: str = ""


class HTTPRewrite(Message, frozen=True, kw_only=True):
    """Change path and authority before forwarding."""

    uri: str = ""
    authority: str = ""
    uri_regex_rewrite: RegexRewrite | None = None


class HTTPRetry(Message, frozen=True, kw_only=True):
    """How often, when and how fast to try again."""

    attempts: Int32 = 0
    per_try_timeout: Duration | None = None
    retry_on: str = ""
    retry_remote_localities: bool | None = None
    retry_ignore_previous_hosts: bool | None = None
    backoff: Duration | None = None


class FaultDelay(Message, frozen=True, kw_only=True):
    """Let a share of the requests wait."""

    percent: Int32 = 0
    fixed_delay: Duration | None = None
    exponential_delay: Duration | None = None
    percentage: Percent | None = None


class FaultAbort(Message, frozen=True, kw_only=True):
    """Answer a share of the requests with an error."""

    http_status: Int32 | None = None
    grpc_status: str | None = None
    http2_error: str | None = None
    percentage: Percent | None = None


class HTTPFaultInjection(Message, frozen=True, kw_only=True):
    """Delay or abort a share of the requests."""

    delay: FaultDelay | None = None
    abort: FaultAbort | None = None


class HTTPMirrorPolicy(Message, frozen=True, kw_only=True):
    """Send a copy of a share of the requests."""

    destination: Destination | None = None
    percentage: Percent | None = None


class CorsPolicy(Message, frozen=True, kw_only=True):
    """What pages of other origins may do."""

    allow_origin: tuple[str, ...] = ()
    allow_origins: tuple[StringMatch, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: Duration | None = None
    allow_credentials: bool | None = None
    unmatched_preflights: Literal["UNSPECIFIED", "FORWARD", "IGNORE"] | None = None


class HTTPRoute(Message, frozen=True, kw_only=True):
    """One rule for requests; the first rule that matches wins."""

    name: str = ""
    match: tuple[HTTPMatchRequest, ...] = ()
    route: tuple[HTTPRouteDestination, ...] = ()
    redirect: HTTPRedirect | None = None
    direct_response: HTTPDirectResponse | None = None
    delegate: Delegate | None = None
    rewrite: HTTPRewrite | None = None
    timeout: Duration | None = None
    retries: HTTPRetry | None = None
    fault: HTTPFaultInjection | None = None
    mirror: Destination | None = None
    mirrors: tuple[HTTPMirrorPolicy, ...] = ()
    mirror_percent: UInt32 | None = None
    mirror_percentage: Percent | None = None
    cors_policy: CorsPolicy | None = None
    headers: Headers | None = None


class TLSMatchAttributes(Message, frozen=True, kw_only=True):
    """Conditions on a TLS connection, all of which must hold."""

    sni_hosts: tuple[str, ...] = ()
    destination_subnets: tuple[str, ...] = ()
    port: UInt32 = 0
    source_labels: dict[str, str] = field(default_factory=dict)
    gateways: tuple[str, ...] = ()
    source_namespace: str = ""


class RouteDestination(Message, frozen=True, kw_only=True):
    """A destination of connections, with its share."""

    destination: Destination | None = None
    weight: Int32 = 0


class TLSRoute(Message, frozen=True, kw_only=True):
    """One rule for TLS connections that are not terminated, by server name."""

    match: tuple[TLSMatchAttributes, ...] = ()
    route: tuple[RouteDestination, ...] = ()


class L4MatchAttributes(Message, frozen=True, kw_only=True):
    """Conditions on a connection, all of which must hold."""

    destination_subnets: tuple[str, ...] = ()
    port: UInt32 = 0
    source_subnet: str = ""
    source_labels: dict[str, str] = field(default_factory=dict)
    gateways: tuple[str, ...] = ()
    source_namespace: str = ""


class TCPRoute(Message, frozen=True, kw_only=True):
    """One rule for opaque connections."""

    match: tuple[L4MatchAttributes, ...] = ()
    route: tuple[RouteDestination, ...] = ()


class VirtualServiceSpec(Message, frozen=True, kw_only=True):
    """Hosts, the gateways it applies to, and routes."""

    hosts: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    http: tuple[HTTPRoute, ...] = ()
    tls: tuple[TLSRoute, ...] = ()
    tcp: tuple[TCPRoute, ...] = ()
    export_to: tuple[str, ...] = ()


class VirtualService(Message, frozen=True, kw_only=True):
    """How calls to some hosts find their destination (networking.istio.io)."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: VirtualServiceSpec = field(default_factory=VirtualServiceSpec)
    status: IstioStatus | None = None
