"""Leaks: what counts as one, what does not, fingerprints as files, and random corpora in both paths."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curator import decontaminate as d
from curator.builds import Runtime
from curator.errors import UsageError
from curator.pipeline import run
from curator.recipe import make_recipe
from curator.shingles import words
from curator.stages import fingerprint_path
from curator.workspace import Workspace
from test_dedup import LONG, corpus, rows

VESSELS = [" ".join(f"{part}{i}" for part in ("left", "upper", "inner", "branch", "trunk", "root")) for i in range(10)]
CASE_REPORT = " ".join(f"finding{i}" for i in range(45))
PAD = "unlike this sentence which nobody has ever asked in any examination before today we are told"


def images(*names: str) -> pl.DataFrame:
    """Pictures that are equal only by name."""
    columns = {
        "sha256": list(names),
        "original_sha256": [f"o{n}" for n in names],
        "pixel_sha256": [f"p{n}" for n in names],
    }
    return pl.DataFrame(
        {**columns, "phash": [b""] * len(names), "detail": [b""] * len(names)},
        schema={**dict.fromkeys(columns, pl.String), "phash": pl.Binary, "detail": pl.Binary},
    )


def leaks(ours: pl.DataFrame, theirs: pl.DataFrame, pictures: pl.DataFrame | None = None) -> dict[str, tuple[str, ...]]:
    pictures = images() if pictures is None else pictures
    found = d.check(ours, pictures, [d.fingerprint("bench", theirs, pictures)])
    assert found.verdicts["id"].to_list() == ours["id"].to_list()
    reported = found.report.group_by("id").agg(pl.col("kind"))
    assert set(found.verdicts.filter(~pl.col("keep"))["id"]) == set(reported["id"])
    return {row: tuple(kinds) for row, kinds in reported.iter_rows()}


CASES = {
    "verbatim, other options": (
        [{"question": LONG, "options": ["a", "b"]}], [{"question": LONG, "options": ["c", "d"]}], {"question", "ngram", "near-duplicate"},
    ),
    "edited": ([{"question": LONG.replace("ulcer", "wound")}], [{"question": LONG}], {"ngram"}),
    "fifteen words inside another question": (
        [{"question": PAD + " " + " ".join(LONG.split()[3:18]) + " " + PAD}], [{"question": LONG}], {"ngram"},
    ),
    "twelve words are too few": (
        [{"question": PAD + " " + " ".join(LONG.split()[3:15]) + " " + PAD}], [{"question": LONG}], None,
    ),
    "short, same words": ([{"question": "The urea cycle:"}], [{"question": "The urea cycle"}], {"question", "near-duplicate"}),
    "short, other words": ([{"question": "The urea cycle"}], [{"question": "The citric acid cycle"}], None),
    "near-duplicate in question and options": (
        [{"question": "Which vessel carries blood away", "options": VESSELS}],
        [{"question": "Which vessel carries blood today", "options": VESSELS}], {"near-duplicate"},
    ),
    "vital signs are no text": (
        [{"question": PAD + " temperature is 38.5 °C (101.3 °F), pulse is 110/min, blood pressure is 120/80 mmHg"}],
        [{"question": LONG + " temperature is 38.5 °C (101.3 °F), pulse is 110/min, blood pressure is 120/80 mmHg"}],
        None,
    ),
    "Chinese": (
        [{"question": "请问这位患者最可能的诊断是什么以及下一步应该采取的治疗措施"}],
        [{"question": "请问这位患者最可能的诊断是什么以及下一步应该采取的治疗方案"}], {"near-duplicate", "ngram"},
    ),
    "a generic question about another picture": (
        [{"question": "What modality is this?", "images": ["ours"]}], [{"question": "What modality is this?", "images": ["theirs"]}], None,
    ),
    "a generic question without a picture": (
        [{"question": "What modality is this?"}], [{"question": "What modality is this?", "images": ["theirs"]}], None,
    ),
    "a long case about another picture": (
        [{"question": CASE_REPORT, "images": ["ours"]}], [{"question": CASE_REPORT, "images": ["theirs"]}],
        {"question", "ngram", "near-duplicate"},
    ),
    "a long question about another picture": (
        [{"question": LONG, "images": ["ours"]}], [{"question": LONG, "images": ["theirs"]}], None,
    ),
    "the same picture, another question": (
        [{"question": "Is it broken?", "images": ["new", "theirs"]}], [{"question": "Where is it?", "images": ["theirs"]}], {"image-bytes"},
    ),
    "the same picture, the same short question": (
        [{"question": "Where is it?", "images": ["theirs"]}], [{"question": "Where is it", "images": ["theirs"]}],
        {"image-bytes", "question"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("ours, theirs, kinds", CASES.values(), ids=CASES)
def test_what_is_a_leak(ours, theirs, kinds):
    found = leaks(rows(*ours), rows(*theirs), images("ours", "theirs", "new"))
    assert {row: set(k) for row, k in found.items()} == ({"r0": kinds} if kinds else {})


def test_a_stem_that_stands_before_many_sets_of_options_leaks_only_with_its_own():
    stem = "Which of the following is true?"
    bench = rows(*({"question": stem, "options": [f"a{i}", f"b{i}"]} for i in range(4)))
    ours = rows({"question": stem, "options": ["x", "y"]}, {"question": stem, "options": ["b2", "a2"]})
    assert set(leaks(ours, bench)) == {"r1"}
    assert set(leaks(ours, bench.head(2))) == {"r0", "r1"}  # stands before two only: no boilerplate yet


def test_other_options_around_one_answer_make_no_stem_generic():
    stem = "What is the drug of choice for tularemia?"
    bench = rows({"question": stem, "options": ["streptomycin", "a", "b"]})
    ours = rows(*({"question": stem, "options": ["streptomycin", f"x{i}", f"y{i}"]} for i in range(4)))
    assert set(leaks(ours, bench)) == {"r0", "r1", "r2", "r3"}


@pytest.mark.parametrize("copies", [1, 9, 10, 40])
@pytest.mark.parametrize("ours, theirs", [([], []), (["ours"], ["theirs"])])
def test_a_case_is_a_leak_however_many_questions_the_rows_ask_of_it(copies, ours, theirs):
    asked = rows(*({"question": f"{CASE_REPORT} what about matter{i}", "images": ours} for i in range(copies)))
    bench = rows({"question": f"{CASE_REPORT} which sign would settle it", "images": theirs})
    found = leaks(asked, bench, images("ours", "theirs"))
    assert len(found) == copies and all("ngram" in kinds for kinds in found.values())


def test_boilerplate_of_the_training_set_is_no_leak():
    boilerplate = (
        "which of the following is the most appropriate next step in the management of this patient today please"
    )
    ours = rows(*({"question": f"{' '.join(f'case{i}word{j}' for j in range(9))} {boilerplate}"} for i in range(12)))
    bench = rows({"question": f"one two three four five six seven {boilerplate}"})
    assert leaks(ours, bench) == {}
    assert set(leaks(ours.head(1), bench)) == {"r0"}  # seen once, it is not known as boilerplate


def test_a_template_that_a_benchmark_uses_with_several_pictures_is_boilerplate():
    template = " ".join(f"form{i}" for i in range(45))
    ours = rows({"question": template, "images": ["ours"]})
    bench = rows({"question": template, "images": ["p1"]}, {"question": template, "images": ["p2"]})
    pictures = images("ours", "p1", "p2")
    assert leaks(ours, bench, pictures) == {}
    assert set(leaks(ours, bench.head(1), pictures)) == {"r0"}


def test_pixels_and_original_bytes_count_too():
    pictures = images("ours", "same pixels", "same original", "theirs")
    pictures = pictures.with_columns(
        pixel_sha256=pl.when(pl.col("sha256") == "same pixels").then(pl.lit("ptheirs")).otherwise("pixel_sha256"),
        original_sha256=pl.when(pl.col("sha256") == "same original")
        .then(pl.lit("otheirs"))
        .otherwise("original_sha256"),
    )
    ours = rows(*({"question": "what?", "images": [name]} for name in ("ours", "same pixels", "same original")))
    found = leaks(ours, rows({"question": "where?", "images": ["theirs"]}), pictures)
    assert found == {"r1": ("image-pixels",), "r2": ("image-bytes",)}


def test_verdict_names_the_partner_and_the_picture_comes_first():
    pictures = images("p")
    bench = d.fingerprint("bench", rows({"id": "b:1", "question": LONG, "images": ["p"]}), pictures)
    found = d.check(rows({"question": LONG, "images": ["p"]}), pictures, [bench])
    assert found.verdicts["reason"].to_list() == ["leak-image"]
    assert json.loads(found.verdicts["evidence"][0]) == {
        "benchmark": "bench",
        "image": "p",
        "image_there": "p",
        "of": "b:1",
    }
    assert set(found.report["of"]) == {"b:1"}


def test_every_benchmark_is_reported():
    theirs = rows({"question": LONG})
    found = d.check(theirs, images(), [d.fingerprint(name, theirs, images()) for name in ("one", "two")])
    assert set(found.report["benchmark"]) == {"one", "two"}
    assert d.check(theirs, images(), []).verdicts["keep"].all()
    assert d.check(theirs.clear(), images(), [d.fingerprint("one", theirs, images())]).verdicts.is_empty()
    assert d.check(theirs, images(), [d.fingerprint("none", theirs.clear(), images())]).verdicts["keep"].all()


# -- the file ---------------------------------------------------------------------------------------------------------


def test_a_fingerprint_is_the_same_bytes_every_time_and_reads_back(tmp_path: Path):
    table, pictures = corpus(random.Random(1), 60), images("p", "q", "unused")
    a, b = (d.fingerprint("bench", table, pictures, revision="abc") for _ in range(2))
    a.save(tmp_path / "deep" / "a.parquet")
    b.save(tmp_path / "b.parquet")
    assert (tmp_path / "deep" / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    back = d.Fingerprint.load(tmp_path / "b.parquet")
    assert back.digest() == a.digest() != d.fingerprint("bench", table, pictures).digest()
    assert (back.name, back.revision, back.rows, back.images) == ("bench", "abc", 60, 2)
    ours = corpus(random.Random(2), 60)
    assert d.check(ours, pictures, [back]).report.equals(d.check(ours, pictures, [a]).report)
    d.fingerprint("none", table.clear(), pictures).save(tmp_path / "none.parquet")
    assert d.Fingerprint.load(tmp_path / "none.parquet").rows == 0


def test_a_fingerprint_holds_no_text(tmp_path: Path):
    table = rows({"question": LONG, "options": ["debridement", "amputation"]})
    d.fingerprint("bench", table, images()).save(tmp_path / "f.parquet")
    held = json.dumps(pq.read_table(tmp_path / "f.parquet").to_pylist(), default=str)
    assert not [word for word in {*words(LONG), "debridement"} if len(word) > 4 and word in held]


@pytest.mark.parametrize("content", [None, b"PAR1 nonsense", "parquet"])
def test_no_fingerprint_is_one_line(tmp_path: Path, content):
    path = tmp_path / "f.parquet"
    if content == "parquet":
        rows({"question": "a"}).write_parquet(path)
    elif content:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"f\.parquet") as error:
        d.Fingerprint.load(path)
    assert "\n" not in str(error.value)


# -- both paths, and brute force --------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 50))
def test_plain_and_compiled_scans_are_equal(seed, size):
    random_ = random.Random(seed)
    table = corpus(random_, size * 2)
    references = d.References([d.fingerprint("b", table.head(size), images("p", "q"))])
    ours = table.tail(size + size // 2)
    plain, compiled = (d.scan_rows(ours, references, compiled=how) for how in (False, True))
    for name in vars(plain):
        assert np.array_equal(getattr(plain, name), getattr(compiled, name)), name


@pytest.mark.parametrize("seed", range(6))
def test_runs_and_similarities_are_those_of_brute_force(seed):
    table = corpus(random.Random(seed), 120)
    table = table.with_columns(images=pl.lit([], pl.List(pl.String)))
    ours, theirs = table.head(70), table.tail(50)
    found = d.check(ours, images(), [d.fingerprint("b", theirs, images())]).report

    def grams(record: dict) -> set[tuple[str, ...]]:
        text = words(record["question"])
        for option in sorted(map(words, record["options"])):
            text = text + option
        size = min(5, len(text))
        return {tuple(text[i : i + size]) for i in range(len(text) - size + 1)}

    near = {}
    for mine in ours.iter_rows(named=True):
        best = max(
            len(grams(mine) & grams(other)) / len(grams(mine) | grams(other))
            for other in theirs.iter_rows(named=True)
            # another order of options is another order of words; only the same options have the same
            if sorted(map(words, mine["options"])) == sorted(map(words, other["options"]))
        ) if any(
            sorted(map(words, mine["options"])) == sorted(map(words, o["options"])) for o in theirs.iter_rows(named=True)
        ) else 0.0  # fmt: skip
        if best >= d.THRESHOLD:
            near[mine["id"]] = round(best, 4)
    reported = found.filter(kind="near-duplicate")
    similarity = {
        row: json.loads(evidence)["jaccard"] for row, evidence in reported.select("id", "evidence").iter_rows()
    }
    assert {row: similarity.get(row) for row in near} == near


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), compiled=st.booleans())
def test_a_row_shares_a_run_of_thirteen_words_or_it_does_not_leak(seed, compiled):
    random_ = random.Random(seed)
    vocabulary = [f"w{i}" for i in range(2000)]

    def question(size: int) -> list[str]:
        return random_.sample(vocabulary, size)

    theirs = [question(random_.randint(13, 40)) for _ in range(8)]
    ours = []
    for _ in range(12):
        source = random_.choice(theirs)
        size = random_.randint(9, min(17, len(source)))
        start = random_.randint(0, len(source) - size)
        ours.append([*question(random_.randint(0, 9)), *source[start : start + size], *question(random_.randint(0, 9))])
    wanted = set()
    for i, mine in enumerate(ours):
        runs = {tuple(mine[j : j + 13]) for j in range(len(mine) - 12)}
        if any(tuple(other[j : j + 13]) in runs for other in theirs for j in range(len(other) - 12)):
            wanted.add(i)
    table, bench = (rows(*({"question": " ".join(words)} for words in part)) for part in (ours, theirs))
    references = d.References([d.fingerprint("b", bench, images())])
    scan = d.scan_rows(table, references, compiled=compiled)
    assert set(scan.hit_rows.tolist()) == wanted
    assert set(leaks(table, bench)) >= {f"r{i}" for i in wanted}


# -- which benchmarks a build says it was checked against --------------------------------------------------------------


def pmc_vqa(folder: Path, *splits: str) -> Path:
    """Splits of PMC-VQA in its own layout: three questions each, with a picture of its own for each."""
    folder.mkdir(parents=True, exist_ok=True)
    letters, draw = "ABCD", random.Random(str(splits))
    for split in splits:
        pictures = folder / ("figures" if split.endswith("_2") else "images")
        pictures.mkdir(exist_ok=True)
        lines = [f"index,Figure_path,Question,{','.join(f'Choice {c}' for c in letters)},Answer,Answer_label"]
        for i in range(3):
            Image.frombytes("L", (64, 64), draw.randbytes(4096)).save(pictures / f"{split}{i}.png")
            choices = ",".join(f"{c}: shade {c} of {split} {i}" for c in letters)
            key = "A" if split.endswith("_2") else f"shade A of {split} {i}"
            lines.append(f"{i},{split}{i}.png,What is shown at {i} in {split}?,{choices},{key},A")
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize(
    "version, splits, missing",
    [
        ("2", ["train_2", "test_2"], ["pmc-vqa"]),
        ("1", ["train", "test"], ["pmc-vqa"]),
        ("1", ["train", "test", "test_clean"], []),
    ],
)
def test_a_benchmark_counts_as_checked_only_when_its_own_splits_were_read(version, splits, missing, tmp_path):
    source = {"name": "pmc-vqa", "data_dir": str(pmc_vqa(tmp_path / "data", *splits)), "options": {"version": version}}
    recipe = make_recipe({"name": "x", "sources": [source], "decontaminate": {"benchmarks": ["pmc-vqa"]}})
    result = run(recipe, Runtime(out=tmp_path / "b", until="decontaminate"))
    assert result.funnel[-1].rows_in == 3
    assert Workspace(tmp_path / "b").facts("decontaminate")["missing"] == missing


def test_a_part_of_a_benchmark_or_a_dry_run_never_stands_for_the_benchmark(tmp_path):
    def evaluated(name: str, dry_run: bool = False, **source: object) -> d.Fingerprint:
        raw = {"name": "e", "evaluation": True, "score": {"samples": 0}, "sources": [{"name": "phantom", **source}]}
        run(make_recipe(raw), Runtime(out=tmp_path / name, dry_run=dry_run))
        return d.Fingerprint.load(tmp_path / name / "fingerprints" / "phantom.parquet")

    shared = fingerprint_path("phantom")
    assert evaluated("whole", dry_run=True, splits=["test"]).rows == 100 and not shared.exists()
    whole = evaluated("whole", splits=["test"])  # the dry run's stages are not made again
    before = shared.read_bytes()
    assert d.Fingerprint.load(shared).digest() == whole.digest()
    assert evaluated("limited", splits=["test"], limit=3).rows == 3
    assert evaluated("other", splits=["validation"]).rows == 24
    assert evaluated("filtered", splits=["test"], where={"imaging_modality": "CT"}).rows < 100
    assert shared.read_bytes() == before
    shared.unlink()
    evaluated("whole", splits=["test"])
    assert shared.read_bytes() == before
