"""TLS of a listener: its mode, and the Secrets with its certificates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from devmesh.config.documents.gateway import ServerTLSMode, ServerTLSSettings
from devmesh.config.documents.gateway_api import (
    FrontendTLSValidation,
    Listener,
    ListenerEntry,
    SecretObjectReference,
)
from devmesh.pilot.credentials import CONFIG_MAP_SCHEME, GATEWAY_SCHEME, Pem
from devmesh.pilot.gateway_api.conditions import Problem
from devmesh.pilot.gateway_api.references import References
from devmesh.pilot.gateway_api.resources import Gateway, ListenerSet

Secrets = Callable[[str, str], Pem | None]
"""Finds the certificate of a Secret by namespace and name."""

_TERMINATE_MODE = "gateway.istio.io/tls-terminate-mode"
_CIPHER_SUITES = "gateway.istio.io/tls-cipher-suites"
_MODES: dict[str, ServerTLSMode] = {"MUTUAL": "MUTUAL", "OPTIONAL_MUTUAL": "OPTIONAL_MUTUAL"}


def server_tls(
    gateway: Gateway,
    owner: Gateway | ListenerSet,
    listener: Listener | ListenerEntry,
    port: int,
    references: References,
    secrets: Secrets,
) -> tuple[ServerTLSSettings | None, Problem | None]:
    """Return a listener's TLS in Istio's terms, and what is wrong with it; no certificate, no handshake."""
    tls = listener.tls
    if tls is None:
        return None, None
    if tls.mode == "Passthrough":
        return ServerTLSSettings(mode="PASSTHROUGH"), None
    option = tls.options.get(_TERMINATE_MODE, "")
    if option == "ISTIO_MUTUAL":
        return ServerTLSSettings(mode="ISTIO_MUTUAL"), None
    mode: ServerTLSMode = _MODES.get(option, "SIMPLE")
    names, problem = _certificates(owner, tls.certificate_refs, references, secrets)
    validation = _validation(gateway, port)
    if names and validation is not None and validation.ca_certificate_refs:
        insecure = validation.mode == "AllowInsecureFallback"
        if option not in _MODES:
            mode = "OPTIONAL_MUTUAL" if insecure else "MUTUAL"
        ca, wrong = _authority(owner, validation, references)
        if wrong is not None:
            return ServerTLSSettings(mode=mode), wrong
    else:
        ca = ""
    suites = tuple(filter(None, (s.strip() for s in tls.options.get(_CIPHER_SUITES, "").split(","))))
    made = ServerTLSSettings(
        mode=mode,
        credential_name=names[0] if len(names) == 1 else "",
        credential_names=tuple(names) if len(names) > 1 else (),
        ca_cert_credential_name=ca,
        cipher_suites=suites,
    )
    # Istio: a certificate that does not resolve matters where none of them does.
    return made, None if names else problem


def _certificates(
    owner: Gateway | ListenerSet,
    refs: Sequence[SecretObjectReference],
    references: References,
    secrets: Secrets,
) -> tuple[list[str], Problem | None]:
    if len(refs) > 2:
        return [], Problem("InvalidCertificateRef", "TLS mode can only support up to 2 server certificates")
    kind = owner.stored.key.kind.kind
    names: list[str] = []
    problem: Problem | None = None
    if not refs:
        problem = Problem("InvalidCertificateRef", "no certificateRefs: there is no certificate to show")
    for ref in refs:
        where = ref.namespace or owner.namespace
        shown = f"{ref.group or ''}/{ref.kind or 'Secret'}/{ref.name}.{ref.namespace or ''}"
        found: Problem | None = None
        if not references.is_allowed(kind, owner.namespace, ("", "Secret", where, ref.name)):
            found = Problem(
                "RefNotPermitted",
                f"certificateRef {ref.name}/{where} not accessible to a Gateway in namespace "
                f"{owner.namespace!r} (missing a ReferenceGrant?)",
            )
        elif (ref.group or "", ref.kind or "Secret") != ("", "Secret"):
            said = f"invalid certificate reference {shown}, only secret is allowed"
            found = Problem("InvalidCertificateRef", said)
        elif wrong := _wrong(secrets(where, ref.name), f"{where}/{ref.name}"):
            found = Problem("InvalidCertificateRef", f"invalid certificate reference {shown}, {wrong}")
        if found is None:
            names.append(f"{GATEWAY_SCHEME}{where}/{ref.name}")
        problem = problem or found
    return names, problem


def _wrong(pem: Pem | None, name: str) -> str:
    """Return what is wrong with a Secret; empty where there is a certificate in it."""
    if pem is None:
        return f"secret {name} not found"
    if not pem.certificate or not pem.key:
        return f"secret {name} has no tls.crt and tls.key"
    if "-----BEGIN CERTIFICATE" not in pem.certificate or "-----BEGIN " not in pem.key:
        return "the certificate is malformed"
    return ""


def _validation(gateway: Gateway, port: int) -> FrontendTLSValidation | None:
    frontend = gateway.spec.tls.frontend if gateway.spec.tls else None
    if frontend is None:
        return None
    for own in frontend.per_port:
        if own.port == port:
            return own.tls.validation
    return frontend.default.validation


def _authority(
    owner: Gateway | ListenerSet, validation: FrontendTLSValidation, references: References
) -> tuple[str, Problem | None]:
    refs = validation.ca_certificate_refs
    if len(refs) > 1:
        return "", Problem("InvalidCACertificateRef", "only one caCertificateRef is supported")
    ref = refs[0]
    where = ref.namespace or owner.namespace
    kind = owner.stored.key.kind.kind
    if ref.group or ref.kind not in ("ConfigMap", "Secret"):
        return "", Problem(
            "InvalidCACertificateKind",
            f"invalid CA certificate reference {ref.kind}/{ref.name}, only secret and configmap are allowed",
        )
    if not references.is_allowed(kind, owner.namespace, ("", ref.kind, where, ref.name)):
        return "", Problem(
            "RefNotPermitted",
            f"caCertificateRef {where}/{ref.name} not accessible to a Gateway in namespace "
            f"{owner.namespace!r} (missing a ReferenceGrant?)",
        )
    scheme = GATEWAY_SCHEME if ref.kind == "Secret" else CONFIG_MAP_SCHEME
    return f"{scheme}{where}/{ref.name}", None
