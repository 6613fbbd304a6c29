"""The rollout store: every sample ever drawn, in one SQLite file that all builds share.

    with RolloutStore() as store:
        for request, answer in draw(requests, store=store, engine=lambda: open_engine(solver), read_image=read_image):
            ...

A sample's key is (what decides the answers to its question, its index): `engines.prompt_payload` says what that is. The
token limit is not in the key. Under a limit a stored sample fits when it was drawn under that very limit, or finished
within it; the earliest that fits is taken, so later samples never change what was counted before. One that was cut off is
drawn again when the limit is raised.

A sample is acknowledged once it is committed and synced (WAL, synchronous=FULL). Commits are gathered by one writing
thread, some four a second; a crash costs what finished since the last one.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curator.engines import Engine, Failed, ReadImage, Request, Sample
from curator.errors import WorkspaceError
from curator.workspace import data_home

if TYPE_CHECKING:
    from types import TracebackType


SCHEMA = 1
_APPLICATION = 0x43555241  # "CURA"
_TABLES = """
CREATE TABLE IF NOT EXISTS prompts (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    payload TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS samples (
    id INTEGER PRIMARY KEY,
    prompt INTEGER NOT NULL REFERENCES prompts (id),
    idx INTEGER NOT NULL,
    max_tokens INTEGER NOT NULL,
    text TEXT NOT NULL,
    reasoning TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    engine TEXT NOT NULL,
    UNIQUE (prompt, idx, max_tokens)
);
"""
_ADD_PROMPT = "INSERT INTO prompts (key, payload) VALUES (?, ?) ON CONFLICT DO NOTHING"
_ADD_SAMPLE = """
INSERT INTO samples (prompt, idx, max_tokens, text, reasoning, finish_reason, prompt_tokens, completion_tokens, engine)
VALUES ((SELECT id FROM prompts WHERE key = ?), ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_FIND = """
SELECT key, idx, max_tokens, text, reasoning, finish_reason, prompt_tokens, completion_tokens
FROM samples JOIN prompts ON prompts.id = samples.prompt WHERE key IN ({marks}) ORDER BY samples.id
"""
_ALL = """
SELECT key, payload, idx, max_tokens, text, reasoning, finish_reason, prompt_tokens, completion_tokens, engine
FROM samples JOIN prompts ON prompts.id = samples.prompt WHERE key IN ({marks}) ORDER BY key, idx, samples.id
"""
_AT_ONCE = 500
_PATIENCE = 60.0  # seconds that a writer waits for another process's commit
_GATHER = 0.25  # seconds between commits
_BACKLOG = 20_000  # samples waiting for the disk before drawing pauses

Drawn = tuple[Request, Sample]
_Group = tuple[list[tuple[bytes, str]], list[tuple[Any, ...]]]
SAMPLE_COLUMNS = (
    "idx", "max_tokens", "text", "reasoning", "finish_reason", "prompt_tokens", "completion_tokens", "engine",
)  # fmt: skip


def default_store() -> Path:
    """Where the store lies unless `--store` says otherwise."""
    return data_home() / "rollouts.sqlite"


def fits(sample: Sample, drawn_under: int, limit: int) -> bool:
    """Whether a sample drawn under one token limit may stand for one drawn under another."""
    return drawn_under == limit or (not sample.truncated and sample.completion_tokens <= limit)


class RolloutStore:
    """The store, open for reading and for adding. Several processes may have it open at once.

    Raises:
        WorkspaceError: the file is no rollout store, cannot be written, or the disk is full.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_store()
        self.overruled: set[str] = set()
        """Prompts for which another process acknowledged the same sample first: theirs stands."""
        self._waiting: deque[_Group] = deque()
        self._known: set[str] = set()  # prompts handed over before: their payload is not made again
        self._state = threading.Condition()
        self._unsynced = 0
        self._urgent = self._closing = False
        self._failure: BaseException | None = None
        self._writer: threading.Thread | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(
                f"cannot make the folder of the rollout store {self.path}: {error.strerror}; choose another with --store."
            ) from None
        with self._plain_errors():
            self._connection = self._connect()
            self._check_schema()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
        started = time.monotonic()
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError as error:
                # While another process makes this very change, SQLite refuses it without waiting.
                if "locked" not in str(error) or time.monotonic() - started > _PATIENCE:
                    raise
                time.sleep(0.02)
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _check_schema(self) -> None:
        if self._marks() == (_APPLICATION, SCHEMA):
            return
        with self._connection:
            # Another process may be making the tables: once it has, they are read here.
            self._connection.execute("BEGIN IMMEDIATE")
            application, schema = self._marks()
            (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if application == _APPLICATION and schema > SCHEMA:
                raise WorkspaceError(
                    f"the rollout store {self.path} was written by a newer curator: update, or use --store."
                )
            if application not in (0, _APPLICATION) or (tables and application == 0):
                raise WorkspaceError(f"{self.path} is a database of something else: choose another file with --store.")
            for statement in _TABLES.split(";"):
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            self._connection.execute(f"PRAGMA user_version = {SCHEMA}")

    def _marks(self) -> tuple[int, int]:
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (schema,) = self._connection.execute("PRAGMA user_version").fetchone()
        return application, schema

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _explained(self, error: sqlite3.Error) -> WorkspaceError:
        said = str(error)
        if "full" in said:
            return WorkspaceError(
                f"the disk is full, writing the rollout store {self.path}: free some space and run the same command again."
            )
        if "not a database" in said or "malformed" in said:
            return WorkspaceError(
                f"{self.path} is no rollout store ({said}): move it away, or choose another file with --store."
            )
        if "readonly" in said or "unable to open" in said:
            return WorkspaceError(f"cannot write the rollout store {self.path}: choose another file with --store.")
        if "locked" in said:
            return WorkspaceError(
                f"the rollout store {self.path} was locked by another process for {_PATIENCE:.0f} s: try again later."
            )
        return WorkspaceError(f"the rollout store {self.path} failed: {said}.")

    # -- adding ----------------------------------------------------------------------------------------------------

    def put(self, drawn: Sequence[Drawn], engine: str) -> None:
        """Hand over samples that belong together (all of one response): they are committed together, soon.

        Raises:
            WorkspaceError: an earlier commit failed.
        """
        new, rows = [], []
        for request, sample in drawn:
            key = bytes.fromhex(request.prompt)
            if request.prompt not in self._known:
                self._known.add(request.prompt)
                new.append((key, request.payload))
            rows.append((
                key, request.index, request.sampling.max_tokens, sample.text, sample.reasoning,
                sample.finish_reason, sample.prompt_tokens, sample.completion_tokens, engine,
            ))  # fmt: skip
        with self._state:
            while self._unsynced >= _BACKLOG and self._failure is None:
                self._state.wait()
            self._raise_failure()
            self._waiting.append((new, rows))
            self._unsynced += len(rows)
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="rollouts", daemon=True)
                self._writer.start()
            if len(self._waiting) == 1:
                self._state.notify_all()

    def flush(self) -> None:
        """Return when everything put is acknowledged.

        Raises:
            WorkspaceError: a commit failed.
        """
        with self._state:
            self._urgent = True
            self._state.notify_all()
            self._state.wait_for(lambda: self._unsynced == 0 or self._failure is not None)
            self._urgent = False
            self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            with self._plain_errors():
                raise self._failure

    def _write(self) -> None:
        try:
            connection = self._connect()
            try:
                while (batch := self._next_batch()) is not None:
                    self._commit(connection, batch)
                    with self._state:
                        self._unsynced -= sum(len(rows) for _, rows in batch)
                        self._state.notify_all()
            finally:
                connection.close()
        except BaseException as error:  # noqa: BLE001 (raised by `put`, `flush` and `close`, which would wait for ever else)
            with self._state:
                self._failure = error
                self._state.notify_all()

    def _next_batch(self) -> list[_Group] | None:
        with self._state:
            # Waiting a moment lets samples gather: one sync for many, and none when there is nothing to write.
            self._state.wait_for(lambda: self._urgent or self._closing, timeout=_GATHER)
            self._state.wait_for(lambda: bool(self._waiting) or self._closing)
            batch = list(self._waiting)
            self._waiting.clear()
            return batch or None

    def _commit(self, connection: sqlite3.Connection, batch: list[_Group]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_ADD_PROMPT, [prompt for new, _ in batch for prompt in new])
        rows = [row for _, group in batch for row in group]
        added = connection.executemany(_ADD_SAMPLE, rows).rowcount
        connection.execute("COMMIT")
        if added < len(rows):
            self.overruled.update(row[0].hex() for row in rows)

    def insert(self, rows: Sequence[dict[str, Any]]) -> int:
        """Add exported rows in one transaction, now. Returns how many were new.

        Raises:
            WorkspaceError: the store cannot be written.
        """
        with self._plain_errors(), self._connection:
            before = self._connection.total_changes
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(_ADD_PROMPT, {(bytes.fromhex(row["key"]), row["payload"]) for row in rows})
            prompts = self._connection.total_changes - before
            values = [(bytes.fromhex(row["key"]), *(row[name] for name in SAMPLE_COLUMNS)) for row in rows]
            self._connection.executemany(_ADD_SAMPLE, values)
            return self._connection.total_changes - before - prompts

    def integrity(self) -> str:
        """SQLite's own check: "ok", or what is wrong."""
        with self._plain_errors():
            return str(self._connection.execute("PRAGMA integrity_check(1)").fetchone()[0])

    # -- reading ---------------------------------------------------------------------------------------------------

    def find(self, prompts: Sequence[str], limit: int) -> dict[str, dict[int, Sample]]:
        """The samples that fit a token limit, by prompt and index. Only what is acknowledged."""
        found: dict[str, dict[int, Sample]] = {}
        for start in range(0, len(prompts), _AT_ONCE):
            part = [bytes.fromhex(key) for key in prompts[start : start + _AT_ONCE]]
            with self._plain_errors():
                rows = self._connection.execute(_FIND.format(marks=",".join("?" * len(part))), part).fetchall()
            for key, index, drawn_under, *rest in rows:
                sample = Sample(key.hex(), index, *rest)
                if fits(sample, drawn_under, limit):
                    found.setdefault(key.hex(), {}).setdefault(index, sample)
        return found

    def holds(self, model: str) -> bool:
        """Whether any sample of this model is there; where none is, every prompt of the store is looked at."""
        query = "SELECT EXISTS (SELECT 1 FROM prompts WHERE json_extract(payload, '$.model') = ?)"
        with self._plain_errors():
            return bool(self._connection.execute(query, [model]).fetchone()[0])

    def stats(self) -> list[dict[str, Any]]:
        """Per model: prompts, samples, truncated samples, tokens."""
        query = """
            SELECT json_extract(payload, '$.model') AS model, count(DISTINCT prompts.id), count(*),
                   sum(finish_reason IN ('length', 'repetition')), sum(prompt_tokens), sum(completion_tokens)
            FROM samples JOIN prompts ON prompts.id = samples.prompt GROUP BY model ORDER BY model
        """
        names = ("model", "questions", "samples", "truncated", "prompt_tokens", "completion_tokens")
        with self._plain_errors():
            return [dict(zip(names, row, strict=True)) for row in self._connection.execute(query)]

    def rows(self, prompts: Iterable[str] | None = None) -> Iterator[dict[str, Any]]:
        """Every sample (of some prompts) as a row of `export_schema`, by key and index, the earliest acknowledged first.

        Read in parts, so that a store of millions needs little memory.
        """
        names = ("key", "payload", *SAMPLE_COLUMNS)
        with self._plain_errors():
            if prompts is None:
                keys = [key for (key,) in self._connection.execute("SELECT key FROM prompts ORDER BY key")]
            else:
                keys = [bytes.fromhex(key) for key in sorted(set(prompts))]
            for start in range(0, len(keys), _AT_ONCE):
                part = keys[start : start + _AT_ONCE]
                for row in self._connection.execute(_ALL.format(marks=",".join("?" * len(part))), part).fetchall():
                    yield {**dict(zip(names, row, strict=True)), "key": row[0].hex()}

    # -- closing ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Write what is waiting, and close.

        Raises:
            WorkspaceError: a commit failed.
        """
        with self._state:
            self._closing = True
            self._state.notify_all()
        if self._writer is not None:
            self._writer.join()
        self._connection.close()
        self._raise_failure()

    def __enter__(self) -> RolloutStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


# -- drawing ---------------------------------------------------------------------------------------------------------


def draw(
    requests: Iterable[Request],
    *,
    store: RolloutStore,
    engine: Callable[[], Engine],
    read_image: ReadImage,
) -> Iterator[tuple[Request, Sample | Failed]]:
    """An answer to every request: from the store where it has one that fits, else drawn and put into it.

    The engine is opened at the first request that needs it. Requests of one question follow each other; (id, index) names
    a request and is not used twice.
    """
    ready: deque[tuple[Request, Sample | Failed]] = deque()
    twins: list[Request] = []
    needed = _missing(iter(requests), store, ready, twins)
    for first in needed:
        while ready:
            yield ready.popleft()
        for answer in keep(chain([first], needed), store=store, engine=engine(), read_image=read_image):
            yield answer
            while ready:
                yield ready.popleft()
    yield from ready
    for request in twins:
        found = store.find([request.prompt], request.sampling.max_tokens).get(request.prompt, {}).get(request.index)
        if found is None:
            yield request, Failed(request.id, request.index, "the same sample of an equal question failed")
        else:
            yield request, replace(found, request_id=request.id)


def _missing(
    requests: Iterator[Request],
    store: RolloutStore,
    ready: deque[tuple[Request, Sample | Failed]],
    twins: list[Request],
) -> Iterator[Request]:
    """The requests that nothing in the store fits; those it has go to `ready`, those already asked for to `twins`."""
    asked: set[tuple[str, int]] = set()
    # Looked up some at a time: a question of its own costs SQLite as much as hundreds together.
    while some := list(islice(requests, _AT_ONCE)):
        held = {
            limit: store.find(list({r.prompt for r in some if r.sampling.max_tokens == limit}), limit)
            for limit in {r.sampling.max_tokens for r in some}
        }
        for request in some:
            found = held[request.sampling.max_tokens].get(request.prompt, {}).get(request.index)
            if found is not None:
                ready.append((request, replace(found, request_id=request.id)))
            elif (request.prompt, request.index) in asked:
                twins.append(request)
            else:
                asked.add((request.prompt, request.index))
                yield request


def keep(
    requests: Iterable[Request | None], *, store: RolloutStore, engine: Engine, read_image: ReadImage
) -> Iterator[tuple[Request, Sample | Failed]]:
    """Draw every request and put what comes into the store; see `Engine.generate` for None."""
    asked: dict[tuple[str, int], Request] = {}

    def noted() -> Iterator[Request | None]:
        for request in requests:
            if request is not None:
                asked[request.id, request.index] = request
            yield request

    together: list[Drawn] = []
    try:
        for answer in engine.generate(noted(), read_image):
            request = asked.pop((answer.request_id, answer.index))
            if isinstance(answer, Sample):
                together.append((request, answer))
                if answer.siblings:
                    continue
                store.put(together, engine.name)
                yield from together
                together = []
            else:
                yield request, answer
    finally:
        store.flush()
