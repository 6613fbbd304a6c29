"""The seed's rule: the same rows as its loop over all pairs."""

from __future__ import annotations

import json
import random
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator import fuzz
from curator.dedup import find, find_as_seed
from curator.recipe import Dedup

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"


def lcs(a: str, b: str) -> int:
    """The textbook table."""
    row = [0] * (len(b) + 1)
    for x in a:
        before = 0
        for j, y in enumerate(b):
            before, row[j + 1] = row[j + 1], before + 1 if x == y else max(row[j], row[j + 1])
    return row[-1]


def reaches(a: str, b: str, cutoff: int = 95) -> bool:
    total = len(a) + len(b)
    return not total or 100 * (1 - (total - 2 * lcs(a, b)) / total) >= cutoff


@given(st.text("abcdé", max_size=25), st.text("abcdé", max_size=25))
def test_common_subsequence_is_the_textbook_one(a, b):
    assert fuzz.common_subsequence(a, b) == lcs(a, b)
    assert fuzz.ratio_reaches(a, b) == reaches(a, b)


def edited(text: str, random_: random.Random) -> str:
    letters = list(text)
    for _ in range(random_.randrange(4)):
        letters[random_.randrange(len(letters))] = random_.choice("abcde ")
    return "".join(letters)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("cutoff", [80, 95, 100])
def test_the_filter_loses_nothing(seed, cutoff):
    random_ = random.Random(seed)
    texts = ["".join(random_.choices("abcde ", k=random_.randint(1, 60))) for _ in range(25)]
    texts += [edited(random_.choice(texts), random_) for _ in range(35)] + ["", ""]
    random_.shuffle(texts)
    loop = [
        next((j for j in range(i) if fuzz.ratio_reaches(texts[i], texts[j], cutoff)), -1) for i in range(len(texts))
    ]
    assert fuzz.duplicates(texts, cutoff) == loop


def test_real_questions():
    path = SHARED / "medmcqa" / "data" / "validation.jsonl"
    if not path.exists():
        pytest.skip("../shared/data/medmcqa is not here")
    texts = [json.loads(line)["question"] for line in path.read_text("utf-8").splitlines()][:150]
    texts += [texts[3] + ".", texts[7].replace("e", "", 1)]
    loop = [next((j for j in range(i) if fuzz.ratio_reaches(texts[i], texts[j])), -1) for i in range(len(texts))]
    assert fuzz.duplicates(texts) == loop
    assert loop[-2] == 3


def test_a_build_can_drop_what_the_seed_dropped():
    stem = "What is the drug of choice for tularemia in an adult without allergies"
    questions = [stem, stem + "?", "Which vein is this", stem]
    rows = pl.DataFrame(
        {
            "id": list("abcd"), "question": questions, "options": [[str(i), "x"] for i in range(4)], "answer": list("0123"),
            "images": pl.Series([[]] * 4, dtype=pl.List(pl.String)), "source": ["s"] * 4,
        }
    )  # fmt: skip
    found = find_as_seed(rows)
    assert found.verdicts["reason"].to_list() == ["", "near-duplicate", "", "duplicate"]
    assert found.pairs.select("id_a", "id_b").rows() == [("a", "b"), ("a", "d")]
    assert found.pairs["jaccard"].to_list() == [pytest.approx(fuzz.ratio(stem, stem + "?")), 1.0]
    assert Dedup(rule="fuzz").rule == "fuzz"
    with pytest.raises(ValueError, match="no threshold"):
        Dedup(rule="fuzz", threshold=0.9)
    assert find(rows).verdicts["keep"].all()  # other options, other questions: ours keeps them
