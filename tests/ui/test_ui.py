"""The dashboard's source: its types, its own tests, and a lock file that names no place."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UI = Path(__file__).parents[2] / "ui"

needs_packages = pytest.mark.skipif(
    shutil.which("npm") is None or not (UI / "node_modules").is_dir(),
    reason="needs Node.js and the dashboard's packages: npm --prefix ui ci",
)


@pytest.mark.slow
@needs_packages
@pytest.mark.parametrize("script", ["check", "test"])
def test_types_hold_and_its_own_tests_pass(script: str) -> None:
    done = subprocess.run(
        ["npm", "run", "--silent", script], cwd=UI, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@needs_packages
def test_the_api_is_typed_as_it_describes_itself() -> None:
    generate = [sys.executable, "dev/generate_types.py", "--check"]
    done = subprocess.run(generate, cwd=UI, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_lock_file_names_versions_and_hashes_but_no_host() -> None:
    packages = json.loads((UI / "package-lock.json").read_text())["packages"]
    locked = [entry for path, entry in packages.items() if path]
    assert locked
    assert all("version" in entry and "integrity" in entry and "resolved" not in entry for entry in locked)


def test_colours_and_pixels_are_named_in_one_file() -> None:
    sheets = [sheet for sheet in (UI / "src").rglob("*.css") if sheet.name != "tokens.css"]
    assert sheets
    literal = re.compile(r"oklch\(|#[0-9a-f]{3,8}\b|\brgb|\bhsl|z-index: *\d", re.IGNORECASE)
    assert [str(sheet) for sheet in sheets if literal.search(sheet.read_text())] == []
