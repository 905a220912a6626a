"""What Istio's kinds have in common: hosts, gateways' names, durations, regular expressions.

The rules are those of Istio's validating webhook.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from devmesh.config.documents.scalars import Duration
from devmesh.config.documents.selectors import Percent, PortSelector, StringMatch
from devmesh.config.problems import Cause, MapKey, Path, duplicate, invalid, required, warning
from devmesh.config.validation import names

_LABEL = r"[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?"
_IS_LABEL = re.compile(_LABEL)
_IS_WILDCARD_LABEL = re.compile(rf"\*|(?:\*|\*-)?{_LABEL}")
_LARGEST_PROGRAM = 32_768  # Istio: re2.max_program_size.error_level
_LONGEST_REGEX = 1024
PROTOCOLS = {
    "http",
    "https",
    "http2",
    "grpc",
    "grpc-web",
    "grpc_web",
    "tcp",
    "tls",
    "mongo",
    "redis",
    "mysql",
    "hbone",
    "double-hbone",
}
_IS_HTTP = {"http", "http2", "grpc", "grpc-web", "grpc_web"}


def is_http(protocol: str) -> bool:
    return protocol.lower() in _IS_HTTP


def is_tls(protocol: str) -> bool:
    return protocol.lower() in ("https", "tls")


def is_label(text: str) -> bool:
    return len(text) <= 63 and bool(_IS_LABEL.fullmatch(text))


def fqdn(host: str) -> str:
    """Return what is wrong with a host's name, or ""."""
    if not host:
        return "a host's name may not be empty"
    if len(host) > 255:
        return "a host's name may not be longer than 255 characters"
    labels = host.split(".")
    if labels[-1].isdecimal():
        return "the top level domain cannot be all-numeric"
    wrong = next((x for x in (labels[:-1] if not labels[-1] else labels) if not is_label(x)), None)
    return f"{wrong!r} in it is no DNS label (letters, digits, '-')" if wrong is not None else ""


def wildcard_domain(host: str) -> str:
    """Return what is wrong with a host that may begin with a wildcard, or ""."""
    first, dot, rest = host.partition(".")
    if not host or len(host) > 255:
        return fqdn(host)
    if len(first) > 63 or not _IS_WILDCARD_LABEL.fullmatch(first):
        return f"{first!r} in it is no DNS label; a wildcard stands for the first label (*.example.com)"
    return fqdn(rest) if dot else ""


def partial_wildcard(host: str) -> bool:
    return "*" in host and len(host) != 1 and not host.startswith("*.")


def port(number: int, path: Path) -> Iterator[Cause]:
    yield from names.port_number(number, path)


def port_selector(selector: PortSelector | None, path: Path) -> Iterator[Cause]:
    if selector is not None:
        yield from port(selector.number, (*path, "number"))


def protocol(name: str, path: Path) -> Iterator[Cause]:
    if name and name.lower() not in PROTOCOLS:
        yield invalid(
            path, name, "supported are HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, TCP, TLS, MONGO, REDIS, MYSQL"
        )


def port_name(name: str, path: Path) -> Iterator[Cause]:
    if not is_label(name):
        yield invalid(path, name, "a port's name is a DNS label (letters, digits, '-')")


def duration(value: Duration | None, path: Path, *, zero: bool = False) -> Iterator[Cause]:
    """Istio: at least a millisecond, and whole milliseconds; 0 where that switches something off."""
    if value is None or (zero and not value):
        return
    if value < 0.001:
        yield invalid(path, str(value), "must be 1ms or more")
    elif abs(value * 1000 - round(value * 1000)) > 1e-6:
        yield invalid(path, str(value), "only whole milliseconds are supported")


def percentage(value: Percent | None, path: Path) -> Iterator[Cause]:
    if value is None or value.value is None:
        return
    if not 0 <= value.value <= 100:
        yield invalid((*path, "value"), value.value, "must be between 0 and 100, inclusive")
    elif 0 < value.value < 0.0001:
        yield invalid((*path, "value"), value.value, "the smallest share above 0 is 0.0001")


def percent(value: int, path: Path) -> Iterator[Cause]:
    if not 0 <= value <= 100:
        yield invalid(path, value, "must be between 0 and 100, inclusive")


def regex(text: str, path: Path) -> Iterator[Cause]:
    """Check a regular expression as Envoy compiles it (RE2: no look-around, no back references)."""
    if not text:
        yield invalid(path, text, "a regular expression may not be empty")
        return
    if len(text) > _LONGEST_REGEX:
        yield invalid(path, text, f"a regular expression may not be longer than {_LONGEST_REGEX} characters")
        return
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        size = re2.compile(text, options).programsize
        if size > _LARGEST_PROGRAM:
            detail = f"its program has {size} steps, and Istio allows {_LARGEST_PROGRAM}: write a simpler one"
            yield invalid(path, text, detail)
    except re2.error as error:
        said = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        yield invalid(
            path, text, f"no RE2 regular expression: {said} (https://github.com/google/re2/wiki/Syntax)"
        )


def string_match(
    match: StringMatch | None, path: Path, *, empty_prefix: bool = False, star: bool = False
) -> Iterator[Cause]:
    """Check a match; `star` where the regex ``*`` means that there is a value (headers, parameters)."""
    if match is None:
        return
    given = [
        n
        for n, v in (("exact", match.exact), ("prefix", match.prefix), ("regex", match.regex))
        if v is not None
    ]
    if len(given) > 1:
        yield invalid(
            path, {name: getattr(match, name) for name in given}, "give one of exact, prefix, regex"
        )
    if match.prefix == "" and not empty_prefix:
        yield invalid((*path, "prefix"), "", "may not be empty")
    if match.regex is not None and not (star and match.regex == "*"):
        yield from regex(match.regex, (*path, "regex"))


def label_set(values: Mapping[str, str], path: Path) -> Iterator[Cause]:
    yield from names.labels(values, path)


def selector(values: Mapping[str, str], path: Path, *, given: bool) -> Iterator[Cause]:
    """Check a workload selector; `given` tells whether the document has one."""
    for key, value in values.items():
        if not key or "*" in key or "*" in value:
            yield invalid((*path, MapKey(key)), value, "a selector has no empty keys and no wildcards")
    if given and not values:
        yield warning(path, "a selector without labels selects all workloads of the namespace")


def gateway_names(gateways: Sequence[str], path: Path) -> Iterator[Cause]:
    for n, name in enumerate(gateways):
        namespace, slash, rest = name.partition("/")
        if not slash:
            if "." in name:
                first, second = name.split(".")[:2]
                yield warning((*path, n), f"{name!r} is an old form: write {second}/{first}")
            if wrong := fqdn(name):
                yield invalid((*path, n), name, wrong)
        elif not is_label(namespace) or not is_label(rest):
            yield invalid((*path, n), name, "a gateway is named NAME or NAMESPACE/NAME")


def export_to(
    values: Sequence[str], namespace: str, *, nobody: bool = False, selected: bool = False
) -> Iterator[Cause]:
    """Check ``exportTo``; `nobody` where ``~`` is allowed, `selected` for rules with a workload selector."""
    path: Path = ("spec", "exportTo")
    seen: set[str] = set()
    for n, value in enumerate(values):
        key = namespace if value == "." else value
        if key in seen:
            yield duplicate((*path, n), value)
        if not (key == "*" or (key == "~" and nobody) or is_label(key)):
            yield invalid((*path, n), value, "a namespace, '.' (this one) or '*' (all)")
        seen.add(key)
    if selected and seen - {namespace}:
        yield invalid(path, list(values), "a rule with a workload selector applies in its own namespace only")
    for alone in ("*", "~"):
        if alone in seen and len(values) > 1:
            yield invalid(path, list(values), f"'{alone}' stands alone")


def namespaced_host(host: str, path: Path, *, gateway: bool) -> Iterator[Cause]:
    """Check ``NAMESPACE/HOST`` of a Gateway's server (where the namespace may be left out) or a Sidecar."""
    namespace, slash, name = host.partition("/")
    if not slash:
        if not gateway:
            yield invalid(
                path, host, "write NAMESPACE/HOST (./* is all of this namespace, */* is everything)"
            )
            return
        name = host
    elif not namespace or not name:
        yield invalid(path, host, "neither namespace nor host may be empty")
        return
    else:
        bare = namespace if gateway else namespace.removeprefix("~")
        if bare and bare not in ("*", ".") and not is_label(bare):
            yield invalid(path, host, f"{namespace!r} is no namespace, nor '.' (this one) or '*' (all)")
    if name != "*" and "." not in name:
        yield invalid(path, host, "short names are not allowed here: write the full one")
    wrong = wildcard_domain(name)
    if wrong and not (gateway and names.ip_address(name)):
        yield invalid(path, host, wrong)
    elif partial_wildcard(name):
        yield invalid(path, host, "a wildcard stands for whole labels (*.example.com)")


def needs(value: object, path: Path, detail: str = "") -> Iterator[Cause]:
    """Yield that `value` is required where it is empty."""
    if not value:
        yield required(path, detail)
