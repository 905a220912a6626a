"""Gateway API: GatewayClass, Gateway, ListenerSet, ReferenceGrant (gateway.networking.k8s.io)."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import Condition, LabelSelector, ObjectMeta

PortNumber = Annotated[int, Meta(ge=1, le=65535)]


class ParametersReference(Message, frozen=True, kw_only=True):
    """Names an object with parameters of a controller's own."""

    group: str
    kind: str
    name: str
    namespace: str | None = None


class GatewayClassSpec(Message, frozen=True, kw_only=True):
    """Which controller implements the Gateways of a class."""

    controller_name: str
    description: str | None = None
    parameters_ref: ParametersReference | None = None


class SupportedFeature(Message, frozen=True, kw_only=True):
    """One feature that a controller says it has."""

    name: str


class GatewayClassStatus(Message, frozen=True, kw_only=True):
    """Whether a controller has taken the class."""

    conditions: tuple[Condition, ...] = ()
    supported_features: tuple[SupportedFeature, ...] = ()


class GatewayClass(Message, frozen=True, kw_only=True):
    """A kind of gateway, by the controller that implements it."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: GatewayClassSpec
    status: GatewayClassStatus | None = None


class GatewayAddress(Message, frozen=True, kw_only=True):
    """An address that a Gateway asks for, or has."""

    type: str | None = None
    value: str = ""


class RouteNamespaces(Message, frozen=True, kw_only=True):
    """The namespaces that something may come from."""

    from_: Literal["All", "Selector", "Same", "None"] | None = field(default=None, name="from")
    selector: LabelSelector | None = None


class RouteGroupKind(Message, frozen=True, kw_only=True):
    """A kind of route."""

    group: str | None = None
    kind: str


class AllowedRoutes(Message, frozen=True, kw_only=True):
    """Which routes may attach to a listener."""

    namespaces: RouteNamespaces | None = None
    kinds: tuple[RouteGroupKind, ...] = ()


class AllowedListeners(Message, frozen=True, kw_only=True):
    """Which ListenerSets may add listeners to a Gateway."""

    namespaces: RouteNamespaces | None = None


class SecretObjectReference(Message, frozen=True, kw_only=True):
    """Names a Secret, in another namespace where a ReferenceGrant allows it."""

    group: str | None = None
    kind: str | None = None
    name: str
    namespace: str | None = None


class ObjectReference(Message, frozen=True, kw_only=True):
    """Names a ConfigMap or a Secret with certificates to trust."""

    group: str
    kind: str
    name: str
    namespace: str | None = None


class ListenerTLSConfig(Message, frozen=True, kw_only=True):
    """TLS towards the client."""

    mode: Literal["Terminate", "Passthrough"] | None = None
    certificate_refs: tuple[SecretObjectReference, ...] = ()
    options: dict[str, str] = field(default_factory=dict)


class Listener(Message, frozen=True, kw_only=True):
    """One port of a Gateway, and the host names and routes that it serves."""

    name: str
    hostname: str | None = None
    port: PortNumber
    protocol: str
    tls: ListenerTLSConfig | None = None
    allowed_routes: AllowedRoutes | None = None


class FrontendTLSValidation(Message, frozen=True, kw_only=True):
    """How clients' certificates are checked."""

    ca_certificate_refs: tuple[ObjectReference, ...] = ()
    mode: Literal["AllowValidOnly", "AllowInsecureFallback"] | None = None


class TLSConfig(Message, frozen=True, kw_only=True):
    """TLS towards clients, for all listeners or those of one port."""

    validation: FrontendTLSValidation | None = None


class TLSPortConfig(Message, frozen=True, kw_only=True):
    """TLS towards the clients of one port."""

    port: PortNumber
    tls: TLSConfig = field(default_factory=TLSConfig)


class FrontendTLSConfig(Message, frozen=True, kw_only=True):
    """TLS towards clients: the default, and what ports have of their own."""

    default: TLSConfig = field(default_factory=TLSConfig)
    per_port: tuple[TLSPortConfig, ...] = ()


class GatewayBackendTLS(Message, frozen=True, kw_only=True):
    """The gateway's own certificate towards backends."""

    client_certificate_ref: SecretObjectReference | None = None


class GatewayTLSConfig(Message, frozen=True, kw_only=True):
    """TLS of a whole Gateway."""

    backend: GatewayBackendTLS | None = None
    frontend: FrontendTLSConfig | None = None


class LocalParametersReference(Message, frozen=True, kw_only=True):
    """Names an object with parameters, in the same namespace."""

    group: str
    kind: str
    name: str


class GatewayInfrastructure(Message, frozen=True, kw_only=True):
    """What the objects that are made for a Gateway carry."""

    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    parameters_ref: LocalParametersReference | None = None


class GatewayResourceSpec(Message, frozen=True, kw_only=True):
    """The class, the listeners and the addresses of a Gateway."""

    gateway_class_name: str
    listeners: tuple[Listener, ...] = ()
    addresses: tuple[GatewayAddress, ...] = ()
    allowed_listeners: AllowedListeners | None = None
    infrastructure: GatewayInfrastructure | None = None
    tls: GatewayTLSConfig | None = None
    default_scope: Literal["All", "None"] | None = None


class ListenerStatus(Message, frozen=True, kw_only=True):
    """What became of one listener."""

    name: str
    attached_routes: int = 0
    supported_kinds: tuple[RouteGroupKind, ...] = ()
    conditions: tuple[Condition, ...] = ()
    port: int | None = None


class GatewayResourceStatus(Message, frozen=True, kw_only=True):
    """What became of a Gateway."""

    addresses: tuple[GatewayAddress, ...] = ()
    conditions: tuple[Condition, ...] = ()
    listeners: tuple[ListenerStatus, ...] = ()
    attached_listener_sets: int | None = None


class GatewayResource(Message, frozen=True, kw_only=True):
    """A gateway with its listeners (Gateway API)."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: GatewayResourceSpec
    status: GatewayResourceStatus | None = None


class ParentGatewayReference(Message, frozen=True, kw_only=True):
    """Names the Gateway that listeners are added to."""

    group: str | None = None
    kind: str | None = None
    name: str
    namespace: str | None = None


class ListenerEntry(Message, frozen=True, kw_only=True):
    """One listener that is added to a Gateway; HTTP and HTTPS have their usual ports."""

    name: str
    hostname: str | None = None
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    protocol: str
    tls: ListenerTLSConfig | None = None
    allowed_routes: AllowedRoutes | None = None


class ListenerSetSpec(Message, frozen=True, kw_only=True):
    """Listeners, and the Gateway that they are added to."""

    parent_ref: ParentGatewayReference
    listeners: tuple[ListenerEntry, ...] = ()


class ListenerSetStatus(Message, frozen=True, kw_only=True):
    """What became of a ListenerSet."""

    conditions: tuple[Condition, ...] = ()
    listeners: tuple[ListenerStatus, ...] = ()


class ListenerSet(Message, frozen=True, kw_only=True):
    """Listeners that are added to a Gateway of somebody else."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: ListenerSetSpec
    status: ListenerSetStatus | None = None


class ReferenceGrantFrom(Message, frozen=True, kw_only=True):
    """The kind and namespace of those that may refer."""

    group: str
    kind: str
    namespace: str


class ReferenceGrantTo(Message, frozen=True, kw_only=True):
    """What they may refer to; without a name, all of that kind."""

    group: str
    kind: str
    name: str | None = None


class ReferenceGrantSpec(Message, frozen=True, kw_only=True):
    """Who may refer to what in this namespace."""

    from_: tuple[ReferenceGrantFrom, ...] = field(default=(), name="from")
    to: tuple[ReferenceGrantTo, ...] = ()


class ReferenceGrant(Message, frozen=True, kw_only=True):
    """Lets objects of other namespaces refer to some of this one."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: ReferenceGrantSpec = field(default_factory=ReferenceGrantSpec)


class PolicyTargetReference(Message, frozen=True, kw_only=True):
    """Names a Service or ServiceEntry, or one of its ports."""

    group: str
    kind: str
    name: str
    section_name: str | None = None


class LocalObjectRef(Message, frozen=True, kw_only=True):
    """Names an object of the same namespace."""

    group: str
    kind: str
    name: str


class SubjectAltName(Message, frozen=True, kw_only=True):
    """A name that a server's certificate has to have."""

    type: Literal["Hostname", "URI"]
    hostname: str | None = None
    uri: str | None = field(default=None, name="uri")


class BackendTLSPolicyValidation(Message, frozen=True, kw_only=True):
    """Who the server has to be, and whom to trust to say so."""

    ca_certificate_refs: tuple[LocalObjectRef, ...] = field(default=(), name="caCertificateRefs")
    well_known_ca_certificates: str | None = field(default=None, name="wellKnownCACertificates")
    hostname: str
    subject_alt_names: tuple[SubjectAltName, ...] = ()


class BackendTLSPolicySpec(Message, frozen=True, kw_only=True):
    """Which backends are spoken TLS with, and how they are verified."""

    target_refs: tuple[PolicyTargetReference, ...] = ()
    validation: BackendTLSPolicyValidation
    options: dict[str, str] = field(default_factory=dict)


class AncestorReference(Message, frozen=True, kw_only=True):
    """Names what a policy has an effect for."""

    group: str | None = None
    kind: str | None = None
    namespace: str | None = None
    name: str
    section_name: str | None = None
    port: int | None = None


class PolicyAncestorStatus(Message, frozen=True, kw_only=True):
    """What became of a policy for one of them."""

    ancestor_ref: AncestorReference
    controller_name: str = ""
    conditions: tuple[Condition, ...] = ()


class PolicyStatus(Message, frozen=True, kw_only=True):
    """What became of a policy."""

    ancestors: tuple[PolicyAncestorStatus, ...] = ()


class BackendTLSPolicy(Message, frozen=True, kw_only=True):
    """TLS towards backends (Gateway API)."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: BackendTLSPolicySpec
    status: PolicyStatus | None = None
