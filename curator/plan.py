"""What a build would take, said before anything large is fetched or drawn, and the ways out.

    pmc-vqa: 176,948 rows, 18.9 GB to fetch, 38 GB of disk

Over `LARGE` bytes or `LONG` seconds a person is asked on a terminal; where there is none, --yes is wanted.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from curator import progress
from curator.errors import CuratorError, NetworkError, UsageError, WorkspaceError

if TYPE_CHECKING:
    import polars as pl

    from curator.builds import Build, Runtime
    from curator.forecast import Estimate, Forecast
    from curator.recipe import Solver

LARGE = 5e9
LONG = 3600.0
SOON = 60.0
FEW = 4
MORE = 16  # where the few all failed
WAYS_OUT = (
    "--limit N reads fewer rows, --server URL lets another machine answer, --rollouts hub:ORG/NAME reuses samples"
)


def before_anything(build: Build) -> None:
    """Find a wrong name of a source, a model, samples or a release, and a dead server, now, not after hours of reading.

    A build that stops early wants its sources only; a dry run goes on without its servers as far as it comes.

    Raises:
        CuratorError: what the stage that wants it would say.
    """
    from curator.engines.model import identify
    from curator.publish.tree import open_release
    from curator.rollouts import RolloutStore

    score, distill, runtime = build.recipe.score, build.recipe.distill, build.runtime
    for opened in build.sources:
        opened.build_splits()
    if runtime.until is not None:
        return
    scorers: list[Solver] = [score, *score.cascade, *score.also] if score.samples else []
    teachers: list[Solver] = [distill, *distill.teachers] if distill else []
    for stage, asked in (("score", scorers), ("distill", teachers)):
        elsewhere = runtime.dry_run or runtime.rollouts is not None or build.workspace.facts(stage) is not None
        ask_servers(asked, runtime.store, may_need_none=elsewhere)
    if runtime.dry_run:
        return
    solvers = [*scorers, *teachers]
    for solver in solvers:
        try:
            identify(solver, offline=runtime.offline)
        except NetworkError as error:
            ways = "or give a folder, or servers, in the recipe"
            if solver is score:
                ways = "`curator build` takes --solver FOLDER, --server URL, or --samples 0 too"
            elif solver is distill:
                ways = "`curator build` takes --teacher FOLDER, or --teacher-server URL too"
            raise NetworkError(f"{error}; {ways}.") from None
    if runtime.rollouts and not runtime.rollouts.startswith("hub:"):
        _find_rollouts(Path(runtime.rollouts).expanduser())
    if solvers:
        with RolloutStore(runtime.store):
            pass  # it can be written
    for release in build.recipe.dedup.against:
        if not release.startswith("hub:"):
            with open_release(release):
                pass


def ask_servers(asked: Iterable[Solver], store: Path | None, *, may_need_none: bool = False) -> None:
    """Ask the servers of some solvers whether they answer and have the model, before long work that wants them.

    Which samples will be wanted is known only once the questions are. So a dead server ends it where the store has no sample
    of its model at all; where it may have all that are wanted, or none may be, one line is said.

    Raises:
        EngineError, UsageError: no server answers or has the model, and there is no sample of it.
    """
    from curator.engines import open_engine
    from curator.engines.model import identify, uses_servers
    from curator.rollouts import RolloutStore

    for solver in {(one.model, *one.servers): one for one in asked if uses_servers(one)}.values():
        try:
            open_engine(solver).close()
        except CuratorError as error:
            if not may_need_none:
                with RolloutStore(store) as opened:
                    if not opened.holds(identify(solver)):
                        raise
            progress.say(f"  {error} Going on: what is wanted of {solver.model} may be stored already.")


def _find_rollouts(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        raise UsageError(f"no file of rollouts at {path}.")
    try:
        if path.is_file():
            pq.read_schema(path)
    except (pa.ArrowInvalid, OSError):
        raise UsageError(f"{path} is no Parquet file: --rollouts wants what `curator rollouts export` wrote.") from None


def before_reading(build: Build) -> bool:
    """Say how much would be fetched, and ask before it is much; whether it is.

    Raises:
        UsageError: it is much, and nobody agreed.
        WorkspaceError: the disk has less room than it takes.
    """
    fetch = disk = 0.0
    for opened in build.sources:
        estimate = opened.estimate([*opened.build_splits(), *(opened.held_out() if build.checks_held_out else [])])
        fetch += estimate.fetch_bytes
        disk += estimate.disk_bytes
        if estimate.fetch_bytes:
            progress.say(
                f"{opened.source.name}: {progress.counted(estimate.rows, 'row')}, {progress.size(estimate.fetch_bytes)} to fetch, "
                f"{progress.size(estimate.disk_bytes)} of disk"
            )
    free = shutil.disk_usage(build.workspace.path).free
    if disk > free:
        raise WorkspaceError(
            f"this takes {progress.size(disk)} of disk and {build.workspace.path} has {progress.size(free)}: use --out on a larger one, or --limit."
        )
    if fetch > LARGE and not build.runtime.dry_run:
        consent(f"fetch {progress.size(fetch)}", build.runtime)
    return fetch > LARGE


def before_drawing(build: Build, rows: pl.DataFrame, solver: Solver, what: str) -> Forecast | None:
    """Say what a solver's or teacher's samples would take on this machine, from a pilot whose samples are kept.

    A first pilot is a few questions, so that it is quick even where the model is far too slow; where it is not, a second
    one of 200 gives the interval. Work of under a minute is not talked about.

    Raises:
        UsageError: it is long, and nobody agreed; the pilot's samples stay in the store.
        EngineError: the model does not answer, or fails at every question of a pilot.
    """
    if not rows.height or not solver.samples:
        return None
    dry = build.runtime.dry_run
    made = _pilots(build, rows, solver, dry)
    if made is None:
        progress.say(f"{what} with {solver.model}: the few questions all failed, so how long it takes is not known")
        return None
    found, longest = made
    if dry or (found.seconds is not None and found.seconds.mean > SOON):
        progress.say(f"{what} with {solver.model}: {found}")
    if longest > LONG and not dry:
        consent(f"take about {progress.duration(longest)} on this machine", build.runtime)
    return found


def _pilots(build: Build, rows: pl.DataFrame, solver: Solver, thorough: bool) -> tuple[Forecast, float] | None:
    """The forecast of a small pilot, or of a large one where that is quick and worth while; and the longest time said.

    A few questions may all fail for what they are (too long, too many pictures): then more of them decide whether it is the
    model that fails, and where there are no more, nothing is forecast: None.

    Raises:
        PilotFailed: more than a few questions failed, all of them.
    """
    from curator.forecast import PILOT, PilotFailed, forecast
    from curator.recipe import Score
    from curator.recipe import Solver as Asked

    settings = solver if isinstance(solver, Score) else Score(**{k: getattr(solver, k) for k in Asked.model_fields})
    band = build.recipe.select.band

    def pilot(size: int) -> Forecast:
        made = forecast(rows, settings, read_image=build.read_image, runtime=build.runtime, band=band, size=size)
        return made if isinstance(solver, Score) else replace(made, samples={"full": made.samples["full"]})

    try:
        first = found = pilot(FEW)
    except PilotFailed:
        if rows.filter(rows["options"].list.len() > 0).height <= FEW:
            return None
        first = found = pilot(MORE)
    seconds = first.seconds
    affordable = seconds is not None and seconds.mean * PILOT / max(rows.height, PILOT) < SOON
    if affordable and rows.height > FEW and (thorough or (seconds is not None and seconds.mean > SOON)):
        found = pilot(PILOT)
    return found, max((one.seconds.mean for one in (first, found) if one.seconds is not None), default=0.0)


def before_tracing(build: Build, rows: pl.DataFrame) -> None:
    """The same for the teachers' traces of the selected questions. A token budget is consent enough.

    Raises:
        UsageError: see `before_drawing`.
    """
    settings = build.recipe.distill
    if settings is None or settings.token_budget is not None:
        return
    for teacher in [settings, *settings.teachers]:
        before_drawing(build, rows, teacher, "traces")


def dry_run(build: Build) -> None:
    """Say what scoring would take, and then the traces of about as many questions as the pilot says are selected."""
    from curator.forecast import Estimate

    rows, settings = build.rows("score"), build.recipe.distill
    scored = before_drawing(build, rows, build.recipe.score, "scoring")
    if settings is None or not rows.height:
        return
    if settings.token_budget is not None:
        progress.say(f"traces: {settings.token_budget:,} tokens at most, by the recipe's budget")
        return
    closed = rows.filter(rows["options"].list.len() > 0)
    selected = _selected(build, scored) if scored else Estimate(*[float(closed.height)] * 3)
    for teacher in [settings, *settings.teachers]:
        # A server may cost money: there a dry run asks a few questions only.
        made = _pilots(build, closed, teacher, not teacher.servers and teacher.engine != "openai")
        told = made[0].of(selected) if made else "the few there are all failed"
        progress.say(f"traces with {teacher.model}, of {selected} selected questions: {told}")


def _selected(build: Build, scored: Forecast) -> Estimate:
    """How many of a forecast's questions the recipe's band would keep."""
    import polars as pl

    from curator.difficulty import band_reasons
    from curator.forecast import mean_estimate

    pilot = pl.DataFrame(
        [(right, drawn, "full") for right, drawn in scored.counts.values()],
        schema={"pass_count": pl.Int32, "sample_count": pl.Int32, "stop_rule": pl.String},
        orient="row",
    )
    band = build.recipe.select.model_copy(update={"needs_image": False})  # known only once the blind samples are
    reasons, _ = band_reasons(pilot, band, build.recipe.score.samples)
    return mean_estimate([float(not reason) for reason in reasons]).scaled(scored.questions)


def consent(what: str, runtime: Runtime) -> None:
    """Go on only when somebody wants it: --yes, or a yes on the terminal.

    Raises:
        UsageError: nobody can be asked, or the answer was no.
    """
    if runtime.yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"this would {what}: add --yes to go on. {WAYS_OUT}.")
    progress.say(f"This would {what}. {WAYS_OUT}.")
    if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise UsageError("stopped before anything large; nothing was fetched or drawn.")
