"""The seed's rule for duplicates and leaks, `rapidfuzz.fuzz.ratio(a, b) >= 95` over all pairs, without the pairs.

    duplicates(texts)              # for each text the first earlier one that the loop would find, or -1

Only for parity (`dedup: {rule: fuzz}`) with m1 and MedVLThinker: it compares letters, so it misses reworded questions and flags templates;
`dedup.py` and `decontaminate.py` do better. The ratio is 100 (1 - d / (|a| + |b|)), d the number of insertions and
deletions, so a match wants d <= (|a| + |b|) / 20. The lengths must differ by no more than that, and so must the counts of
letters, summed over 32 classes of code points: both bounds lose nothing. What passes them is measured exactly by Hyyrö's
bit-parallel longest common subsequence (d = |a| + |b| - 2 LCS).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

CUTOFF = 95
_CLASSES = 32


def duplicates(texts: Sequence[str], cutoff: int = CUTOFF) -> list[int]:
    """For each text the position of the first earlier text at `cutoff` (1 to 100) or more, -1 where there is none."""
    first = _first_positions(texts)
    names = list(first)
    found = _first_matches(names, cutoff)
    # the first of equal texts answers for all; a later one matches it, unless something earlier still does
    answer = {name: (first[names[at]] if at >= 0 else -1) for name, at in zip(names, found, strict=True)}
    return [answer[t] if answer[t] >= 0 or first[t] == i else first[t] for i, t in enumerate(texts)]


def ratio_reaches(a: str, b: str, cutoff: int = CUTOFF) -> bool:
    """Whether `rapidfuzz.fuzz.ratio(a, b) >= cutoff`; two empty texts are equal."""
    total = len(a) + len(b)
    return 100 * (total - 2 * common_subsequence(a, b)) <= (100 - cutoff) * total


def ratio(a: str, b: str) -> float:
    """`rapidfuzz.fuzz.ratio(a, b) / 100`; two empty texts are equal."""
    return 2 * common_subsequence(a, b) / (len(a) + len(b)) if a or b else 1.0


def common_subsequence(a: str, b: str) -> int:
    """Length of the longest common subsequence, with one machine operation per letter of b and 64 letters of a.

    Hyyrö, Bit-parallel LCS-length computation revisited (2004).
    """
    places: dict[str, int] = {}
    for place, letter in enumerate(a):
        places[letter] = places.get(letter, 0) | 1 << place
    mask = (1 << len(a)) - 1
    row = mask
    for letter in b:
        matched = row & places.get(letter, 0)
        row = ((row + matched) | (row - matched)) & mask
    return len(a) - row.bit_count()


def _first_positions(texts: Sequence[str]) -> dict[str, int]:
    first: dict[str, int] = {}
    for place, text in enumerate(texts):
        first.setdefault(text, place)
    return first


def _first_matches(texts: list[str], cutoff: int) -> list[int]:
    """The smallest position before its own that matches each text, or -1."""
    out = [-1] * len(texts)
    for i, j in sorted((max(pair), min(pair)) for pair in _near_pairs(texts, cutoff)):
        if out[i] < 0 and ratio_reaches(texts[i], texts[j], cutoff):
            out[i] = j
    return out


def _near_pairs(texts: list[str], cutoff: int) -> list[tuple[int, int]]:
    """Pairs whose lengths and letter counts allow the ratio, each once."""
    order = np.argsort(np.array([len(text) for text in texts], np.int64), kind="stable")
    lengths = np.array([len(texts[i]) for i in order], np.int64)
    bags = _letter_counts([texts[i] for i in order])
    allowed = (100 - cutoff) / 100
    # |size - other| <= allowed (size + other)
    high = lengths * (1 + allowed) / (1 - allowed)
    ends = np.searchsorted(lengths, np.ceil(high) + 1)
    limits = allowed * (lengths + high) + 1  # the longest of the window bounds them all
    out = []
    for turn, (end, limit) in enumerate(zip(ends.tolist(), limits.tolist(), strict=True)):
        block, mine = bags[turn + 1 : end], bags[turn]
        apart = (np.maximum(block, mine) - np.minimum(block, mine)).sum(axis=1, dtype=np.uint16)
        for hit in np.flatnonzero(apart <= limit).tolist():
            other = turn + 1 + hit
            if 100 * int(apart[hit]) <= (100 - cutoff) * int(lengths[turn] + lengths[other]):
                out.append((int(order[turn]), int(order[other])))
    return out


def _letter_counts(texts: list[str]) -> npt.NDArray[np.uint8]:
    """How many letters of each of 32 classes each text has; more than 255 count as 255, which only lets more pairs pass."""
    lengths = np.array([len(text) for text in texts], np.int64)
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    owner = np.repeat(np.arange(len(texts)), lengths)
    counts = np.bincount(owner * _CLASSES + (points % _CLASSES), minlength=len(texts) * _CLASSES)
    return np.minimum(counts, 255).astype(np.uint8).reshape(-1, _CLASSES)
