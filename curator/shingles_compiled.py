"""The kernels behind large inputs: what `shingles.py` computes with numpy, in one pass over the bytes of each text.

Compiled by numba on first use (a few seconds) and cached on disk. Every hash equals the one of the plain path, bit for
bit; tests compare them. Texts come as Arrow buffers: offsets and UTF-8 bytes, in NFKC and, beyond ASCII, lower case.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from curator import shingles

_U = np.uint64
_WORD_BASE = _U(shingles.WORD_BASE)
_POWERS = shingles.byte_powers()
_OLDEST = _U(pow(shingles.WORD_BASE, shingles.SHINGLE, 1 << 64))
_GOLDEN, _MIX1, _MIX2 = _U(0x9E3779B97F4A7C15), _U(0xBF58476D1CE4E5B9), _U(0x94D049BB133111EB)
_30, _27, _31, _32, _0 = _U(30), _U(27), _U(31), _U(32), _U(0)
_SIZE, _HASHES = shingles.SHINGLE, shingles.HASHES


def tables() -> tuple[Any, Any, Any, Any]:
    """What the kernels look things up in: classes of code points, values of bytes, and MinHash's permutations."""
    multipliers, additions = shingles.permutations()
    return shingles.classes(), shingles.byte_values(), multipliers, additions


@njit(cache=True, inline="always")
def _mix(x):  # type: ignore[no-untyped-def]
    x = x + _GOLDEN
    x = (x ^ (x >> _30)) * _MIX1
    x = (x ^ (x >> _27)) * _MIX2
    return x ^ (x >> _31)


@njit(cache=True)
def _words(data, start, end, classes, values, out, at):  # type: ignore[no-untyped-def]
    """Append the word hashes of one text to `out` from `at` on; the position after the last."""
    first = at
    value, length = _0, 0
    i = start
    while i < end:
        byte = data[i]
        size = 1
        if byte < 128:
            kind = classes[byte]
            if kind == 1:
                value += values[byte] * _POWERS[length & 63]
                length += 1
                i += 1
                continue
            if (
                (byte == 45 or byte == 46)
                and i + 1 < end
                and 48 <= data[i + 1] <= 57
                and (i == start or data[i - 1] <= 32 or data[i - 1] == 40)
            ):
                kind = 2
        else:
            if byte < 0xE0:
                size, point = 2, byte & 0x1F
            elif byte < 0xF0:
                size, point = 3, byte & 0x0F
            else:
                size, point = 4, byte & 0x07
            for j in range(1, size):
                point = (point << 6) | (data[i + j] & 0x3F)
            kind = classes[point] if point < 0x10000 else (1 if point < 0x1F000 else (2 if point < 0x40000 else 0))
            if kind == 1:
                for j in range(size):
                    value += values[data[i + j]] * _POWERS[(length + j) & 63]
                length += size
                i += size
                continue
        if length:
            out[at] = _mix(value + _U(length))
            at += 1
            value, length = _0, 0
        if kind == 2:
            for j in range(size):
                value += values[data[i + j]] * _POWERS[j]
            out[at] = _mix(value + _U(size))
            at += 1
            value = _0
        i += size
    if length:
        out[at] = _mix(value + _U(length))
        at += 1
    if at == first:
        value, length = _0, 0
        for i in range(start, end):
            if data[i] > 32:
                value += values[data[i]] * _POWERS[length & 63]
                length += 1
        if length:
            out[at] = _mix(value + _U(length))
            at += 1
    return at


@njit(cache=True, inline="always")
def _sequence(hashes, start, end):  # type: ignore[no-untyped-def]
    if start == end:
        return _0
    value = _0
    for i in range(start, end):
        value = value * _WORD_BASE + hashes[i]
    return _mix(value + _U(end - start))


@njit(cache=True)
def _text(row, q_offsets, q_data, o_offsets, o_data, lists, classes, values, words, spare, part_hash, part_at):  # type: ignore[no-untyped-def]
    """The words of one question and its options in final order, in `words`.

    Returns how many words there are, how many of them are the question's, and the hashes of question and option set.
    """
    asked = _words(q_data, q_offsets[row], q_offsets[row + 1], classes, values, words, 0)
    question = _sequence(words, 0, asked)
    first, last = lists[row], lists[row + 1]
    if first == last:
        return asked, asked, question, _0
    at, count = 0, 0
    for option in range(first, last):
        end = _words(o_data, o_offsets[option], o_offsets[option + 1], classes, values, spare, at)
        value = _sequence(spare, at, end)
        # insertion by hash; equal ones keep their order
        place = count
        while place > 0 and part_hash[place - 1] > value:
            part_hash[place] = part_hash[place - 1]
            part_at[place, 0] = part_at[place - 1, 0]
            part_at[place, 1] = part_at[place - 1, 1]
            place -= 1
        part_hash[place] = value
        part_at[place, 0], part_at[place, 1] = at, end
        count += 1
        at = end
    total, options = asked, _0
    for part in range(count):
        if part == 0 or part_hash[part] != part_hash[part - 1]:
            options = options + _mix(part_hash[part])
        for i in range(part_at[part, 0], part_at[part, 1]):
            words[total] = spare[i]
            total += 1
    return total, asked, question, _mix(options)


@njit(cache=True)
def _windows(words, total, out):  # type: ignore[no-untyped-def]
    """The shingle hashes of one text into `out`; how many."""
    if total < _SIZE:
        value = _0
        for i in range(total):
            value = value * _WORD_BASE + words[i]
        out[0] = _mix(value + _U(total))
        return 1
    value = _0
    for i in range(_SIZE):
        value = value * _WORD_BASE + words[i]
    out[0] = _mix(value + _U(_SIZE))
    for i in range(_SIZE, total):
        value = value * _WORD_BASE + words[i] - words[i - _SIZE] * _OLDEST
        out[i - _SIZE + 1] = _mix(value + _U(_SIZE))
    return total - _SIZE + 1


@njit(cache=True)
def _room(q_offsets, o_offsets, lists):  # type: ignore[no-untyped-def]
    """The most bytes that one row's texts have, and the most options."""
    most, parts = 0, 0
    for row in range(len(q_offsets) - 1):
        size = q_offsets[row + 1] - q_offsets[row] + o_offsets[lists[row + 1]] - o_offsets[lists[row]]
        most = max(most, size)
        parts = max(parts, lists[row + 1] - lists[row])
    return most, parts


@njit(cache=True, inline="always")
def held(value, table, stamps, stamp):  # type: ignore[no-untyped-def]
    """The slot of a value in an open-addressing table, or of the free slot where it belongs (stamped otherwise)."""
    mask = len(table) - 1
    slot = np.int64(value & _U(mask))
    while stamps[slot] == stamp and table[slot] != value:
        slot = (slot + 1) & mask
    return slot


@njit(cache=True)
def table_size(most):  # type: ignore[no-untyped-def]
    size = 64
    while size < 2 * most + 2:
        size *= 2
    return size


@njit(cache=True, nogil=True)
def substances(o_offsets, o_data, lists, pictures, classes, values, start, out):  # type: ignore[no-untyped-def]
    """32 bits of the substance (pictures and options) of each row of one batch, into `out` from `start` on."""
    words = np.empty(_longest(o_offsets) + 1, np.uint64)
    n = len(lists) - 1
    most = 0
    for row in range(n):
        most = max(most, lists[row + 1] - lists[row])
    hashes = np.empty(most + 1, np.uint64)
    for row in range(n):
        first = lists[row]
        for option in range(first, lists[row + 1]):
            end = _words(o_data, o_offsets[option], o_offsets[option + 1], classes, values, words, 0)
            value = _sequence(words, 0, end)
            place = option - first
            while place > 0 and hashes[place - 1] > value:
                hashes[place] = hashes[place - 1]
                place -= 1
            hashes[place] = value
        options = _0
        for i in range(lists[row + 1] - first):
            if i == 0 or hashes[i] != hashes[i - 1]:
                options = options + _mix(hashes[i])
        if lists[row + 1] > first:
            options = _mix(options)
        out[start + row] = np.uint32(_mix(pictures[row] + _mix(options)) >> _32)


@njit(cache=True)
def _longest(offsets):  # type: ignore[no-untyped-def]
    longest = 0
    for i in range(len(offsets) - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    return longest


@njit(cache=True, nogil=True)
def sign(  # type: ignore[no-untyped-def]
    q_offsets, q_data, o_offsets, o_data, lists, a_offsets, a_data, pictures, classes, values, multipliers, additions,
    keys, sizes, scopes, questions, stems, answers, sets,
):  # fmt: skip
    """Band keys, digests and different shingles (all sets one after the other, and their sizes) of one batch.

    Returns how many shingles there are in all.
    """
    most, parts = _room(q_offsets, o_offsets, lists)
    words, spare = np.empty(max(most, _longest(a_offsets)) + 1, np.uint64), np.empty(most + 1, np.uint64)
    grams = np.empty(most + 1, np.uint64)
    part_hash, part_at = np.empty(parts + 1, np.uint64), np.empty((parts + 1, 2), np.int64)
    table = np.empty(table_size(most), np.uint64)
    stamps = np.full(len(table), -1, np.int32)
    minima = np.empty(_HASHES, np.uint32)
    bands = len(keys)
    rows = _HASHES // bands
    at = 0
    for row in range(len(q_offsets) - 1):
        end = _words(a_data, a_offsets[row], a_offsets[row + 1], classes, values, words, 0)
        answer = _sequence(words, 0, end)
        total, _, question, options = _text(
            row, q_offsets, q_data, o_offsets, o_data, lists, classes, values, words, spare, part_hash, part_at
        )
        first = at
        for i in range(_windows(words, total, grams)):
            slot = held(grams[i], table, stamps, row)
            if stamps[slot] != row:
                table[slot], stamps[slot] = grams[i], row
                sets[at] = grams[i]
                at += 1
        sizes[row] = at - first
        minima[:] = np.uint32(0xFFFFFFFF)
        for i in range(first, at):
            value = np.uint32(sets[i] >> _32)
            for j in range(_HASHES):
                hashed = np.uint32(np.uint32(value * multipliers[j]) + additions[j])
                minima[j] = min(minima[j], hashed)
        substance = _mix(pictures[row] + _mix(options))
        scope = _mix(substance + answer)
        for band in range(bands):
            key = scope
            for i in range(rows):
                key = key * _WORD_BASE + _U(minima[band * rows + i])
            keys[band, row] = np.uint32(_mix(key) >> _32)
        scopes[row], questions[row], answers[row] = scope, question, answer
        stems[row] = _mix(substance ^ question)
    return at


@njit(cache=True, nogil=True)
def fill_table(values, slots, places, bitmap):  # type: ignore[no-untyped-def]
    """An open-addressing table of different hashes with their positions (slots come as 0, places as -1), and a bitmap."""
    mask = _U(len(slots) - 1)
    bits = _U(len(bitmap) * 64 - 1)
    for i in range(len(values)):
        value = values[i]
        bit = (value >> _32) & bits
        bitmap[bit >> _U(6)] |= _U(1) << (bit & _U(63))
        slot = value & mask
        while places[slot] >= 0:
            slot = (slot + _U(1)) & mask
        slots[slot], places[slot] = value, i


@njit(cache=True, inline="always")
def _lookup(value, slots, places, bitmap):  # type: ignore[no-untyped-def]
    bit = (value >> _32) & _U(len(bitmap) * 64 - 1)
    if not (bitmap[bit >> _U(6)] >> (bit & _U(63))) & _U(1):
        return -1
    mask = _U(len(slots) - 1)
    slot = value & mask
    while places[slot] >= 0:
        if slots[slot] == value:
            return places[slot]
        slot = (slot + _U(1)) & mask
    return -1


@njit(cache=True, nogil=True)
def scan(  # type: ignore[no-untyped-def]
    q_offsets, q_data, o_offsets, o_data, lists, a_offsets, a_data, classes, values,
    gram_slots, gram_places, gram_bitmap, run_slots, run_places, run_bitmap, ask_slots, ask_places, ask_bitmap,
    span, threshold, start, last_row, gram_counts, hit_rows, hit_runs, near, asked, questions, options_out, answers,
):  # fmt: skip
    """Look one batch up in the references' tables; how many (row, run) hits there are.

    Args:
        span: 5-grams that a run covers.
        start: number of the batch's first row.
        last_row, gram_counts: per 5-gram of the table the last row that held it, and in how many rows it stands.
        hit_rows, hit_runs: out.
        near, asked, questions, options_out, answers: out, per row of the batch.
    """
    most, parts = _room(q_offsets, o_offsets, lists)
    words, spare = np.empty(max(most, _longest(a_offsets)) + 1, np.uint64), np.empty(most + 1, np.uint64)
    grams, place = np.empty(most + 1, np.uint64), np.empty(most + 1, np.int64)
    foreign = np.empty(most + 2, np.uint64)
    part_hash, part_at = np.empty(parts + 1, np.uint64), np.empty((parts + 1, 2), np.int64)
    hits = 0
    for row in range(len(q_offsets) - 1):
        total, own, question, options = _text(
            row, q_offsets, q_data, o_offsets, o_data, lists, classes, values, words, spare, part_hash, part_at
        )
        count = _windows(words, total, grams)
        # so many different foreign shingles that no reference can be similar enough
        limit = int((1.0 - threshold) * count + 1e-9)
        strangers = 0
        for i in range(count):
            found = _lookup(grams[i], gram_slots, gram_places, gram_bitmap)
            place[i] = found
            if found >= 0:
                if last_row[found] != start + row:
                    last_row[found] = start + row
                    gram_counts[found] += 1
            elif strangers <= limit:
                fresh = True
                for j in range(strangers):
                    if foreign[j] == grams[i]:
                        fresh = False
                        break
                if fresh:
                    foreign[strangers] = grams[i]
                    strangers += 1
        near[row] = strangers <= limit
        leading = min(own - _SIZE + 1, count)
        for i in range(leading - span + 1):
            if place[i] >= 0 and place[i + span // 2] >= 0 and place[i + span - 1] >= 0:
                run = _mix((grams[i] * _WORD_BASE + grams[i + span // 2]) * _WORD_BASE + grams[i + span - 1])
                found = _lookup(run, run_slots, run_places, run_bitmap)
                if found >= 0:
                    hit_rows[hits], hit_runs[hits] = start + row, found
                    hits += 1
        asked[row] = _lookup(question, ask_slots, ask_places, ask_bitmap) >= 0
        if asked[row]:
            end = _words(a_data, a_offsets[row], a_offsets[row + 1], classes, values, words, 0)
            questions[row], options_out[row], answers[row] = question, options, _sequence(words, 0, end)
    return hits
