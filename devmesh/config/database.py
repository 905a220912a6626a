"""The store's file: SQLite with a write-ahead log.

A write that has returned survives the end of the process, however it ends (kill -9): it is in
the operating system's hands. Copying the log back into the database, which waits for the disk,
happens on a thread.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from devmesh.config.history import KEPT_CHANGES, Change, Difference

log = logging.getLogger(__name__)

_WRITES_PER_CHECKPOINT = 2_000
_RESERVED_VERSIONS = 10_000
_FORM = 2
_SCHEMA = """
create table if not exists objects ("group" text, kind text, namespace text, name text,
    version integer, raw text, manager text, primary key ("group", kind, namespace, name));
create table if not exists applied (file text, "group" text, kind text, namespace text, name text,
    digest text, primary key (file, "group", kind, namespace, name));
create table if not exists changes (version integer primary key, time real, manager text, type text,
    "group" text, kind text, namespace text, name text, differences text);
create table if not exists versions (reserved integer);
"""

Row = tuple[str, str, str, str, int, dict[str, Any], str]
"""Group, kind, namespace, name, version, the object, and who wrote it last."""

Name = tuple[str, str, str, str]
"""Group, kind, namespace, name."""


class StoreUnwritable(OSError):
    """The disk is full, or the file cannot be written for another reason; what it held is untouched."""


class Database:
    """One file, readable by its owner alone; a damaged one is set aside, and a new one begun.

    While the disk is full, what devmesh itself writes waits in memory, and what others write is refused.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writes = 0
        self._checkpoint: threading.Thread | None = None
        self._waiting: dict[tuple[str, Name], Callable[[], None]] = {}
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.parent.chmod(0o700)
        try:
            self._db = _open(path)
        except sqlite3.OperationalError as error:
            raise _unwritable(path, error) from error
        except sqlite3.DatabaseError as error:
            aside = path.with_suffix(f".broken-{os.getpid()}")
            log.error("store is damaged and was set aside", extra={"path": str(aside), "error": str(error)})
            path.rename(aside)
            for left in (path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
                left.unlink(missing_ok=True)
            self._db = _open(path)
        row = self._db.execute("select max(reserved) from versions").fetchone()
        self._reserved = int(row[0] or 0)

    @property
    def reserved(self) -> int:
        """A version above all that were ever handed out."""
        return self._reserved

    def objects(self) -> Iterator[Row]:
        """Yield what is stored; a row that cannot be read is logged and left out."""
        for *key, version, text, manager in self._db.execute("select * from objects order by version"):
            try:
                yield (*key, version, json.loads(text), manager)
            except ValueError:
                log.error("stored object cannot be read", extra={"key": key})

    def changes(self) -> Iterator[Change]:
        for row in self._db.execute("select * from changes order by version"):
            version, time, manager, type_, group, kind, namespace, name, text = row
            found = tuple(Difference(**difference) for difference in json.loads(text))
            yield Change(version, time, manager, type_, group, kind, namespace, name, found)

    def write(self, row: Row, change: Change | None, *, may_wait: bool = False) -> None:
        """Keep an object at its new version.

        Args:
            may_wait: Where it cannot be written, do it later: with the next write that can.

        Raises:
            StoreUnwritable: It cannot, and may not wait.
        """
        *key, version, raw, manager = row

        def write() -> None:
            with self._transaction(version):
                self._db.execute(
                    "insert or replace into objects values (?, ?, ?, ?, ?, ?, ?)",
                    (*key, version, json.dumps(raw, separators=(",", ":")), manager),
                )
                self._keep(change)

        self._do(("object", row[:4]), write, may_wait)

    def delete(
        self,
        group: str,
        kind: str,
        namespace: str,
        name: str,
        version: int,
        change: Change,
        *,
        may_wait: bool = False,
    ) -> None:
        """Forget an object.

        Raises:
            StoreUnwritable: As `write`.
        """

        def delete() -> None:
            with self._transaction(version):
                self._db.execute(
                    'delete from objects where "group" = ? and kind = ? and namespace = ? and name = ?',
                    (group, kind, namespace, name),
                )
                self._keep(change)

        self._do(("object", (group, kind, namespace, name)), delete, may_wait)

    def applied(self) -> Iterator[tuple[str, Name, str]]:
        """Yield what was applied from files: file, object, hash of the document."""
        for file, group, kind, namespace, name, digest in self._db.execute("select * from applied"):
            yield file, (group, kind, namespace, name), digest

    def set_applied(self, file: str, name: Name, digest: str | None) -> None:
        """Remember, or forget, what was applied from a file; later, where it cannot be written now."""

        def apply() -> None:
            if digest is None:
                self._db.execute(
                    'delete from applied where (file, "group", kind, namespace, name) = (?, ?, ?, ?, ?)',
                    (file, *name),
                )
            else:
                self._db.execute(
                    "insert or replace into applied values (?, ?, ?, ?, ?, ?)", (file, *name, digest)
                )

        self._do((file, name), apply, True)

    def _do(self, key: tuple[str, Name], action: Callable[[], None], may_wait: bool) -> None:
        try:
            for waiting in tuple(self._waiting):
                self._waiting[waiting]()
                del self._waiting[waiting]
            action()
        except sqlite3.OperationalError as error:
            if not may_wait:
                raise _unwritable(self._path, error) from error
            if not self._waiting:
                log.error("%s", _unwritable(self._path, error))
            self._waiting[key] = action  # in place of an older one of the same object

    def close(self) -> None:
        """Put everything into the one file; the store is closed."""
        if self._checkpoint is not None:
            self._checkpoint.join()
        for action in self._waiting.values():
            with suppress(sqlite3.OperationalError):
                action()
        self._db.close()

    @contextmanager
    def _transaction(self, version: int) -> Iterator[None]:
        reserved = self._reserved
        self._db.execute("begin immediate")
        try:
            if version >= reserved:
                self._reserved = version + _RESERVED_VERSIONS
                self._db.execute("delete from versions")
                self._db.execute("insert into versions values (?)", (self._reserved,))
            yield
            self._db.execute("commit")
        except BaseException:
            self._reserved = reserved
            if self._db.in_transaction:  # a full disk may have rolled it back already
                self._db.execute("rollback")
            raise
        self._writes += 1
        if self._writes % _WRITES_PER_CHECKPOINT == 0:
            self._start_checkpoint()

    def _keep(self, change: Change | None) -> None:
        if change is None:
            return
        fields = (getattr(change, name) for name in ("version", "time", "manager", "type"))
        key = (change.group, change.kind, change.namespace, change.name)
        written = json.dumps([asdict(d) for d in change.differences], separators=(",", ":"))
        self._db.execute("insert into changes values (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*fields, *key, written))
        if change.version % 100 == 0:
            self._db.execute(
                "delete from changes where version not in "
                "(select version from changes order by version desc limit ?)",
                (KEPT_CHANGES,),
            )

    def _start_checkpoint(self) -> None:
        if self._checkpoint is None or not self._checkpoint.is_alive():
            self._checkpoint = threading.Thread(target=_checkpoint, args=(self._path,), daemon=True)
            self._checkpoint.start()


def _unwritable(path: Path, error: sqlite3.Error) -> StoreUnwritable:
    return StoreUnwritable(f"the store {path} cannot be written: {error}; make room, and try again")


def _open(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    path.chmod(0o600)
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        (form,) = db.execute("pragma user_version").fetchone()
        if form != _FORM and db.execute("select 1 from sqlite_master").fetchone():
            raise sqlite3.DatabaseError(f"written in form {form} by another version of devmesh")
        db.executescript(
            "pragma journal_mode = wal; pragma synchronous = normal; pragma wal_autocheckpoint = 0;"
            + f"pragma user_version = {_FORM};"
            + _SCHEMA
        )
        db.execute("select count(*) from objects").fetchone()
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db


def _checkpoint(path: Path) -> None:
    try:
        db = sqlite3.connect(path)
        try:
            db.execute("pragma wal_checkpoint(passive)")
        finally:
            db.close()
    except sqlite3.Error:
        log.exception("the store's log could not be copied back")
