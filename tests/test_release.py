"""A release holds exactly the rows it was given, the same bytes for the same rows, and `datasets` reads it."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curator import difficulty, manifest, release, release_facts
from curator.errors import UsageError
from curator.recipe import make_recipe
from curator.records import COLUMNS, features


def picture(number: int, side: int = 32) -> bytes:
    """A PNG (even) or JPEG (odd) that no other number has."""
    image = Image.frombytes("L", (side, side), hashlib.shake_256(str(number).encode()).digest(side * side))
    out = io.BytesIO()
    image.save(out, "PNG" if number % 2 == 0 else "JPEG")
    return out.getvalue()


class World:
    """A few rows with images, as the pipeline hands them over."""

    def __init__(self, count: int = 12, sources: tuple[str, ...] = ("vqa-rad", "phantom"), side: int = 32) -> None:
        self.blobs = {hashlib.sha256(data).hexdigest(): data for data in (picture(i, side) for i in range(count))}
        shas = list(self.blobs)
        self.rows = pl.DataFrame(
            [
                {
                    "id": f"{source}:train:{i:04d}", "images": [shas[i]] if i % 3 else [], "question": f"What is {i}?",
                    "options": ["Yes", "No"], "answer_label": "A", "answer": "Yes", "answer_type": "yes_no",
                    "language": "en", "source": source, "source_split": "train" if i % 4 else "validation",
                    "source_id": str(i), "source_revision": "abc", "license": "cc0-1.0", "split_group": f"g{i}",
                    "difficulty": "medium" if i % 2 else "hard", "solver": "tiny@1", "pass_count": i % 2 * 3,
                    "sample_count": 16, "flags": [], "part": "selected" if i % 2 else "rest",
                }
                for source in sources for i in range(count)
            ]
        )  # fmt: skip

    def write(self, directory: Path, rows: pl.DataFrame | None = None, **changes: object) -> Path:
        kept = self.rows if rows is None else rows
        verdicts = pa.table({"id": kept["id"].to_list(), "stage": ["select"] * len(kept), "keep": [True] * len(kept)})
        given = {
            "manifest": facts(),
            "tables": {"verdicts": verdicts},
            "recipe_yaml": "name: test\nsources: [phantom]\n",
        }
        release.write(directory, kept, read_image=self.blobs.__getitem__, **{**given, **changes})  # type: ignore[arg-type]
        return directory


def facts(**changes: object) -> release.Manifest:
    manifest = {
        "name": "test", "recipe_sha256": "0" * 64, "seed": 42, "versions": {"medvl-curator": "0.1.0"},
        "sources": [
            {"name": name, "revision": "abc", "license": "cc0-1.0", "redistributable": True} for name in ("vqa-rad", "phantom")
        ],
        "funnel": [{"stage": "dedup", "rows_in": 30, "rows_out": 24, "reasons": {"near-duplicate": 6}}],
        "leakage": {"checked": [{"name": "vqa-rad", "rows": 451, "images": 203}], "missing": ["slake"], "found": []},
        "scoring": {"solver": "tiny@1", "samples": 16, "criterion": "medium (1 to 7 of 16)"},
    }  # fmt: skip
    return {**manifest, **changes}  # type: ignore[typeddict-item,return-value]


def tree(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def written(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.write(tmp_path_factory.mktemp("written") / "release")


def test_same_rows_in_any_order_give_the_same_bytes(world: World, written: Path, tmp_path: Path) -> None:
    again = world.write(tmp_path / "release", world.rows.sample(fraction=1, shuffle=True, seed=1))
    assert tree(again) == tree(written)
    assert not list(tmp_path.glob(".*")), "nothing is left beside the release"


def test_the_manifest_has_the_sum_of_every_file(written: Path) -> None:
    manifest = release_facts.read_manifest(written)
    on_disk = {
        name: hashlib.sha256(data).hexdigest() for name, data in tree(written).items() if name != "manifest.json"
    }
    assert {name: fact["sha256"] for name, fact in manifest["files"].items()} == on_disk
    assert sum(c["rows"] for c in manifest["counts"]) == 24
    assert manifest["histogram"] == [[16, 0, 12], [16, 3, 12]]


def test_a_manifest_counts_scores_as_difficulty_does_without_the_control(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = world.rows.with_columns(blind_pass_count=pl.lit(1), blind_sample_count=pl.lit(16))
    rows = pl.concat([asked, asked.head(5).with_columns(part=pl.lit("control"))])
    counted: list[int] = []

    def counting(rows: pl.DataFrame) -> dict[str, int]:
        counted.append(rows.height)
        return difficulty.blind_sums(rows)

    monkeypatch.setattr(release, "blind_sums", counting)
    manifest = release_facts.read_manifest(world.write(tmp_path / "release", rows))
    assert manifest["blind"] == {"rows": 24, "right": 24, "drawn": 384, "sighted_right": 36, "sighted_drawn": 384}
    assert counted == [24] and manifest["histogram"] == [[16, 0, 12], [16, 3, 12]]


def test_easy_to_hard_is_by_the_share_that_is_right_and_ties_are_shuffled() -> None:
    counts = {"always": (8, 8), "never": (0, 16), "mostly": (9, 16), "unscored": (None, None), "tie": (18, 32)}
    recipe = make_recipe({"name": "x", "sources": ["a"], "split": {"order": "easy-to-hard"}})
    places = []
    for seed in range(9):
        rows = pl.DataFrame(
            [(id, *pair) for id, pair in counts.items()], schema=["id", "pass_count", "sample_count"], orient="row"
        )
        positions = manifest._position(rows, recipe.model_copy(update={"seed": seed}))
        places.append(rows.with_columns(position=positions).sort("position")["id"].to_list())
    assert all((ids[0], *ids[3:]) == ("always", "never", "unscored") for ids in places)
    assert {ids[1] for ids in places} == {"mostly", "tie"}


def test_every_shard_has_the_record_schema_whatever_is_null(world: World, tmp_path: Path) -> None:
    bare = world.rows.select("id", "question", "images", "options", "source", "source_split", "part")
    for path in world.write(tmp_path / "release", bare).glob("data/**/*.parquet"):
        schema = pq.read_schema(path)
        assert {f.name: f.type for f in schema} == COLUMNS
        assert json.loads(schema.metadata[b"huggingface"])["info"]["features"]


@pytest.mark.parametrize("streaming", [False, True])
def test_load_dataset_gives_typed_columns_and_decoded_images(
    written: Path, world: World, tmp_path: Path, streaming: bool
) -> None:
    import datasets

    kept = world.rows.filter((pl.col("source") == "vqa-rad") & (pl.col("source_split") == "train"))
    loaded = datasets.load_dataset(str(written), "vqa-rad", split="train", streaming=streaming, cache_dir=str(tmp_path))
    assert loaded.features == features()
    rows = {row["id"]: row for row in loaded}
    assert sorted(rows) == sorted(kept.filter(pl.col("part") == "selected")["id"])
    for given in kept.filter(pl.col("part") == "selected").iter_rows(named=True):
        got = rows[given["id"]]
        assert [image.size for image in got["images"]] == [(32, 32)] * len(given["images"])
        assert {k: got[k] for k in given if k not in ("images", "part")} == {
            k: v for k, v in given.items() if k not in ("images", "part")
        }


def test_each_config_loads_with_its_rows(written: Path, tmp_path: Path) -> None:
    import datasets

    listed = release_facts.configs(release_facts.read_manifest(written))
    assert set(listed) == {"default", "vqa-rad", "phantom", "vqa-rad-all", "phantom-all", "verdicts", "hashes"}
    sizes = {
        config: sum(len(part) for part in datasets.load_dataset(str(written), config, cache_dir=str(tmp_path)).values())
        for config in listed
    }
    assert sizes == {
        "default": 12,
        "vqa-rad": 6,
        "phantom": 6,
        "vqa-rad-all": 12,
        "phantom-all": 12,
        "verdicts": 24,
        "hashes": 24,
    }


def test_nothing_selected_says_so_in_one_line(world: World, tmp_path: Path) -> None:
    import datasets

    directory = world.write(tmp_path / "release", world.rows.with_columns(part=pl.lit("rest")))
    assert len(datasets.load_dataset(str(directory), "phantom-all", split="train", cache_dir=str(tmp_path / "c"))) == 9
    with pytest.raises(ValueError, match=r"phantom-all"):
        datasets.load_dataset(str(directory), cache_dir=str(tmp_path / "c"))
    with pytest.raises(UsageError, match="no row came through"):
        world.write(tmp_path / "empty", world.rows.head(0))
    assert not (tmp_path / "empty").exists()


def test_a_failed_write_leaves_the_old_release(world: World, tmp_path: Path) -> None:
    directory = world.write(tmp_path / "release")
    before = tree(directory)

    def broken(sha: str) -> bytes:
        raise OSError(28, "No space left on device")

    from curator.errors import WorkspaceError

    with pytest.raises(WorkspaceError, match="disk is full"):
        release.write(
            directory, world.rows, read_image=broken, tables={}, manifest=facts(), recipe_yaml="name: other\n"
        )  # fmt: skip
    assert tree(directory) == before
    assert not list(tmp_path.glob(".*"))


def test_a_killed_swap_is_undone_by_the_next_run(world: World, tmp_path: Path) -> None:
    directory = world.write(tmp_path / "release")
    before = tree(directory)
    directory.rename(tmp_path / ".release.old-1")
    (tmp_path / ".release.new-x").mkdir()
    with pytest.raises(UsageError):
        world.write(directory, world.rows.with_columns(part=pl.lit("rest")).head(0))
    release.sweep(directory)
    assert tree(directory) == before
    assert not list(tmp_path.glob(".*"))


def test_large_sets_are_cut_into_bounded_groups_and_shards(tmp_path: Path) -> None:
    world = World(count=150, sources=("phantom",), side=64)  # about 4 kB an image
    rows = world.rows.with_columns(part=pl.lit("selected"), source_split=pl.lit("train"))
    directory = world.write(tmp_path / "release", rows, row_group_bytes=50_000, shard_bytes=200_000)
    shards = sorted(directory.glob("data/phantom/train/*.parquet"))
    assert len(shards) > 2
    assert shards[0].name == f"selected-00000-of-{len(shards):05d}.parquet"
    for path in shards:
        meta = pq.ParquetFile(path).metadata
        groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
        assert max(group.total_byte_size for group in groups) < 60_000
        assert path.stat().st_size < 210_000
        assert all(group.column(0).has_offset_index for group in groups)
    ids = [id for path in shards for id in pq.read_table(path, columns=["id"])["id"].to_pylist()]
    assert ids == sorted(rows["id"])


def test_an_inserted_row_moves_only_the_borders_near_it(tmp_path: Path) -> None:
    world = World(count=400, sources=("phantom",), side=64)
    rows = world.rows.with_columns(part=pl.lit("selected"), source_split=pl.lit("train"))
    small = {"row_group_bytes": 20_000, "shard_bytes": 200_000}
    full = world.write(tmp_path / "full", rows, **small)
    less = world.write(tmp_path / "less", rows.filter(pl.col("id") != "phantom:train:0101"), **small)

    def groups(directory: Path) -> set[tuple[str, ...]]:
        out = set()
        for path in directory.glob("data/phantom/train/*.parquet"):
            file = pq.ParquetFile(path)
            for i in range(file.metadata.num_row_groups):
                out.add(tuple(file.read_row_group(i, columns=["id"])["id"].to_pylist()))
        return out

    assert len(groups(full)) > 40
    assert len(groups(full) - groups(less)) <= 8


def test_the_control_is_a_config_of_its_own_and_an_order_is_kept(world: World, tmp_path: Path) -> None:
    import datasets

    chosen = world.rows.filter(pl.col("source") == "phantom", pl.col("source_split") == "train")
    control = chosen.head(4).with_columns(part=pl.lit("control"))
    rows = (
        pl.concat([chosen, control])
        .with_row_index("position")
        .with_columns(position=-pl.col("position").cast(pl.Int64))
    )
    folder = world.write(tmp_path / "release", rows)
    loaded = datasets.load_dataset(str(folder), "control", split="train", cache_dir=str(tmp_path / "c"))
    assert loaded["id"] == list(reversed(control["id"].to_list()))
    rest = datasets.load_dataset(str(folder), "phantom", split="train", cache_dir=str(tmp_path / "c"))["id"]
    assert list(rest) == sorted(rest, reverse=True)


@pytest.mark.parametrize(
    "counts, first",
    [
        ([("a", "train", "selected"), ("a", "test", "selected")], ("default", "train")),
        ([("a", "validation", "selected"), ("a", "test", "selected")], ("default", "validation")),
        ([("a", "test", "rest")], ("a-all", "test")),
    ],
)
def test_what_to_load_first_is_there(counts: list[tuple[str, str, str]], first: tuple[str, str]) -> None:
    listed = [{"source": source, "split": split, "part": part, "rows": 3} for source, split, part in counts]
    assert release_facts.first_config({"tables": {"verdicts": 9}, "counts": listed}) == first  # type: ignore[typeddict-item]
