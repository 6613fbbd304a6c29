"""The release: exactly the tree that goes to the Hub, written once, the same bytes for the same inputs.

    release.write(Path("builds/x/release"), rows, read_image=build.read_image,
                  tables={"verdicts": table}, manifest=manifest, recipe_yaml=text)

    README.md  recipe.yaml  manifest.json  CHANGELOG.md
    data/<source>/<split>/selected-00000-of-00001.parquet   rows that passed every stage and the band
    data/<source>/<split>/rest-…   control-…                scored rows outside the band; the unfiltered control
    tables/<name>-00000-of-00001.parquet                    side tables, joined by id
    tables/hashes-00000-of-00001.parquet                    per row: where it is, its content hash, those of its images

`shards.py` says how rows become files, `release_facts.py` what manifest.json holds.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curator.difficulty import blind_sums, histogram
from curator.errors import UsageError
from curator.records import COLUMNS, SCHEMA_VERSION, release_schema
from curator.release_facts import PARTS, FileFacts, Manifest, SourceFacts, Written, file_facts, slug
from curator.shards import (
    ROW_GROUP_BYTES,
    SHARD_BYTES,
    image_name,
    plain_schema,
    row_groups,
    row_hashes,
    slices,
    write_shards,
)
from curator.workspace import disk_error

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Manifest", "SourceFacts", "Written", "finish", "image_name", "read_rows", "rendered", "write"]


def write(
    directory: Path,
    rows: pl.DataFrame,
    *,
    read_image: Callable[[str], bytes],
    tables: Mapping[str, pa.Table],
    manifest: Manifest,
    recipe_yaml: str,
    row_group_bytes: int = ROW_GROUP_BYTES,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write a release to `directory`, taking the place of what was there by a rename.

    `rows` has the columns of the published record that are known (the others become null; `images` are content hashes),
    and `part` (one of `PARTS`); `split` says where a row goes (default: `source_split`), `position` in which order
    (default: by id). `read_image` gives the bytes of a content hash. `tables` are the side tables, by name.

    Raises:
        UsageError: there is no row to write.
        WorkspaceError: the disk is full or cannot be written; the old release is as it was.
    """
    frame = _prepare(rows)
    if frame.is_empty():
        raise UsageError(
            f"{manifest['name']}: no row came through to the release; the funnel above says where they went."
        )
    directory.parent.mkdir(parents=True, exist_ok=True)
    sweep(directory)
    staging = Path(tempfile.mkdtemp(prefix=f".{directory.name}.new-", dir=directory.parent))
    try:
        facts, hashes = _write_data(staging, frame, read_image, row_group_bytes, shard_bytes)
        tables = {**tables, "hashes": hashes}
        facts.update(_write_tables(staging, tables, row_group_bytes, shard_bytes))
        (staging / "recipe.yaml").write_text(recipe_yaml, "utf-8")
        written: Written = {
            **manifest,
            **_counted(frame, facts),  # type: ignore[typeddict-item]
            "schema_version": SCHEMA_VERSION,
            "columns": {name: str(kind) for name, kind in COLUMNS.items()},
            "tables": {name: table.num_rows for name, table in sorted(tables.items())},
            "files": facts,
        }
        finish(staging, written)
        replace_tree(staging, directory)
    except OSError as error:
        raise disk_error(error, directory) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def finish(directory: Path, manifest: Written) -> None:
    """Write what follows from the manifest: README.md, CHANGELOG.md, and manifest.json with the sums of every file."""
    manifest["files"]["recipe.yaml"] = file_facts(directory / "recipe.yaml")
    for name, data in rendered(manifest).items():
        (directory / name).write_bytes(data)


def rendered(manifest: Written) -> dict[str, bytes]:
    """README.md, CHANGELOG.md and manifest.json as a manifest makes them; it gets the sums of the first two."""
    from curator.publish import card

    texts = {"CHANGELOG.md": card.changelog(manifest).encode(), "README.md": card.render(manifest).encode()}
    for name, data in texts.items():
        manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    text = json.dumps(manifest, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    return {**texts, "manifest.json": text.encode()}


# -- rows ---------------------------------------------------------------------------------------------------------------


def _prepare(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with exactly the published columns (images still hashes), their place, and their size without images."""
    import polars as pl

    frame = rows
    if "split" not in frame.columns:
        frame = frame.with_columns(pl.col("source_split").alias("split"))
    if "position" not in frame.columns:
        frame = frame.with_columns(pl.lit(0).alias("position"))
    kinds: dict[str, Any] = {name: pl.List(pl.String) for name in ("images", "options", "flags")}
    counts = [name for name, kind in COLUMNS.items() if kind == pa.int32()]
    kinds.update(dict.fromkeys(counts, pl.Int32))
    missing = [
        pl.lit(None).cast(kinds.get(name, pl.String)).alias(name) for name in COLUMNS if name not in frame.columns
    ]
    frame = frame.with_columns(missing).with_columns(
        [
            pl.col(name).cast(kinds.get(name, pl.String))
            for name in COLUMNS
            if name not in ("images", "options", "flags")
        ]
    )
    frame = frame.with_columns([pl.col(n).cast(kinds[n]).fill_null([]) for n in ("images", "options", "flags")])
    frame = frame.with_columns(
        pl.col("source").map_elements(slug, return_dtype=pl.String).alias("_folder"),
        pl.col("split").map_elements(lambda s: re.sub(r"\W+", "_", s) or "train", return_dtype=pl.String),
        (64 + sum(_text_size(name) for name in COLUMNS if name not in counts and name != "images")).alias("_size"),
    )
    twice = frame.group_by("id", "part").len().filter(pl.col("len") > 1)
    if not twice.is_empty() or not set(frame["part"].unique()) <= set(PARTS):
        raise AssertionError(f"rows of a release need one id each and a part of {PARTS}: {twice.head(3)}")
    order = ["_folder", "split", "part", "position", "id"]
    return frame.sort(order).select([*COLUMNS, "split", "part", "_folder", "_size"])


def _text_size(name: str) -> Any:
    import polars as pl

    if name in ("options", "flags"):
        return pl.col(name).list.join("").str.len_bytes().fill_null(0)
    return pl.col(name).str.len_bytes().fill_null(0)


def _write_data(
    root: Path, frame: pl.DataFrame, read_image: Callable[[str], bytes], row_group_bytes: int, shard_bytes: int
) -> tuple[dict[str, FileFacts], pa.Table]:
    facts: dict[str, FileFacts] = {}
    hashes: list[pa.Table] = []

    def noted(groups: Iterator[tuple[str, pa.Table]]) -> Iterator[tuple[str, pa.Table]]:
        for first, table in groups:
            hashes.append(row_hashes(table, split, part))
            yield first, table

    for (folder, split, part), group in frame.group_by(["_folder", "split", "part"], maintain_order=True):
        tables = noted(row_groups(group, read_image, row_group_bytes))
        facts.update(write_shards(root, f"data/{folder}/{split}/{part}", release_schema(), tables, shard_bytes))
    return facts, pa.concat_tables(hashes)


def _write_tables(
    root: Path, tables: Mapping[str, pa.Table], group_bytes: int, shard_bytes: int
) -> dict[str, FileFacts]:
    facts: dict[str, FileFacts] = {}
    for name, unordered in sorted(tables.items()):
        plain = [(field.name, "ascending") for field in unordered.schema if not pa.types.is_nested(field.type)]
        table = unordered.sort_by(sorted(plain, key=lambda key: key[0] != "id")) if plain else unordered
        groups = ((str(start), part) for start, part in slices(table, group_bytes))
        facts.update(write_shards(root, f"tables/{name}", plain_schema(table.schema), groups, shard_bytes))
    return facts


# -- what is counted ---------------------------------------------------------------------------------------------------


def _counted(frame: pl.DataFrame, facts: dict[str, FileFacts]) -> dict[str, Any]:
    import polars as pl

    size = pl.DataFrame(
        [(*Path(name).parts[1:3], Path(name).name.split("-")[0], fact["size"])
         for name, fact in facts.items() if name.startswith("data/")],
        schema={"_folder": pl.String, "split": pl.String, "part": pl.String, "bytes": pl.Int64}, orient="row",
    ).group_by("_folder", "split", "part").agg(pl.col("bytes").sum())  # fmt: skip
    counts = frame.group_by("_folder", "split", "part").len().join(size, on=["_folder", "split", "part"])
    counts = counts.rename({"_folder": "source", "len": "rows"}).sort("source", "split", "part")
    levels = frame.group_by("part", pl.col("difficulty").fill_null("unscored")).len().sort("part", "difficulty")
    difficulty: dict[str, dict[str, int]] = {}
    for part, level, rows in levels.iter_rows():
        difficulty.setdefault(part, {})[level] = rows
    own = frame.filter(pl.col("part") != "control")
    keys = ("source", "split", "part", "rows", "bytes")
    return {
        "counts": [dict(zip(keys, row, strict=True)) for row in counts.select(keys).iter_rows()],
        "difficulty": difficulty,
        "languages": _tally(frame, "language"),
        "answer_types": _tally(frame, "answer_type"),
        "licenses": {
            str(key[0]): _tally(part, "license") for key, part in frame.group_by("_folder", maintain_order=True)
        },
        "with_images": own.filter(pl.col("images").list.len() > 0).height,
        "histogram": histogram(own),
        "blind": blind_sums(own),
    }


def _tally(frame: pl.DataFrame, column: str) -> dict[str, int]:
    import polars as pl

    rows = frame.filter(pl.col("part") != "control").group_by(pl.col(column).fill_null("unknown")).len().sort(column)
    return dict(rows.iter_rows())


# -- folders -----------------------------------------------------------------------------------------------------------


def replace_tree(staging: Path, directory: Path) -> None:
    """Put `staging` in the place of `directory`, every file synced first."""
    for path in sorted(staging.rglob("*")):
        if path.is_file():
            path.chmod(0o644)
            with path.open("rb") as file:
                os.fsync(file.fileno())
    staging.chmod(0o755)
    old = directory.with_name(f".{directory.name}.old-{os.getpid()}")
    if directory.exists():
        directory.rename(old)
    try:
        staging.rename(directory)
    except OSError:
        if old.exists():
            old.rename(directory)
        raise
    shutil.rmtree(old, ignore_errors=True)


def sweep(directory: Path) -> None:
    """Remove what a killed run left beside `directory`, and put back a release it had just moved away."""
    for old in directory.parent.glob(f".{directory.name}.old-*"):
        if directory.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(directory)
    for new in directory.parent.glob(f".{directory.name}.new-*"):
        shutil.rmtree(new, ignore_errors=True)


def read_rows(ref: str) -> pl.DataFrame:
    """The rows of a build's folder, a release's folder or a published set (`hub:ORG/NAME@v1.0.0`), images as hashes.

    Columns are those of the record with `images` as sha256 of the embedded bytes, then `split` and `part`.

    Raises:
        UsageError: there is no release at `ref`.
        NetworkError: the Hub could not be reached.
    """
    import polars as pl

    from curator.publish.tree import open_release

    with open_release(ref) as tree:
        return pl.concat([tree.frame(name) for name in tree.data_files(("selected", "rest"))])
