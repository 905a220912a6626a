"""Questions about permissions and identities: whoever has the token may do everything."""

from __future__ import annotations

from typing import Any

from devmesh.api.kube.body import read_object
from devmesh.api.kube.deps import KubeDeps
from devmesh.api.kube.discovery import REVIEWS, Review
from devmesh.api.kube.errors import ApiError, bad_request
from devmesh.api.kube.request import Answer, Request, as_json
from devmesh.api.kube.target import Target
from devmesh.config.store import NotFound

USER = {"username": "devmesh-admin", "groups": ["system:masters", "system:authenticated"]}
HOUR = 3600


def find(parts: list[str]) -> Review | None:
    """Find the review that ``/apis/<group>/v1/...`` names."""
    if len(parts) < 4 or parts[0] != "apis" or parts[2] != "v1":
        return None
    return next((r for r in REVIEWS if (r.group, r.plural) == (parts[1], parts[-1])), None)


def review(which: Review, request: Request) -> Answer:
    """Answer a review with its status filled in."""
    given = read_object(request)
    status: dict[str, Any]
    match which.kind:
        case "SelfSubjectReview":
            status = {"userInfo": USER}
        case "TokenReview":
            status = {"authenticated": False, "error": "devmesh does not review tokens"}
        case "SelfSubjectRulesReview":
            status = {
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                "incomplete": False,
            }
        case _:
            status = {"allowed": True}
    found = {**given, "kind": which.kind, "apiVersion": f"{which.group}/v1", "status": status}
    return as_json({"metadata": {}, **found}, 201)


def token(deps: KubeDeps, target: Target, request: Request) -> Answer:
    """Make a token for a service account (TokenRequest). Audiences, expiry and names are real."""
    from devmesh.api.kube.duration import parse_time

    given = read_object(request)
    account = deps.store.by_key(target.key)
    if account is None:
        raise NotFound(f'{target.kind.resource} "{target.name}" not found')
    if deps.sign is None:
        raise ApiError(501, "this mesh signs no tokens")
    spec = given.get("spec") or {}
    seconds = int(spec.get("expirationSeconds") or HOUR)
    if not 600 <= seconds <= 1 << 32:
        raise bad_request("spec.expirationSeconds: may not specify a duration less than 10 minutes")
    now = int(parse_time(deps.store.timestamp()) or 0)
    audiences = list(spec.get("audiences") or ("https://kubernetes.default.svc.cluster.local",))
    claims = {
        "aud": audiences,
        "exp": now + seconds,
        "iat": now,
        "nbf": now,
        "iss": "https://kubernetes.default.svc.cluster.local",
        "kubernetes.io": {
            "namespace": target.namespace,
            "serviceaccount": {"name": target.name, "uid": account.uid},
        },
        "sub": f"system:serviceaccount:{target.namespace}:{target.name}",
    }
    status = {"token": deps.sign(claims), "expirationTimestamp": _time(now + seconds)}
    metadata = {"name": target.name, "namespace": target.namespace}
    return as_json(
        {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": metadata,
            "spec": {**spec, "audiences": audiences, "expirationSeconds": seconds},
            "status": status,
        },
        201,
    )


def _time(epoch: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
