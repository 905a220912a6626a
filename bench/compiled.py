"""devmesh with its data plane compiled by mypyc: the same sources, to see what a compiled core would bring.

Nothing of this is installed anywhere: a copy of the packages is compiled in a folder of the bench's own.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = (
    "devmesh/traffic/routing.py",
    "devmesh/traffic/balancing.py",
    "devmesh/telemetry/metrics.py",
    "devmesh/telemetry/histogram.py",
    "devmesh/telemetry/requests.py",
)
_LEFT_OUT = {"__init__.py", "engine.py"}  # engine: subclassed and driven by interpreted code, and not hot


def build(folder: Path) -> Path:
    """Compile a copy below `folder` and return where it is to be imported from. Takes half a minute.

    Raises:
        RuntimeError: There is no compiler, or mypyc refuses; the message is its own.
    """
    where = folder / "compiled"
    for package in ("devmesh", "bench"):
        ignored = shutil.ignore_patterns("__pycache__", "ui", "samples", "results")
        shutil.copytree(ROOT / package, where / package, ignore=ignored)
    proxy = sorted(path.name for path in (ROOT / "devmesh/proxy").glob("*.py") if path.name not in _LEFT_OUT)
    modules = [*MODULES, *(f"devmesh/proxy/{name}" for name in proxy)]
    mypyc = Path(sys.executable).with_name("mypyc")
    command = [str(mypyc), "--ignore-missing-imports", *modules]
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
    if done.returncode or not list((where / "devmesh/proxy").glob("exchange.*.so")):
        raise RuntimeError(f"mypyc did not compile the data plane:\n{(done.stdout + done.stderr)[-3000:]}")
    return where
