"""Writes src/api/schema.ts from the console's OpenAPI document. `--check` only tells whether it is as it should be.

    python ui/dev/generate_types.py [--check]        (or: npm run types)

Only what the page uses is taken, without its descriptions, so that other parts of the API can grow and be explained
without a word here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

UI = Path(__file__).parents[1]
SCHEMA = UI / "src" / "api" / "schema.ts"
USED = ("Graph", "Status")


def reduce(document: dict[str, Any]) -> dict[str, Any]:
    """Keep the schemas that the page uses, with those they are made of, and no paths."""
    schemas, kept, waiting = document["components"]["schemas"], {}, list(USED)
    while waiting:
        name = waiting.pop()
        if name in kept:
            continue
        kept[name] = {key: value for key, value in schemas[name].items() if key != "description"}
        waiting += [ref.rsplit("/", 1)[1] for ref in _references(schemas[name])]
    return {**document, "paths": {}, "components": {"schemas": dict(sorted(kept.items()))}}


def _references(part: object) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [ref for value in part.values() for ref in _references(value)]
    return [ref for value in part for ref in _references(value)] if isinstance(part, list) else []


def generate() -> str:
    sys.path.insert(0, str(UI.parent))
    from devmesh.api.console import openapi

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "openapi.json"), Path(folder, "schema.ts")
        source.write_text(json.dumps(reduce(openapi.document())))
        tool = UI / "node_modules" / ".bin" / "openapi-typescript"
        subprocess.run([tool, source, "--output", target], check=True, capture_output=True)
        return target.read_text()


def main() -> None:
    text = generate()
    if "--check" not in sys.argv:
        SCHEMA.write_text(text)
    elif text != SCHEMA.read_text():
        sys.exit(
            f"{SCHEMA.relative_to(UI.parent)} is not what the API says now: run npm --prefix ui run types"
        )


if __name__ == "__main__":
    main()
