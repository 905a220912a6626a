"""Names, labels and annotations, as Kubernetes allows them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from devmesh.config.problems import Cause, MapKey, Path, forbidden, invalid, required

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SERVICE_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_PORT_NAME = re.compile(r"[a-z0-9-]*[a-z][a-z0-9-]*")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_ALL_ANNOTATIONS = 256 * 1024


def dns_label(name: str) -> str:
    """Return what is wrong with an RFC 1123 label (a namespace, a container), or ""."""
    if len(name) > 63:
        return "must be no more than 63 characters"
    if not _LABEL.fullmatch(name):
        return (
            "a lowercase RFC 1123 label must consist of lower case letters, digits or '-', and start and "
            "end with a letter or digit (my-name, 123-abc)"
        )
    return ""


def dns_1035_label(name: str) -> str:
    """Return what is wrong with an RFC 1035 label (a Service), or ""."""
    if len(name) > 63:
        return "must be no more than 63 characters"
    if not _SERVICE_LABEL.fullmatch(name):
        return (
            "a DNS-1035 label must consist of lower case letters, digits or '-', start with a letter, and "
            "end with a letter or digit (my-name, abc-123)"
        )
    return ""


def dns_subdomain(name: str) -> str:
    """Return what is wrong with an RFC 1123 subdomain (most objects), or ""."""
    if len(name) > 253:
        return "must be no more than 253 characters"
    if not _SUBDOMAIN.fullmatch(name):
        return (
            "a lowercase RFC 1123 subdomain must consist of lower case letters, digits, '-' or '.', and "
            "start and end with a letter or digit (example.com)"
        )
    return ""


def path_segment(name: str) -> str:
    """Return what is wrong with a name that only has to fit into a URL (RBAC's kinds), or ""."""
    if name in (".", "..") or "/" in name or "%" in name:
        return "may not be '.' or '..' and may not contain '/' or '%'"
    return ""


def qualified_name(name: str) -> str:
    """Return what is wrong with a label's or annotation's key, or ""."""
    prefix, slash, rest = name.rpartition("/")
    if slash and dns_subdomain(prefix):
        return f"prefix part {dns_subdomain(prefix)}"
    if not rest or len(rest) > 63 or not _QUALIFIED.fullmatch(rest):
        return (
            "name part must consist of letters, digits, '-', '_' or '.', start and end with a letter or "
            "digit, and be no more than 63 characters (MyName, example.com/my.name)"
        )
    return ""


def label_value(value: str) -> str:
    """Return what is wrong with a label's value, or ""."""
    if len(value) > 63:
        return "must be no more than 63 characters"
    if not _VALUE.fullmatch(value):
        return (
            "a valid label must be empty or consist of letters, digits, '-', '_' or '.', and start and end "
            "with a letter or digit (MyValue, my_value, 12345)"
        )
    return ""


def port_name(name: str) -> str:
    """Return what is wrong with a container port's name (IANA service name), or ""."""
    if len(name) > 15:
        return "must be no more than 15 characters"
    if not _PORT_NAME.fullmatch(name) or "--" in name or name[0] == "-" or name[-1] == "-":
        return "must be lower case letters, digits or single '-' inside, with at least one letter (http-web)"
    return ""


def config_key(key: str) -> str:
    """Return what is wrong with a key of a ConfigMap or Secret, or ""."""
    if len(key) > 253:
        return "must be no more than 253 characters"
    if not _CONFIG_KEY.fullmatch(key) or key in (".", ".."):
        return "a valid config key must consist of letters, digits, '-', '_' or '.' (key.name, KEY_NAME)"
    return ""


def port_number(number: int, path: Path, name: str = "") -> Iterator[Cause]:
    if not 1 <= number <= 65535:
        yield invalid(path, number, "must be between 1 and 65535, inclusive" + (f" ({name})" if name else ""))


def ip_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def cidr(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def labels(values: Mapping[str, str], path: Path) -> Iterator[Cause]:
    for key, value in values.items():
        if wrong := qualified_name(key):
            yield invalid(path, key, wrong)
        if wrong := label_value(value):
            yield invalid((*path, MapKey(key)), value, wrong)


def metadata(raw: Mapping[str, Any], *, namespaced: bool, rule: Callable[[str], str]) -> Iterator[Cause]:
    """Check an object's metadata; `rule` tells what is wrong with its name."""
    name, prefix = raw.get("name"), raw.get("generateName")
    if not name and not prefix:
        yield required(("metadata", "name"), "name or generateName is required")
    if name and (wrong := rule(name)):
        yield invalid(("metadata", "name"), name, wrong)
    if not name and prefix and (wrong := rule(prefix.rstrip("-.") + "x")):
        yield invalid(("metadata", "generateName"), prefix, wrong)
    namespace = raw.get("namespace") or ""
    if namespace and not namespaced:
        yield forbidden(("metadata", "namespace"), "not allowed on this type")
    elif namespace and (wrong := dns_label(namespace)):
        yield invalid(("metadata", "namespace"), namespace, wrong)
    yield from labels(raw.get("labels") or {}, ("metadata", "labels"))
    yield from _annotations(raw.get("annotations") or {})
    for n, finalizer in enumerate(raw.get("finalizers") or ()):
        if wrong := qualified_name(finalizer):
            yield invalid(("metadata", "finalizers", n), finalizer, wrong)
    for n, owner in enumerate(raw.get("ownerReferences") or ()):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                yield required(("metadata", "ownerReferences", n, field))


def _annotations(values: Mapping[str, str]) -> Iterator[Cause]:
    path: Path = ("metadata", "annotations")
    for key in values:
        if wrong := qualified_name(key.lower()):
            yield invalid(path, key, wrong)
    if sum(len(key) + len(value) for key, value in values.items()) > _ALL_ANNOTATIONS:
        yield Cause(path, "FieldValueTooLong", f"Too long: may not be more than {_ALL_ANNOTATIONS} bytes")
