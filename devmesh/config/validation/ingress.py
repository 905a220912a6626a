"""Ingress and IngressClass, as the API server checks them."""

from __future__ import annotations

from collections.abc import Iterator

from devmesh.config.documents.ingress import HTTPIngressPath, Ingress, IngressBackend, IngressClass
from devmesh.config.problems import Cause, Path, forbidden, invalid, required
from devmesh.config.validation import names

_NEVER = ("//", "/./", "/../", "%2f", "%2F")
_NEVER_LAST = ("/..", "/.")


def ingress(resource: Ingress) -> Iterator[Cause]:
    spec = resource.spec
    if not spec.rules and spec.default_backend is None:
        yield invalid(("spec",), "", "either `defaultBackend` or `rules` must be specified")
    if spec.default_backend is not None:
        yield from _backend(spec.default_backend, ("spec", "defaultBackend"))
    for n, tls in enumerate(spec.tls):
        for m, host in enumerate(tls.hosts):
            yield from _host(host, ("spec", "tls", n, "hosts", m))
    for n, rule in enumerate(spec.rules):
        path: Path = ("spec", "rules", n)
        yield from _host(rule.host, (*path, "host")) if rule.host else ()
        if rule.http is None:
            continue
        if not rule.http.paths:
            yield required((*path, "http", "paths"))
        for m, found in enumerate(rule.http.paths):
            yield from _path(found, (*path, "http", "paths", m))


def ingress_class(resource: IngressClass) -> Iterator[Cause]:
    controller = resource.spec.controller
    if not controller:
        yield required(("spec", "controller"))
    elif "/" not in controller:
        detail = "must be a domain-prefixed path (such as 'acme.io/foo')"
        yield invalid(("spec", "controller"), controller, detail)


def _host(host: str, path: Path) -> Iterator[Cause]:
    if names.ip_address(host):
        yield invalid(path, host, "must be a DNS name, not an IP address")
    elif complaint := names.dns_subdomain(host.removeprefix("*.")):
        yield invalid(path, host, complaint)


def _path(found: HTTPIngressPath, path: Path) -> Iterator[Cause]:
    text = found.path
    if found.path_type != "ImplementationSpecific":
        if not text.startswith("/"):
            yield invalid((*path, "path"), text, "must be an absolute path")
        for part in _NEVER:
            if part in text:
                yield invalid((*path, "path"), text, f"must not contain '{part}'")
        for end in _NEVER_LAST:
            if text.endswith(end):
                yield invalid((*path, "path"), text, f"cannot end with '{end}'")
    elif text and not text.startswith("/"):
        yield invalid((*path, "path"), text, "must be an absolute path")
    yield from _backend(found.backend, (*path, "backend"))


def _backend(backend: IngressBackend, path: Path) -> Iterator[Cause]:
    service = backend.service
    if service is None and backend.resource is None:
        yield required(path, "resource or service backend is required")
    elif service is not None and backend.resource is not None:
        yield forbidden(path, "cannot set both resource and service backends")
    if service is None:
        return
    if not service.name:
        yield required((*path, "service", "name"))
    name, number = service.port.name, service.port.number
    if name and number:
        yield forbidden((*path, "service", "port"), "cannot set both port name & port number")
    elif not name and not number:
        yield required((*path, "service", "port"), "port name or number is required")
    elif number and not 0 < number < 65536:
        detail = "must be between 1 and 65535, inclusive"
        yield invalid((*path, "service", "port", "number"), number, detail)
