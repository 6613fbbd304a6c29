"""Looking at a build: its rows as a person reads them, and one row's whole life.

curator show builds/phantom --difficulty hard
curator explain phantom:train:00017 builds/phantom
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curator.builds import ORDER
from curator.errors import UsageError, unknown
from curator.records import LABELS
from curator.workspace import Workspace, atomic, damaged

if TYPE_CHECKING:
    import polars as pl


def plain(text: str) -> str:
    """Text of a data set made safe for a terminal: control characters (escape sequences, bells) become spaces."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cf") and c != "\n" else c for c in text)


FACTS = {
    "benchmark": "leaks into", "of": "its row there", "kept": "kept instead", "jaccard": "Jaccard similarity",
    "same_options": "with the same options", "same_image": "about the same image", "image": "image",
    "image_there": "the image there", "bits": "bits of 256 that differ", "correlation": "correlation of details",
    "runs": "shared runs of 13 words",
}  # fmt: skip
"""What a piece of evidence is called where people read it, in this order; others go by their own names, after these."""


def told(evidence: str) -> list[str]:
    """The evidence of a verdict, one fact a line: 'leaks into: phantom:test'. Hashes are shortened to 12 digits."""
    if not evidence:
        return []
    facts = json.loads(evidence)
    names = [name for name in FACTS if name in facts] + [name for name in facts if name not in FACTS]
    return [plain(f"{FACTS.get(name, name.replace('_', ' '))}: {_brief(facts[name])}") for name in names]


def _brief(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "nothing"}[value]
    if isinstance(value, dict):
        return ", ".join(f"{name} {_brief(inside)}" for name, inside in value.items())
    if isinstance(value, list):
        return " | ".join(_brief(inside) for inside in value)
    return f"{value[:12]}…" if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) else str(value)


def finished(workspace: Workspace) -> list[str]:
    """The stages that have finished, in order; those of an earlier recipe, which this one has yet to reach, are not.

    Raises:
        WorkspaceError: a stage's file is there and cannot be read.
    """
    done: list[str] = []
    after = ""
    for name in ORDER:
        facts = workspace.facts(name)
        if facts is None and workspace.stage_path(name).is_file():
            raise damaged(workspace.stage_path(name))
        if facts is None or facts.get("after", after) != after:
            break
        done.append(name)
        after = facts["key"]
    return done


def life(workspace: Workspace) -> pl.DataFrame:
    """Every row that ingest read, with all columns known so far and the stage and reason where it was dropped."""
    import polars as pl

    rows: pl.DataFrame | None = None
    for name in finished(workspace):
        table = workspace.read_stage(name)
        drop = table.filter(~pl.col("keep")).select(
            "id",
            pl.lit(name).alias("dropped_at"),
            pl.col("reason").alias("dropped_for"),
            pl.col("evidence").alias("because"),
        )
        table = table.drop("keep", "reason", "evidence")
        if rows is None:
            rows = table.join(drop, on="id", how="left", maintain_order="left")
            continue
        new = [c for c in table.columns if c == "id" or c not in rows.columns]
        both = [c for c in table.columns if c in rows.columns and c != "id"]
        rows = rows.join(table.select(new), on="id", how="left", maintain_order="left")
        if both:
            rows = rows.update(table.select("id", *both), on="id", how="left")
        rows = rows.update(drop, on="id", how="left")
    if rows is None:
        raise UsageError(f"{workspace.path} has no finished stage yet: run `curator build` again.")
    return rows


def pick(
    rows: pl.DataFrame,
    *,
    stage: str | None = None,
    difficulty: str | None = None,
    reason: str | None = None,
    source: str | None = None,
    find: str | None = None,
) -> pl.DataFrame:
    """The rows dropped at a stage, of a difficulty, dropped for a reason, of a source, or with a text in the question."""
    import polars as pl

    if stage is not None:
        if stage not in ORDER:
            raise unknown("stage", stage, ORDER, "The stages are: " + ", ".join(ORDER) + ".")
        rows = rows.filter(pl.col("dropped_at") == stage)
    for column, value in (("difficulty", difficulty), ("dropped_for", reason), ("source", source)):
        if value is None:
            continue
        have = rows[column].drop_nulls().unique().to_list() if column in rows.columns else []
        if value not in have:
            what = {"dropped_for": "reason"}.get(column, column)
            raise unknown(what, value, have, "There are: " + (", ".join(sorted(have)) or "none yet") + ".")
        rows = rows.filter(pl.col(column) == value)
    if find is not None:
        rows = rows.filter(pl.col("question").str.to_lowercase().str.contains(find.lower(), literal=True))
    return rows


def describe(row: dict[str, Any]) -> Iterator[str]:
    """One row as lines a person reads."""
    yield plain(f"{row['id']}  ({row.get('license') or 'licence unknown'})")
    if row.get("question"):
        yield plain(f"  {row['question']}")
    for label, option in zip(LABELS, row.get("options") or [], strict=False):
        yield plain(f"  {'→' if label == row.get('answer_label') else ' '} {label}. {option}")
    if row.get("answer_type") == "open":
        yield plain(f"  → {row['answer']}")
    if row.get("sample_count"):
        blind = (
            f", blind {row['blind_pass_count']} of {row['blind_sample_count']}" if row.get("blind_sample_count") else ""
        )
        yield (
            f"  {row.get('difficulty') or 'unsettled'}: {row['pass_count']} right of {row['sample_count']} "
            f"({row['unreadable_count']} unreadable, {row['truncated_count']} cut off{blind}) by {row['solver']}"
        )
    if row.get("reasoning"):
        yield plain(f"  trace: {row['reasoning'][:400]}")
    if row.get("images"):
        yield plain(f"  images: {', '.join(row['images'])}")
    if row.get("flags"):
        yield plain(f"  flags: {', '.join(row['flags'])}")
    if row.get("dropped_at"):
        yield plain(f"  dropped at {row['dropped_at']}: {row['dropped_for']}")
        yield from (f"    {fact}" for fact in told(row.get("because") or ""))


def explain(workspace: Workspace, id: str) -> Iterator[str]:
    """A row's life, stage by stage, with the evidence and, for duplicates and leaks, the other question.

    Raises:
        UsageError: no row of that id (the nearest is suggested).
    """
    import polars as pl

    from curator.pipeline import verdicts

    rows = life(workspace)
    mine = rows.filter(pl.col("id") == id)
    if mine.is_empty():
        raise _no_row(id, rows["id"])
    yield from describe({**mine.row(0, named=True), "dropped_at": None})
    yield ""
    partners: list[str] = []
    for stage, keep, reason, evidence in (
        verdicts(workspace).filter(pl.col("id") == id).select("stage", "keep", "reason", "evidence").iter_rows()
    ):
        yield plain(f"  {stage:<14}{'kept' if keep else 'dropped':<9}{reason}".rstrip())
        yield from (f"{'':<25}{fact}" for fact in told(evidence))
        partners.extend(_mentioned(evidence))
    if workspace.has_table("dedup", "pairs"):
        pairs = workspace.read_stage("dedup", "pairs").filter((pl.col("id_a") == id) | (pl.col("id_b") == id))
        for pair in pairs.iter_rows(named=True):
            other = pair["id_b"] if pair["id_a"] == id else pair["id_a"]
            yield plain(f"  {pair['kind']} of {other}, Jaccard {pair['jaccard']:.3f}")
            partners.append(other)
    for other in dict.fromkeys(partners):
        twin = rows.filter((pl.col("id") == other) & (pl.col("id") != id))
        if not twin.is_empty():
            yield ""
            yield from describe(twin.row(0, named=True))


def _no_row(id: str, ids: pl.Series) -> UsageError:
    """The error for an id that no row has, with the row that was meant where that is plain.

    Numbers that look alike are other rows: only a prefix that was left out, zeros or the case of letters are forgiven.
    """

    def parts(name: str) -> list[str]:
        return [part.lstrip("0") or "0" for part in name.casefold().split(":")]

    wanted = parts(id)
    meant = next((name for name in ids if parts(name)[-len(wanted) :] == wanted), None)
    guess = f"did you mean {meant!r}?" if meant else f"ids look like {ids[0]!r}, and `curator show` lists them."
    return UsageError(f"no row {id!r} in this build; {guess}")


def _mentioned(evidence: str) -> list[str]:
    if not evidence:
        return []
    values = json.loads(evidence)
    return [value for value in values.values() if isinstance(value, str)] if isinstance(values, dict) else []


def write_images(workspace: Workspace, row: dict[str, Any], folder: Path) -> list[Path]:
    """Write a row's images as files and return their paths.

    Raises:
        WorkspaceError: the images stage has not finished, or the folder cannot be written.
    """
    from curator.release import image_name

    paths: list[Path] = []
    for sha in row.get("images") or []:
        data = workspace.read_image(sha)
        path = folder / image_name(data)
        with atomic(path) as temporary:
            temporary.write_bytes(data)
        paths.append(path)
    return paths
