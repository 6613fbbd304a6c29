"""Questions as flat buffers of normalised text, some thousand at a time, from a frame in memory or a Parquet file.

    for batch in corpus(rows).batches(): batch.question.offsets, batch.question.data …

A frame is sliced; a file is streamed, so that what is in memory does not grow with the texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import polars as pl

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64] | npt.NDArray[np.int32]
"""Row numbers."""

BATCH = 1 << 14
"""Rows that are text and word hashes at the same time; everything else is a few numbers per row."""
COLUMNS = ("question", "options", "answer", "images")


def _freeze(*arrays: npt.NDArray[Any]) -> None:
    """Arrow's buffers are read-only, so all arrays are: kernels are then compiled for one kind of array only."""
    for array in arrays:
        array.flags.writeable = False


@dataclass(frozen=True)
class Strings:
    """A column of texts in normal form: UTF-8 bytes and n + 1 offsets. Only A-Z still want lower case."""

    offsets: I64
    data: U8

    def __post_init__(self) -> None:
        _freeze(self.offsets, self.data)

    def __len__(self) -> int:
        return len(self.offsets) - 1


def strings(array: Any) -> Strings:
    """An Arrow array of strings (null reads as empty) with every text that is not plain ASCII in NFKC and lower case."""
    import polars as pl
    import pyarrow as pa

    offsets, data = _buffers(_without_nulls(array.cast(pa.large_string()), ""))
    if len(data) and int(data.max()) >= 128:
        column = pl.Series(array, dtype=pl.String).fill_null("")
        odd = (column.str.len_bytes() != column.str.len_chars()).arg_true()
        plain = column.gather(odd).str.normalize("NFKC").str.to_lowercase().str.replace_all("−", "-", literal=True)
        offsets, data = _buffers(column.scatter(odd, plain).to_arrow().cast(pa.large_string()))
    return Strings(offsets, data)


def _without_nulls(array: Any, empty: Any) -> Any:
    return array.fill_null(empty) if array.null_count else array


def _buffers(array: Any) -> tuple[I64, U8]:
    """Offsets and bytes of an Arrow large_string array, rebased to start at 0."""
    if not len(array):
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    _, offset_buffer, data_buffer = array.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None else np.zeros(0, np.uint8)
    data = data[offsets[0] : offsets[-1]]
    return (offsets - offsets[0] if offsets[0] else offsets), data


@dataclass(frozen=True)
class Texts:
    """A batch of questions with their options (flat, with n + 1 list offsets), answers and pictures."""

    question: Strings
    options: Strings
    lists: I64
    answer: Strings
    pictures: U64
    """Of each question's set of images; 0 where there is none."""

    def __post_init__(self) -> None:
        _freeze(self.lists, self.pictures)

    def __len__(self) -> int:
        return len(self.question)


def texts(columns: dict[str, Any], n: int) -> Texts:
    """Arrow arrays of n questions, options (list of string), answers and images, whichever there are, as texts."""
    nothing = Strings(np.zeros(n + 1, np.int64), np.zeros(0, np.uint8))
    options, lists = Strings(np.zeros(1, np.int64), np.zeros(0, np.uint8)), np.zeros(n + 1, np.int64)
    if "options" in columns:
        options, lists = _options(columns["options"])
    question, answer = (strings(columns[name]) if name in columns else nothing for name in ("question", "answer"))
    images = pictures(columns["images"]) if "images" in columns else np.zeros(n, np.uint64)
    return Texts(question, options, lists, answer, images)


def _options(array: Any) -> tuple[Strings, I64]:
    """An Arrow array of lists of strings as one column of strings, and n + 1 offsets into it."""
    import pyarrow as pa

    if array.null_count:
        array = pa.array(array.to_pylist(), pa.large_list(pa.large_string())).fill_null([])
    lists = array.offsets.to_numpy().astype(np.int64)
    return strings(array.values.slice(lists[0], lists[-1] - lists[0])), lists - lists[0]


def pictures(array: Any) -> U64:
    """One number per list of content hashes, equal for the same set of images; 0 where there is none."""
    import polars as pl
    import xxhash

    images = pl.Series(array)
    out = np.zeros(len(images), np.uint64)
    some = (images.list.len().fill_null(0) > 0).arg_true()
    if len(some):
        names = images.gather(some).cast(pl.List(pl.String)).list.unique().list.sort().list.join("\n")
        out[some.to_numpy()] = [xxhash.xxh3_64_intdigest(name.encode()) for name in names.to_list()]
    return out


class Corpus(Protocol):
    """Questions to be looked at more than once, in batches."""

    height: int
    names: tuple[str, ...]
    """Which of `COLUMNS` the rows have."""

    def batches(self, size: int = BATCH, names: Sequence[str] = COLUMNS) -> Iterator[Texts]:
        """All rows, of each only the named columns (the others read as empty)."""
        ...

    def pick(self, wanted: Rows, size: int = BATCH) -> Iterator[Texts]:
        """The texts of the wanted rows, given in ascending order."""
        ...

    def column(self, name: str, wanted: Rows | None = None) -> pl.Series | None:
        """One column (of the wanted rows, given in ascending order), None where there is no such column."""
        ...


def corpus(rows: pl.DataFrame | str | Path) -> Corpus:
    """A frame, or the path of a Parquet file, as a corpus."""
    return FileCorpus(Path(rows)) if isinstance(rows, str | Path) else FrameCorpus(rows)


class FrameCorpus:
    """Rows in memory."""

    def __init__(self, rows: pl.DataFrame) -> None:
        import polars as pl

        self.rows, self.height = rows, rows.height
        kinds = {"options": pl.List(pl.String), "images": pl.List(pl.String)}
        # a column of nothing but nulls or empty lists may have any type, and says nothing
        self.names = tuple(
            name for name in COLUMNS if name in rows.columns and rows[name].dtype == kinds.get(name, pl.String)
        )
        self._texts = rows.select(self.names)

    def batches(self, size: int = BATCH, names: Sequence[str] = COLUMNS) -> Iterator[Texts]:
        some = self._texts.select(name for name in self.names if name in names)
        for start in range(0, self.height, size):
            yield self._arrow(some.slice(start, size), min(size, self.height - start))

    def pick(self, wanted: Rows, size: int = BATCH) -> Iterator[Texts]:
        import polars as pl

        for start in range(0, len(wanted), size):
            rows = wanted[start : start + size]
            # of the stretch that they lie in: gathering from a column of many chunks takes memory for all of them
            some = self._texts.slice(int(rows[0]), int(rows[-1]) - int(rows[0]) + 1)
            if len(some) > len(rows):
                some = some[pl.Series(rows - rows[0])]
            yield self._arrow(some, len(rows))

    @staticmethod
    def _arrow(rows: pl.DataFrame, n: int) -> Texts:
        return texts({column.name: _to_arrow(column) for column in rows.iter_columns()}, n)

    def column(self, name: str, wanted: Rows | None = None) -> pl.Series | None:
        if name not in self.rows.columns:
            return None
        return self.rows[name] if wanted is None else self.rows[name].gather(wanted)


def _to_arrow(column: pl.Series) -> Any:
    """A column as an Arrow array. Of a slice of lists only the slice: `to_arrow` would convert the whole column's values."""
    import polars as pl
    import pyarrow as pa

    if column.dtype != pl.List(pl.String):
        return column.to_arrow()
    lengths = column.list.len().fill_null(0)
    offsets = np.zeros(len(column) + 1, np.int64)
    np.cumsum(lengths.to_numpy(), out=offsets[1:])
    flat = column.filter(lengths > 0).explode() if offsets[-1] else pl.Series([], dtype=pl.String)
    return pa.LargeListArray.from_arrays(pa.array(offsets), flat.to_arrow().cast(pa.large_string()))


class FileCorpus:
    """Rows of a Parquet file, streamed."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self.path = path
        metadata = pq.read_metadata(path)
        self.height = metadata.num_rows
        self._all = metadata.schema.to_arrow_schema().names
        self.names = tuple(name for name in COLUMNS if name in self._all)

    def batches(self, size: int = BATCH, names: Sequence[str] = COLUMNS) -> Iterator[Texts]:
        for batch in self._arrow(size, [name for name in self.names if name in names]):
            yield self._texts(batch)

    def pick(self, wanted: Rows, size: int = BATCH) -> Iterator[Texts]:
        for batch, rows in self._picked(wanted, size, list(self.names)):
            yield self._texts(batch if len(rows) == len(batch) else batch.take(rows))

    def column(self, name: str, wanted: Rows | None = None) -> pl.Series | None:
        import polars as pl

        if name not in self._all:
            return None
        if wanted is None:
            return pl.read_parquet(self.path, columns=[name])[name]
        parts = [pl.Series(batch.column(0).take(rows)) for batch, rows in self._picked(wanted, BATCH, [name])]
        return pl.concat(parts) if parts else pl.Series([], dtype=pl.read_parquet_schema(self.path)[name])

    @staticmethod
    def _texts(batch: Any) -> Texts:
        return texts(dict(zip(batch.schema.names, batch.columns, strict=True)), len(batch))

    def _picked(self, wanted: Rows, size: int, names: list[str]) -> Iterator[tuple[Any, Rows]]:
        """Batches of the file with the positions in them that are wanted."""
        start = 0
        for batch in self._arrow(size, names):
            rows = within(wanted, start, len(batch))
            if len(rows):
                yield batch, rows
            start += len(batch)

    def _arrow(self, size: int, names: list[str]) -> Iterator[Any]:
        import pyarrow.parquet as pq

        # without pre_buffer pages are read as they are wanted, not whole row groups of them
        with pq.ParquetFile(self.path, pre_buffer=False) as file:
            yield from file.iter_batches(size, columns=names, use_threads=False)


class JoinedCorpus:
    """One corpus after the other."""

    def __init__(self, parts: list[Corpus]) -> None:
        self.parts = parts
        self.height = sum(part.height for part in parts)
        self.names = tuple(name for name in COLUMNS if any(name in part.names for part in parts))

    def batches(self, size: int = BATCH, names: Sequence[str] = COLUMNS) -> Iterator[Texts]:
        for part in self.parts:
            yield from part.batches(size, names)

    def pick(self, wanted: Rows, size: int = BATCH) -> Iterator[Texts]:
        start = 0
        for part in self.parts:
            rows = within(wanted, start, part.height)
            if len(rows):
                yield from part.pick(rows, size)
            start += part.height

    def column(self, name: str, wanted: Rows | None = None) -> pl.Series | None:
        import polars as pl

        columns, start = [], 0
        for part in self.parts:
            columns.append(part.column(name, None if wanted is None else within(wanted, start, part.height)))
            start += part.height
        found = [column for column in columns if column is not None]
        return pl.concat(found) if len(found) == len(columns) else None


def within(wanted: Rows, start: int, length: int) -> Rows:
    """Of ascending row numbers those from `start` on, `length` at most, counted from there."""
    # bounds of the same type: searchsorted would otherwise convert all row numbers
    first, last = np.searchsorted(wanted, np.array([start, start + length], wanted.dtype))
    return wanted[first:last] - wanted.dtype.type(start)
