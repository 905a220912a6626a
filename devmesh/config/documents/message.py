"""What all documents are made of."""

from __future__ import annotations

import msgspec


class Message(
    msgspec.Struct,
    rename="camel",
    kw_only=True,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """One object of a document. Attributes are the document's names in snake case.

    A field that is left out is None, an empty tuple or an empty dict; a field of that value is
    left out when written. JSON's null is the same as leaving out (Kubernetes and protojson).
    """


def set_fields(message: Message) -> list[str]:
    """Return the document names of the fields that are given."""
    return [
        f.encode_name
        for f in msgspec.structs.fields(message)
        if getattr(message, f.name) not in (None, (), {}, "")
    ]
