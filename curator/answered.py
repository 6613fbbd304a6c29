"""A few sampled answers per question, with their grades, for people to look at: read from the rollout store, never drawn.

The scores table names each question's prompt in the store. A build whose store is elsewhere, or that was not scored, shows
none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curator import progress
from curator.answers import displayed, grade
from curator.errors import WorkspaceError
from curator.look import plain
from curator.records import LABELS, Record
from curator.rollouts import RolloutStore, default_store
from curator.workspace import Workspace

if TYPE_CHECKING:
    import polars as pl

    from curator.engines import Sample

SHOWN = 3  # answers of one question, and one more without its images
LOOKED_AT = 6  # samples of a question, among which those shown are chosen
TEXT = 500  # characters of one answer
_AT_ONCE = 200  # questions, so that long answers of many are never in memory together


def store_of(workspace: Workspace) -> Path:
    """The rollout store that a build's last run used."""
    note = workspace.path / "run.json"
    try:
        return Path(json.loads(note.read_text("utf-8"))["store"])
    except (OSError, ValueError, KeyError, TypeError):  # not written yet, or damaged: it says nothing
        return default_store()


def samples(workspace: Workspace, rows: pl.DataFrame) -> dict[str, list[dict[str, str]]]:
    """By id, answers of the main solver: {kind: right | wrong | unreadable | cut off, about, text}."""
    import polars as pl

    path, recipe = store_of(workspace), workspace.release / "recipe.yaml"
    solver = (workspace.facts("score") or {}).get("solver")
    if not (path.is_file() and recipe.is_file() and solver and workspace.has_table("score", "scores")):
        return {}
    from curator.recipe import load_recipe

    limit = load_recipe(recipe).score.max_tokens
    scores = workspace.read_stage("score", "scores").filter(pl.col("solver") == solver)
    scores = scores.join(rows.select("id", "options", "answer_label"), on="id", how="inner")
    out: dict[str, list[dict[str, str]]] = {}
    try:
        with RolloutStore(path) as store:
            for part in scores.sort("blind").iter_slices(_AT_ONCE):
                found = store.find(part["rollouts_key"].to_list(), limit)
                for score in part.iter_rows(named=True):
                    drawn = found.get(score["rollouts_key"], {})
                    first = [drawn[index] for index in sorted(drawn)[:LOOKED_AT]]
                    out.setdefault(score["id"], []).extend(_of_one(score, first))
    except WorkspaceError as error:  # the page is worth having without them
        progress.say(f"  no sample answers on the page: {error}")
    return out


def _of_one(score: dict[str, Any], drawn: list[Sample]) -> list[dict[str, str]]:
    """The answers shown of one question: as many kinds of outcome as there are, the earliest of each, then the next."""
    record = Record(question="", options=score["options"], answer_label=score["answer_label"], id=score["id"])
    options, key = displayed(record, score["shuffle_options"])
    graded = []
    for sample in drawn:
        grades = grade(sample.response, options, key, grader=score["grader"], truncated=sample.truncated)
        kind = (
            "right" if grades.correct
            else "cut off" if sample.truncated
            else "unreadable" if grades.unreadable
            else "wrong"
        )  # fmt: skip
        label = grades.label and LABELS[score["options"].index(options[LABELS.index(grades.label)])]
        about = f"sample {sample.index}" + (f", answers {label}" if label else "")
        about += ", without the images" if score["blind"] else ""
        graded.append({"kind": kind, "about": about, "text": _text(sample.response)})
    kinds = [one["kind"] for one in graded]
    order = sorted(range(len(graded)), key=lambda at: (kinds[:at].count(kinds[at]), at))
    return [graded[at] for at in sorted(order[: 1 if score["blind"] else SHOWN])]


def _text(response: str) -> str:
    # The end is kept: that is where the answer is.
    if len(response) > TEXT:
        response = f"{response[: TEXT // 2]} … {response[-TEXT // 2 :]}"
    return plain(response)
