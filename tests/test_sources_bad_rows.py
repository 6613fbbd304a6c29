"""Whatever is wrong with a raw row becomes one verdict with its reason; whatever is wrong with a file is one line."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curator
from curator import sources
from curator.builds import Runtime
from curator.errors import SourceError
from curator.recipe import Recipe, SourceChoice
from curator.records import Record, Verdict, to_table
from curator.sources import REASONS
from curator.workspace import Workspace
from source_rows import MISSING, SHAPES, Shape, changed, write


def read(folder: Path, shape: Shape) -> list[Record | Verdict]:
    choice = SourceChoice(name=shape.source, data_dir=str(folder), splits=[shape.split], options=shape.options)
    return list(sources.open_source(choice).records(shape.split))


def cases() -> Iterator[Any]:
    for shape in SHAPES:
        for name, (changes, reason) in shape.bad.items():
            yield pytest.param(shape, changes, reason, id=f"{shape.source} {shape.split}: {name}")


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.source} {shape.split} {Path(shape.file).suffix}")
def test_the_documented_row_is_a_question(tmp_path: Path, shape: Shape) -> None:
    (item,) = read(write(tmp_path, shape, [shape.good]), shape)
    assert isinstance(item, Record), item
    assert item.options == [] or item.options["ABCDEFGHIJ".index(item.answer_label or "")] == item.answer
    assert item.id.startswith(f"{shape.source}:{shape.split}:")
    assert item.license
    assert item.source_revision


@pytest.mark.parametrize(("shape", "changes", "reason"), list(cases()))
def test_a_bad_row_is_a_verdict(tmp_path: Path, shape: Shape, changes: dict[str, Any], reason: str) -> None:
    found = read(write(tmp_path, shape, [shape.good, changed(shape.good, changes)]), shape)
    assert len(found) == 2
    assert isinstance(found[0], Record)
    second = found[1]
    if not reason:  # a number where text belongs is repaired, and counted
        assert isinstance(second, Record)
        assert "number-as-text" in second.notes
        return
    assert isinstance(second, Verdict), second
    assert second.reason == reason, second
    assert (second.stage, second.keep) == ("ingest", False)
    assert second.reason in REASONS
    assert second.id != found[0].id
    if second.evidence:
        json.loads(second.evidence)


def test_every_source_is_in_the_table_of_bad_rows() -> None:
    assert {shape.source for shape in SHAPES} == set(sources.names()) - {"phantom"}


def test_every_source_has_the_required_kinds_of_bad_row() -> None:
    for shape in SHAPES:
        reasons = {reason for _, reason in shape.bad.values()}
        assert "empty-question" in reasons, shape.source
        if "options" in shape.good or "opa" in shape.good:
            assert {"duplicate-options", "unknown-label"} & reasons, shape.source
        if shape.pictures or "image" in shape.good:
            assert {"missing-image", "needs-image"} & reasons, shape.source


@pytest.mark.parametrize("shape", [s for s in SHAPES if s.required], ids=lambda s: f"{s.source} {s.split}")
def test_a_changed_column_is_named_with_what_is_there(tmp_path: Path, shape: Shape) -> None:
    bad = changed(shape.good, {shape.required: MISSING, "brand_new": "x"})
    with pytest.raises(SourceError) as error:
        read(write(tmp_path, shape, [bad, bad]), shape)
    assert f"no column {shape.required!r}" in str(error.value)
    assert "'brand_new'" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_old_spelling_of_pmc_vqas_answer_column_is_read(tmp_path: Path) -> None:
    for shape in (s for s in SHAPES if s.source == "pmc-vqa"):
        old = {
            name.replace("Answer", "Anwser") if name == "Answer" else name: value for name, value in shape.good.items()
        }
        (item,) = read(write(tmp_path, shape, [old]), shape)
        assert isinstance(item, Record)
        assert item.answer == "lung"


_JUNK = st.one_of(
    st.none(), st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=2), st.just({}), st.booleans(),
    st.floats(), st.sampled_from(["\ud800", "B\udfff", ["\ud800"], {"A": "\ud800"}, [{"A": 1}], "[" * 5000])
)  # fmt: skip
_JSON = [shape for shape in SHAPES if shape.file.endswith((".json", ".jsonl"))]


HALF = "half a pair \ud800"


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("train.jsonl", f'{{"question": {json.dumps(HALF)}, "answer": "yes"}}', "unreadable-row"),
        ("train.jsonl", f'{{"id": {json.dumps(HALF)}, "question": "Which?", "answer": "yes"}}', "unreadable-row"),
        ("train.jsonl", f'{{"id": {json.dumps(HALF)}, "question": "", "answer": "yes"}}', "empty-question"),
        ("train.jsonl", f'{{"question": "Which?", "options": ["a", "b"], "answer": {json.dumps(HALF)}}}', "answer-not-among-options"),
        ("train.jsonl", f'{{"question": "Which?", "answer": {"7" * 5000}}}', "unreadable-row"),
        ("train.jsonl", f'{{"question": "", "answer": {deep(900)}}}', "empty-question"),
        ("train.jsonl", f'{{"question": {deep(90_000)}, "answer": "yes"}}', "unreadable-row"),
        ("train.json", f'{{"question": "Which?", "answer": {"7" * 5000}}}', "unreadable-row"),
        ("train.csv", '"Which "one" is it?",yes', "unreadable-row"),
        ("train.csv", '"Which?,yes', "unreadable-row"),
    ],
)  # fmt: skip
def test_a_hostile_row_is_a_verdict_and_the_others_are_read(
    tmp_path: Path, name: str, content: str, reason: str
) -> None:
    good = '{"question": "Is it?", "answer": "yes"}'
    whole = {
        "train.jsonl": f"{good}\n{content}\n{good}\n",
        "train.json": f"[{good}, {content}, {good}]",
        "train.csv": f"question,answer\nIs it?,yes\n{content}\nIs it?,yes\n",
    }
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_text(whole[name], "utf-8")
    recipe = Recipe(name="hostile", sources=[SourceChoice(name="folder", data_dir=str(tmp_path / "data"))])
    found = Workspace(curator.build(recipe, Runtime(out=tmp_path / "out", until="ingest")).path).read_stage("ingest")
    assert found["reason"].to_list() == ["", "", reason]
    (place,) = (json.loads(text) for text in found["evidence"] if text)
    assert place["file"] == name


@settings(max_examples=200, deadline=None)
@given(shape=st.sampled_from(_JSON), data=st.data())
def test_no_value_in_any_field_is_an_exception(shape: Shape, data: st.DataObject) -> None:
    column = data.draw(st.sampled_from(sorted(shape.good)))
    bad = {**shape.good, column: data.draw(_JUNK)}
    with tempfile.TemporaryDirectory() as folder:
        found = read(write(Path(folder), shape, [shape.good, bad]), shape)
        to_table(item for item in found if isinstance(item, Record))
        assert all(f"{item.id}{item.evidence}".encode() for item in found if isinstance(item, Verdict))
    in_split = shape.source != "vqa-rad" or column != "phrase_type"
    assert len(found) == 2 or not in_split
