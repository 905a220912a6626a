"""Gateway API: HTTPRoute, GRPCRoute, TLSRoute, TCPRoute (gateway.networking.k8s.io)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from devmesh.config.documents.gateway_api import PortNumber
from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import Condition, ObjectMeta
from devmesh.config.documents.scalars import Duration

Weight = Annotated[int, Meta(ge=0, le=1_000_000)]
PathModifierType = Literal["ReplaceFullPath", "ReplacePrefixMatch"]
MatchType = Literal["Exact", "RegularExpression"]


class ParentReference(Message, frozen=True, kw_only=True):
    """Names what a route attaches to: a Gateway, or a Service or ServiceEntry of the mesh."""

    group: str | None = None
    kind: str | None = None
    namespace: str | None = None
    name: str
    section_name: str | None = None
    port: PortNumber | None = None


class BackendRef(Message, frozen=True, kw_only=True):
    """Where a route leads, with its share."""

    group: str | None = None
    kind: str | None = None
    name: str
    namespace: str | None = None
    port: PortNumber | None = None
    weight: Weight | None = None


class BackendObjectReference(Message, frozen=True, kw_only=True):
    """Names a backend."""

    group: str | None = None
    kind: str | None = None
    name: str
    namespace: str | None = None
    port: PortNumber | None = None


class HTTPHeader(Message, frozen=True, kw_only=True):
    """A header and its value."""

    name: str
    value: str


class HTTPHeaderFilter(Message, frozen=True, kw_only=True):
    """Changes to headers; of equal names the first counts."""

    set: tuple[HTTPHeader, ...] = ()
    add: tuple[HTTPHeader, ...] = ()
    remove: tuple[str, ...] = ()


class Fraction(Message, frozen=True, kw_only=True):
    """A share, as numerator and denominator (100 where not given)."""

    numerator: Annotated[int, Meta(ge=0)]
    denominator: Annotated[int, Meta(ge=1)] | None = None


class HTTPRequestMirrorFilter(Message, frozen=True, kw_only=True):
    """A copy of the request is sent to another backend; its answer is thrown away."""

    backend_ref: BackendObjectReference
    percent: Annotated[int, Meta(ge=0, le=100)] | None = None
    fraction: Fraction | None = None


class HTTPPathModifier(Message, frozen=True, kw_only=True):
    """What becomes of the path."""

    type: PathModifierType
    replace_full_path: str | None = None
    replace_prefix_match: str | None = None


class HTTPRequestRedirectFilter(Message, frozen=True, kw_only=True):
    """The request is answered with a redirect."""

    scheme: Literal["http", "https"] | None = None
    hostname: str | None = None
    path: HTTPPathModifier | None = None
    port: PortNumber | None = None
    status_code: int | None = None


class HTTPURLRewriteFilter(Message, frozen=True, kw_only=True):
    """The request goes on with another host or path."""

    hostname: str | None = None
    path: HTTPPathModifier | None = None


class HTTPCORSFilter(Message, frozen=True, kw_only=True):
    """What browsers may do from other origins."""

    allow_origins: tuple[str, ...] = ()
    allow_credentials: bool | None = None
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: Annotated[int, Meta(ge=1)] | None = None


class ExtensionReference(Message, frozen=True, kw_only=True):
    """Names a filter of an implementation's own."""

    group: str
    kind: str
    name: str


class HTTPRouteFilter(Message, frozen=True, kw_only=True):
    """One step that requests or responses go through."""

    type: Literal[
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestMirror",
        "RequestRedirect",
        "URLRewrite",
        "ExtensionRef",
        "CORS",
        "ExternalAuth",
    ]
    request_header_modifier: HTTPHeaderFilter | None = None
    response_header_modifier: HTTPHeaderFilter | None = None
    request_mirror: HTTPRequestMirrorFilter | None = None
    request_redirect: HTTPRequestRedirectFilter | None = None
    url_rewrite: HTTPURLRewriteFilter | None = field(default=None, name="urlRewrite")
    cors: HTTPCORSFilter | None = None
    extension_ref: ExtensionReference | None = None
    external_auth: dict[str, Any] = field(default_factory=dict)


class HTTPBackendRef(Message, frozen=True, kw_only=True):
    """Where a route leads, with its share and filters of its own."""

    group: str | None = None
    kind: str | None = None
    name: str
    namespace: str | None = None
    port: PortNumber | None = None
    weight: Weight | None = None
    filters: tuple[HTTPRouteFilter, ...] = ()


class HTTPPathMatch(Message, frozen=True, kw_only=True):
    """A condition on the path; prefixes are of whole segments."""

    type: Literal["Exact", "PathPrefix", "RegularExpression"] | None = None
    value: str | None = None


class HTTPHeaderMatch(Message, frozen=True, kw_only=True):
    """A condition on a header."""

    type: MatchType | None = None
    name: str
    value: str


class HTTPQueryParamMatch(Message, frozen=True, kw_only=True):
    """A condition on a query parameter."""

    type: MatchType | None = None
    name: str
    value: str


class HTTPRouteMatch(Message, frozen=True, kw_only=True):
    """Conditions that all have to hold."""

    path: HTTPPathMatch | None = None
    headers: tuple[HTTPHeaderMatch, ...] = ()
    query_params: tuple[HTTPQueryParamMatch, ...] = ()
    method: Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"] | None = (
        None
    )


class HTTPRouteTimeouts(Message, frozen=True, kw_only=True):
    """How long a request, and each try, may take; 0s is no limit."""

    request: Duration | None = None
    backend_request: Duration | None = None


class HTTPRouteRetry(Message, frozen=True, kw_only=True):
    """When requests are tried again."""

    codes: tuple[int, ...] = ()
    attempts: Annotated[int, Meta(ge=0)] | None = None
    backoff: Duration | None = None


class HTTPRouteRule(Message, frozen=True, kw_only=True):
    """What is done with the requests that any of the matches accepts."""

    name: str | None = None
    matches: tuple[HTTPRouteMatch, ...] = ()
    filters: tuple[HTTPRouteFilter, ...] = ()
    backend_refs: tuple[HTTPBackendRef, ...] = ()
    timeouts: HTTPRouteTimeouts | None = None
    retry: HTTPRouteRetry | None = None
    session_persistence: dict[str, Any] = field(default_factory=dict)


class HTTPRouteSpec(Message, frozen=True, kw_only=True):
    """Parents, host names and rules of an HTTPRoute."""

    parent_refs: tuple[ParentReference, ...] = ()
    use_default_gateways: str | None = None
    hostnames: tuple[str, ...] = ()
    rules: tuple[HTTPRouteRule, ...] = ()


class RouteParentStatus(Message, frozen=True, kw_only=True):
    """What became of a route at one parent."""

    parent_ref: ParentReference
    controller_name: str = ""
    conditions: tuple[Condition, ...] = ()


class RouteStatus(Message, frozen=True, kw_only=True):
    """What became of a route at its parents."""

    parents: tuple[RouteParentStatus, ...] = ()


class HTTPRouteResource(Message, frozen=True, kw_only=True):
    """Where HTTP requests go (Gateway API)."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: HTTPRouteSpec = field(default_factory=HTTPRouteSpec)
    status: RouteStatus | None = None


class GRPCMethodMatch(Message, frozen=True, kw_only=True):
    """A condition on the service and the method that are called."""

    type: MatchType | None = None
    service: str | None = None
    method: str | None = None


class GRPCRouteMatch(Message, frozen=True, kw_only=True):
    """Conditions that all have to hold."""

    method: GRPCMethodMatch | None = None
    headers: tuple[HTTPHeaderMatch, ...] = ()


class GRPCRouteFilter(Message, frozen=True, kw_only=True):
    """One step that calls go through."""

    type: Literal["RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "ExtensionRef"]
    request_header_modifier: HTTPHeaderFilter | None = None
    response_header_modifier: HTTPHeaderFilter | None = None
    request_mirror: HTTPRequestMirrorFilter | None = None
    extension_ref: ExtensionReference | None = None


class GRPCBackendRef(Message, frozen=True, kw_only=True):
    """Where a route leads, with its share and filters of its own."""

    group: str | None = None
    kind: str | None = None
    name: str
    namespace: str | None = None
    port: PortNumber | None = None
    weight: Weight | None = None
    filters: tuple[GRPCRouteFilter, ...] = ()


class GRPCRouteRule(Message, frozen=True, kw_only=True):
    """What is done with the calls that any of the matches accepts."""

    name: str | None = None
    matches: tuple[GRPCRouteMatch, ...] = ()
    filters: tuple[GRPCRouteFilter, ...] = ()
    backend_refs: tuple[GRPCBackendRef, ...] = ()
    session_persistence: dict[str, Any] = field(default_factory=dict)


class GRPCRouteSpec(Message, frozen=True, kw_only=True):
    """Parents, host names and rules of a GRPCRoute."""

    parent_refs: tuple[ParentReference, ...] = ()
    use_default_gateways: str | None = None
    hostnames: tuple[str, ...] = ()
    rules: tuple[GRPCRouteRule, ...] = ()


class GRPCRouteResource(Message, frozen=True, kw_only=True):
    """Where gRPC calls go (Gateway API)."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: GRPCRouteSpec = field(default_factory=GRPCRouteSpec)
    status: RouteStatus | None = None


class ConnectionRouteRule(Message, frozen=True, kw_only=True):
    """Where connections go."""

    name: str | None = None
    backend_refs: tuple[BackendRef, ...] = ()


class TLSRouteSpec(Message, frozen=True, kw_only=True):
    """Parents, server names and rules of a TLSRoute."""

    parent_refs: tuple[ParentReference, ...] = ()
    use_default_gateways: str | None = None
    hostnames: tuple[str, ...] = ()
    rules: tuple[ConnectionRouteRule, ...] = ()


class TLSRouteResource(Message, frozen=True, kw_only=True):
    """Where TLS connections go, by the server name that is asked for (Gateway API)."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: TLSRouteSpec = field(default_factory=TLSRouteSpec)
    status: RouteStatus | None = None


class TCPRouteSpec(Message, frozen=True, kw_only=True):
    """Parents and rules of a TCPRoute."""

    parent_refs: tuple[ParentReference, ...] = ()
    use_default_gateways: str | None = None
    rules: tuple[ConnectionRouteRule, ...] = ()


class TCPRouteResource(Message, frozen=True, kw_only=True):
    """Where connections go (Gateway API)."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: TCPRouteSpec = field(default_factory=TCPRouteSpec)
    status: RouteStatus | None = None
