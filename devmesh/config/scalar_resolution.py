"""What a plain scalar of YAML means to Kubernetes.

Kubernetes reads YAML with a library of version 1.1's habits: ``yes``, ``on`` and ``y`` are
booleans, ``010`` is 8; but ``22:22`` and dates stay strings (no base 60, no timestamps).
"""

from __future__ import annotations

import re

_CONSTANTS: dict[str, bool | None] = {"": None, "~": None}
for _words, _value in (("null", None), ("y yes true on", True), ("n no false off", False)):
    for _word in _words.split():
        _CONSTANTS[_word] = _CONSTANTS[_word.capitalize()] = _CONSTANTS[_word.upper()] = _value
_NOT_JSON = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_LONGEST_NUMBER = 400


def resolve(text: str) -> str | int | float | bool | None:
    """Return the value of a plain (unquoted, untagged) scalar.

    Raises:
        ValueError: JSON has no such value (``.inf``, ``.nan``).
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in "0123456789+-.":
        return text
    if _NOT_JSON.fullmatch(text):
        raise ValueError(f"{text} cannot be written in JSON: put it in quotes, or give a number")
    plain = text.replace("_", "") if text[0] != "." else text
    if len(plain) > _LONGEST_NUMBER:
        return text
    if integer := _INTEGER.fullmatch(plain):
        sign, hexadecimal, binary, octal, decimal = integer.groups()
        for digits, base in ((hexadecimal, 16), (binary, 2), (octal, 8), (decimal, 10)):
            if digits is not None:
                return int(sign + digits, base)
    if _FLOAT.fullmatch(plain):
        number = float(plain)
        if number in (float("inf"), float("-inf")):
            return text
        return number
    return text
