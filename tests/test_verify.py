"""Verification finds every kind of damage, and nothing in a sound release."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer

from curator import cli
from curator.errors import NotChecked, VerificationError
from curator.publish.tree import open_release
from curator.publish.verify import Report, check_loads, verify
from curator.release_facts import file_facts
from test_release import World, facts

SHARD = "data/phantom/train/selected-00000-of-00001.parquet"


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def check(folder: Path) -> Report:
    with open_release(folder) as tree:
        return verify(tree)


def test_a_sound_release_has_no_problem(world: World, tmp_path: Path) -> None:
    report = check(world.write(tmp_path / "release"))
    assert report.problems == []
    assert (report.rows, report.images, report.files) == (24, 8, 11)
    assert "all as its manifest says" in report.text()
    check_loads(tmp_path / "release")


def _resum(folder: Path, name: str) -> None:
    """Make the manifest agree with a changed file: what is left to find is in the rows."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name].update(file_facts(folder / name))
    (folder / "manifest.json").write_text(json.dumps(manifest))


def rename_images(folder: Path, shard: str, path: str) -> None:
    """Give every image of a shard this path; no content hash knows of it."""
    table = pq.read_table(folder / shard)
    images = [[{**image, "path": path} for image in row] for row in table["images"].to_pylist()]
    at = table.schema.get_field_index("images")
    pq.write_table(
        table.set_column(at, table.schema.field(at), pa.array(images, table.schema.field(at).type)), folder / shard
    )
    _resum(folder, shard)


def flip(folder: Path) -> None:
    data = bytearray((folder / SHARD).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / SHARD).write_bytes(data)


def truncate(folder: Path) -> None:
    (folder / SHARD).write_bytes((folder / SHARD).read_bytes()[:-9])


def remove(folder: Path) -> None:
    (folder / SHARD).unlink()


def extra(folder: Path) -> None:
    (folder / "data/phantom/train/selected-00001-of-00002.parquet").write_bytes(b"PAR1")


def edit(folder: Path) -> None:
    table = pq.read_table(folder / SHARD)
    changed = table.set_column(2, table.schema.field(2), [["changed"] * len(table)])
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), folder / SHARD)
    _resum(folder, SHARD)


def drop_row(folder: Path) -> None:
    pq.write_table(pq.read_table(folder / SHARD).slice(1), folder / SHARD)
    _resum(folder, SHARD)


def drop_column(folder: Path) -> None:
    pq.write_table(pq.read_table(folder / SHARD).drop_columns(["license"]), folder / SHARD)
    _resum(folder, SHARD)


def card(folder: Path) -> None:
    (folder / "README.md").write_text("another card")


DAMAGE = {
    "a flipped bit": (flip, "is not the file of the manifest"),
    "a truncated file": (truncate, "is not the file of the manifest .*bytes instead of"),
    "a missing file": (remove, "is missing"),
    "a shard too many": (extra, "is in no manifest"),
    "rows edited, sums too": (edit, "rows with another content than the hashes table says"),
    "a row gone, sums too": (drop_row, "in the hashes table but in no shard"),
    "a column gone, sums too": (drop_column, "has not the columns of schema 1"),
    "another card": (card, "README.md is not the file"),
}


@pytest.mark.parametrize("damage", DAMAGE, ids=str)
def test_damage_is_found(world: World, tmp_path: Path, damage: str) -> None:
    folder = world.write(tmp_path / "release")
    act, says = DAMAGE[damage]
    act(folder)
    report = check(folder)
    assert not report.ok
    with pytest.raises(VerificationError, match=says):
        report.raise_problems()


WRONG: dict[str, tuple[Callable[[pl.DataFrame], pl.DataFrame], str]] = {
    "a key that is no option": (lambda r: r.with_columns(answer_label=pl.lit("C")), "key that is no option"),
    "an answer that is not the key": (lambda r: r.with_columns(answer=pl.lit("No")), "not its key's option"),
}


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_rows_that_contradict_themselves_are_found(world: World, tmp_path: Path, wrong: str) -> None:
    change, says = WRONG[wrong]
    assert says in check(world.write(tmp_path / "release", change(world.rows))).text()


def test_more_right_answers_than_samples_are_found(world: World, tmp_path: Path) -> None:
    folder = world.write(tmp_path / "release")
    table = pq.read_table(folder / SHARD)
    at = table.schema.get_field_index("sample_count")
    pq.write_table(table.set_column(at, table.schema.field(at), pa.array([2] * len(table), pa.int32())), folder / SHARD)
    _resum(folder, SHARD)
    assert "more right answers than samples" in check(folder).text()


def test_an_image_that_does_not_decode_is_found(world: World, tmp_path: Path) -> None:
    broken = World()
    broken.blobs = {sha: data[: len(data) // 2] for sha, data in world.blobs.items()}
    assert "an image that does not decode" in check(broken.write(tmp_path / "release")).text()


def test_an_image_under_another_name_than_its_content_s_is_found(world: World, tmp_path: Path) -> None:
    folder = world.write(tmp_path / "release")
    rename_images(folder, SHARD, "../../mine.png")
    assert "an image that is not named by its content" in check(folder).text()


def test_a_group_that_our_split_cuts_is_a_problem_and_one_that_the_source_cut_a_note(
    world: World, tmp_path: Path
) -> None:
    rows = world.rows.with_columns(split_group=pl.lit("one"))
    ours = check(world.write(tmp_path / "ours", rows, recipe_yaml="name: x\nsplit: {by: group}\n"))
    assert "1 group of related questions in more than one split" in ours.text()
    assert not ours.ok
    theirs = check(world.write(tmp_path / "theirs", rows))
    assert theirs.ok
    assert "the splits are the sources' own" in theirs.text()


def test_what_is_wrong_is_told_once(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip(world.write(tmp_path / "release"))
    with pytest.raises(typer.Exit) as ended:
        cli.verify(str(tmp_path / "release"))
    said = capsys.readouterr()
    assert ended.value.exit_code == 1
    assert (said.out + said.err).count("is not the file of the manifest") == 1
    cli.verify(str(world.write(tmp_path / "sound")))


def test_leakage_must_have_been_checked(world: World, tmp_path: Path) -> None:
    unchecked = facts(leakage={"checked": [], "missing": ["slake"], "found": []})
    never = check(world.write(tmp_path / "a", manifest=unchecked))
    assert never.ok and "?? leakage was not checked against anything" in never.text()
    never.raise_problems()
    with pytest.raises(NotChecked, match="as its manifest says, but leakage was not checked") as told:
        never.raise_unchecked()
    assert told.value.exit_code == 2 != VerificationError.exit_code
    assert check(world.write(tmp_path / "b", manifest={**unchecked, "evaluation": True})).ok
