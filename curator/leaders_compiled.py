"""The kernels behind large inputs: from keys to candidates, from candidates to leaders (`leaders.py`).

Pairs (key, row) are packed into 64 bits, the key in the upper half, so that sorting brings equal keys together.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from curator.shingles_compiled import held, table_size

_U = np.uint64
_32 = _U(32)


@njit(cache=True, nogil=True)
def repeated(keys, bits, once, twice, out):  # type: ignore[no-untyped-def]
    """The rows of keys whose leading bits occur twice, into `out`; how many. The bitmaps come zeroed."""
    shift = np.uint32(32 - bits)
    for row in range(len(keys)):
        slot = keys[row] >> shift
        word, bit = slot >> np.uint32(6), _U(1) << _U(slot & np.uint32(63))
        if once[word] & bit:
            twice[word] |= bit
        else:
            once[word] |= bit
    count = 0
    for row in range(len(keys)):
        slot = keys[row] >> shift
        if twice[slot >> np.uint32(6)] & (_U(1) << _U(slot & np.uint32(63))):
            out[count] = row
            count += 1
    return count


@njit(cache=True, nogil=True)
def runs(packed, bucket, rows, buckets, at):  # type: ignore[no-untyped-def]
    """Rows and numbers of the runs of equal keys in sorted (key, row) pairs; next bucket number and next position."""
    i = 0
    while i < len(packed):
        j = i + 1
        while j < len(packed) and packed[j] >> _32 == packed[i] >> _32:
            j += 1
        if j - i > 1:
            for k in range(i, j):
                rows[at], buckets[at] = np.uint32(packed[k]), bucket
                at += 1
            bucket += 1
        i = j
    return bucket, at


@njit(cache=True, nogil=True)
def by_row(n, rows, buckets):  # type: ignore[no-untyped-def]
    """(row, bucket) pairs as n + 1 offsets and the buckets of each of n rows."""
    offsets = np.zeros(n + 1, np.int64)
    for row in rows:
        offsets[row + 1] += 1
    for row in range(n):
        offsets[row + 1] += offsets[row]
    at = offsets[:-1].copy()
    out = np.empty(len(rows), np.int32)
    for i in range(len(rows)):
        out[at[rows[i]]] = buckets[i]
        at[rows[i]] += 1
    return offsets, out


@njit(cache=True, inline="always")
def _root(parent, row):  # type: ignore[no-untyped-def]
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = parent[row]
    return row


@njit(cache=True, nogil=True)
def unite(packed, parent):  # type: ignore[no-untyped-def]
    """Join the rows of equal keys in sorted (key, row) pairs; the smallest row of a component is its root."""
    for i in range(1, len(packed)):
        if packed[i] >> _32 == packed[i - 1] >> _32:
            a, b = _root(parent, np.uint32(packed[i - 1])), _root(parent, np.uint32(packed[i]))
            parent[max(a, b)] = min(a, b)


@njit(cache=True, nogil=True)
def divide(parent, count, most):  # type: ignore[no-untyped-def]
    """Turn roots into part numbers (-1: alone): whole components, `most` rows a part unless one has more; how many parts.

    `count` comes zeroed.
    """
    for row in range(len(parent)):
        parent[row] = _root(parent, row)
        count[parent[row]] += 1
    part, filled = 0, 0
    for row in range(len(parent)):
        size = count[row]
        if size > 1:
            if filled and filled + size > most:
                part, filled = part + 1, 0
            filled += size
            count[row] = part
        elif size == 1:
            count[row] = -1
    for row in range(len(parent)):
        parent[row] = count[parent[row]]
    return part + 1 if filled else 0


@njit(cache=True, nogil=True)
def leaders(known, scopes, bucket_offsets, bucket_ids, heads, sets, starts, ends, threshold, leader, jaccard):  # type: ignore[no-untyped-def]
    """Greedy leaders among texts, which come the preferred first.

    Args:
        known, scopes: of each text; known ones are never judged.
        bucket_offsets, bucket_ids: which buckets each text is in.
        heads: per bucket the newest entry of its list of leaders, -1 at first.
        sets, starts, ends: the different shingles of each text are sets[start:end].
        leader, jaccard: out, the text that removes each one (-1: it stays) and the similarity.
    """
    entries = len(bucket_ids)
    next_entry, entry_text = np.empty(entries, np.int32), np.empty(entries, np.int32)
    used = 0
    seen = np.full(len(known), -1, np.int32)
    table = np.empty(table_size((ends - starts).max()), np.uint64)
    stamps = np.full(len(table), -1, np.int32)
    for text in range(len(known)):
        best, best_jaccard = -1, 0.0
        start, end = starts[text], ends[text]
        size = end - start
        filled = False
        if not known[text]:
            for b in range(bucket_offsets[text], bucket_offsets[text + 1]):
                entry = heads[bucket_ids[b]]
                while entry >= 0:
                    other = entry_text[entry]
                    entry = next_entry[entry]
                    if seen[other] == text:
                        continue
                    seen[other] = text
                    if scopes[other] != scopes[text]:
                        continue
                    theirs = ends[other] - starts[other]
                    both = size + theirs
                    # shared / (both - shared) >= threshold wants at least so many shared, so few foreign
                    least = threshold / (1.0 + threshold) * both - 1e-6
                    if size < least:
                        continue
                    if not filled:
                        for i in range(start, end):
                            slot = held(sets[i], table, stamps, text)
                            table[slot], stamps[slot] = sets[i], text
                        filled = True
                    foreign = 0
                    for i in range(starts[other], ends[other]):
                        if stamps[held(sets[i], table, stamps, text)] != text:
                            foreign += 1
                            if theirs - foreign < least:
                                break
                    shared = theirs - foreign
                    found = shared / (both - shared)
                    if found >= threshold and (found > best_jaccard or (found == best_jaccard and other < best)):
                        best, best_jaccard = other, found
        leader[text], jaccard[text] = best, best_jaccard
        if best < 0:
            for b in range(bucket_offsets[text], bucket_offsets[text + 1]):
                entry_text[used], next_entry[used] = text, heads[bucket_ids[b]]
                heads[bucket_ids[b]] = used
                used += 1
