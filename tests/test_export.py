"""Exports are what their readers expect: columns, placeholders and keys, loaded by what loads them there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from curator.errors import UsageError
from curator.publish.export import FORMATS, ORIGIN, export
from curator.publish.tree import Tree, open_release
from test_release import World
from test_verify import rename_images


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Rows with no, one and two images, a marker, hostile text, an open question, a trace."""
    world = World(count=12, sources=("phantom",))
    shas = list(world.blobs)
    rows = world.rows.with_columns(part=pl.lit("selected"), source_split=pl.lit("train")).to_dicts()
    rows[1] |= {"images": shas[:2], "question": "Compare <image 1> with <image 2>."}
    rows[2] |= {"images": [shas[2]], "question": "Is <image> a word, <video> too?"}
    rows[4] |= {"options": [], "answer_label": None, "answer": "the spleen", "answer_type": "open"}
    rows[5] |= {"reasoning": "It is bright.", "reasoning_model": "teacher@1"}
    rows[7] |= {"source_split": "validation"}
    made = pl.DataFrame(rows, infer_schema_length=None)
    folder = world.write(tmp_path_factory.mktemp("export") / "release", made)
    with open_release(folder) as tree:
        return tree


def test_verl_reads_one_placeholder_per_image_and_a_key(release: Tree, tmp_path: Path) -> None:
    import datasets

    done = export(release, tmp_path / "verl", "verl")
    assert done.files == {"train.parquet": 10, "validation.parquet": 1}
    assert sum(done.left_out.values()) == 1
    # As verl's RLHFDataset reads it.
    rows = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "verl/train.parquet"), cache_dir=str(tmp_path / "cache")
    )["train"]
    assert {"data_source", "prompt", "images", "reward_model", "extra_info"} <= set(rows.column_names)
    for index, row in enumerate(rows):
        content = row["prompt"][0]["content"]
        assert len(re.split("(<image>|<video>)", content)) - 1 == 2 * len(row["images"])
        assert row["reward_model"] == {"style": "rule", "ground_truth": row["answer"]}
        assert row["extra_info"]["index"] == index
        assert row["problem"] == content
        assert all(image.size == (32, 32) for image in row["images"])
    two = next(row for row in rows if len(row["images"]) == 2)
    assert re.search(r"Compare\s*<image>\s*with\s*<image>", two["problem"])


def test_a_set_of_text_has_no_column_of_images_for_verl(tmp_path: Path) -> None:
    world = World(count=4, sources=("m23k",))
    rows = world.rows.with_columns(part=pl.lit("selected"), images=pl.lit([], dtype=pl.List(pl.String)))
    with open_release(world.write(tmp_path / "release", rows)) as tree:
        export(tree, tmp_path / "out", "verl")
    assert "images" not in pq.read_schema(tmp_path / "out/train.parquet").names


def test_images_of_rows_that_are_not_exported_make_no_column_for_verl(tmp_path: Path) -> None:
    """Neither of rows outside the band, nor of open questions."""
    world = World(count=6, sources=("m23k",))
    rows = world.rows.with_columns(part=pl.lit("selected"), source_split=pl.lit("train")).to_dicts()
    rows[1]["part"] = "rest"
    for i in (2, 4, 5):
        rows[i] |= {"options": [], "answer_label": None, "answer": "the spleen", "answer_type": "open"}
    made = pl.DataFrame(rows, infer_schema_length=None)
    with open_release(world.write(tmp_path / "release", made)) as tree:
        assert tree.manifest["with_images"] == 4
        done = export(tree, tmp_path / "out", "verl")
    assert (done.files, sum(done.left_out.values())) == ({"train.parquet": 2}, 3)
    assert "images" not in pq.read_schema(tmp_path / "out/train.parquet").names


def test_licence_and_origin_go_with_every_row_in_every_format(release: Tree, tmp_path: Path) -> None:
    def rows(to: str) -> list[dict]:
        export(release, tmp_path / to, to)
        if to in ("jsonl", "messages"):
            return [json.loads(line) for line in (tmp_path / to / "train.jsonl").read_text().splitlines()]
        return pq.read_table(tmp_path / to / "train.parquet").to_pylist()

    origins = {
        "jsonl": rows("jsonl"),
        "messages": [row["meta"] for row in rows("messages")],
        "verl": [row["extra_info"] for row in rows("verl")],
        "medvlthinker": [json.loads(row["misc"]) for row in rows("medvlthinker")],
    }
    for found in origins.values():
        told = {row["source_id"]: tuple(row[name] for name in ORIGIN) for row in found}
        assert told["5"] == ("phantom", "train", "5", "abc", "cc0-1.0", "teacher@1")
        assert told["1"] == ("phantom", "train", "1", "abc", "cc0-1.0", None)


def test_medvlthinker_has_the_columns_of_the_seed(release: Tree, tmp_path: Path) -> None:
    import datasets

    export(release, tmp_path / "out", "medvlthinker")
    rows = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert rows.column_names == [
        "images", "question", "options", "answer_label", "answer", "reasoning", "dataset_name", "dataset_index", "hash", "misc",
    ]  # fmt: skip
    for row in rows:
        options = json.loads(row["options"])
        assert options[row["answer_label"]] == row["answer"]
        assert json.loads(row["misc"])["id"].startswith("phantom:")
        assert row["images"] is None or row["images"][0].size == (32, 32)
    assert any(row["images"] is None for row in rows)
    assert len(set(rows["hash"])) == len(rows)


def test_messages_are_chats_with_their_images_as_files(release: Tree, tmp_path: Path) -> None:
    done = export(release, tmp_path / "out", "messages")
    assert sum(done.files.values()) == 12
    described = json.loads((tmp_path / "out/dataset_info.json").read_text())
    assert [entry["file_name"] for entry in described.values()] == ["train.jsonl", "validation.jsonl"]
    rows = [json.loads(line) for line in (tmp_path / "out/train.jsonl").read_text().splitlines()]
    for row in rows:
        user, assistant = row["messages"]
        assert user["content"].count("<image>") == len(row["images"])
        assert all((tmp_path / "out" / image).is_file() for image in row["images"])
        assert assistant["content"].endswith("</answer>")
    traced = [row["messages"][1]["content"] for row in rows if row["id"].endswith("0005")]
    assert traced == ["<think> It is bright. </think>\n<answer> A </answer>"]


def test_jsonl_loses_nothing(release: Tree, tmp_path: Path) -> None:
    export(release, tmp_path / "out", "jsonl")
    rows = [json.loads(line) for path in (tmp_path / "out").glob("*.jsonl") for line in path.read_text().splitlines()]
    given = {row["id"]: row for name in release.data_files() for row in release.frame(name).to_dicts()}
    assert len(rows) == len(given) == 12
    for row in rows:
        assert {k: v for k, v in row.items() if k != "images"} == {
            k: v for k, v in given[row["id"]].items() if k not in ("images", "split", "part")
        }
        assert len(row["images"]) == len(given[row["id"]]["images"])


@pytest.mark.parametrize("to", ["jsonl", "messages"])
def test_a_path_in_a_shard_does_not_lead_out_of_the_export(tmp_path: Path, to: str) -> None:
    folder = World(count=4).write(tmp_path / "release")
    for shard in folder.glob("data/*/train/selected-*"):
        rename_images(folder, shard.relative_to(folder).as_posix(), "../../owned.png")
    with open_release(folder) as tree:
        export(tree, tmp_path / "exports/out", to)
    assert not list(tmp_path.rglob("owned.png"))
    rows = [json.loads(line) for line in (tmp_path / "exports/out/train.jsonl").read_text().splitlines()]
    named = [image for row in rows for image in row["images"]]
    assert named and all((tmp_path / "exports/out" / image).is_file() for image in named)


@pytest.mark.parametrize("to", FORMATS)
def test_a_folder_that_holds_something_is_left_alone(release: Tree, tmp_path: Path, to: str) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        export(release, tmp_path, to)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_unknown_format_names_the_nearest(release: Tree, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'verl'"):
        export(release, tmp_path / "out", "ver1")
