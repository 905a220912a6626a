"""Writing YAML that every reader takes for the same values.

PyYAML quotes what it would read itself as something other than a string. Kubernetes' readers know more
of YAML 1.1 (``y`` and ``n`` are booleans) and YAML 1.2 (``1e3`` is a number, ``0o17`` too): kubectl, which
writes by the same rules as it reads, quotes those too.
"""

from __future__ import annotations

import re
from typing import Any

import yaml


class _Writer(yaml.SafeDumper):
    pass


_Writer.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^[yYnN]$"), list("yYnN"))
_Writer.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)
_Writer.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?0[oO]?[0-9]+$"), list("-+0"))


def write_yaml(value: Any) -> str:
    """Return `value`, as it comes from JSON, as a YAML document."""
    return str(yaml.dump(value, Dumper=_Writer, sort_keys=False, allow_unicode=True))
