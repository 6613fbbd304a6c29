"""A release in the formats that other trainers read, unmodified.

    export(tree, Path("exports/verl"), "verl")     # train.parquet, validation.parquet …

jsonl          one line per row with every column, images as files beside it
messages       one chat per line (`<image>` per image, the trace as the assistant's turn) and a dataset_info.json: LLaMA-Factory
medvlthinker   the seed's columns, options as JSON (choice rows only)
verl           data_source, prompt, images, ability, reward_model, extra_info; and problem, answer for EasyR1 (choice rows only)

Only selected rows are exported, one file per split. What is left out is counted, never silent. Licence and origin go with every
row: columns of `jsonl`, `meta` in `messages`, `misc` in `medvlthinker`, `extra_info` in `verl`.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curator.answers import format_trace, render
from curator.errors import UsageError, VerificationError, unknown
from curator.progress import counted
from curator.records import LABELS
from curator.shards import image_name
from curator.workspace import disk_error

if TYPE_CHECKING:
    from curator.publish.tree import Tree

FORMATS = ("jsonl", "messages", "medvlthinker", "verl")
NO_OPTIONS = "open question, and this format is for choices"
_IMAGES = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
_IMAGE_FEATURE = {"feature": {"_type": "Image"}, "_type": "List"}
_PLACEHOLDER = re.compile(r"<(image|video|audio)>", re.IGNORECASE)

ORIGIN = ("source", "source_split", "source_id", "source_revision", "license", "reasoning_model")
"""Whose a row is, and who wrote its trace: what no format may lose."""

Row = dict[str, Any]


@dataclass
class Exported:
    """What was written: rows per file, and rows left out per reason."""

    files: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    def text(self) -> str:
        """One line per file, then what was left out."""
        lines = [f"{name}: {counted(rows, 'row')}" for name, rows in self.files.items()]
        return "\n".join(
            [*lines, *(f"left out: {counted(rows, 'row')} ({why})" for why, rows in self.left_out.items())]
        )


def export(tree: Tree, out: Path, to: str) -> Exported:
    """Write the selected rows of a release to the new folder `out` in the format `to` (one of `FORMATS`).

    Raises:
        UsageError: no such format, `out` holds something already, or no row fits the format.
        WorkspaceError: the disk is full or cannot be written.
    """
    if to not in FORMATS:
        raise unknown("format", to, FORMATS, f"There are {', '.join(FORMATS)}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already: give --out a new folder.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.new-", dir=out.parent))
    except OSError as error:
        raise disk_error(error, out) from None
    try:
        done = WRITERS[to](tree, staging)
        if not any(done.files.values()):
            raise UsageError(f"{tree.name} has no row for {to}: {done.text() or 'nothing is selected'}.")
        if out.exists():
            out.rmdir()
        staging.chmod(0o755)
        staging.replace(out)
    except pa.ArrowInvalid as error:
        raise VerificationError(
            f"{tree.name} is damaged ({str(error).splitlines()[0]}): `curator verify` says where; build or fetch it again."
        ) from None
    except OSError as error:
        raise disk_error(error, out) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return done


def rows(tree: Tree) -> Iterator[tuple[str, list[Row]]]:
    """(split, rows) of the selected rows, one row group at a time; images as {bytes, path}.

    The path is made from the bytes again: what a shard says there may lead out of the export.
    """
    import pyarrow.parquet as pq

    for name in tree.data_files(("selected",)):
        file = pq.ParquetFile(tree.path(name))
        for group in range(file.metadata.num_row_groups):
            batch = file.read_row_group(group).to_pylist()
            for image in (image for row in batch for image in row["images"]):
                image["path"] = image_name(image["bytes"])
            yield name.split("/")[2], batch


def prompt(row: Row) -> str:
    """The curator's prompt as one string with one `<image>` per image, at its place; text that looks like one is disarmed."""
    parts = render(SimpleNamespace(**row))[0]["content"]
    texts = ["<image>" if part["type"] == "image" else _PLACEHOLDER.sub(r"[\1]", part["text"]) for part in parts]
    return "\n".join(texts)


def response(row: Row) -> str:
    """The assistant's turn: the trace and the answer, or the answer alone where there is no trace."""
    answer = row["answer_label"] or row["answer"] or ""
    return format_trace(row["reasoning"], answer) if row["reasoning"] else f"<answer> {answer} </answer>"


def _origin(row: Row) -> Row:
    return {name: row[name] for name in ORIGIN}


# -- files of lines ------------------------------------------------------------------------------------------------------


def _jsonl(tree: Tree, out: Path) -> Exported:
    return _lines(tree, out, lambda row, images: {**row, "images": images})


def _messages(tree: Tree, out: Path) -> Exported:
    def chat(row: Row, images: list[str]) -> Row:
        turns = [{"role": "user", "content": prompt(row)}, {"role": "assistant", "content": response(row)}]
        return {"id": row["id"], "messages": turns, "images": images, "meta": _origin(row)}

    done = _lines(tree, out, chat)
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    described = {
        f"{re.sub(r'[^a-z0-9_]+', '_', tree.manifest['name'].lower())}_{Path(name).stem}": {
            "file_name": name,
            "formatting": "sharegpt",
            "columns": {"messages": "messages", "images": "images"},
            "tags": tags,
        }
        for name in done.files
    }
    (out / "dataset_info.json").write_text(json.dumps(described, indent=2) + "\n", "utf-8")
    return done


def _lines(tree: Tree, out: Path, line: Callable[[Row, list[str]], Row]) -> Exported:
    done = Exported()
    for split, batch in rows(tree):
        with (out / f"{split}.jsonl").open("a", encoding="utf-8") as file:
            for row in batch:
                images = [_save(out, image) for image in row["images"]]
                file.write(json.dumps(line(row, images), ensure_ascii=False) + "\n")
        done.files[f"{split}.jsonl"] = done.files.get(f"{split}.jsonl", 0) + len(batch)
    return done


def _save(out: Path, image: Row) -> str:
    """Write an image once, by the name it has in the release (its content hash); its path in the export."""
    path = out / "images" / image["path"]
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(image["bytes"])
    return f"images/{image['path']}"


# -- parquet -------------------------------------------------------------------------------------------------------------


def _features(schema: pa.Schema, described: dict[str, Any]) -> pa.Schema:
    """The schema with the features that `datasets` reads, so that images come back decoded."""
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": described}})})


def _value(kind: str) -> dict[str, str]:
    return {"dtype": kind, "_type": "Value"}


_TURN = pa.struct([("role", pa.string()), ("content", pa.string())])
_EXTRA = pa.struct([("index", pa.int64()), *((name, pa.string()) for name in ("split", "id", "answer", *ORIGIN))])
VERL = _features(
    pa.schema(
        [("data_source", pa.string()), ("prompt", pa.list_(_TURN)), ("images", _IMAGES), ("ability", pa.string()),
         ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])), ("extra_info", _EXTRA),
         ("problem", pa.string()), ("answer", pa.string())]
    ),
    {
        "data_source": _value("string"),
        "prompt": {"feature": {"role": _value("string"), "content": _value("string")}, "_type": "List"},
        "images": _IMAGE_FEATURE,
        "ability": _value("string"),
        "reward_model": {"style": _value("string"), "ground_truth": _value("string")},
        "extra_info": {"index": _value("int64"), **{n: _value("string") for n in ("split", "id", "answer", *ORIGIN)}},
        "problem": _value("string"),
        "answer": _value("string"),
    },
)  # fmt: skip


def _verl(tree: Tree, out: Path) -> Exported:
    def convert(row: Row, split: str, index: int) -> Row:
        asked = prompt(row)
        return {
            "data_source": row["source"],
            "prompt": [{"role": "user", "content": asked}],
            "images": row["images"],
            "ability": "medical",
            "reward_model": {"style": "rule", "ground_truth": row["answer_label"]},
            "extra_info": {"index": index, "split": split, "id": row["id"], "answer": row["answer"], **_origin(row)},
            "problem": asked,
            "answer": row["answer_label"],
        }

    # verl takes a column of images as a promise that each row has some: a set of text has none.
    return _parquet(tree, out, VERL if _shows_images(tree) else _without_images(VERL), convert)


def _shows_images(tree: Tree) -> bool:
    """Whether any row that `_parquet` writes has an image, by the table of hashes: no picture is read."""
    frames = (tree.frame(name).select("options", "images") for name in tree.data_files(("selected",)))
    return any(options and images for frame in frames for options, images in frame.iter_rows())


def _without_images(schema: pa.Schema) -> pa.Schema:
    described = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    described.pop("images")
    return _features(schema.remove(schema.get_field_index("images")), described)


MEDVLTHINKER = _features(
    pa.schema(
        [("images", _IMAGES)]
        + [
            (name, pa.string())
            for name in ("question", "options", "answer_label", "answer", "reasoning", "dataset_name")
        ]
        + [("dataset_index", pa.int64()), ("hash", pa.string()), ("misc", pa.string())]
    ),
    {
        "images": _IMAGE_FEATURE,
        **{n: _value("string") for n in ("question", "options", "answer_label", "answer", "reasoning", "dataset_name")},
        "dataset_index": _value("int64"),
        "hash": _value("string"),
        "misc": _value("string"),
    },
)
KEPT_IN_MISC = (
    "id",
    *ORIGIN,
    "difficulty",
    "solver",
    "pass_count",
    "sample_count",
    "flags",
)


def _medvlthinker(tree: Tree, out: Path) -> Exported:
    def convert(row: Row, split: str, index: int) -> Row:
        options = dict(zip(LABELS, row["options"], strict=False))
        content = [row["question"], options, row["answer_label"], [image["path"] for image in row["images"]]]
        return {
            **{name: row[name] for name in ("question", "answer_label", "answer", "reasoning")},
            "images": row["images"] or None,
            "options": json.dumps(options, ensure_ascii=False),
            "dataset_name": row["source"],
            "dataset_index": index,
            "hash": hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest(),
            "misc": json.dumps({name: row[name] for name in KEPT_IN_MISC}, ensure_ascii=False),
        }

    return _parquet(tree, out, MEDVLTHINKER, convert)


def _parquet(tree: Tree, out: Path, schema: pa.Schema, convert: Callable[[Row, str, int], Row]) -> Exported:
    import pyarrow.parquet as pq

    done = Exported()
    writers: dict[str, Any] = {}
    try:
        for split, batch in rows(tree):
            name = f"{split}.parquet"
            fitting = [row for row in batch if row["options"]]
            if len(fitting) < len(batch):
                done.left_out[NO_OPTIONS] = done.left_out.get(NO_OPTIONS, 0) + len(batch) - len(fitting)
            if not fitting:
                continue
            if name not in writers:
                writers[name] = pq.ParquetWriter(out / name, schema, compression="zstd")
            start = done.files.get(name, 0)
            made = [convert(row, split, start + offset) for offset, row in enumerate(fitting)]
            writers[name].write_table(pa.Table.from_pylist(made, schema=schema))
            done.files[name] = start + len(fitting)
    finally:
        for writer in writers.values():
            writer.close()
    return done


WRITERS: dict[str, Callable[[Tree, Path], Exported]] = {
    "jsonl": _jsonl,
    "messages": _messages,
    "medvlthinker": _medvlthinker,
    "verl": _verl,
}
