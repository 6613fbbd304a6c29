"""Which question stands for which: MinHash candidates, exact Jaccard similarity, greedy leaders.

A row is removed only by a row that stays and comes before it; of several, by the most similar one, then the preferred one.
Small inputs take a plain path, large ones compiled code; both compute the same hashes, so both give the same answer.
Rows with pictures and options of their own resemble no other, and are set aside before any question is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from curator import shingles
from curator.shingles import U32
from curator.spool import Spool, Store
from curator.texts import BATCH, I64, U8, U64, Corpus, Rows, Texts

F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]
ROOM = 1 << 24
"""Shingles of a batch that find room without new memory, of which only what is used is ever touched."""

COMPILED_FROM = 30_000
"""Rows from which on loading (or once compiling) the kernels pays."""
BUDGET = 1 << 28
"""Bytes of shingle sets and hashes in memory; what is more lies in a temporary file and is judged part by part."""


@dataclass(frozen=True)
class Signed:
    """What is known of each row of a batch after reading its texts."""

    keys: U32
    """(bands, n)."""
    scope: U64
    """Of pictures, options and answer: two rows of different scope are never duplicates."""
    question: U64
    stem: U64
    """Of pictures, question and options: rows with equal stems and different answers are in conflict."""
    answer: U64
    sizes: U32
    sets: U64
    """The shingles of each row, `sizes` of them, one row after the other."""


@dataclass(frozen=True)
class Found:
    """Rows that go, ascending, each with the row that it goes for, and rows in conflict."""

    removed: I64
    leader: I64
    jaccard: F64
    same: Bools
    """Whether the words of the two questions are the same."""
    first: I64
    second: I64
    """Pairs of rows with the same pictures, question and options but different answers."""


def sign(batch: Texts, bands: int, *, compiled: bool, room: U64 | None = None) -> Signed:
    """Band keys, digests and shingles of a batch: repeated ones within a row on the plain path, different ones on the other.

    `room` is where compiled code may write the shingles, if it is large enough.
    """
    n = len(batch)
    if not compiled:
        made = shingles.shingle(batch)
        digests = made.digests
        substance = shingles.mix(batch.pictures + shingles.mix(digests.options))
        scope = shingles.mix(substance + digests.answer)
        keys = shingles.band_keys(made.hashes, made.offsets, scope, bands).T
        stem = shingles.mix(substance ^ digests.question)
        sizes = np.diff(made.offsets).astype(np.uint32)
        return Signed(keys, scope, digests.question, stem, digests.answer, sizes, made.hashes)
    from curator import shingles_compiled as kernels

    keys, sizes = np.empty((bands, n), np.uint32), np.empty(n, np.uint32)
    scope, question, stem, answer = (np.empty(n, np.uint64) for _ in range(4))
    most = len(batch.question.data) + len(batch.options.data) + n
    sets = np.empty(most, np.uint64) if room is None or len(room) < most else room
    used = kernels.sign(
        *buffers(batch), batch.answer.offsets, batch.answer.data, batch.pictures, *kernels.tables(),
        keys, sizes, scope, question, stem, answer, sets,
    )  # fmt: skip
    return Signed(keys, scope, question, stem, answer, sizes, sets[:used])


def buffers(batch: Texts) -> tuple[I64, U8, I64, U8, I64]:
    """Questions and options of a batch as the kernels take them."""
    return batch.question.offsets, batch.question.data, batch.options.offsets, batch.options.data, batch.lists


def leaders(
    corpus: Corpus,
    ranks: I32 | None,
    known: int,
    threshold: float,
    *,
    compiled: bool | None = None,
    budget: int = BUDGET,
) -> Found:
    """Which rows go, and for which.

    Args:
        corpus: the rows.
        ranks: how far each row is preferred (lowest first; of equals the earlier one); none: in their order.
        known: the first so many rows, which have the lowest ranks, stay, whatever they resemble.
        threshold: Jaccard similarity from which on a row is removed.
        compiled: which path; by default the compiled one from `COMPILED_FROM` rows on.
        budget: see `BUDGET`.
    """
    if compiled is None:
        compiled = corpus.height >= COMPILED_FROM
    find = _compiled_leaders if compiled else _plain_leaders
    return find(corpus, ranks, known, threshold, budget)


def _order(ranks: I32 | None, rows: Rows) -> I64:
    """Positions of `rows`, the preferred first."""
    return np.arange(len(rows)) if ranks is None else np.argsort(ranks[rows], kind="stable")


def _plain_leaders(corpus: Corpus, ranks: I32 | None, known: int, threshold: float, budget: int) -> Found:
    n, bands = corpus.height, shingles.bands(threshold)
    if not n:
        return _found([], [])
    batches = [sign(batch, bands, compiled=False) for batch in corpus.batches(BATCH // 2)]
    keys = np.concatenate([batch.keys for batch in batches], axis=1)
    scope, question, stem, answer = (
        np.concatenate([getattr(batch, name) for batch in batches]) for name in ("scope", "question", "stem", "answer")
    )
    shared = np.zeros((n, bands), bool)
    for band in range(bands):
        _, inverse, count = np.unique(keys[band], return_inverse=True, return_counts=True)
        shared[:, band] = count[inverse] > 1
    active = np.asarray(shared.any(axis=1))
    sets = _sets(batches, active)
    rows = np.arange(n)
    priority = _order(ranks, rows)
    rank = np.empty(n, np.int64)
    rank[priority] = rows
    leader, jaccard = np.full(n, -1, np.int64), np.zeros(n)
    kept: list[dict[int, list[int]]] = [{} for _ in range(bands)]
    for row in priority[active[priority]].tolist():
        mine = sets[row]
        places = [(band, int(keys[band, row])) for band in np.flatnonzero(shared[row]).tolist()]
        best, best_jaccard = -1, 0.0
        others = {other for band, key in places for other in kept[band].get(key, ())} if row >= known else set()
        for other in others:
            if scope[other] != scope[row]:
                continue
            both = len(mine & sets[other])
            found = both / (len(mine) + len(sets[other]) - both)
            if found >= threshold and (found, -rank[other]) > (best_jaccard, -rank[best] if best >= 0 else -n):
                best, best_jaccard = other, found
        if best >= 0:
            leader[row], jaccard[row] = best, best_jaccard
        else:
            for band, key in places:
                kept[band].setdefault(key, []).append(row)
    removed = np.flatnonzero(leader >= 0)
    near = (removed, leader[removed], jaccard[removed], question[removed] == question[leader[removed]])
    return _found([near], [conflicts(rows, stem, answer, ranks)])


def _sets(batches: list[Signed], wanted: Bools) -> dict[int, set[int]]:
    """The sets of shingle hashes of the wanted rows."""
    out: dict[int, set[int]] = {}
    start = 0
    for batch in batches:
        values = batch.sets.tolist()
        ends = np.cumsum(batch.sizes, dtype=np.int64)
        for i in np.flatnonzero(wanted[start : start + len(ends)]).tolist():
            out[start + i] = set(values[ends[i] - batch.sizes[i] : ends[i]])
        start += len(ends)
    return out


def _found(near: list[tuple[Any, ...]], pairs: list[tuple[I64, I64]]) -> Found:
    removed, leader, jaccard, same = (
        np.concatenate([np.zeros(0, kind), *(part[i] for part in near)])
        for i, kind in enumerate((np.int64, np.int64, np.float64, np.bool_))
    )
    order = np.argsort(removed)
    first, second = (np.concatenate([np.zeros(0, np.int64), *(part[i] for part in pairs)]) for i in range(2))
    return Found(removed[order], leader[order], jaccard[order], same[order], first, second)


def conflicts(rows: Rows, stem: U64, answer: U64, ranks: I32 | None) -> tuple[I64, I64]:
    """Rows with equal stems and different answers, each with the first such row of another answer, by stem."""
    first: list[int] = []
    second: list[int] = []
    if len(rows):
        order = _order(ranks, rows)
        order = order[np.argsort(stem[order], kind="stable")]
        stems, answers = stem[order], answer[order]
        starts = np.flatnonzero(np.concatenate([[True], stems[1:] != stems[:-1]]))
        ends = np.append(starts[1:], len(order))
        differ = np.minimum.reduceat(answers, starts) != np.maximum.reduceat(answers, starts)
        for start, end in zip(starts[differ].tolist(), ends[differ].tolist(), strict=True):
            members, keys = rows[order[start:end]].tolist(), answers[start:end].tolist()
            other = next(member for member, key in zip(members, keys, strict=True) if key != keys[0])
            first += [members[0] if key != keys[0] else other for key in keys[1:]]
            second += members[1:]
    return np.array(first, np.int64), np.array(second, np.int64)


# -- compiled ----------------------------------------------------------------------------------------------------------

ROWS, SIZES, SCOPE, QUESTION, SETS, KEYS = range(6)
"""Columns of a spool of candidates; from KEYS on one of each band."""


def _compiled_leaders(corpus: Corpus, ranks: I32 | None, known: int, threshold: float, budget: int) -> Found:
    bands = shingles.bands(threshold)
    wanted = _of_repeated_substance(corpus)
    if not len(wanted):
        return _found([], [])
    with Store(budget) as store:
        candidates, stems = store.spool(), store.spool()
        start, room = 0, np.empty(ROOM, np.uint64)
        for batch in corpus.pick(wanted, BATCH // 2):
            made = sign(batch, bands, compiled=True, room=room)
            rows = wanted[start : start + len(batch)]
            stems.append(rows, made.stem, made.answer)
            candidates.append(rows, made.sizes, made.scope, made.question, made.sets, *made.keys)
            start += len(batch)
        pairs = list(_conflicts(stems, ranks, budget))
        near = [_judge(part, ranks, known, threshold) for part in _parts(store, candidates, len(wanted), bands)]
    return _found(near, pairs)


def _of_repeated_substance(corpus: Corpus) -> I32:
    """Rows whose pictures and options another row may have too: all others are neither duplicates nor in conflict.

    Takes 4 bytes a row, and 4 to 8 while bitmaps are looked through, in which one row in 16 to 32 passes by chance.
    """
    from curator import leaders_compiled, shingles_compiled

    n = corpus.height
    names = [name for name in ("options", "images") if name in corpus.names]
    if not names:
        return np.arange(n, dtype=np.int32)
    classes, values, _, _ = shingles_compiled.tables()
    substance = np.empty(n, np.uint32)
    start = 0
    for batch in corpus.batches(names=names):
        _, _, *options = buffers(batch)
        shingles_compiled.substances(*options, batch.pictures, classes, values, start, substance)
        start += len(batch)
    bits = min(31, max(10, n.bit_length() + 4))
    once, twice = np.zeros((1 << bits) // 64, np.uint64), np.zeros((1 << bits) // 64, np.uint64)
    out = np.empty(n, np.int32)
    return out[: leaders_compiled.repeated(substance, bits, once, twice, out)].copy()


def _conflicts(stems: Spool, ranks: I32 | None, budget: int) -> Iterator[tuple[I64, I64]]:
    """Conflicts, by ranges of stems that fit the budget."""
    for low, high in _ranges(stems.bytes, budget, 64):
        parts = []
        for rows, stem, answer in stems:
            here = (stem >= low) & (stem <= high)
            parts.append((rows[here], stem[here], answer[here]))
        rows, stem, answer = (np.concatenate(column) for column in zip(*parts, strict=True))
        yield conflicts(rows, stem, answer, ranks)


def _ranges(size: int, budget: int, bits: int) -> list[tuple[np.unsignedinteger[Any], np.unsignedinteger[Any]]]:
    """So many equal ranges (inclusive) of hashes that of `size` bytes spread over them each has at most the budget."""
    number, kind = -(-size // budget), np.uint32 if bits == 32 else np.uint64
    edges = [(i << bits) // number for i in range(number + 1)]
    return [(kind(low), kind(high - 1)) for low, high in pairwise(edges)]


def _parts(store: Store, candidates: Spool, n: int, bands: int) -> Iterator[Spool]:
    """The candidates, all at once or in parts that fit the budget: rows that share a band key, directly or through others, stay together."""
    from curator import leaders_compiled as kernels

    if candidates.bytes <= store.budget:
        yield candidates
        return
    parent = np.arange(n, dtype=np.int32)
    for band in range(bands):
        for low, high in _ranges(8 * n, store.budget, 32):
            found, start = [], 0
            for (keys,) in candidates.pieces(KEYS + band):
                here = np.flatnonzero((keys >= low) & (keys <= high))
                found.append(_packed(keys[here], here + start))
                start += len(keys)
            packed = np.concatenate(found)
            packed.sort()
            kernels.unite(packed, parent)
    most = max(1, n * (store.budget // 2) // candidates.bytes)
    parts = [store.spool() for _ in range(kernels.divide(parent, np.zeros(n, np.int32), most))]
    start = 0
    for block in candidates:
        part = parent[start : start + len(block[ROWS])]
        start += len(part)
        ends = np.cumsum(block[SIZES], dtype=np.int64)
        for number in np.unique(part[part >= 0]).tolist():
            here = np.flatnonzero(part == number)
            sets = _gather_runs(block[SETS], ends[here] - block[SIZES][here], block[SIZES][here])
            columns = [column[here] for column in block]
            columns[SETS] = sets
            parts[number].append(*columns)
    yield from parts


def _packed(keys: U32, rows: Rows) -> U64:
    return (keys.astype(np.uint64) << np.uint64(32)) | rows.astype(np.uint64)


def _gather_runs(values: U64, starts: I64, sizes: U32) -> U64:
    """Runs of `values`, one after the other."""
    ends = np.cumsum(sizes, dtype=np.int64)
    out: U64 = values[np.arange(ends[-1]) + np.repeat(starts - ends + sizes, sizes)]
    return out


def _judge(part: Spool, ranks: I32 | None, known: int, threshold: float) -> tuple[I64, I64, F64, Bools]:
    """Greedy leaders among candidates: rows that go, the rows they go for, similarities, whether the questions are the same."""
    from curator import leaders_compiled as kernels

    rows, sizes, scope, question = (part.column(i) for i in (ROWS, SIZES, SCOPE, QUESTION))
    sets, blocks = part.stretches(SETS)
    starts = np.concatenate(
        [at + np.cumsum(size, dtype=np.int64) - size for at, (size,) in zip(blocks, part.pieces(SIZES), strict=True)]
    )
    n = len(rows)
    order = _order(ranks, rows)
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    members, numbers, bucket = [], [], 0
    for band in range(KEYS, part.width):
        packed = _packed(part.column(band), place)
        packed.sort()
        member, number = np.empty(n, np.int32), np.empty(n, np.int32)
        bucket, used = kernels.runs(packed, bucket, member, number, 0)
        members.append(member[:used].copy())
        numbers.append(number[:used].copy())
    offsets, buckets = kernels.by_row(n, np.concatenate(members), np.concatenate(numbers))
    starts = starts[order]
    ends = starts + sizes[order]
    heads = np.full(bucket, -1, np.int32)
    leader, jaccard = np.empty(n, np.int64), np.empty(n)
    rows, scope, question = rows[order], scope[order], question[order]
    kernels.leaders(rows < known, scope, offsets, buckets, heads, sets, starts, ends, threshold, leader, jaccard)
    gone = np.flatnonzero(leader >= 0)
    leader = leader[gone]
    return rows[gone], rows[leader], jaccard[gone], question[gone] == question[leader]
