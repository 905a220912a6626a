"""PeerAuthentication, RequestAuthentication, AuthorizationPolicy."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import ObjectMeta
from devmesh.config.documents.scalars import Duration
from devmesh.config.documents.selectors import IstioStatus, LabelsToMatch, PolicyTargetReference


class MutualTLS(Message, frozen=True, kw_only=True):
    """UNSET, DISABLE, PERMISSIVE or STRICT."""

    mode: Literal["UNSET", "DISABLE", "PERMISSIVE", "STRICT"] | None = None


class PeerAuthenticationSpec(Message, frozen=True, kw_only=True):
    """Which workloads, and their mode, by port where given."""

    selector: LabelsToMatch | None = None
    mtls: MutualTLS | None = None
    port_level_mtls: dict[str, MutualTLS] = field(default_factory=dict)


class PeerAuthentication(Message, frozen=True, kw_only=True):
    """Whether workloads accept plain text, mutual TLS, or both (security.istio.io)."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: PeerAuthenticationSpec = field(default_factory=PeerAuthenticationSpec)
    status: IstioStatus | None = None


class JWTHeader(Message, frozen=True, kw_only=True):
    """A header that carries the token."""

    name: str = ""
    prefix: str = ""


class ClaimToHeader(Message, frozen=True, kw_only=True):
    """A claim that the application gets as a header."""

    header: str = ""
    claim: str = ""


class JWTRule(Message, frozen=True, kw_only=True):
    """An issuer, where its keys are, and where the token is found."""

    issuer: str = ""
    audiences: tuple[str, ...] = ()
    jwks_uri: str = ""
    jwks: str = ""
    from_headers: tuple[JWTHeader, ...] = ()
    from_params: tuple[str, ...] = ()
    output_payload_to_header: str = ""
    from_cookies: tuple[str, ...] = ()
    forward_original_token: bool = False
    output_claim_to_headers: tuple[ClaimToHeader, ...] = ()
    timeout: Duration | None = None
    space_delimited_claims: tuple[str, ...] = ()


class RequestAuthenticationSpec(Message, frozen=True, kw_only=True):
    """Which workloads, and the issuers they trust."""

    selector: LabelsToMatch | None = None
    target_ref: PolicyTargetReference | None = None
    target_refs: tuple[PolicyTargetReference, ...] = ()
    jwt_rules: tuple[JWTRule, ...] = ()


class RequestAuthentication(Message, frozen=True, kw_only=True):
    """Which JSON web tokens are accepted (security.istio.io)."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: RequestAuthenticationSpec = field(default_factory=RequestAuthenticationSpec)
    status: IstioStatus | None = None


class Source(Message, frozen=True, kw_only=True):
    """Who calls."""

    principals: tuple[str, ...] = ()
    not_principals: tuple[str, ...] = ()
    request_principals: tuple[str, ...] = ()
    not_request_principals: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    not_namespaces: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    not_service_accounts: tuple[str, ...] = ()
    ip_blocks: tuple[str, ...] = ()
    not_ip_blocks: tuple[str, ...] = ()
    remote_ip_blocks: tuple[str, ...] = ()
    not_remote_ip_blocks: tuple[str, ...] = ()
    trust_domains: tuple[str, ...] = ()
    not_trust_domains: tuple[str, ...] = ()


class RuleFrom(Message, frozen=True, kw_only=True):
    """One source."""

    source: Source | None = None


class Operation(Message, frozen=True, kw_only=True):
    """What is called."""

    hosts: tuple[str, ...] = ()
    not_hosts: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    not_ports: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    not_methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    not_paths: tuple[str, ...] = ()


class RuleTo(Message, frozen=True, kw_only=True):
    """One operation."""

    operation: Operation | None = None


class Condition(Message, frozen=True, kw_only=True):
    """One more attribute and the values that it may or must not have."""

    key: str = ""
    values: tuple[str, ...] = ()
    not_values: tuple[str, ...] = ()


class Rule(Message, frozen=True, kw_only=True):
    """Sources, operations and conditions, all of which must hold."""

    from_: tuple[RuleFrom, ...] = ()
    to: tuple[RuleTo, ...] = ()
    when: tuple[Condition, ...] = ()


class AuthorizationProvider(Message, frozen=True, kw_only=True):
    """The external authorizer, by its name in MeshConfig."""

    name: str = ""


class AuthorizationPolicySpec(Message, frozen=True, kw_only=True):
    """Which workloads, what is done, and when."""

    selector: LabelsToMatch | None = None
    target_ref: PolicyTargetReference | None = None
    target_refs: tuple[PolicyTargetReference, ...] = ()
    rules: tuple[Rule, ...] = ()
    action: Literal["ALLOW", "DENY", "AUDIT", "CUSTOM"] | None = None
    provider: AuthorizationProvider | None = None


class AuthorizationPolicy(Message, frozen=True, kw_only=True):
    """Who may call what (security.istio.io)."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: AuthorizationPolicySpec = field(default_factory=AuthorizationPolicySpec)
    status: IstioStatus | None = None
