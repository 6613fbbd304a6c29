"""Columns of numbers that arrive in blocks: held in memory up to a budget, beyond it in one temporary file.

    with Store(budget=1 << 28) as store:
        spool = store.spool()
        for rows, hashes in batches: spool.append(rows, hashes)
        for rows, hashes in spool: …
        rows = spool.column(0)

The file has no name (it is unlinked as it is made), so that nothing stays behind however the process ends. It lies where
`tempfile.gettempdir()` says: set TMPDIR for another place.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curator.errors import UsageError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Extent:
    """An array in the file."""

    offset: int
    length: int
    dtype: np.dtype[Any]


class Store:
    """What spools share: a budget of bytes in memory, and the file for what is more."""

    def __init__(self, budget: int) -> None:
        self.budget, self.held, self.written = budget, 0, 0
        # memory is taken only as it is filled; one piece, so that a column can be used without being put together anew
        self.memory = np.empty(budget // 8 * 8, np.uint8)
        self._file: Any = None

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def spool(self) -> Spool:
        return Spool(self)

    def put(self, array: Array) -> Array | Extent:
        if self.held + array.nbytes <= len(self.memory):
            kept = self.memory[self.held : self.held + array.nbytes].view(array.dtype)
            kept[:] = array
            self.held += -(-array.nbytes // 8) * 8
            return kept
        place = Extent(self.written, len(array), array.dtype)
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="curator-", buffering=0)  # noqa: SIM115 (closed by __exit__)
            self._file.seek(self.written)
            left = memoryview(np.ascontiguousarray(array).view(np.uint8).data)
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise UsageError(
                f"cannot keep {(self.written + array.nbytes) / 1e9:.1f} GB of temporary files in {tempfile.gettempdir()}: "
                f"{error.strerror}. Set TMPDIR to a folder with more room."
            ) from None
        self.written += array.nbytes
        return place

    def get(self, kept: Array | Extent) -> Array:
        if not isinstance(kept, Extent):
            return kept
        out = np.empty(kept.length, kept.dtype)
        left = memoryview(out.view(np.uint8).data)
        self._file.seek(kept.offset)
        while left:
            left = left[self._file.readinto(left) :]
        return out


class Spool:
    """Blocks of columns, in the order in which they came."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._blocks: list[list[Array | Extent]] = []
        self.bytes = 0

    @property
    def width(self) -> int:
        """How many columns there are."""
        return len(self._blocks[0]) if self._blocks else 0

    def append(self, *columns: Array) -> None:
        self.bytes += sum(column.nbytes for column in columns)
        self._blocks.append([self._store.put(column) for column in columns])

    def __iter__(self) -> Iterator[list[Array]]:
        for block in self._blocks:
            yield [self._store.get(kept) for kept in block]

    def pieces(self, *columns: int) -> Iterator[list[Array]]:
        """Some columns of each block."""
        for block in self._blocks:
            yield [self._store.get(block[column]) for column in columns]

    def column(self, number: int) -> Array:
        """A whole column; there must be a block."""
        return np.concatenate([piece for (piece,) in self.pieces(number)])

    def stretches(self, number: int) -> tuple[Array, list[int]]:
        """A whole column as stretches of one array: the array, and where in it each block starts."""
        kept = [block[number] for block in self._blocks]
        here = [array for array in kept if not isinstance(array, Extent)]
        if len(here) < len(kept):
            sizes = [array.length if isinstance(array, Extent) else len(array) for array in kept]
            return self.column(number), [0, *np.cumsum(sizes[:-1]).tolist()]
        memory = self._store.memory
        first, size = memory.ctypes.data, here[0].itemsize
        return memory[: len(memory) // size * size].view(here[0].dtype), [(a.ctypes.data - first) // size for a in here]
