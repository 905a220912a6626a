"""JSON patch (RFC 6902) and JSON merge patch (RFC 7386)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from devmesh.api.kube.errors import ApiError, bad_request

MAX_OPERATIONS = 10_000


def merge_patch(target: Any, patch: Any) -> Any:
    """Return `target` with `patch` merged in: null removes, lists are replaced. Neither is changed."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def json_patch(target: Any, operations: Any) -> Any:
    """Return `target` with all operations done, in order.

    Raises:
        ApiError: 400 for what is no patch; 422 where an operation does not fit `target`.
    """
    if not isinstance(operations, list):
        raise bad_request("a JSON patch is a list of operations")
    if len(operations) > MAX_OPERATIONS:
        raise ApiError(413, f"a JSON patch may have {MAX_OPERATIONS} operations, and this one has more")
    document = copy.deepcopy(target)
    for operation in operations:
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise bad_request("each operation of a JSON patch has an `op` and a `path`")
        document = _operate(document, operation)
    return document


def _operate(document: Any, operation: Mapping[str, Any]) -> Any:
    name, path = operation.get("op"), operation["path"]
    tokens = _tokens(path)
    match name:
        case "add":
            return _add(document, tokens, _given(operation), path)
        case "remove":
            return _remove(document, tokens, path)[0]
        case "replace":
            _find(document, tokens, path)
            return _replace(document, tokens, _given(operation))
        case "move":
            source = str(operation.get("from", ""))
            document, value = _remove(document, _tokens(source), source)
            return _add(document, tokens, value, path)
        case "copy":
            source = str(operation.get("from", ""))
            value = copy.deepcopy(_find(document, _tokens(source), source))
            return _add(document, tokens, value, path)
        case "test":
            found = _find(document, tokens, path)
            if not same(found, operation.get("value")):
                raise _refused(f"testing value {path} failed")
            return document
    raise bad_request(f'unknown operation "{name}" in the JSON patch')


def same(one: Any, other: Any) -> bool:
    """Compare as JSON: true is not 1, but 1.0 is."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _given(operation: Mapping[str, Any]) -> Any:
    if "value" not in operation:
        raise bad_request(f"the operation {operation['op']} {operation['path']} has no value")
    return copy.deepcopy(operation["value"])


def _tokens(path: str) -> list[str]:
    if not path:
        return []
    if not path.startswith("/"):
        raise bad_request(f'the JSON pointer "{path}" has to begin with a slash')
    return [token.replace("~1", "/").replace("~0", "~") for token in path[1:].split("/")]


def _find(document: Any, tokens: list[str], path: str) -> Any:
    for token in tokens:
        if isinstance(document, dict) and token in document:
            document = document[token]
        elif isinstance(document, list):
            document = document[_index(token, len(document) - 1, path)]
        else:
            raise _refused(f"{path} does not exist")
    return document


def _replace(document: Any, tokens: list[str], value: Any) -> Any:
    if not tokens:
        return value
    parent = _find(document, tokens[:-1], "")
    if isinstance(parent, list):
        parent[_index(tokens[-1], len(parent) - 1, "")] = value
    else:
        parent[tokens[-1]] = value
    return document


def _add(document: Any, tokens: list[str], value: Any, path: str) -> Any:
    if not tokens:
        return value
    parent = _find(document, tokens[:-1], path)
    if isinstance(parent, dict):
        parent[tokens[-1]] = value
    elif isinstance(parent, list):
        at = len(parent) if tokens[-1] == "-" else _index(tokens[-1], len(parent), path)
        parent.insert(at, value)
    else:
        raise _refused(f"{path} is inside something that is neither an object nor a list")
    return document


def _remove(document: Any, tokens: list[str], path: str) -> tuple[Any, Any]:
    value = _find(document, tokens, path)
    if not tokens:
        return None, value
    parent = _find(document, tokens[:-1], path)
    if isinstance(parent, list):
        del parent[_index(tokens[-1], len(parent) - 1, path)]
    else:
        del parent[tokens[-1]]
    return document, value


def _index(token: str, last: int, path: str) -> int:
    if token.isdecimal() and token.isascii() and len(token) < 10 and int(token) <= last:
        return int(token)
    raise _refused(f'{path}: there is no item "{token}"')


def _refused(what: str) -> ApiError:
    return ApiError(
        422,
        f"the server rejected our request due to an error in our request: {what}",
    )
