"""A build's folder: one lock, one atomic file per stage, and nothing that a crash can leave half-written.

    builds/<name>/stages/<stage>.parquet           verdicts of the stage and the columns it adds; its key in the metadata
    builds/<name>/stages/<stage>.<table>.parquet   side tables, written before the stage's own file

A stage's file appears by a rename after an fsync, or not at all; its key says from which inputs and settings it was made. It
goes before anything beside it is replaced, so where it lies all that belongs to it does.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curator.errors import WorkspaceError
from curator.records import SCHEMA_VERSION

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

METADATA = b"curator"


def data_home() -> Path:
    """The user's data folder: rollout store, fingerprints, generated worlds. `CURATOR_HOME` moves it."""
    moved = os.environ.get("CURATOR_HOME")
    if moved:
        return Path(moved).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("curator"))


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place, fsynced, when the block ends well; else it is removed.

    Raises:
        WorkspaceError: the disk is full or the folder cannot be written; `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise disk_error(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Atomically replace a text file."""
    with atomic(path) as temporary:
        temporary.write_text(text, "utf-8")


def damaged(path: Path) -> WorkspaceError:
    """The one-line error for a file of ours that cannot be read."""
    return WorkspaceError(
        f"{path} is damaged: delete it and run the same `curator build` again; that stage is done anew, samples are kept."
    )


def disk_error(error: OSError, path: Path) -> WorkspaceError:
    """The one-line error for a write that failed."""
    if error.errno == errno.ENOSPC:
        return WorkspaceError(f"the disk is full, writing {path}: free some space and run the same command again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        return WorkspaceError(f"cannot write {path}: {error.strerror}; choose another folder with --out.")
    return WorkspaceError(f"cannot write {path}: {error.strerror or error}.")


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Workspace:
    """The folder of one build. Use it as a context manager: it holds the folder's lock.

    Another build in the folder is an error, or with `wait` comes first.
    """

    def __init__(self, path: Path, *, wait: bool = False) -> None:
        self.path, self.wait = path, wait
        self._images: tuple[dict[str, int], pa.ChunkedArray] | None = None

    def __enter__(self) -> Workspace:
        from filelock import FileLock, Timeout

        try:
            (self.path / "stages").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, self.path) from None
        self._lock = FileLock(self.path / ".lock")
        try:
            self._lock.acquire(timeout=-1 if self.wait else 0)
        except Timeout:
            raise WorkspaceError(
                f"another build is running in {self.path}: wait for it, or choose another folder with --out."
            ) from None
        except OSError as error:
            raise disk_error(error, self.path / ".lock") from None
        for folder in (self.path, self.path / "stages", self.path / "figures"):
            for leftover in folder.glob(".*.tmp"):
                leftover.unlink()  # of a build that was killed; nobody else can be writing here
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    @property
    def release(self) -> Path:
        """The tree that goes to the Hub."""
        return self.path / "release"

    @property
    def blobs(self) -> Path:
        """The normalised images, once each, as an Arrow file that is read by memory map."""
        return self.path / "stages" / "images.arrow"

    def stage_path(self, stage: str, table: str = "") -> Path:
        """Where a stage's own file or one of its side tables lies."""
        return self.path / "stages" / (f"{stage}.{table}.parquet" if table else f"{stage}.parquet")

    def facts(self, stage: str) -> dict[str, Any] | None:
        """What a finished stage recorded about itself (its `key`, counts, …); None when it has not finished."""
        import pyarrow.parquet as pq

        path = self.stage_path(stage)
        if not path.is_file():
            return None
        try:
            metadata = pq.read_schema(path).metadata or {}
        except (OSError, ValueError):
            return None  # damaged, or no file of ours: the stage runs again and replaces it
        if METADATA not in metadata:
            return None
        facts: dict[str, Any] = json.loads(metadata[METADATA])
        return facts if facts.get("schema_version") == SCHEMA_VERSION else None

    def write_stage(
        self, stage: str, rows: pl.DataFrame, facts: dict[str, Any], tables: dict[str, pl.DataFrame]
    ) -> None:
        """Store a finished stage: side tables first, then its own file, whose appearance makes it finished."""
        self.reopen_stage(stage)
        for name, table in tables.items():
            write_parquet(self.stage_path(stage, name), table.to_arrow())
        recorded = {**facts, "schema_version": SCHEMA_VERSION}
        table = rows.to_arrow()
        metadata = {METADATA: json.dumps(recorded).encode()}
        write_parquet(self.stage_path(stage), table.replace_schema_metadata(metadata))

    def reopen_stage(self, stage: str) -> None:
        """Take away a stage's own file, before anything that lies beside it is replaced: killed between, it has not finished."""
        path = self.stage_path(stage)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(error, path) from error

    def read_stage(self, stage: str, table: str = "") -> pl.DataFrame:
        """A stage's own file or one of its side tables.

        Raises:
            WorkspaceError: the stage has not finished here, or its file is damaged.
        """
        import polars as pl

        path = self.stage_path(stage, table)
        if not path.is_file():
            raise WorkspaceError(f"{self.path} has no finished stage {stage!r}: run `curator build` again.")
        try:
            return pl.read_parquet(path)
        except (pl.exceptions.PolarsError, OSError):
            raise damaged(path) from None

    def read_image(self, sha256: str) -> bytes:
        """The normalised bytes of one image, by content hash, out of a memory map.

        Raises:
            WorkspaceError: the images stage has not finished, or has no such image.
        """
        import pyarrow as pa

        if self._images is None:
            if not self.blobs.is_file():
                raise WorkspaceError(f"{self.path}: the images stage has not finished; run `curator build` again.")
            try:
                table = pa.ipc.open_file(pa.memory_map(str(self.blobs))).read_all()
            except (pa.ArrowInvalid, OSError):
                raise damaged(self.blobs) from None
            self._images = ({sha: row for row, sha in enumerate(table["sha256"].to_pylist())}, table["data"])
        rows, data = self._images
        if sha256 not in rows:
            raise WorkspaceError(f"{self.path} has no image {sha256[:16]}…: run `curator build` again.")
        blob: bytes = data[rows[sha256]].as_py()
        return blob

    def has_table(self, stage: str, table: str) -> bool:
        """Whether a stage left this side table."""
        return self.stage_path(stage, table).is_file()


def write_parquet(path: Path, table: pa.Table) -> None:
    """Atomically write a table as Parquet (zstd); the same table gives the same bytes."""
    import pyarrow.parquet as pq

    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def open_workspace(path: Path) -> Workspace:
    """A build's folder for reading.

    Raises:
        WorkspaceError: the folder holds no build.
    """
    if not (path / "stages").is_dir():
        raise WorkspaceError(f"{path} holds no build: give the folder that `curator build` printed.")
    return Workspace(path)
