"""From a build's tables to what a release is made of: its rows, its side tables, and the facts for manifest and card."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import yaml

from curator import splits
from curator.builds import ORDER, versions
from curator.difficulty import criterion, figures
from curator.elsewhere import public
from curator.pipeline import verdicts
from curator.recipe import SourceChoice, portable

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from curator.builds import Build
    from curator.recipe import Recipe
    from curator.release import Manifest, SourceFacts

OUTSIDE = ("select", "distill")
"""Stages whose dropped rows stay in the release, as `rest`."""


def release_rows(build: Build) -> pl.DataFrame:
    """The rows of the release: the published columns known so far, `part`, `split` and `position`."""
    import polars as pl

    rows = build.rows("write", dropped_at=OUTSIDE)
    places = build.workspace.read_stage("split").select("id", "release_split")
    places = pl.concat([places, build.workspace.read_stage("split", "rest")])
    selected = build.rows("write")["id"]
    rows = rows.drop("release_split", strict=False).join(places, on="id", how="left", maintain_order="left")
    rows = rows.rename({"release_split": "split"}).with_columns(
        part=pl.when(pl.col("id").is_in(selected.to_list())).then(pl.lit("selected")).otherwise(pl.lit("rest"))
    )
    if "control" in rows.columns:
        control = rows.filter("control").with_columns(part=pl.lit("control"))
        rows = pl.concat([rows, control])
    return rows.with_columns(position=_position(rows, build.recipe))


def _position(rows: pl.DataFrame, recipe: Recipe) -> pl.Series:
    import polars as pl

    if recipe.split.order == "id":
        return pl.Series([0] * rows.height)
    shuffled = [splits.unit(recipe.seed, "order", id) for id in rows["id"]]
    if recipe.split.order == "shuffled":
        return pl.Series(shuffled)
    order = easy_to_hard(rows["pass_count"].to_list(), rows["sample_count"].to_list(), shuffled)
    return pl.Series(order, dtype=pl.Int64).arg_sort()  # the place of each row


def easy_to_hard(right: Sequence[float | None], drawn: Sequence[float | None], ties: Sequence[float]) -> list[int]:
    """Row numbers from the easiest question to the hardest: what is right most often of all its samples comes first.

    The order of releases and of trainings. `ties` decides among equals: a shuffle, so that they are in random order as
    the seed's are. What has no counts comes last.
    """
    rates = [s / n if s is not None and n else -1.0 for s, n in zip(right, drawn, strict=True)]
    return sorted(range(len(rates)), key=lambda row: (-rates[row], ties[row]))


def side_tables(build: Build) -> dict[str, pa.Table]:
    """The plural things of a release, joined to the rows by id."""
    import polars as pl

    workspace = build.workspace
    # not write's, of the release that this one replaces: the same inputs give the same bytes
    tables = {"verdicts": verdicts(workspace).filter(pl.col("stage") != "write").sort(["id", "stage"])}
    for name, stage, table in (
        ("duplicates", "dedup", "pairs"),
        ("leakage", "decontaminate", "report"),
        ("scores", "score", "scores"),
        ("traces", "distill", "traces"),
    ):
        if workspace.has_table(stage, table):
            tables[name] = workspace.read_stage(stage, table)
    if build.recipe.publish.rollouts and build.recipe.score.samples:
        from curator.score import release_rollouts

        tables["rollouts"] = release_rollouts(build.rows("score"), build.recipe.score, build.runtime)
    return {name: table.to_arrow() for name, table in tables.items()}


def recipe_yaml(build: Build) -> str:
    """The recipe with the revisions that were really read, so that it rebuilds this release; no path of this machine."""
    raw = portable(public(build.recipe).model_dump(mode="json", exclude_defaults=True))
    for choice, opened in zip(raw["sources"], build.sources, strict=True):
        if opened.choice.data_dir is None:
            choice["revision"] = opened.revision
    order = list(SourceChoice.model_fields)  # a pinned recipe pins itself: the same text from its own rebuild
    raw["sources"] = [dict(sorted(choice.items(), key=lambda item: order.index(item[0]))) for choice in raw["sources"]]
    return yaml.safe_dump({**raw, "seed": build.recipe.seed}, sort_keys=False, allow_unicode=True)


def summary(build: Build) -> Manifest:
    """What the pipeline knows about this build, for manifest.json and the card."""
    workspace, recipe = build.workspace, build.recipe
    facts = {name: workspace.facts(name) or {} for name in ORDER[:-1]}
    leakage = facts["decontaminate"]
    notes: dict[str, int] = {**facts["ingest"].get("notes", {}), **facts["images"].get("notes", {})}
    return {
        "name": recipe.name,
        "title": recipe.publish.title or recipe.name,
        "description": recipe.description,
        "evaluation": recipe.evaluation,
        "recipe_sha256": hashlib.sha256(recipe_yaml(build).encode()).hexdigest(),
        "seed": recipe.seed,
        "versions": versions(),
        "sources": [_source(build, index) for index in range(len(build.sources))],
        "funnel": [facts[name]["funnel"] for name in ORDER[:-1] if facts[name]],
        "leakage": {
            "checked": leakage.get("checked", []),
            "missing": leakage.get("missing", []),
            "found": _found(build),
        },
        "scoring": _scoring(build, facts["score"]),
        "traces": facts["distill"].get("traces", {}),
        "notes": notes,
    }


def _source(build: Build, index: int) -> SourceFacts:
    import polars as pl

    opened = build.sources[index]
    source = opened.source
    ingested = build.workspace.read_stage("ingest")
    prefix = f"{source.name}:"
    return {
        "name": source.name,
        "revision": opened.revision,
        "license": source.license,
        "redistributable": source.redistributable,
        "title": source.title,
        "url": source.homepage,
        "repo": source.repo,
        "splits": opened.build_splits(),
        "rows": ingested.filter(pl.col("id").str.starts_with(prefix)).height,
    }


def _found(build: Build) -> list[Any]:
    """What the funnel counts at decontaminate, by what it leaks into: each row once, for its first reason."""
    import polars as pl

    dropped = build.workspace.read_stage("decontaminate").filter(~pl.col("keep"))
    benchmark = pl.col("evidence").str.json_path_match("$.benchmark").alias("benchmark")
    counted = dropped.group_by(benchmark, pl.col("reason").alias("kind")).len("rows")
    return list(counted.sort("benchmark", "kind").iter_rows(named=True))


def _rewarded(facts: dict[str, Any]) -> dict[str, float]:
    """Of the right samples the share in the form that a training reward pays."""
    right = facts.get("samples", {}).get("right", 0)
    return {"rewarded": round(facts["rewarded"] / right, 3)} if right and "rewarded" in facts else {}


def _scoring(build: Build, facts: dict[str, Any]) -> Any:
    recipe = build.recipe
    if not recipe.score.samples:
        return {}
    return {
        "samples": recipe.score.samples,
        "temperature": recipe.score.temperature,
        "prompt": recipe.score.prompt,
        "grader": recipe.score.grader,
        "stop": recipe.score.stop,
        "criterion": criterion(recipe.select, recipe.score.samples),
        "figures": figures(build.rows("select"), recipe.select, recipe.score.samples) | _rewarded(facts),
        **{name: facts[name] for name in ("solver", "forecast") if name in facts},
    }
