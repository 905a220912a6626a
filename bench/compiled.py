"""What the wheel contains: devmesh as users of ``pip install`` and of the image run it, its core compiled.

It is built and unpacked in a folder of the bench's own; nothing is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
_CONFORMANCE = ("tests/proxy", "tests/traffic", "tests/telemetry", "--ignore=tests/proxy/test_compiling.py")


def build(folder: Path) -> Path:
    """Build the wheel below `folder` and return where it is to be imported from. Takes a minute.

    Raises:
        RuntimeError: It can't be built; the message is the builder's own.
    """
    where = folder / "wheel"
    if where.exists():
        return where
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    asked = {**os.environ, "DEVMESH_COMPILE": "1"}
    done = subprocess.run(command, env=asked, capture_output=True, text=True, check=False)
    made = list(folder.glob("devmesh-*.whl"))
    if done.returncode or not made:
        raise RuntimeError(f"the wheel cannot be built:\n{(done.stdout + done.stderr)[-3000:]}")
    with zipfile.ZipFile(made[0]) as wheel:
        wheel.extractall(where)
    shutil.copytree(ROOT / "bench", where / "bench", ignore=shutil.ignore_patterns("__pycache__", "results"))
    return where


def is_compiled(where: Path) -> bool:
    """Tell whether what was built has extensions: without a C compiler it is pure Python."""
    return bool(list((where / "devmesh/proxy").glob("exchange.*.so")))


def conforms(where: Path) -> str:
    """Run the data plane's tests on what was built; return what fails, "" if nothing does."""
    for name in ("tests", "pyproject.toml", "samples"):
        if not (where / name).exists():
            os.symlink(ROOT / name, where / name)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *_CONFORMANCE]
    alone = {**os.environ, "PYTHONPATH": str(where)}
    done = subprocess.run(command, cwd=where, env=alone, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout[-3000:]
