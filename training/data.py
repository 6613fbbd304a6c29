"""A published set or a build as the columns TRL reads, checked before the first step.

    prepared = prepare(load(settings), settings, "rlvr", tokenizer, image_processor)
    prepared.dataset    prompt, images, options, answer_label, id      (rlvr)
                        prompt, completion, images                     (sft)
    prepared.left_out   {"no trace": 12, "no key": 3}

A text row has `images=[]` and stands in one batch with image rows; see trainers.py for what that takes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pyarrow.compute as pc
from PIL import Image

from curator.answers import format_trace, render
from curator.errors import SourceError, UsageError
from curator.manifest import easy_to_hard
from curator.train import RlvrSettings, Settings, data_facts

datasets.disable_progress_bars()
NEEDED = ("id", "images", "question", "options", "answer_label", "answer")


@dataclass
class Prepared:
    """What the trainer gets, and what it does not get."""

    dataset: datasets.Dataset
    left_out: dict[str, int] = field(default_factory=dict)
    longest_prompt: int = 0
    with_images: int = 0
    data: dict[str, Any] = field(default_factory=dict)
    """Which release the rows are: see `facts`."""
    tokens: int = 0
    """Of one pass over the rows: prompts, and for sft the responses."""


def load(settings: Settings) -> datasets.Dataset:
    """The rows of a build, of its release or of a published version.

    Raises:
        UsageError, SourceError: no such set, config or split, or it lacks the columns of a curator set.
    """
    where = Path(settings.dataset)
    if (where / "release").is_dir():
        where = where / "release"
    name, revision = str(where), settings.revision
    if not where.exists():
        name, _, version = settings.dataset.removeprefix("hub:").partition("@")
        revision = revision or version or None
    try:
        found = datasets.load_dataset(name, settings.subset, split=settings.split, revision=revision)
    except (ValueError, FileNotFoundError, ConnectionError, OSError) as error:
        at = f" at {revision}" if revision else ""
        config = f", config {settings.subset!r}" if settings.subset else ""
        reason = " ".join(str(error).split())[:300]
        raise SourceError(f"cannot load {name}{at}{config}, split {settings.split!r}: {reason}") from None
    missing = [column for column in NEEDED if column not in found.column_names]
    if missing:
        raise UsageError(
            f"{name} is no curator set: it lacks {', '.join(missing)}; it has {', '.join(found.column_names)}."
        )
    return found


def facts(rows: datasets.Dataset, settings: Settings) -> dict[str, Any]:
    """Which release rows are of: a folder's manifest, or of a set on the Hub the commit that was read; {} where neither is known."""
    local = data_facts(settings.dataset)
    # `datasets` keeps what it read in a folder named by the commit, and finds it there without a network too.
    places = {Path(file["filename"]).parent.name for file in rows.cache_files} if not local else set()
    commit = next((place for place in places if re.fullmatch("[0-9a-f]{40}", place)), None)
    return {"commit": commit} if commit else local


def prepare(
    rows: datasets.Dataset, settings: Settings, kind: str, tokenizer: Any, image_processor: Any | None
) -> Prepared:
    """Rows with what `kind` needs, in the order of the settings, as TRL's columns.

    `image_processor` is None for a model that reads text only.

    Raises:
        UsageError: nothing to train on, too many images, a row over the limits, an order that needs counts.
    """
    table = rows.remove_columns("images").with_format("arrow")[:].to_pydict()
    counts = _image_counts(rows)
    keep = np.ones(len(rows), dtype=bool)
    left_out: dict[str, int] = {}

    def leave(mask: np.ndarray, reason: str) -> None:
        if (gone := int((keep & mask).sum())) > 0:
            left_out[reason] = gone
        keep[mask] = False

    if settings.only != "all":
        leave((counts > 0) != (settings.only == "image-text"), f"not {settings.only}")
        if not keep.any():
            raise UsageError(f"{settings.dataset} has no {settings.only} rows ({len(rows):,} rows): use only=all.")
    keyed = np.array([label is not None for label in table["answer_label"]])
    if kind == "sft":
        traces = table.get("reasoning") or [None] * len(rows)
        leave(np.array([not trace for trace in traces]), "no trace")
        if not keep.any():
            raise UsageError(
                f"{settings.dataset} has no reasoning traces ({len(rows):,} rows): build it with `--teacher MODEL`, "
                "or train with rlvr, which needs none."
            )
    else:
        leave(~keyed, "no key (open question)")
        if not keep.any():
            raise UsageError(
                f"{settings.dataset} has no row with options and a key ({len(rows):,} rows): a verifiable reward needs them."
            )
    most = settings.max_images if image_processor is not None else 0
    if (counts[keep] > most).any():
        first = int(np.flatnonzero(keep & (counts > most))[0])
        way = "train a vision-language model, or a text subset" if most == 0 else "raise max_images"
        raise UsageError(
            f"row {table['id'][first]} of {settings.dataset} has {counts[first]} images and {settings.model} takes "
            f"{most}: {way}."
        )

    kept = np.flatnonzero(keep)
    records = [_record(table, int(i), int(counts[i])) for i in kept]
    turns = [render(record, settings.prompt) for record in records]
    columns: dict[str, list[Any]] = {"prompt": [_trl_turn(turn) for turn in turns]}
    if kind == "sft":
        answers = [format_trace(table["reasoning"][i], table["answer_label"][i] or table["answer"][i]) for i in kept]
        columns["completion"] = [[{"role": "assistant", "content": text}] for text in answers]
    else:
        answers = [""] * len(kept)
        columns["id"] = [record.id for record in records]
        columns["options"] = [record.options for record in records]
        columns["answer_label"] = [record.answer_label for record in records]

    images = rows.select_columns(["images"]).select(kept)
    lengths = _prompt_tokens(turns, images, tokenizer, image_processor)
    long = lengths > settings.max_prompt_tokens
    taught = np.zeros_like(lengths)
    if kind == "sft":
        taught = _tokens(tokenizer, answers) + 2  # the turn's end and its line break
        long |= taught > settings.max_response_tokens
    if long.any():
        if settings.over_limit == "error":
            first = int(np.flatnonzero(long)[0])
            raise UsageError(
                f"{int(long.sum()):,} rows are over the limits, the first is {records[first].id} with "
                f"{lengths[first]:,} prompt tokens of {settings.max_prompt_tokens:,}: raise max_prompt_tokens or "
                "max_response_tokens, lower max_pixels, or leave them out with --set over_limit=drop."
            )
        left_out["over the token limits"] = int(long.sum())
    order = np.flatnonzero(~long)[_order({k: [v[i] for i in kept[~long]] for k, v in table.items()}, settings)]
    if not len(order):
        raise UsageError(f"{settings.dataset}: every row is over the token limits; raise max_prompt_tokens.")

    built = datasets.Dataset.from_dict(columns)
    if image_processor is not None:
        built = datasets.concatenate_datasets([built, _in_prompt_order(images, turns).flatten_indices()], axis=1)
    pictured, tokens = int((counts[kept][order] > 0).sum()), int((lengths + taught)[order].sum())
    longest = int(lengths[order].max())
    return Prepared(built.select(order), left_out, longest, pictured, facts(rows, settings), tokens)


def _record(table: dict[str, list[Any]], i: int, images: int) -> SimpleNamespace:
    wanted = {name: table[name][i] for name in ("id", "question", "answer_label", "answer")}
    return SimpleNamespace(**wanted, options=list(table["options"][i] or []), images=range(images))


def _trl_turn(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """TRL fills a bare image part from the `images` column, in order; Arrow wants all parts of one shape."""
    return [
        {"role": turn["role"], "content": [{"type": p["type"], "text": p.get("text")} for p in turn["content"]]}
        for turn in messages
    ]


def _image_counts(rows: datasets.Dataset) -> np.ndarray:
    column = rows.select_columns(["images"]).with_format("arrow")[:]["images"]
    return np.asarray(pc.fill_null(pc.list_value_length(column), 0).to_numpy(), dtype=np.int64)


def _in_prompt_order(images: datasets.Dataset, turns: list[list[dict[str, Any]]]) -> datasets.Dataset:
    """Images in the order in which the prompt shows them; markers may name image 2 before image 1."""
    orders = [[part["image"] for part in turn[0]["content"] if part["type"] == "image"] for turn in turns]
    if all(order == sorted(order) for order in orders):
        return images
    features = images.features
    raw = images.cast_column("images", datasets.List(datasets.Image(decode=False)))
    moved = raw.map(lambda row, i: {"images": [row["images"][k] for k in orders[i]]}, with_indices=True)
    return moved.cast(features)


def _tokens(tokenizer: Any, texts: list[str]) -> np.ndarray:
    encoded = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    return np.array([len(ids) for ids in encoded], dtype=np.int64)


def _prompt_tokens(
    turns: list[list[dict[str, Any]]], images: datasets.Dataset, tokenizer: Any, image_processor: Any | None
) -> np.ndarray:
    """Tokens of each prompt with the chat template and the images at the size the model sees."""
    texts = [
        tokenizer.apply_chat_template(
            [{"role": t["role"], "content": "".join(p.get("text", "") for p in t["content"])} for t in turn],
            tokenize=False,
            add_generation_prompt=True,
        )
        for turn in turns
    ]
    lengths = _tokens(tokenizer, texts)
    if image_processor is None:
        return lengths
    merge = image_processor.merge_size**2
    for i, sizes in enumerate(_sizes(images)):
        for height, width in sizes:
            patches = image_processor.get_number_of_image_patches(height, width, {})
            lengths[i] += int(patches) // merge + 2  # and <|vision_start|>, <|vision_end|>
    return lengths


def _sizes(images: datasets.Dataset) -> Iterator[list[tuple[int, int]]]:
    """(height, width) of each image of each row, from the headers."""
    for row in images.cast_column("images", datasets.List(datasets.Image(decode=False))):
        sizes = []
        for item in row["images"]:
            with Image.open(io.BytesIO(item["bytes"]) if item["bytes"] else item["path"]) as image:
                sizes.append((image.height, image.width))
        yield sizes


def _order(table: dict[str, list[Any]], settings: Settings) -> np.ndarray:
    """Row numbers in training order, at most `limit` of them."""
    n = len(table["id"])
    generator = np.random.default_rng(settings.seed)
    order = np.arange(n) if settings.order == "as-is" else generator.permutation(n)
    if settings.limit is not None:
        order = order[: settings.limit]
    if settings.order in ("shuffled", "as-is"):
        return order
    drawn = np.array([k or 0 for k in table.get("sample_count", [0] * n)], dtype=float)[order]
    if not len(drawn) or (drawn == 0).any():
        raise UsageError(
            f"order {settings.order!r} needs pass counts, and {int((drawn == 0).sum()):,} rows of {settings.dataset} have "
            "none: score the build, or use order=shuffled."
        )
    passed = np.array([k or 0 for k in table["pass_count"]], dtype=float)[order]
    if settings.order == "easy-to-hard":
        return np.asarray(order[easy_to_hard(passed.tolist(), drawn.tolist(), range(len(order)))])
    size = settings.rollouts if isinstance(settings, RlvrSettings) else 8
    p = (passed + 0.5) / (drawn + 1)
    live = 1 - p**size - (1 - p) ** size
    return np.asarray(generator.choice(order, size=len(order), p=live / live.sum()))


def describe(prepared: Prepared, settings: Settings) -> str:
    """One line: what is trained on and what is left out."""
    n = len(prepared.dataset)
    parts = [f"{n:,} rows of {settings.dataset} ({prepared.with_images:,} with images), {settings.order}"]
    parts += [f"{count:,} left out: {reason}" for reason, count in prepared.left_out.items()]
    return "; ".join([*parts, f"longest prompt {prepared.longest_prompt:,} tokens"])
