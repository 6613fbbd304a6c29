"""Which of our images a benchmark holds too: by bytes, by pixels, and by what they show.

    >>> match(ours, benchmark)                                                           # doctest: +SKIP
    candidate  reference  kind          bits  correlation
    3f0c…      9a41…      image-near    4     0.998

A copy that was resized, recompressed, brightened or cropped by a hair keeps most of its 256 bits (`image_hash`); two
patients' radiographs of the same organ do not. Who is within `MAX_BITS` must also correlate in fine detail.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curator.image_hash import correlation

if TYPE_CHECKING:
    import polars as pl

MAX_BITS = 44
"""Of 256. On VQA-RAD's real images (docs/images.md): copies resized or recompressed differ by at most 8, the nearest of
16,279 pairs of different patients with the same organ by 68; cropped by 1 % a side, by at most 42."""
MIN_CORRELATION = 0.9
"""Of the details. Same images: resized, recompressed and brightened copies at least .97, different patients at most .87,
whatever their bits."""
COMPILED_FROM = 400_000_000
"""Pairs of hashes from which compiled code pays for compiling it: numpy looks at 90 million a second."""
_WORDS = 4
_KINDS = ("image-bytes", "image-pixels", "image-near")


def match(
    candidates: pl.DataFrame,
    references: pl.DataFrame,
    *,
    max_bits: int = MAX_BITS,
    min_correlation: float = MIN_CORRELATION,
) -> pl.DataFrame:
    """Pairs of images that are the same picture, each once with its strongest evidence.

    Args:
        candidates, references: columns sha256, original_sha256, pixel_sha256, phash, detail of `images.ImageRow`; rows
            that repeat an image count once, null or empty hashes match nothing.
        max_bits: largest Hamming distance of two 256-bit hashes.
        min_correlation: smallest correlation of two details.

    Returns:
        candidate, reference (sha256), kind (image-bytes: the stored or the original files are equal; image-pixels: the
        decoded pixels are; image-near), bits, correlation (null where there is no hash), sorted.
    """
    import polars as pl

    ours, theirs = (
        frame.select("sha256", "original_sha256", "pixel_sha256", "phash", "detail")
        .filter(pl.col("sha256").is_not_null() & (pl.col("sha256") != ""))
        .unique("sha256", maintain_order=True)
        .with_row_index("row")
        for frame in (candidates, references)
    )
    found = [
        _equal(ours, theirs, ("sha256", "original_sha256"), 0),
        _equal(ours, theirs, ("pixel_sha256",), 1),
        _near(ours, theirs, max_bits, min_correlation),
    ]
    pairs = pl.concat(found).sort("rank").unique(["ours", "theirs"], keep="first", maintain_order=True)
    left, right = pairs["ours"].to_numpy(), pairs["theirs"].to_numpy()
    bits, correlations = _compare(ours, theirs, left, right)
    hashed = pl.Series((bits >= 0).astype(bool))
    return pl.DataFrame(
        {
            "candidate": ours["sha256"].gather(left),
            "reference": theirs["sha256"].gather(right),
            "kind": pl.Series([_KINDS[rank] for rank in pairs["rank"]], dtype=pl.String),
            "bits": pl.Series(bits, dtype=pl.Int32).zip_with(hashed, pl.Series([None], dtype=pl.Int32)),
            "correlation": pl.Series(correlations, dtype=pl.Float32).zip_with(
                hashed, pl.Series([None], dtype=pl.Float32)
            ),
        }
    ).sort("candidate", "reference")


def _equal(ours: pl.DataFrame, theirs: pl.DataFrame, columns: tuple[str, ...], rank: int) -> pl.DataFrame:
    """Pairs of rows that share a hash in any of `columns`, whichever of them it is on either side."""
    import polars as pl

    left, right = (
        pl.concat([frame.select(name="row", hash=column) for column in columns])
        .filter(pl.col("hash").is_not_null() & (pl.col("hash") != ""))
        .unique()
        for frame in (ours, theirs)
    )
    joined = left.join(right, on="hash", suffix="_right")
    return _pairs(joined["name"].to_numpy(), joined["name_right"].to_numpy(), rank)


def _near(ours: pl.DataFrame, theirs: pl.DataFrame, max_bits: int, min_correlation: float) -> pl.DataFrame:
    """Pairs of rows whose hashes are within `max_bits` and whose details confirm it."""
    left_rows, left = _hashes(ours)
    right_rows, right = _hashes(theirs)
    if not len(left_rows) or not len(right_rows):
        return _pairs(np.zeros(0, np.uint32), np.zeros(0, np.uint32), 2)
    kept: list[tuple[NDArray[np.uint32], NDArray[np.uint32]]] = []
    for i, j in _within(left, right, max_bits):
        a, b = left_rows[i], right_rows[j]
        sure = _compare(ours, theirs, a, b)[1] >= min_correlation
        kept.append((a[sure], b[sure]))
    return _pairs(np.concatenate([a for a, _ in kept]), np.concatenate([b for _, b in kept]), 2)


def _pairs(left: NDArray[np.uint32], right: NDArray[np.uint32], rank: int) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(
        {"ours": pl.Series(left, dtype=pl.UInt32), "theirs": pl.Series(right, dtype=pl.UInt32)}
    ).with_columns(rank=pl.lit(rank, pl.Int8))


def _hashes(frame: pl.DataFrame) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    """The rows that have a hash, and their hashes as four 64-bit words each."""
    import polars as pl

    some = frame.filter(pl.col("phash").bin.size() == 8 * _WORDS)
    words = np.frombuffer(b"".join(some["phash"]), np.uint64).reshape(-1, _WORDS)
    return some["row"].to_numpy(), words


def _compare(
    ours: pl.DataFrame, theirs: pl.DataFrame, left: NDArray[np.uint32], right: NDArray[np.uint32]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Differing bits (-1 without hashes) and correlation of details (0 where one has none) of the rows `left`, `right`."""
    bits = np.full(len(left), -1, np.int64)
    correlations = np.zeros(len(left))
    a_hash, b_hash, a_detail, b_detail = (
        frame[column].gather(rows).to_list()
        for column in ("phash", "detail")
        for frame, rows in ((ours, left), (theirs, right))
    )
    for n, (a, b, da, db) in enumerate(zip(a_hash, b_hash, a_detail, b_detail, strict=True)):
        if a and b and len(a) == len(b):
            bits[n] = (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).bit_count()
        correlations[n] = correlation(da or b"", db or b"")
    return bits, correlations


def _within(
    left: NDArray[np.uint64], right: NDArray[np.uint64], max_bits: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Index pairs of hashes within `max_bits`: every pair is looked at, so none is missed."""
    if len(left) * len(right) >= COMPILED_FROM:
        yield from _within_compiled(left, right, max_bits)
        return
    step = max(1, (1 << 20) // len(right))
    for start in range(0, len(left), step):
        block = left[start : start + step]
        distance = np.zeros((len(block), len(right)), np.uint16)
        for word in range(_WORDS):
            distance += np.bitwise_count(block[:, word, None] ^ right[None, :, word])
        i, j = np.nonzero(distance <= max_bits)
        yield i + start, j


def _within_compiled(
    left: NDArray[np.uint64], right: NDArray[np.uint64], max_bits: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    from curator.image_match_compiled import scan

    columns = np.ascontiguousarray(right.T)
    for start in range(0, len(left), 1024):
        found = scan(left[start : start + 1024], columns, np.uint64(max_bits))
        yield found[:, 0] + start, found[:, 1]
