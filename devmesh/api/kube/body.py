"""Request bodies: JSON, YAML, or Kubernetes' protobuf, decoded to plain dictionaries."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from devmesh.api.kube.errors import bad_request, unsupported_media_type
from devmesh.api.kube.protobuf import MEDIA_TYPE, decode_object
from devmesh.api.kube.request import JSON, YAML, Request

ACCEPTED = (JSON, YAML, MEDIA_TYPE)


def read_object(request: Request) -> dict[str, Any]:
    """Return the object that the body holds.

    Raises:
        ApiError: 415 for other media types; 400 where it cannot be read.
    """
    media = request.content_type or JSON
    if media == MEDIA_TYPE:
        return decode_object(request.body)
    if media not in ACCEPTED and media != "text/yaml":
        raise unsupported_media_type(media, ACCEPTED)
    found = read_json(request.body) if media == JSON else read_yaml(request.body)
    if not isinstance(found, dict):
        raise bad_request(f"the body has to be an object, and is a {type(found).__name__}")
    return found


def read_json(body: bytes) -> Any:
    """Decode JSON.

    Raises:
        ApiError: 400, with what is wrong.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"couldn't read the body as JSON: {error}") from error


def read_yaml(body: bytes) -> Any:
    """Decode one YAML document.

    Raises:
        ApiError: 400, with what is wrong.
    """
    import yaml

    try:
        return yaml.load(body, Loader=_loader())
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise bad_request(f"couldn't read the body as YAML: {' '.join(str(error).split())}") from error


def _loader() -> Any:
    """Return YAML's safe loader without timestamps, which JSON doesn't have."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        yaml_implicit_resolvers: ClassVar = {
            first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
            for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    return Loader
