"""Meshes for tests: resources from YAML, and an instance for each replica of their workloads."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from devmesh.config import kinds
from devmesh.config.kinds import Kind, Kinds
from devmesh.config.store import Store
from devmesh.model.identity import Identity
from devmesh.model.workload import Instance, Workload
from devmesh.pilot.compiler import Compiled, compile_mesh
from devmesh.pilot.settings import LocalPorts
from devmesh.pilot.simulate import Outcome, call
from devmesh.traffic.routing import RequestHead

BOOKINFO = Path(__file__).parents[2] / "samples" / "bookinfo"
GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")

INGRESS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  template:
    metadata: {labels: {istio: ingressgateway, app: istio-ingressgateway}}
    spec: {containers: []}
"""


@dataclass
class Mesh:
    """A store with what runs, compiled on demand."""

    store: Store
    instances: list[Instance] = field(default_factory=list)
    ports: LocalPorts = field(default_factory=LocalPorts)
    last: Compiled | None = None
    clock: Iterator[float] = field(default_factory=lambda: itertools.count(1_800_000_000.0))

    def apply(self, text: str) -> Mesh:
        """Create or replace what `text` holds; documents of one call get older to younger."""
        for document in yaml.safe_load_all(text):
            if document:
                self._apply(json.loads(json.dumps(document)))  # keys become text, as in JSON
        return self

    def _apply(self, document: dict[str, Any]) -> None:
        kind = self.store.kinds.named(document["apiVersion"], document["kind"])
        assert kind is not None, document["kind"]
        metadata = document["metadata"]
        namespace = metadata.setdefault("namespace", "default") if kind.namespaced else ""
        if namespace and self.store.get(kinds.NAMESPACE, "", namespace) is None:
            self.store.create(kinds.NAMESPACE, {"metadata": {"name": namespace}})
        if self.store.get(kind, namespace, metadata["name"]):
            self.store.update(kind, document)
        else:
            self.store.create(kind, document)
        if document["kind"] in WORKLOADS:
            self.instances.extend(self._instances(document))

    def _instances(self, document: dict[str, Any]) -> Iterator[Instance]:
        metadata, spec = document["metadata"], document["spec"]
        template = spec["template"]
        labels = template["metadata"].get("labels") or {}
        annotations = template["metadata"].get("annotations") or {}
        pod = template["spec"]
        workload = Workload(metadata["name"], metadata["namespace"], document["kind"], labels)
        account = pod.get("serviceAccountName") or "default"
        ports = {
            port["name"]: port["containerPort"]
            for container in pod.get("containers") or ()
            for port in container.get("ports") or ()
            if port.get("name")
        }
        count = len(self.instances)
        for number in range(spec.get("replicas", 1)):
            name = f"{metadata['name']}-{number}"
            yield Instance(
                id=name if workload.namespace == "default" else f"{workload.namespace}/{name}",
                pod=name,
                workload=workload,
                identity=Identity("cluster.local", workload.namespace, account),
                addresses=(f"10.0.0.{count + number + 1}",),
                ready=True,
                meshed=annotations.get("sidecar.istio.io/inject") != "false",
                gateway="istio" in labels or GATEWAY_NAME in labels,
                ports=ports,
                locality=annotations.get("test/locality", ""),
                proxy_config=annotations.get("proxy.istio.io/config", ""),
            )

    def deploy(self) -> Mesh:
        """Make what a compile wants for Gateways, as the mesh does; it is ready at once."""
        for wanted in self.compile().wanted:
            self._apply({"apiVersion": wanted.kind.api_version, "kind": wanted.kind.kind, **wanted.raw})
        return self

    def settle(self) -> int:
        """Write statuses until nothing is left to write; return after how many compiles that is so."""
        for turn in range(1, 5):
            statuses = self.compile().statuses
            if not statuses:
                return turn
            for key, status in statuses.items():
                self.store.patch_status(key, status)
        raise AssertionError("statuses are written again and again")

    def status(self, kind: Kind, name: str, namespace: str = "default") -> dict[str, Any]:
        """Return a status after it was written."""
        self.settle()
        stored = self.store.get(kind, namespace, name)
        assert stored is not None
        found: dict[str, Any] = stored.raw["status"]
        return found

    def change(self, name: str, **changes: Any) -> None:
        """Change an instance, as the runtime would report it."""
        self.instances = [replace(i, **changes) if i.id == name else i for i in self.instances]

    def compile(self) -> Compiled:
        version = self.last.snapshot.version + 1 if self.last else 1
        self.last = compile_mesh(
            self.store, self.instances, version=version, ports=self.ports, previous=self.last
        )
        return self.last

    def get(
        self, source: str, url: str, *, method: str = "GET", draw: float = 0.0, **headers: str
    ) -> Outcome:
        """Simulate a request: ``mesh.get("productpage-v1", "reviews:9080/reviews/0", end_user="jason")``.

        The header ``host`` is the authority where given.
        """
        to, slash, rest = url.partition("/")
        to = to if ":" in to else f"{to}:80"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = RequestHead(method, slash + rest or "/", named.pop("host", ""), "http", named)
        return call(self.compile().snapshot, source, to, request, draw=draw)

    def connect(self, source: str, to: str, *, sni: str = "", draw: float = 0.0) -> Outcome:
        """Simulate a connection of other bytes than HTTP."""
        return call(self.compile().snapshot, source, to, sni=sni, draw=draw)

    def codes(self) -> list[str]:
        """Return the codes of all findings that are more than information."""
        return [f.code for f in self.compile().findings if f.severity != "info"]


def mesh(*texts: str) -> Mesh:
    """Make a mesh. Every write is a second younger than the one before."""
    ticks = itertools.count(1_800_000_000.0)
    made = Mesh(Store(Kinds(kinds.BUILT_IN), clock=lambda: next(ticks)))
    for text in texts:
        made.apply(text)
    return made


def bookinfo(*networking: str) -> Mesh:
    """Make Bookinfo with the ingress gateway and files of its ``networking`` folder."""
    files = [*sorted((BOOKINFO / "kube").glob("*.yaml")), *(networking_file(name) for name in networking)]
    return mesh(INGRESS, *(file.read_text() for file in files))


def networking_file(name: str) -> Path:
    return BOOKINFO / "networking" / f"{name}.yaml"


def service(name: str, *ports: str, namespace: str = "default", spec: str = "") -> str:
    """Write a Service and a Deployment of one replica behind it; a port is ``name:number[:target]``."""
    written = [port.split(":") for port in ports or ("http:80",)]
    listed = ", ".join(
        f"{{name: {p[0]}, port: {p[1]}, targetPort: {p[2] if len(p) > 2 else p[1]}}}" for p in written
    )
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{selector: {{app: {name}}}, ports: [{listed}], {spec}}}
---
{deployment(name, namespace=namespace)}"""


def deployment(
    name: str, version: str = "v1", *, app: str = "", namespace: str = "default", inject: bool = True
) -> str:
    """Write a Deployment of one replica."""
    labels = f"{{app: {app or name}, version: {version}}}"
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {labels}}}
  template:
    metadata: {{labels: {labels}, annotations: {{sidecar.istio.io/inject: "{str(inject).lower()}"}}}}
    spec: {{serviceAccountName: {name}, containers: []}}
"""


def istio(kind: str, name: str, spec: str, namespace: str = "default") -> str:
    """Write a resource of networking.istio.io or security.istio.io with the fields in `spec`."""
    group = "security" if kind == "PeerAuthentication" else "networking"
    body = "\n".join(f"  {line}" for line in spec.strip("\n").splitlines())
    return f"""
---
apiVersion: {group}.istio.io/v1
kind: {kind}
metadata: {{name: {name}, namespace: {namespace}}}
spec:
{body}
"""


def names(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.workload for outcome in outcomes]
