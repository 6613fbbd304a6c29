"""Reading a source's files: CSV, TSV, JSON, JSON lines and Parquet, from a folder or from the Hub, one row at a time.

An image reference is a string relative to the source's files:

    imgs/x.jpg                        a file
    images.zip!images/x.jpg           a member of an archive, read in place
    data/train-0.parquet#12/image     column `image` of row 12; `#12/images/0` for lists of images
"""

from __future__ import annotations

import csv
import fnmatch
import io
import json
import pickle
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from curator.errors import SourceError
from curator.records import BadRow

Unroll = Callable[[Any, str], Iterable[dict[str, Any]]]
"""(parsed JSON, file name) -> raw rows, for JSON that is not a list of rows."""


class Row(dict[str, Any]):
    """A row of a text file that knows its line."""

    __slots__ = ("line",)

    def __init__(self, fields: Any, line: int) -> None:
        super().__init__(fields)
        self.line = line


MAX_JSON = 2 << 30  # a JSON document is parsed whole: beyond 2 GB that is no question file
MAX_LINES = 10_000  # of one CSV row: beyond that a quote was left open, and its end may be that of the file


class Tree(Protocol):
    """A source's files, wherever they are."""

    def __hash__(self) -> int: ...

    where: str
    """For messages: a folder, or hub:ORG/NAME@revision."""
    revision: str

    def sizes(self) -> dict[str, int]:
        """Bytes of each file, by path with forward slashes."""
        ...

    def stamp(self, path: str) -> str:
        """What changes when the file does, without reading it."""
        ...

    def open(self, path: str) -> BinaryIO:
        """The file for random access."""
        ...

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """A piece of a file; shorter at its end."""
        ...

    def cached(self, path: str) -> bool:
        """Is the file on this disk already?"""
        ...

    def prefer_whole(self, path: str, wanted: int) -> None:
        """Say that about `wanted` bytes of the file will be read, in pieces; a remote tree may fetch all of it once."""
        ...


class LocalTree:
    """A folder on this disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.where = str(root)
        self.revision = "local"
        if not root.exists():
            raise SourceError(f"no folder at {root}: give the folder that holds the source's files with --data-dir.")
        if not root.is_dir():
            raise SourceError(f"{root} is a file: --data-dir wants the folder that holds the source's files.")
        self._sizes: dict[str, int] | None = None

    def sizes(self) -> dict[str, int]:
        if self._sizes is None:
            found: dict[str, int] = {}
            try:
                for path in self.root.rglob("*"):
                    if path.is_file():
                        found[path.relative_to(self.root).as_posix()] = path.stat().st_size
            except OSError as error:
                raise SourceError(f"cannot read {error.filename or self.root}: {error.strerror}.") from None
            self._sizes = dict(sorted(found.items()))
        return self._sizes

    def stamp(self, path: str) -> str:
        return f"{self.sizes()[path]}@{(self.root / path).stat().st_mtime_ns}"

    def open(self, path: str) -> BinaryIO:
        try:
            return (self.root / path).open("rb")
        except OSError as error:
            raise SourceError(f"cannot read {self.root / path}: {error.strerror}.") from None

    def read_range(self, path: str, start: int, length: int) -> bytes:
        with self.open(path) as file:
            file.seek(start)
            return file.read(length)

    def cached(self, path: str) -> bool:
        return True

    def prefer_whole(self, path: str, wanted: int) -> None:
        pass


def glob(tree: Tree, patterns: str | tuple[str, ...]) -> list[str]:
    """The files that match the first pattern that matches any; `archive.zip!members/*.json` looks inside archives.

    `a/*.csv|b/*.csv` are both.
    """
    for pattern in (patterns,) if isinstance(patterns, str) else patterns:
        archive, bang, member = pattern.partition("!")
        if bang:
            if archive in tree.sizes():
                from curator.sources.archives import Archive

                names = Archive.of(tree, archive).members
                found = [f"{archive}!{name}" for name in names if fnmatch.fnmatchcase(name, member)]
                if found:
                    return sorted(found)
        else:
            found = [path for one in pattern.split("|") for path in _matching(tree.sizes(), one)]
            if found:
                return sorted(set(found))
    return []


def _matching(sizes: dict[str, int], pattern: str) -> list[str]:
    if not any(mark in pattern for mark in "*?["):  # a folder may hold as many pictures as it likes
        return [pattern] if pattern in sizes else []
    return [path for path in sizes if fnmatch.fnmatchcase(path, pattern)]


def read_bytes(tree: Tree, path: str) -> bytes:
    """A whole file, or a whole member of an archive."""
    archive, bang, member = path.partition("!")
    if bang:
        from curator.sources.archives import Archive

        return Archive.of(tree, archive).read(member)
    tree.prefer_whole(path, tree.sizes()[path])
    return tree.read_range(path, 0, tree.sizes()[path])


def read_rows(
    tree: Tree,
    path: str,
    *,
    header: tuple[str, ...] = (),
    delimiter: str = "",
    unroll: Unroll | None = None,
    pictures: tuple[str, ...] = (),
) -> Iterator[dict[str, Any] | BadRow]:
    """The raw rows of one file, in its order; a row that cannot be read is a `BadRow` in its place.

    Parquet image columns hold references, or None where there is no image; binary columns are images where they are among
    `pictures`.

    Raises:
        SourceError: the file is none of its kind: wrong encoding, broken JSON or Parquet, no header.
    """
    kind = path.rpartition(".")[2].lower()
    if kind in ("csv", "tsv", "txt"):
        yield from _read_csv(tree, path, header, delimiter or {"csv": ",", "tsv": "\t", "txt": "|"}[kind])
    elif kind == "parquet":
        from curator.sources.parquet import read_parquet

        yield from read_parquet(tree, path, pictures)
    elif kind == "jsonl":
        yield from _read_jsonl(tree, path)
    elif kind in ("json", "pkl"):
        yield from _read_json(tree, path, unroll)
    else:
        raise SourceError(
            f"cannot read {where(tree, path)}: rows come from .csv, .tsv, .json, .jsonl or .parquet files."
        )


def where(tree: Tree, path: str) -> str:
    """A file's place, for messages."""
    return f"{tree.where}/{path}"


def _text_lines(tree: Tree, path: str) -> io.TextIOWrapper:
    if "!" in path:
        return io.TextIOWrapper(io.BytesIO(read_bytes(tree, path)), "utf-8-sig", newline="")
    return io.TextIOWrapper(tree.open(path), "utf-8-sig", newline="")


def _wrong_encoding(tree: Tree, path: str, error: UnicodeDecodeError) -> SourceError:
    byte = error.object[error.start]
    return SourceError(f"{where(tree, path)} is not UTF-8 (byte 0x{byte:02x}): save it as UTF-8.")


class _Lines:
    """The lines of a file, one record after another; those of a record that is none can be read again but for its first."""

    def __init__(self, file: Iterator[str]) -> None:
        self.number = 0
        """Of the line that was read last, from 1."""
        self._file, self._again, self._record = file, deque[str](), list[str]()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self._record) == MAX_LINES:
            raise csv.Error(f"a quoted text does not end in {MAX_LINES:,} lines")
        line = self._again.popleft() if self._again else next(self._file)
        self._record.append(line)
        self.number += 1
        return line

    def begin(self) -> None:
        """The next line is the first of a record."""
        self._record.clear()

    def skip_first(self) -> int:
        """The record is none: its second line is next. Returns the number of its first."""
        self._again.extendleft(reversed(self._record[1:]))
        self.number -= len(self._record) - 1
        return self.number


def _read_csv(tree: Tree, path: str, header: tuple[str, ...], delimiter: str) -> Iterator[dict[str, Any] | BadRow]:
    """A line that is no CSV is one bad row, and reading goes on at the next one.

    A quote that a later row happens to close in good order takes the rows between with it: they are one ragged row then.
    """
    csv.field_size_limit(min(sys.maxsize, 1 << 30))
    readable = False
    broken = ""
    with _text_lines(tree, path) as file:
        lines = _Lines(file)
        if delimiter == "|":  # such files quote nothing: a quotation mark is text
            reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
        else:
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
        names = list(header)
        optional = [name for name in names if name.endswith("?")]
        required = [name for name in names if not name.endswith("?")]
        while True:
            lines.begin()
            try:
                cells = next(reader, None)
            except csv.Error as error:
                number = lines.skip_first()
                broken = broken or f"{where(tree, path)} is no readable CSV at line {number}: {error}."
                if not names:
                    break
                yield BadRow("unreadable-row", line=number, error=str(error))
                continue
            except UnicodeDecodeError as error:
                raise _wrong_encoding(tree, path, error) from None
            if cells is None:
                break
            if not names:
                names = cells
                if not names:
                    break
                continue
            if optional:
                names = [n.rstrip("?") for n in (required if len(cells) == len(required) else header)]
            if len(cells) == len(names):
                readable = True
                yield Row(zip(names, cells, strict=True), lines.number)
            elif cells:
                yield BadRow("ragged-row", cells=len(cells), columns=len(names), line=lines.number)
    if broken and not readable:
        raise SourceError(broken)
    if not names:
        raise SourceError(f"{where(tree, path)} is empty: it has no header line.")


def _read_jsonl(tree: Tree, path: str) -> Iterator[dict[str, Any] | BadRow]:
    readable = False
    broken: str | None = None
    with _text_lines(tree, path) as lines:
        try:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:  # ValueError: no JSON, or a number of too many digits
                    broken = broken or f"line {number}: {error}"
                    yield BadRow("unreadable-row", line=number, error=str(error))
                    continue
                if isinstance(row, dict):
                    readable = True
                    yield Row(row, number)
                else:
                    yield BadRow("wrong-type", line=number, expected="object", found=type(row).__name__)
        except UnicodeDecodeError as error:
            raise _wrong_encoding(tree, path, error) from None
    if broken and not readable:
        raise SourceError(f"{where(tree, path)} holds no JSON lines: {broken}.")


def _read_json(tree: Tree, path: str, unroll: Unroll | None) -> Iterator[dict[str, Any] | BadRow]:
    if "!" not in path and tree.sizes()[path] > MAX_JSON:
        raise SourceError(f"{where(tree, path)} is over 2 GB: too large for one JSON document, give JSON lines.")
    data = read_bytes(tree, path)
    try:
        parsed, long_number = (_plain_pickle(data), None) if path.endswith(".pkl") else _json(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _wrong_encoding(tree, path, error) from None
    except (ValueError, RecursionError, pickle.UnpicklingError, EOFError) as error:
        raise SourceError(f"{where(tree, path)} is no readable {path.rpartition('.')[2].upper()}: {error}.") from None
    try:
        rows = unroll(parsed, path) if unroll else parsed
        if not isinstance(rows, list | Iterator):
            raise TypeError(f"expected a list of rows, found {type(rows).__name__}")
        for row in rows:
            if not isinstance(row, dict):
                yield BadRow("wrong-type", expected="object", found=type(row).__name__)
            elif long_number and not _is_json(row):
                yield BadRow("unreadable-row", error=long_number)
            else:
                yield row
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise SourceError(f"{where(tree, path)} is not laid out as documented: {what}.") from None


_TOO_LONG = object()
"""Stands for a whole number of more digits than Python reads, and is no JSON."""


def _json(text: str) -> tuple[Any, str | None]:
    """A document, and what is wrong with a number in it of too many digits, which is `_TOO_LONG` there."""
    try:
        return json.loads(text), None
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        return json.loads(text, parse_int=_whole_number), str(error)


def _whole_number(digits: str) -> Any:
    try:
        return int(digits)
    except ValueError:
        return _TOO_LONG


def _is_json(row: dict[str, Any]) -> bool:
    try:
        json.dumps(row)
    except (TypeError, RecursionError):
        return False
    return True


class _PlainUnpickler(pickle.Unpickler):
    """Lists, dicts, strings and numbers only: a data file that wants to import anything is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it wants to load {module}.{name}, which data never needs")


def _plain_pickle(data: bytes) -> Any:
    return _PlainUnpickler(io.BytesIO(data)).load()
