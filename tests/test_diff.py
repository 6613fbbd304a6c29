"""A difference names every row that changed, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curator.publish.diff import Difference, diff
from curator.publish.tree import open_release
from test_release import World, facts


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def verdicts(rows: pl.DataFrame, gone: dict[str, tuple[str, str]] | None = None) -> dict[str, pa.Table]:
    told = [(id, *(("select", part == "selected", "" if part == "selected" else "too-easy"))) for id, part in
            rows.select("id", "part").iter_rows()]  # fmt: skip
    told += [(id, stage, False, reason) for id, (stage, reason) in (gone or {}).items()]
    names = ("id", "stage", "keep", "reason")
    return {"verdicts": pa.table({name: [row[i] for row in told] for i, name in enumerate(names)})}


def compare(world: World, tmp_path: Path, a: dict[str, Any], b: dict[str, Any]) -> Difference:
    folders = [world.write(tmp_path / name, **given) for name, given in (("a", a), ("b", b))]
    with open_release(folders[0]) as first, open_release(folders[1]) as second:
        return diff(first, second)


def why(difference: Difference) -> set[tuple[str, str, str, str]]:
    return {(r["id"], r["what"], r["stage"], r["reason"]) for r in difference.rows.iter_rows(named=True)}


def test_every_changed_row_has_its_stage_and_reason(world: World, tmp_path: Path) -> None:
    id = pl.col("id")
    before = world.rows.filter(~id.is_in(["phantom:train:0009", "phantom:train:0011"]))
    after = world.rows.filter(~id.is_in(["phantom:train:0001", "vqa-rad:train:0002", "phantom:train:0009"])).with_columns(
        part=pl.when(id == "phantom:train:0002").then(pl.lit("selected"))
        .when(id == "phantom:train:0003").then(pl.lit("rest")).otherwise("part"),
        question=pl.when(id == "vqa-rad:train:0003").then(pl.lit("What is it?")).otherwise("question"),
        pass_count=pl.when(id == "vqa-rad:train:0005").then(7).otherwise("pass_count"),
        images=pl.when(id == "vqa-rad:train:0007").then([]).otherwise("images"),
        source_split=pl.when(id == "vqa-rad:train:0009").then(pl.lit("validation")).otherwise("source_split"),
    )  # fmt: skip
    gone = {"phantom:train:0001": ("dedup", "near-duplicate")}
    difference = compare(
        world, tmp_path,
        {"rows": before, "tables": verdicts(before, {"phantom:train:0011": ("images", "image-unreadable")})},
        {"rows": after, "tables": verdicts(after, gone)},
    )  # fmt: skip
    assert why(difference) == {
        ("phantom:train:0001", "removed", "dedup", "near-duplicate"),
        ("vqa-rad:train:0002", "removed", "", "no longer in its source"),
        ("phantom:train:0011", "added", "images", "no longer image-unreadable"),
        ("phantom:train:0002", "moved", "select", "now selected, before: too-easy"),
        ("phantom:train:0003", "moved", "select", "too-easy"),
        ("vqa-rad:train:0003", "changed", "", "question"),
        ("vqa-rad:train:0005", "changed", "", "pass_count"),
        ("vqa-rad:train:0007", "changed", "", "images"),
        ("vqa-rad:train:0009", "changed", "", "source_split"),
        ("vqa-rad:train:0009", "moved", "split", "another split"),
    }
    assert difference.bump() == "minor"
    assert difference.lines()[0] == "1 row added: images: no longer image-unreadable 1"
    text = difference.text()
    assert "phantom:train:0001  dedup: near-duplicate" in text
    assert "by source" in text
    assert len(difference.as_json()["rows"]) == 10


def test_a_new_source_is_named_as_such_and_a_lost_one_is_major(world: World, tmp_path: Path) -> None:
    only = world.rows.filter(pl.col("source") == "phantom")
    known = facts()
    known["sources"] = known["sources"][1:]
    grown = compare(world, tmp_path, {"rows": only, "manifest": known}, {"rows": world.rows})
    assert grown.summary() == {"added": {"new source": 12}}
    assert grown.configs_added == ["vqa-rad", "vqa-rad-all"]
    assert grown.bump() == "minor"
    shrunk = compare(world, tmp_path, {"rows": world.rows}, {"rows": only, "manifest": known})
    assert shrunk.summary() == {"removed": {"source left out": 12}}
    assert shrunk.bump() == "major"


def test_the_same_release_has_no_difference(world: World, tmp_path: Path) -> None:
    difference = compare(world, tmp_path, {"rows": world.rows}, {"rows": world.rows, "manifest": facts(title="Other")})
    assert difference.rows.is_empty()
    assert difference.bump() == "patch"
    assert difference.lines() == ["no row changed; only what describes them did"]
    again = compare(world, tmp_path, {"rows": world.rows}, {"rows": world.rows})
    assert again.lines() == ["nothing changed"] and again.bump() == "patch"


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    left=st.lists(st.sampled_from(range(24)), unique=True, min_size=1),
    right=st.lists(st.sampled_from(range(24)), unique=True, min_size=1),
)
def test_added_and_removed_are_the_difference_of_the_sets(
    world: World, tmp_path_factory: pytest.TempPathFactory, left: list[int], right: list[int]
) -> None:
    a, b = (world.rows[sorted(chosen)] for chosen in (left, right))
    difference = compare(world, tmp_path_factory.mktemp("d"), {"rows": a}, {"rows": b})
    found = {what: set(difference.rows.filter(pl.col("what") == what)["id"]) for what in ("added", "removed")}
    assert found == {"added": set(b["id"]) - set(a["id"]), "removed": set(a["id"]) - set(b["id"])}
    assert difference.rows.height == len(found["added"]) + len(found["removed"])
