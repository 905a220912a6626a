"""The wheel's build step: compiles the data plane's modules with mypyc where that is asked for and possible.

``DEVMESH_COMPILE=1`` asks for it. The sources stay in the wheel beside what is made of them, and are what
runs where an extension doesn't fit; without a C compiler the wheel is pure Python, and the build says so.
Editable installs are never compiled.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ASKED = "DEVMESH_COMPILE"
# What runs for each request. A class here that interpreted code inherits from needs mypyc_attr.
MODULES = (
    "devmesh/proxy/*.py",
    "devmesh/proxy/http2/*.py",
    "devmesh/traffic/routing.py",
    "devmesh/traffic/balancing.py",
    "devmesh/telemetry/edges.py",
    "devmesh/telemetry/histogram.py",
    "devmesh/telemetry/metrics.py",
    "devmesh/telemetry/record.py",
    "devmesh/telemetry/recorder.py",
    "devmesh/telemetry/requests.py",
)
LEFT_OUT = (
    "devmesh/proxy/__init__.py",
    "devmesh/proxy/engine.py",
    "devmesh/proxy/http2/__init__.py",
)


class CompiledCore(BuildHookInterface[Any]):
    """Adds the extensions to the wheel."""

    PLUGIN_NAME = "custom"
    _work: tempfile.TemporaryDirectory[str] | None = None

    def dependencies(self) -> list[str]:
        return ["mypy[mypyc]>=1.14"] if os.environ.get(ASKED) == "1" else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable" or os.environ.get(ASKED) != "1":
            return
        self._work = tempfile.TemporaryDirectory(prefix="devmesh-compiled-")
        made = compile_core(Path(self.root), Path(self._work.name))
        if not made:
            self.app.display_warning("devmesh is built as pure Python: there is no C compiler (cc)")
            return
        build_data["pure_python"], build_data["infer_tag"] = False, True
        for extension in made:
            build_data["force_include"][str(extension)] = str(extension.relative_to(self._work.name))

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self._work is not None:
            self._work.cleanup()


def compile_core(root: Path, folder: Path) -> list[Path]:
    """Compile a copy of the package at `root` below `folder`; takes half a minute.

    Returns the extensions, where they belong relative to `folder`; none where there is no C compiler.

    Raises:
        RuntimeError: mypyc refuses the sources, or the compiler what it made of them.
    """
    compiler = os.environ.get("CC") or (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return []
    modules = prepare(root, folder)
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    made = [path for path in folder.rglob(f"*{suffix}") if "build" not in path.relative_to(folder).parts]
    if done.returncode or len(made) <= len(modules):
        raise RuntimeError(f"mypyc did not compile the data plane:\n{(done.stdout + done.stderr)[-3000:]}")
    return made


def prepare(root: Path, folder: Path) -> list[str]:
    """Write what is to be compiled into `folder`, and a ``setup.py``; return the modules."""
    shutil.copytree(root / "devmesh", folder / "devmesh", ignore=shutil.ignore_patterns("__pycache__", "ui"))
    modules = compiled_modules(root)
    setup = f"""
from setuptools import setup
from mypyc.build import mypycify
extensions = mypycify(
    ["--ignore-missing-imports", *{modules!r}], opt_level="3", debug_level="0", group_name="devmesh")
if __name__ == "__main__":
    setup(name="devmesh", packages=[], ext_modules=extensions)
"""
    (folder / "setup.py").write_text(setup)
    return modules


def compiled_modules(root: Path) -> list[str]:
    """Return the modules that are compiled, as paths relative to `root`."""
    found = {path.relative_to(root).as_posix() for name in MODULES for path in root.glob(name)}
    return sorted(found - set(LEFT_OUT))
