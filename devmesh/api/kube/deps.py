"""What the Kubernetes API is made of; handed over once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from devmesh.api.streams import Streams
from devmesh.config.admission import Admitted, FieldValidation
from devmesh.config.admission import admit as admit_document
from devmesh.config.kinds import Kind
from devmesh.config.store import Raw, Store, Stored
from devmesh.runtime.access import Containers


class Admit(Protocol):
    """The gate of the store: `devmesh.config.admission.admit`."""

    def __call__(
        self,
        kind: Kind,
        raw: Raw,
        *,
        store: Store,
        field_validation: FieldValidation,
        before: Stored | None,
    ) -> Admitted: ...


@dataclass(frozen=True, slots=True)
class KubeDeps:
    """The parts.

    Attributes:
        sign: Returns a JWT with the given claims, for service accounts.
        warn: Returns what else there is to say of a resource that was just written (the
            analysis' findings); it is sent as ``Warning`` headers.
    """

    store: Store
    containers: Containers
    streams: Streams = field(default_factory=Streams)
    admit: Admit = admit_document
    sign: Callable[[dict[str, Any]], str] | None = None
    warn: Callable[[Stored], tuple[str, ...]] = lambda stored: ()
    version: str = "0"
