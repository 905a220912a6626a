"""Values that YAML writes as plain strings and numbers."""

from __future__ import annotations

import base64
import binascii
import re
from decimal import Decimal
from typing import Annotated, Any

from msgspec import Meta

Quantity = str | int | float
"""``100m``, ``64Mi``, ``1.5``; `amount` reads it."""

IntOrString = int | str
"""A port's number or name; a count or a percentage."""

Timestamp = str
"""RFC 3339, in UTC: ``2026-01-31T12:00:00Z``."""

Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
UInt32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
UInt64 = Annotated[int, Meta(ge=0, le=2**63 - 1)]

_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
_QUANTITY = re.compile(
    r"([+-]?(?:\d+\.?\d*|\.\d+))(?:(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?|[eE]([+-]?\d{1,3}))", re.ASCII
)
_DURATION = re.compile(r"([+-]?)(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+|0", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_UNITS = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "μs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}
# Protobuf: Duration is limited to 10,000 years.
_LONGEST = 315_576_000_000


class Duration(float):
    """Seconds, written as ``5s``, ``0.5s``, ``100ms``, ``1h30m``."""

    @classmethod
    def parse(cls, text: object) -> Duration:
        """Read what Istio accepts: protojson's seconds (``1.5s``) and Go's units (``1m30s``).

        Raises:
            ValueError: `text` is neither.
        """
        if not isinstance(text, str) or not _DURATION.fullmatch(text):
            raise ValueError(f"{text!r} is not a duration: write a number with its unit, such as 5s or 500ms")
        total = sum((Decimal(n) * _UNITS[unit] for n, unit in _DURATION_PART.findall(text)), Decimal(0))
        if total > _LONGEST:
            raise ValueError(f"{text!r} is too long for a duration")
        return cls(-total if text.startswith("-") else total)

    def __str__(self) -> str:
        return f"{self:.9f}".rstrip("0").rstrip(".") + "s"


class Base64(bytes):
    """Bytes, written in base64; blanks and line ends in the text don't count."""

    @classmethod
    def parse(cls, text: object) -> Base64:
        """Read base64.

        Raises:
            ValueError: `text` is not base64.
        """
        if not isinstance(text, str):
            raise ValueError(f"{text!r} is not base64 text")
        try:
            return cls(base64.b64decode("".join(text.split()), validate=True))
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"not base64: {error}") from None

    def __str__(self) -> str:
        return base64.b64encode(self).decode()


def amount(quantity: Quantity) -> float:
    """Return a quantity as a number: ``100m`` is 0.1, ``1Ki`` is 1024.

    Raises:
        ValueError: It is not one.
    """
    found = _QUANTITY.fullmatch(str(quantity))
    if not found:
        raise ValueError(f"{quantity!r} is not a quantity such as 100m, 0.5, 64Mi")
    number, suffix, exponent = found.groups()
    return float(Decimal(number) * (Decimal(10) ** int(exponent) if exponent else _SUFFIXES[suffix or ""]))


def from_text(type_: type, text: Any) -> Any:
    """Build a `Duration` or `Base64`, for msgspec.

    Raises:
        ValueError: `text` is not one.
    """
    if issubclass(type_, Duration | Base64):
        return text if isinstance(text, type_) else type_.parse(text)
    raise NotImplementedError(type_)


def to_text(value: Any) -> str:
    """Write a `Duration` or `Base64`, for msgspec."""
    if isinstance(value, Duration | Base64):
        return str(value)
    raise NotImplementedError(type(value))
