"""The seed's two recipes run whole, from ingest to release, on real rows, with the phantom model as solvers and teacher.

Only names of models, places of files and limits are changed: stages, order, prompt, graders, band and choice are the
recipes' own. The phantom model knows no medicine: what it gets right it guesses, which is all that these builds need.
"""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import datasets
import polars as pl
import pytest
from PIL import Image

import curator
from curator.answers import extract, format_trace
from curator.builds import Runtime
from curator.recipe import Recipe, load_recipe

PHANTOM = {"model": "phantom", "engine": "auto", "max_tokens": 48}
TEACHER = {**PHANTOM, "min_tokens": 2}
HERE = {
    "medmcqa": ("medmcqa", ["validation"]), "medqa": ("medqa", ["test"]), "head-qa": ("head_qa", ["train"]),
    "pubmedqa": ("pubmedqa", None),
}  # fmt: skip


def stood_in(recipe: Recipe, **changes: Any) -> Recipe:
    """The recipe with the phantom model for every model it names, and top-level changes."""
    raw = recipe.model_dump(mode="json", exclude_unset=True)
    score, distill = raw["score"], raw["distill"]
    # Two solvers that are one model must differ somehow: the second sees its options in another order.
    cascade = [{**one, **PHANTOM, "shuffle_options": at or None} for at, one in enumerate(score.get("cascade", []))]
    raw["score"] = {**score, **PHANTOM, "cascade": cascade}
    raw["distill"] = {**distill, **TEACHER}
    return Recipe.model_validate({**raw, **changes})


def rows(result: curator.Result, part: str) -> pl.DataFrame:
    return pl.read_parquet(result.release / "data" / "*" / "*" / f"{part}-*.parquet")


def check_traces(result: curator.Result, selected: pl.DataFrame) -> pl.DataFrame:
    """Every trace in the rows is a chosen one of the table, right, and an SFT turn of the seed's bytes."""
    traces = pl.read_parquet(result.release / "tables" / "traces-*.parquet")
    chosen = dict(traces.filter("chosen").select("id", "reasoning").iter_rows())
    traced = selected.filter(pl.col("reasoning").is_not_null())
    assert dict(traced.select("id", "reasoning").iter_rows()) == chosen
    for row in traced.iter_rows(named=True):
        turn = format_trace(row["reasoning"], row["answer_label"])
        assert turn == f"<think> {row['reasoning']} </think>\n<answer> {row['answer_label']} </answer>"
        assert extract(turn, row["options"], strict=True).label == row["answer_label"]
        assert row["reasoning_model"].startswith("phantom@")
    return traces


def test_m23k_whole_cascade_teacher_rejection(real_data: Path, tmp_path: Path) -> None:
    bundled = load_recipe("m23k-parity")
    assert [one.model for one in bundled.score.cascade] == ["Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-32B-Instruct"]
    assert all((one.samples, one.temperature) == (1, 0) for one in bundled.score.cascade)
    teacher = bundled.distill
    assert teacher is not None and (teacher.model, teacher.samples) == ("deepseek-ai/DeepSeek-R1", 1)
    sources = [
        {**choice.model_dump(exclude_unset=True), "data_dir": str(real_data / HERE[choice.name][0]),
         "splits": HERE[choice.name][1], "limit": 12}
        for choice in bundled.sources
    ]  # fmt: skip
    recipe = stood_in(bundled, sources=sources)
    result = curator.build(recipe, Runtime(out=tmp_path / "m23k", store=tmp_path / "s.sqlite"))
    lines = {line.stage: line for line in result.funnel}

    # Both solvers of the cascade take something, and nothing they get right reaches the teacher.
    scores = pl.read_parquet(result.release / "tables" / "scores-*.parquet")
    greedy = scores.filter(pl.col("temperature") == 0)
    first, second = greedy.filter(pl.col("shuffle_options").is_null()), greedy.filter(pl.col("shuffle_options") == 1)
    assert bundled.dedup.rule == "fuzz"
    right = [set(one.filter(pl.col("pass_count") > 0)["id"]) for one in (first, second)]
    assert lines["decontaminate"].reasons == {"leak-question": 1}, "in a held-out split, beyond its first twelve rows"
    assert first.height == 47 and second.height == 47 - len(right[0])
    assert right[0] and right[1] and not right[0] & right[1]
    assert lines["score"].reasons == {"cascade": len(right[0] | right[1])}

    selected = rows(result, "selected")
    traces = check_traces(result, selected)
    assert set(traces["index"]) == {0} and traces.height == lines["distill"].rows_in
    assert lines["distill"].reasons == {"no-trace": lines["distill"].rows_in - selected.height}
    assert selected["reasoning"].null_count() == 0 and selected.height > 0, "rejected: what has no right trace goes"
    assert selected["pass_count"].is_between(1, 7).all() and not set(selected["id"]) & (right[0] | right[1])
    assert rows(result, "rest").filter(pl.col("reasoning").is_not_null()).is_empty()
    names = {choice.name for choice in bundled.sources}
    assert set(pl.concat([selected, rows(result, "rest")], how="diagonal")["source"]) == names


@pytest.fixture()
def pmc_vqa(real_data: Path, tmp_path: Path) -> Path:
    """The real rows that are at hand, each with a drawn picture of the real one's name (the images are not at hand)."""
    home = tmp_path / "pmc-vqa"
    (home / "images").mkdir(parents=True)
    found: list[dict[str, str]] = []
    for name in ("train.csv", "test_clean.csv"):
        with (real_data / "pmc_vqa" / name).open(encoding="utf-8", newline="") as file:
            found += list(csv.DictReader(file))
    with (home / "train.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)
    for row in found:
        noise = random.Random(row["Figure_path"]).randbytes(1024)
        Image.frombytes("L", (32, 32), noise).resize((96, 84)).save(home / "images" / row["Figure_path"])
    return home


def test_pmc_vqa_whole_sixteen_samples_band_order_traces(pmc_vqa: Path, tmp_path: Path) -> None:
    bundled = load_recipe("pmc-vqa-parity")
    assert (bundled.score.samples, bundled.score.temperature, bundled.select.band) == (16, 1.0, (1, 7))
    assert bundled.split.order == "easy-to-hard"
    teacher = bundled.distill
    assert teacher is not None and (teacher.model, teacher.samples, teacher.temperature) == ("gpt-4o", 3, 1.0)
    sources = [{**choice.model_dump(exclude_unset=True), "data_dir": str(pmc_vqa)} for choice in bundled.sources]
    recipe = stood_in(bundled, sources=sources)
    result = curator.build(recipe, Runtime(out=tmp_path / "b", store=tmp_path / "s.sqlite"))

    selected, rest = rows(result, "selected"), rows(result, "rest")
    assert selected.height + rest.height == 5, "five of the real rows have a key that can be read"
    assert selected["pass_count"].is_between(1, 7).all() and not rest["pass_count"].is_between(1, 7).any()
    assert set(selected["sample_count"]) == {16} and selected["images"].list.len().to_list() == [1] * selected.height
    assert selected["pass_count"].to_list() == sorted(selected["pass_count"], reverse=True), "easy to hard"
    traces = check_traces(result, selected)
    assert traces.filter("chosen").height > 0
    for _, own in traces.group_by("id"):
        accepted = own.filter("accepted")
        assert accepted.height <= 1, "one trace a question: the first that is right"
        earlier = own.filter(pl.col("index") < (accepted["index"].min() if accepted.height else 3))
        assert set(earlier["accepted"]) <= {False}
    made = datasets.load_dataset(str(result.release), "pmc-vqa", split="train", cache_dir=str(tmp_path / "cache"))
    assert made["pass_count"] == selected["pass_count"].to_list()
    assert made[0]["images"][0].size == (96, 84)
