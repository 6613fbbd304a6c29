"""What leaks: questions and pictures that also stand in a benchmark or in a split that is held out.

    reference = fingerprint("vqa-rad", rows, images, revision="…"); reference.save("vqa-rad.parquet")
    leakage = check(rows, images, [reference])
    leakage.verdicts, leakage.report

Four things count as a leak:

- **image**: the same bytes, the same pixels, or a near copy (`image_match.py`);
- **question**: the same words. A stem that has several answers ("Which of these is true?") must have the same options too;
- **near-duplicate**: Jaccard similarity of the word 5-grams of question + options >= .8;
- **ngram**: a shared run of 13 words of the question that is no boilerplate. Of a run's nine 5-grams more than half are
  frequent, on either side, in boilerplate; so is a run full of numbers, or one that a benchmark uses with several pictures.
  What is frequent among the rows alone may also be a leak that stands there often: a shared stretch of 30 words counts.

Where there are pictures on either side, words alone count only against a long case: a benchmark's question of 40 words or
more with a run of 13 that is no boilerplate. "What is the organ in the lower right corner of the body in this image?" about
another picture is another question, however often a benchmark asks it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from curator import shingles
from curator.fingerprints import IMAGE_COLUMNS, Fingerprint, fingerprint
from curator.leaders import COMPILED_FROM, buffers
from curator.records import evidence_json
from curator.texts import BATCH, I64, U64, FrameCorpus

if TYPE_CHECKING:
    import polars as pl

__all__ = ["IMAGE_COLUMNS", "Fingerprint", "Leakage", "check", "fingerprint"]

RUN = 13
"""Words in a shared run that make a leak, as GPT-3's and most later decontaminations."""
FREQUENT, FREQUENT_SHARE = 10, 1e-4
"""A 5-gram is frequent when it stands in at least 10 questions and one in ten thousand, of either side."""
NUMERIC = 13
"""A run whose nine 5-grams hold this many numbers and symbols (one word is in up to five of them: about three in a run of
13) lists doses or vital signs, which two cases share by chance."""
LONG = 18
"""Shared runs from which words are no boilerplate however often the rows hold them: a stretch of 30 words, or several
shorter ones. Of 9,773 questions of six text exams no ten share more than 15 words in a row, vital signs aside."""
GENERIC = 3
"""A stem with this many different answers is no question by itself. Other options around one answer are the same question."""
CASE = 40
"""Words from which on a question with a picture tells a case that its words alone give away. The longest of SLAKE,
which are asked of many pictures, has 21 (28 Chinese characters), of VQA-RAD 22; MedXpertQA-MM's median is 60."""
THRESHOLD = 0.8
Leak = tuple[int, str, str, str, str]
"""Row number, kind, benchmark, id of the benchmark's row, evidence (JSON)."""
_SPAN = RUN - shingles.SHINGLE + 1  # 5-grams that a run covers


@dataclass(frozen=True)
class Leakage:
    """verdicts: id, keep, reason ('' | leak-…), evidence, one row per input row.

    report: id, benchmark, kind (question | ngram | near-duplicate | image-bytes | image-pixels | image-near), of (id of the
    benchmark's row), evidence (JSON); one row per way in which a row leaks into a benchmark, with its strongest partner.
    """

    verdicts: pl.DataFrame
    report: pl.DataFrame


REASONS = {
    "image-bytes": "leak-image", "image-pixels": "leak-image", "image-near": "leak-image",
    "question": "leak-question", "near-duplicate": "leak-near-duplicate", "ngram": "leak-ngram",
}  # fmt: skip
"""What a kind of leak is called in a verdict, the first one found in this order."""


def check(rows: pl.DataFrame, images: pl.DataFrame, fingerprints: Sequence[Fingerprint]) -> Leakage:
    """Which of `rows` leak into the benchmarks.

    Args:
        rows: columns id, question, options, answer, images (content hashes).
        images: columns of `IMAGE_COLUMNS`, a row for each image of `rows`.
        fingerprints: the benchmarks; without any, nothing leaks.
    """
    import polars as pl

    found: list[Leak] = []
    if fingerprints and rows.height:
        references = References(fingerprints)
        matched = list(_image_leaks(rows, images, fingerprints))
        found += [(row, kind, name, of, evidence) for row, kind, name, of, evidence, _ in matched]
        scan = scan_rows(rows, references)
        found += _text_leaks(rows, references, scan)
        found += _same_picture_questions(references, scan, matched)
    order = list(REASONS)
    found.sort(key=lambda leak: (leak[0], order.index(leak[1])))
    ids, text = rows["id"], pl.String
    report = pl.DataFrame(
        [(ids[row], name, kind, of, evidence) for row, kind, name, of, evidence in found],
        schema={"id": text, "benchmark": text, "kind": text, "of": text, "evidence": text},
        orient="row",
    )
    first: dict[int, tuple[str, str]] = {}
    for row, kind, name, of, evidence in found:
        facts = {"benchmark": name, "of": of, **(json.loads(evidence) if evidence else {})}
        first.setdefault(row, (REASONS[kind], evidence_json(facts)))
    nothing = pl.repeat("", len(ids), eager=True, dtype=text)
    places = pl.Series(list(first), dtype=pl.UInt32)
    reason, evidences = (
        nothing.clone().scatter(places, pl.Series([v[i] for v in first.values()], dtype=text)) for i in (0, 1)
    )
    verdicts = pl.DataFrame({"id": ids, "keep": reason == "", "reason": reason, "evidence": evidences})
    return Leakage(verdicts, report)


class References:
    """The rows of several fingerprints as one set of tables to look up in."""

    def __init__(self, fingerprints: Sequence[Fingerprint]) -> None:
        self.names = [f.name for f in fingerprints]
        self.benchmark = np.repeat(np.arange(len(fingerprints)), [f.rows for f in fingerprints])
        self.ids = [name for f in fingerprints for name in f.ids]
        self.row_images = [images for f in fingerprints for images in f.row_images]
        join = np.concatenate
        self.question = join([f.digests.question for f in fingerprints])
        self.options = join([f.digests.options for f in fingerprints])
        self.answer = join([f.digests.answer for f in fingerprints])
        self.words = join([f.digests.words for f in fingerprints])
        self.pictures = join([f.pictures for f in fingerprints])
        self.leading = join([f.leading for f in fingerprints])
        self.grams = join([f.grams for f in fingerprints])
        self.numeric = join([f.numeric for f in fingerprints])
        self.lengths = join([np.diff(f.offsets) for f in fingerprints])
        self.offsets = join([[0], np.cumsum(self.lengths)]).astype(np.int64)
        self.owner = np.repeat(np.arange(len(self.ids)), self.lengths)

    @cached_property
    def gram_table(self) -> U64:
        """All different 5-grams, sorted."""
        return _distinct(self.grams)

    @cached_property
    def gram_places(self) -> I64:
        """Where each 5-gram of the rows stands in the table."""
        return np.searchsorted(self.gram_table, self.grams)

    @cached_property
    def gram_pairs(self) -> tuple[I64, I64]:
        """Different (5-gram, row) pairs, sorted."""
        pairs = _distinct(self.gram_places * np.int64(len(self.ids)) + self.owner)
        return pairs // len(self.ids), pairs % len(self.ids)

    @cached_property
    def gram_rows(self) -> tuple[I64, I64]:
        """For each 5-gram of the table, the rows that hold it: offsets and rows."""
        place, row = self.gram_pairs
        return np.searchsorted(place, np.arange(len(self.gram_table) + 1)), row

    @cached_property
    def set_sizes(self) -> I64:
        """How many different 5-grams each row has."""
        return np.bincount(self.gram_pairs[1], minlength=len(self.ids))

    @cached_property
    def runs(self) -> tuple[U64, I64, I64]:
        """All runs of 13 words within questions: their hashes, rows, and positions of their first 5-gram."""
        return runs_of(self.grams, self.offsets, self.leading)

    @cached_property
    def run_places(self) -> I64:
        """Where each of `runs` stands in the table."""
        return np.searchsorted(self.run_table, self.runs[0])

    @cached_property
    def run_rows(self) -> tuple[I64, I64]:
        """For each run of the table, the rows that hold it: offsets and rows."""
        pairs = _distinct(self.run_places * np.int64(len(self.ids)) + self.runs[1])
        return np.searchsorted(pairs // len(self.ids), np.arange(len(self.run_table) + 1)), pairs % len(self.ids)

    @cached_property
    def run_table(self) -> U64:
        """All different runs, sorted."""
        return _distinct(self.runs[0])

    @cached_property
    def wordy_runs(self) -> npt.NDArray[np.bool_]:
        """Which runs of the table are neither full of numbers nor asked of several pictures."""
        _, rows, starts = self.runs
        place = self.run_places
        numbers = np.concatenate([[0], np.cumsum(self.numeric, dtype=np.int64)])
        wordy = np.ones(len(self.run_table), bool)
        wordy[place[numbers[starts + _SPAN] - numbers[starts] >= NUMERIC]] = False
        shown = self.pictures[rows] != 0
        scopes_of = np.unique(np.stack([place[shown].astype(np.uint64), self.pictures[rows[shown]]]), axis=1)[0]
        wordy[np.bincount(scopes_of.astype(np.int64), minlength=len(wordy)) > 1] = False
        return wordy

    def specific_runs(self, frequent: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which runs of the table are no boilerplate, given which 5-grams of the table are frequent."""
        starts = self.runs[2]
        common = np.concatenate([[0], np.cumsum(frequent[self.gram_places])])
        covered = common[starts + _SPAN] - common[starts]
        specific = self.wordy_runs.copy()
        specific[self.run_places[covered * 2 > _SPAN]] = False
        return specific


def _distinct(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`np.unique` by sorting, which on millions of hashes is several times faster than by its hash table."""
    ordered = np.sort(values)
    fresh = np.ones(len(ordered), bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    return ordered[fresh]


def runs_of(grams: U64, offsets: I64, leading: I64) -> tuple[U64, I64, I64]:
    """Hashes of all runs of 13 words in questions, the texts they are of, and where their first 5-gram lies.

    A run is known by its first, middle and last 5-gram, which cover it.
    """
    counts = np.maximum(leading - _SPAN + 1, 0)
    rows = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = offsets[:-1][rows] + within
    base = np.uint64(shingles.WORD_BASE)
    return (
        shingles.mix((grams[starts] * base + grams[starts + _SPAN // 2]) * base + grams[starts + _SPAN - 1]),
        rows,
        starts,
    )


@dataclass(frozen=True)
class Scan:
    """What one pass over the texts of the rows found in the references' tables."""

    gram_counts: I64
    """In how many rows each 5-gram of the table stands."""
    hit_rows: I64
    hit_runs: I64
    """Rows, and the run of the table that stands in each."""
    near_rows: I64
    """Rows of whose 5-grams so few are foreign that a reference may be similar enough; some more may be listed."""
    pictures: U64
    """Of every row; 0 for text."""
    asked_rows: I64
    """Rows whose question is one of a reference, and its digests:"""
    question: U64
    options: U64
    answer: U64


def scan_rows(rows: pl.DataFrame, references: References, *, compiled: bool | None = None) -> Scan:
    """One pass over the texts of `rows`, in plain or (for many rows) in compiled code, with the same result."""
    if rows.height >= COMPILED_FROM if compiled is None else compiled:
        return _compiled_scan(rows, references)
    return _plain_scan(rows, references)


def _plain_scan(rows: pl.DataFrame, references: References) -> Scan:
    table, run_table = references.gram_table, references.run_table
    questions = np.unique(references.question)
    counts = np.zeros(len(table), np.int64)
    parts: list[tuple[npt.NDArray[Any], ...]] = []
    start = 0
    for batch in FrameCorpus(rows).batches(BATCH // 2):
        made = shingles.shingle(batch)
        n = len(batch)
        owner = np.repeat(np.arange(n), np.diff(made.offsets))
        # the different shingles of each row
        order = np.lexsort((made.hashes, owner))
        values, owners = made.hashes[order], owner[order]
        fresh = np.ones(len(values), bool)
        fresh[1:] = (values[1:] != values[:-1]) | (owners[1:] != owners[:-1])
        values, owners = values[fresh], owners[fresh]
        place = _find(table, values)
        counts += np.bincount(place[place >= 0], minlength=len(table))
        size, hits = np.bincount(owners, minlength=n), np.bincount(owners[place >= 0], minlength=n)
        near = np.flatnonzero(hits >= THRESHOLD * size - 1e-9)
        runs, run_rows, _ = runs_of(made.hashes, made.offsets, made.leading)
        run_place = _find(run_table, runs)
        hit = run_place >= 0
        asked = np.flatnonzero(_find(questions, made.digests.question) >= 0)
        digests = (made.digests.question[asked], made.digests.options[asked], made.digests.answer[asked])
        parts.append((start + run_rows[hit], run_place[hit], start + near, batch.pictures, start + asked, *digests))
        start += n
    return Scan(counts, *(np.concatenate(column) for column in zip(*parts, strict=True)))


def _compiled_scan(rows: pl.DataFrame, references: References) -> Scan:
    from curator import shingles_compiled as kernels

    classes, values, _, _ = kernels.tables()
    tables = [array for table in (references.gram_table, references.run_table, np.unique(references.question))
              for array in _hash_table(table)]  # fmt: skip
    grams = len(references.gram_table)
    last_row, counts = np.full(grams, -1, np.int64), np.zeros(grams, np.int64)
    parts: list[tuple[npt.NDArray[Any], ...]] = []
    start = 0
    for batch in FrameCorpus(rows).batches(BATCH // 2):
        n = len(batch)
        room = len(batch.question.data) // 2 + n  # a word has a byte, and a separator before the next one
        hit_rows, hit_runs = np.empty(room, np.int64), np.empty(room, np.int64)
        near, asked = np.empty(n, bool), np.empty(n, bool)
        digests = tuple(np.empty(n, np.uint64) for _ in range(3))
        hits = kernels.scan(
            *buffers(batch), batch.answer.offsets, batch.answer.data, classes, values, *tables,
            _SPAN, THRESHOLD, start, last_row, counts, hit_rows, hit_runs, near, asked, *digests,
        )  # fmt: skip
        nearby, same = start + np.flatnonzero(near), start + np.flatnonzero(asked)
        own = (digest[asked] for digest in digests)
        parts.append((hit_rows[:hits].copy(), hit_runs[:hits].copy(), nearby, batch.pictures, same, *own))
        start += n
    return Scan(counts, *(np.concatenate(column) for column in zip(*parts, strict=True)))


def _hash_table(values: U64) -> tuple[U64, npt.NDArray[np.int32], U64]:
    """Slots, positions and a bitmap of a table of different hashes, for the compiled scan."""
    from curator import shingles_compiled as kernels

    size = 1 << max(6, (2 * len(values)).bit_length())
    slots, places = np.zeros(size, np.uint64), np.full(size, -1, np.int32)
    bitmap = np.zeros(max(1, size * 8 // 64), np.uint64)
    kernels.fill_table(values, slots, places, bitmap)
    return slots, places, bitmap


def _find(table: U64, values: U64) -> I64:
    """Where each value stands in a sorted table, -1 where it does not."""
    if not len(table):
        return np.full(len(values), -1)
    place = np.minimum(np.searchsorted(table, values), len(table) - 1)
    return np.where(table[place] == values, place, -1)


def _frequent(counts: I64, of: int) -> npt.NDArray[np.bool_]:
    return counts >= max(FREQUENT, of * FREQUENT_SHARE)


@dataclass(frozen=True)
class _Judge:
    """Which references a row leaks into by words alone."""

    specific: npt.NDArray[np.bool_]
    """References with enough words that are no boilerplate."""
    case: npt.NDArray[np.bool_]
    """Those that leak by words whatever the pictures: long and specific."""
    text: npt.NDArray[np.bool_]
    """Those that a row without pictures leaks into: text, and cases."""
    pictured: npt.NDArray[np.bool_]
    """Rows with pictures."""

    def eligible(self, row: int, others: I64) -> I64:
        return np.compress((self.case if self.pictured[row] else self.text)[others], others)


def _text_leaks(rows: pl.DataFrame, references: References, scan: Scan) -> list[Leak]:
    """Every leak by words."""
    gram_offsets, _ = references.gram_rows
    theirs = _frequent(np.diff(gram_offsets), len(references.ids))
    own = references.specific_runs(theirs)
    rare = references.specific_runs(theirs | _frequent(scan.gram_counts, rows.height))
    # Frequent among the rows is boilerplate, or a leak that stands there often: one rare run is enough, of others LONG.
    weights = np.where(rare, LONG, own.astype(np.int64))
    of_reference = np.bincount(references.runs[1], weights[references.run_places], minlength=len(references.ids))
    specific = of_reference >= LONG
    case = specific & (references.words >= CASE)
    judge = _Judge(specific, case, case | (references.pictures == 0), scan.pictures != 0)
    return [
        *_question_leaks(references, scan, judge),
        *_near_leaks(rows, references, scan, judge),
        *_run_leaks(references, scan, judge, weights),
    ]


def _run_leaks(references: References, scan: Scan, judge: _Judge, weights: I64) -> Iterator[Leak]:
    """Rows whose shared runs weigh `LONG` with a reference; as evidence, how many times that."""
    weight = weights[scan.hit_runs]
    enough = np.bincount(scan.hit_rows, weight, minlength=len(judge.pictured)) >= LONG
    chosen = (weight > 0) & enough[scan.hit_rows]
    hits: dict[int, set[int]] = {}
    for row, run in zip(scan.hit_rows[chosen].tolist(), scan.hit_runs[chosen].tolist(), strict=True):
        hits.setdefault(row, set()).add(run)
    offsets, holding = references.run_rows
    for row, runs in hits.items():
        holders = [judge.eligible(row, holding[offsets[run] : offsets[run + 1]]) for run in runs]
        weighing = np.repeat(weights[list(runs)], [len(held) for held in holders])
        others, which = np.unique(np.concatenate(holders), return_inverse=True)
        shared = np.bincount(which, weighing, minlength=len(others)) // LONG
        others, shared = others[shared > 0], shared[shared > 0]
        for name, best in _best(references, others, shared):
            yield row, "ngram", name, references.ids[int(others[best])], evidence_json({"runs": int(shared[best])})


def _best(references: References, others: I64, score: npt.NDArray[Any]) -> Iterator[tuple[str, int]]:
    """For each benchmark among `others` its name and the position of the one with the highest score, the first of several."""
    benchmarks = references.benchmark[others]
    for benchmark in np.unique(benchmarks).tolist():
        here = np.flatnonzero(benchmarks == benchmark)
        yield references.names[benchmark], int(here[np.argmax(score[here])])


def _question_leaks(references: References, scan: Scan, judge: _Judge) -> Iterator[Leak]:
    by_question = _groups(references.question)
    generic = _generic(references.question, references.answer) | _generic(scan.question, scan.answer)
    for at, row in enumerate(scan.asked_rows.tolist()):
        question = int(scan.question[at])
        others = judge.eligible(row, by_question[question])
        mine = _substance(scan.options[at], scan.answer[at])
        equal = np.array(
            [_substance(references.options[i], references.answer[i]) == mine for i in others.tolist()], bool
        )
        if question in generic:
            counts = judge.specific[others] | equal
            others, equal = others[counts], equal[counts]
        for name, best in _best(references, others, equal):
            evidence = evidence_json({"same_options": bool(equal[best])})
            yield row, "question", name, references.ids[int(others[best])], evidence


def _generic(questions: U64, answers: U64) -> set[int]:
    """The questions that have so many different answers that their words alone are no question."""
    different = np.unique(np.stack([questions, answers]), axis=1)[0]
    values, counts = np.unique(different, return_counts=True)
    return set(values[counts >= GENERIC].tolist())


def _substance(options: Any, answer: Any) -> tuple[int, int]:
    """What tells two questions of one stem apart: their options, or the answers of open ones."""
    return (int(options), 0) if options else (0, int(answer))


def _groups(values: U64) -> dict[int, I64]:
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    if not len(ordered):
        return {}
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return dict(zip(ordered[starts].tolist(), np.split(order, starts[1:]), strict=True))


def _near_leaks(rows: pl.DataFrame, references: References, scan: Scan, judge: _Judge) -> Iterator[Leak]:
    table = references.gram_table
    places, holders = references.gram_pairs
    worth = judge.text[holders]  # of templates about pictures there may be many holders, and none counts
    places, holders = places[worth], holders[worth]
    offsets = np.searchsorted(places, np.arange(len(table) + 1))
    start = 0
    for batch in FrameCorpus(rows).pick(scan.near_rows):
        made = shingles.shingle(batch)
        for i in range(len(batch)):
            row = int(scan.near_rows[start + i])
            mine = np.unique(made.hashes[made.offsets[i] : made.offsets[i + 1]])
            found = [holders[offsets[p] : offsets[p + 1]] for p in _find(table, mine).tolist() if p >= 0]
            if not found:
                continue
            others, shared = np.unique(judge.eligible(row, np.concatenate(found)), return_counts=True)
            similarity = shared / (len(mine) + references.set_sizes[others] - shared)
            others, similarity = others[similarity >= THRESHOLD], similarity[similarity >= THRESHOLD]
            for name, best in _best(references, others, similarity):
                evidence = evidence_json({"jaccard": round(float(similarity[best]), 4)})
                yield row, "near-duplicate", name, references.ids[int(others[best])], evidence
        start += len(batch)


def _image_leaks(
    rows: pl.DataFrame, images: pl.DataFrame, fingerprints: Sequence[Fingerprint]
) -> Iterator[tuple[int, str, str, str, str, str]]:
    """(row, kind, benchmark, id there, evidence, image there) of every row with a picture of a benchmark."""
    import polars as pl

    from curator.image_match import match

    if "images" not in rows.columns or rows["images"].dtype != pl.List(pl.String):
        return
    holders = (
        rows.select("images").with_row_index("row").explode("images").drop_nulls("images").rename({"images": "sha256"})
    )
    candidates = images.join(holders, on="sha256", how="semi")
    if candidates.is_empty():
        return
    for reference in fingerprints:
        pairs = match(candidates, reference.image_hashes)
        # the strongest match of each image: kinds sort as bytes < near < pixels, so rank them by REASONS
        rank = {kind: place for place, kind in enumerate(REASONS)}
        pairs = pairs.sort(pl.col("kind").replace_strict(rank, return_dtype=pl.Int32), "bits", "reference")
        first: dict[str, str] = {}
        for name, hashes in zip(reference.ids, reference.row_images, strict=True):
            for sha in hashes:
                first.setdefault(sha, name)
        pairs = pairs.unique("candidate", keep="first", maintain_order=True)
        leaks = holders.join(pairs, left_on="sha256", right_on="candidate", how="inner", maintain_order="left")
        leaks = leaks.unique("row", keep="first", maintain_order=True)
        columns = ("row", "sha256", "kind", "reference", "bits", "correlation")
        for row, sha, kind, other, bits, correlation in leaks.select(columns).iter_rows():
            facts = {"image": sha, "image_there": other}
            if kind == "image-near":
                facts.update(bits=bits, correlation=round(correlation, 3))
            yield row, kind, reference.name, first[other], evidence_json(facts), other


def _same_picture_questions(
    references: References, scan: Scan, matched: Sequence[tuple[int, str, str, str, str, str]]
) -> Iterator[Leak]:
    """The same words about the same picture: a leaked question however short it is."""
    asked = dict(zip(scan.asked_rows.tolist(), scan.question.tolist(), strict=True))
    wanted = {(name, image) for row, _, name, _, _, image in matched if row in asked}
    there: dict[tuple[str, str, int], str] = {}
    for i, images in enumerate(references.row_images):
        name = references.names[references.benchmark[i]]
        for image in images:
            if (name, image) in wanted:
                there.setdefault((name, image, int(references.question[i])), references.ids[i])
    for row, _, name, _, _, image in matched:
        of = there.get((name, image, asked.get(row, -1)))
        if of is not None:
            yield row, "question", name, of, evidence_json({"same_image": True})
