"""Whether mypyc takes the data plane's sources. What it makes of them is tested by `python -m bench`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hatch_build import prepare

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_mypyc_takes_the_data_plane(tmp_path: Path) -> None:
    """It knows less than mypy: no attribute of a narrower type in a subclass, no int in a float's place."""
    prepare(ROOT, tmp_path)
    command = [sys.executable, "-c", "import setup"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
