"""The whole way of a question, from its source to the release:

    ingest → images → dedup → decontaminate → score → select → distill → split → write

    build = pipeline.run(load_recipe("phantom"))
    build.release                                    # a folder that `datasets.load_dataset` reads

Each stage reads the rows that every stage before it kept, and stores one verdict per row with the columns it adds. A stage
whose key (its settings and the key of the stage before) is that of its stored file is not run again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curator import plan, progress, stages
from curator.builds import Build, Outcome, Runtime, host
from curator.errors import CuratorError, Interrupted, UsageError
from curator.look import finished
from curator.recipe import Recipe, differences, digest, load_recipe
from curator.workspace import Workspace, data_home, write_parquet, write_text

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Stage:
    """One box of the figure: what it does, and which settings change its result."""

    run: Callable[[Build], Outcome]
    settings: Callable[[Build], Any]
    version: int = 1
    """Raised when the stage's code changes what it decides."""

    @property
    def name(self) -> str:
        return self.run.__name__


STAGES = [
    Stage(stages.ingest, stages.ingest_settings),
    Stage(stages.images, lambda build: build.recipe.images.model_dump(), version=2),
    Stage(stages.dedup, stages.dedup_settings),
    Stage(stages.decontaminate, stages.decontaminate_settings, version=3),
    Stage(stages.score, stages.score_settings, version=2),
    Stage(stages.select, stages.select_settings, version=2),
    Stage(stages.distill, stages.distill_settings, version=2),
    Stage(stages.split, lambda build: [build.recipe.split.model_dump(), build.recipe.seed]),
    Stage(stages.write, stages.write_settings, version=3),
]
NAMES = [stage.name for stage in STAGES]


@dataclass(frozen=True)
class FunnelLine:
    """How many rows went into a stage and came out, and why the others did not."""

    stage: str
    rows_in: int
    rows_out: int
    reasons: dict[str, int] = field(default_factory=dict)
    note: str = ""

    def __str__(self) -> str:
        lost = "  ".join(f"{reason} −{count:,}" for reason, count in self.reasons.items())
        flow = f"{self.rows_in:,} → {self.rows_out:,}"
        return "  ".join(part for part in (f"{self.stage:<14}{flow:<17}", lost, self.note) if part).rstrip()


@dataclass(frozen=True)
class Result:
    """A finished build."""

    path: Path
    funnel: list[FunnelLine]
    unchanged: list[str]
    """Stages that did not have to run."""

    @property
    def release(self) -> Path:
        return self.path / "release"


def run(recipe: Recipe | str | Path, runtime: Runtime | None = None) -> Result:
    """Build a recipe's (or the recipe of a name's or a file's) release in `runtime.out` (default `builds/<name>`), or go on where an earlier run stopped.

    Raises:
        CuratorError: one line of what is wrong, where and what to do; everything acknowledged is kept.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    runtime = runtime or Runtime()
    path = runtime.out or Path("builds") / recipe.name
    timings: dict[str, float] = {}
    funnel: list[FunnelLine] = []
    unchanged: list[str] = []
    build = Build(recipe, Workspace(path, wait=runtime.wait), runtime)
    plan.before_anything(build)  # before the folder is made: what is refused leaves none
    with build.workspace as workspace:
        try:
            key = ""
            for stage in STAGES:
                started = time.monotonic()
                if runtime.dry_run and stage.name == "score":
                    plan.dry_run(build)
                    break
                after, key = key, digest([stage.name, stage.version, stage.settings(build), key])
                facts = workspace.facts(stage.name)
                if facts is not None and facts["key"] == key and stages.is_intact(build, stage.name):
                    unchanged.append(stage.name)
                else:
                    if stage.name == "ingest" and plan.before_reading(build) and runtime.dry_run:
                        break
                    if not timings:
                        _before_replacing(build)
                    facts = _run_stage(stage, build, key, after)
                    timings[stage.name] = round(time.monotonic() - started, 3)
                line = FunnelLine(**facts["funnel"])
                funnel.append(line)
                progress.say(f"{line}{'  (unchanged)' if stage.name in unchanged else ''}")
                if runtime.until == stage.name:
                    break
        except KeyboardInterrupt:
            raise Interrupted(
                f"stopped; everything drawn so far is saved: the same command goes on ({path})."
            ) from None
        if len(funnel) == len(NAMES):
            if set(unchanged) != set(NAMES) or not _is_finished(workspace):
                _finish(build, timings)
            stages.share_fingerprints(build)
    return Result(path, funnel, unchanged)


def _before_replacing(build: Build) -> None:
    """A default folder is named for its recipe: a release that other settings made there is replaced only on demand, and said.

    A dry run replaces none: its stages would be all that `show` and `explain` have.

    Raises:
        UsageError: there is such a release, and `--out` was not said, or this is a dry run.
    """
    published = build.workspace.release / "recipe.yaml"
    if not published.is_file():
        return
    try:
        changed = differences(load_recipe(published), build.recipe)
    except UsageError as error:  # damaged, or of another version of curator
        changed = [str(error)]
    if not changed:
        return
    path = build.workspace.path
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    held = f"{path} holds a release with other settings ({changed[0]}{more})"
    if build.runtime.dry_run:
        raise UsageError(
            f"{held}, and a dry run replaces nothing: --out {path}-2 reads beside it, and a build there goes on."
        )
    if build.runtime.out is None:
        raise UsageError(
            f"{held}: --out {path}-2 builds beside it, --out {path} replaces it (in Python: Runtime(out=...)); "
            "samples are kept either way."
        )
    if build.runtime.until is None:
        progress.say(f"{held}: this build replaces it.")


def _run_stage(stage: Stage, build: Build, key: str, after: str) -> dict[str, Any]:
    rows_in = build.rows_in(stage.name)
    outcome = stage.run(build)
    rows = outcome.rows
    # Rows in = kept + dropped with a reason: the promise of the whole tool, held at every stage.
    unexplained = rows.filter(~rows["keep"] & (rows["reason"] == "")).height
    if rows["id"].n_unique() != rows.height or unexplained or (rows_in is not None and rows.height != rows_in):
        raise AssertionError(
            f"stage {stage.name}: {rows_in} rows in, {rows.height} out, {unexplained} without a reason"
        )
    line = {
        "stage": stage.name,
        "rows_in": rows.height,
        "rows_out": int(rows["keep"].sum()),
        "reasons": _reasons(rows),
        "note": outcome.note,
    }
    facts = {"key": key, "after": after, "funnel": line, **outcome.facts}
    build.workspace.write_stage(stage.name, rows, facts, outcome.tables)
    return facts


def _reasons(rows: pl.DataFrame) -> dict[str, int]:
    counts = rows.filter(~rows["keep"]).group_by("reason").len().sort(["len", "reason"], descending=[True, False])
    return dict(counts.iter_rows())


def verdicts(workspace: Workspace) -> pl.DataFrame:
    """Every verdict of every finished stage: id, stage, keep, reason, evidence."""
    import polars as pl

    parts = [
        workspace.read_stage(name).select("id", pl.lit(name).alias("stage"), "keep", "reason", "evidence")
        for name in finished(workspace)
    ]
    return pl.concat(parts) if parts else pl.DataFrame()


def _finish(build: Build, timings: dict[str, float]) -> None:
    """What lies beside the release: all verdicts, how long it took, the page, and the manifest again, which says it is all there."""
    from curator.report import write as write_report
    from curator.rollouts import default_store

    workspace = build.workspace
    write_parquet(workspace.path / "verdicts.parquet", verdicts(workspace).to_arrow())
    ran = {"seconds": timings, "store": str((build.runtime.store or default_store()).absolute()), **host()}
    write_text(workspace.path / "run.json", json.dumps(ran, indent=2) + "\n")
    write_report(workspace)
    write_text(workspace.path / "manifest.json", (workspace.release / "manifest.json").read_text("utf-8"))


def _is_finished(workspace: Workspace) -> bool:
    """Whether what lies beside the release is there and is this release's."""
    beside = [workspace.path / name for name in ("manifest.json", "verdicts.parquet", "run.json", "report.html")]
    return all(path.is_file() for path in beside) and (
        beside[0].read_bytes() == (workspace.release / "manifest.json").read_bytes()
    )


def remember(path: Path) -> None:
    """Note the last build of the command line, for `curator push` and `curator show` without a name; not worth failing for."""
    try:
        write_text(data_home() / "last-build", str(path.resolve()))
    except CuratorError as error:
        progress.say(f"  note: {error}")


def last_build() -> Path | None:
    """The folder of the last finished build, if it still exists."""
    note = data_home() / "last-build"
    if not note.is_file():
        return None
    path = Path(note.read_text("utf-8"))
    return path if path.is_dir() else None
