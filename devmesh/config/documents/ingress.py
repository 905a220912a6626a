"""Ingress and IngressClass (networking.k8s.io/v1)."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import field

from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import ObjectMeta


class ServiceBackendPort(Message, frozen=True, kw_only=True):
    """A port of a Service, by its name or its number."""

    name: str = ""
    number: int = 0


class IngressServiceBackend(Message, frozen=True, kw_only=True):
    """A Service of the Ingress's own namespace."""

    name: str
    port: ServiceBackendPort = ServiceBackendPort()


class TypedLocalObjectReference(Message, frozen=True, kw_only=True):
    """Names an object of any kind in the same namespace."""

    api_group: str | None = None
    kind: str
    name: str


class IngressBackend(Message, frozen=True, kw_only=True):
    """Where requests go."""

    service: IngressServiceBackend | None = None
    resource: TypedLocalObjectReference | None = None


class HTTPIngressPath(Message, frozen=True, kw_only=True):
    """Requests with a path, and where they go."""

    path: str = ""
    path_type: Literal["Exact", "Prefix", "ImplementationSpecific"]
    backend: IngressBackend


class HTTPIngressRuleValue(Message, frozen=True, kw_only=True):
    """The paths of a host."""

    paths: tuple[HTTPIngressPath, ...]


class IngressRule(Message, frozen=True, kw_only=True):
    """What is served under a host."""

    host: str = ""
    http: HTTPIngressRuleValue | None = None


class IngressTLS(Message, frozen=True, kw_only=True):
    """A certificate, and the hosts that are shown it."""

    hosts: tuple[str, ...] = ()
    secret_name: str = ""


class IngressSpec(Message, frozen=True, kw_only=True):
    """Hosts and paths that the world reaches, and the Services behind them."""

    ingress_class_name: str | None = None
    default_backend: IngressBackend | None = None
    tls: tuple[IngressTLS, ...] = ()
    rules: tuple[IngressRule, ...] = ()


class Ingress(Message, frozen=True, kw_only=True):
    """Hosts and paths that the world reaches, in Kubernetes' own words."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: IngressSpec = field(default_factory=IngressSpec)
    status: dict[str, Any] | None = None


class IngressClassSpec(Message, frozen=True, kw_only=True):
    """Who serves the Ingresses of a class."""

    controller: str = ""
    parameters: dict[str, Any] | None = None


class IngressClass(Message, frozen=True, kw_only=True):
    """A class of Ingresses, by the controller that serves them."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: IngressClassSpec = field(default_factory=IngressClassSpec)
