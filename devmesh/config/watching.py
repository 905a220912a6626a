"""When files change on the disk."""

from __future__ import annotations

import glob
import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import trio

from devmesh.config.reading import STDIN, is_document_file

log = logging.getLogger(__name__)

_DEBOUNCE_MS = 50
_STEP_MS = 10
_WAKE_MS = 200  # how long the watching thread may outlive a cancellation


def folders_of(paths: Sequence[str], base: Path) -> set[Path]:
    """Return the folders in which `paths` (files, folders, patterns) lie."""
    found: set[Path] = set()
    for given in paths:
        if given == STDIN:
            continue
        path = base / given
        if path.is_dir():
            found.add(path)
        elif glob.has_magic(given) and not path.exists():
            fixed = path
            while glob.has_magic(str(fixed)):
                fixed = fixed.parent
            found |= {Path(p) for p in glob.glob(str(path.parent), recursive=True) if Path(p).is_dir()}
            found.add(fixed)
        else:
            found.add(path.parent)
    return {folder for folder in found if folder.is_dir()}


async def changes_of(paths: Sequence[str], base: Path) -> AsyncIterator[None]:
    """Yield each time when something in the folders of `paths` was saved, added or taken away.

    Folders are watched, not files: editors replace a file by another of its name.
    """
    from watchfiles import Change, awatch

    def counts(change: Change, path: str) -> bool:
        # A folder that comes or goes may hold files.
        return is_document_file(Path(path)) or path in named or not Path(path).suffix

    named = {str(base / given) for given in paths}
    folders = folders_of(paths, base)
    if not folders:
        await trio.sleep_forever()
    async for _ in awatch(
        *folders,
        watch_filter=counts,
        debounce=_DEBOUNCE_MS,
        step=_STEP_MS,
        rust_timeout=_WAKE_MS,
        recursive=False,
    ):
        yield None
