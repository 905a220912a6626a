"""What runs: a workload (a Deployment, say) and its instances (pods)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from devmesh.model.identity import Identity

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Workload:
    """The thing that metrics, policies and the graph call a workload.

    The names of its app, version and canonical service follow Istio's standard labels; where a
    label is missing they are the word `UNKNOWN`, as in Istio's metrics.
    """

    name: str
    namespace: str
    kind: str = "Deployment"
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def app(self) -> str:
        return self.labels.get("app") or self.labels.get("app.kubernetes.io/name") or UNKNOWN

    @property
    def version(self) -> str:
        return self.labels.get("version") or self.labels.get("app.kubernetes.io/version") or UNKNOWN

    @property
    def canonical_service(self) -> str:
        """Istio: the label canonical-name, else app.kubernetes.io/name, else app, else the workload."""
        for label in ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app"):
            if value := self.labels.get(label):
                return value
        return self.name

    @property
    def canonical_revision(self) -> str:
        """Istio: the label canonical-revision, else app.kubernetes.io/version, else version, else latest."""
        for label in ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"):
            if value := self.labels.get(label):
                return value
        return "latest"


@dataclass(frozen=True, slots=True)
class Instance:
    """One running replica of a workload (a pod), as the runtime reports it.

    `id` is the pod's uid: it names the network namespace in the contracts between runtime and
    proxy. `addresses` are the pod's own, the IPv4 one first. An instance that is not `ready`
    gets no new requests. One that is not `meshed` has no proxy: it is called in plain text and
    proves no identity. `gateway` marks istio-ingressgateway and its like, which are proxies
    alone, with no application behind them; `proxy_config` is what its pod says of its proxy (the
    annotation ``proxy.istio.io/config``: YAML). One that is `ending` has been told to stop.
    """

    id: str
    pod: str
    workload: Workload
    identity: Identity
    addresses: tuple[str, ...]
    ready: bool
    meshed: bool = True
    gateway: bool = False
    ports: Mapping[str, int] = field(default_factory=dict, hash=False)
    locality: str = ""
    proxy_config: str = ""
    ending: bool = False

    @property
    def namespace(self) -> str:
        return self.workload.namespace

    @property
    def labels(self) -> Mapping[str, str]:
        return self.workload.labels
