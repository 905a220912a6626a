"""Certificates that users keep in Secrets."""

from __future__ import annotations

from dataclasses import dataclass, field

from devmesh.config import kinds
from devmesh.config.documents.configuration import ConfigMap, Secret
from devmesh.config.store import Store
from devmesh.config.typed import typed
from devmesh.pilot.memo import Memo

GATEWAY_SCHEME = "kubernetes-gateway://"
"""Before the namespace and the name of a Secret of the Gateway API, which may lie anywhere (Istio)."""
CONFIG_MAP_SCHEME = "configmap://"


@dataclass(frozen=True, slots=True)
class Pem:
    """A certificate with its key, and whom to trust; empty where the Secret has none."""

    certificate: str = ""
    key: str = field(default="", repr=False)
    ca: str = ""
    crl: str = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The Secrets of the store, as Istio's ``credentialName`` means them."""

    store: Store

    def find(self, namespace: str, name: str) -> Pem | None:
        """Return a Secret's PEM texts; None where it isn't there or holds no certificate and no CA.

        Istio: the keys are tls.crt, tls.key and ca.crt (or cert, key, cacert); the CA may be in a
        Secret of its own, ``<name>-cacert``. A name that begins with `GATEWAY_SCHEME` says its own namespace.
        """
        if name.startswith(GATEWAY_SCHEME):
            namespace, _, name = name.removeprefix(GATEWAY_SCHEME).partition("/")
        data = self._data(namespace, name)
        certificate = data.get("tls.crt") or data.get("cert") or b""
        key = data.get("tls.key") or data.get("key") or b""
        ca = data.get("ca.crt") or data.get("cacert") or b""
        if not ca:
            other = self._data(namespace, f"{name}-cacert")
            ca = other.get("cacert") or other.get("ca.crt") or b""
        if not certificate and not ca:
            return None
        return Pem(_text(certificate), _text(key), _text(ca), _text(data.get("ca.crl") or b""))

    def authority(self, namespace: str, name: str) -> str:
        """Return the certificates to trust that a Secret or ConfigMap holds; empty where there are none."""
        if not name.startswith(CONFIG_MAP_SCHEME):
            found = self.find(namespace, name)
            return found.ca if found else ""
        namespace, _, name = name.removeprefix(CONFIG_MAP_SCHEME).partition("/")
        stored = self.store.get(kinds.CONFIG_MAP, namespace, name)
        return typed(stored, ConfigMap).data.get("ca.crt", "") if stored else ""

    def of_client(self, namespace: str, name: str) -> Pem | None:
        """Return what a DestinationRule's ``credentialName`` means to a client of a namespace."""
        if name.startswith(CONFIG_MAP_SCHEME):
            where = name.removeprefix(CONFIG_MAP_SCHEME)
            full = name if "/" in where else f"{CONFIG_MAP_SCHEME}{namespace}/{where}"
            found = self.authority(namespace, full)
            return Pem(ca=found) if found else None
        return self.find(namespace, name)

    def token(self, memo: Memo) -> object:
        """Return an object that is another one as soon as a Secret or ConfigMap is."""
        held = (*self.store.list(kinds.SECRET), *self.store.list(kinds.CONFIG_MAP))
        return memo.token("credentials", held)

    def _data(self, namespace: str, name: str) -> dict[str, bytes]:
        stored = self.store.get(kinds.SECRET, namespace, name)
        return dict(typed(stored, Secret).data) if stored else {}


def _text(pem: bytes) -> str:
    return pem.decode("utf-8", "replace")
