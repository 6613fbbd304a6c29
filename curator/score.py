"""The score stage: how often a solver gets each question right, with the samples in the rollout store.

    scored = score(rows, recipe.score, read_image=build.read_image, runtime=build.runtime, band=recipe.select.band)

In this order: a cascade of cheap solvers drops what any of them gets right; the main solver draws its samples under the
stopping rule; the same without images (`blind`); more solvers for the `scores` table. All counts are replays of the store:
the same store gives the same bytes, and changing grader, band or rule draws only what is new.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from curator import progress
from curator.difficulty import Band, difficulty_of, partition
from curator.engines import Engine, ReadImage, open_engine
from curator.engines.model import identify
from curator.outcomes import Outcomes, Pass
from curator.records import Verdict, evidence_json
from curator.rollout_files import reuse, table
from curator.rollouts import RolloutStore
from curator.stopping import Declared, Exact, Full, Rule, audited, cuts_between, fit_beta

if TYPE_CHECKING:
    import polars as pl

    from curator.builds import Runtime
    from curator.recipe import Score, Solver

PILOT = 200
"""Questions at least that draw all samples before the declared rule has its prior."""
SUSPECT_SHARE = 0.75
"""A solver stands by an answer that it gives in at least this share of its samples."""
MISSING_SHARE = 0.5
_SIDES = ("below", "inside", "above")


class How(Protocol):
    """How to run (`builds.Runtime`): none of it changes a count."""

    @property
    def store(self) -> Path | None: ...
    @property
    def rollouts(self) -> str | None: ...
    @property
    def offline(self) -> bool: ...
    @property
    def yes(self) -> bool: ...
    @property
    def replicas(self) -> int: ...
    @property
    def ray(self) -> str | None: ...


@dataclass(frozen=True)
class Scored:
    """What scoring found. `columns` has every row given; `verdicts` only those set aside."""

    verdicts: pl.DataFrame
    columns: pl.DataFrame
    scores: pl.DataFrame
    note: str
    facts: dict[str, Any]


def identity(settings: Score, band: Any = None, *, offline: bool = False) -> Any:
    """Everything that decides the counts, as plain data: a stage whose identity is unchanged need not run."""
    if not settings.samples:
        return {"samples": 0}

    def solver(one: Solver) -> dict[str, Any]:
        data = one.model_dump(mode="json", exclude={"engine", "servers", "model", "revision", "cascade", "also"})
        return {**data, "model": identify(one, offline=offline)}

    main = solver(settings)
    if settings.stop != "declared":
        del main["alpha"]
    if settings.stop == "full":
        del main["audit"]
    return {
        "solver": main,
        "band": list(band) if isinstance(band, tuple) and settings.stop != "full" else None,
        "cascade": [solver(greedy(one)) for one in settings.cascade],
        "also": [solver(one) for one in settings.also],
    }


def greedy(solver: Solver) -> Solver:
    """A solver of a cascade: one greedy sample, unless the recipe says otherwise."""
    once = {"samples": 1, "temperature": 0.0}
    return solver.model_copy(update={name: once[name] for name in once if name not in solver.model_fields_set})


def score(rows: pl.DataFrame, settings: Score, *, read_image: ReadImage, runtime: How, band: Any = None) -> Scored:
    """Score every closed question of `rows` (the columns of `records.working_schema`).

    `band` is the recipe's `select.band`: a stopping rule settles it instead of the named bands.

    Raises:
        CuratorError: no engine, no store, a solver that cannot be loaded or stopped answering; what was drawn is kept.
    """
    import polars as pl

    with ExitStack() as stack:
        store = stack.enter_context(RolloutStore(runtime.store))
        if runtime.rollouts:
            reuse(store, runtime.rollouts, offline=runtime.offline)
        run = Scoring(settings, store, read_image, runtime)
        stack.callback(run.close)
        closed = rows.filter((pl.col("answer_type") != "open") & (pl.col("options").list.len() > 0))
        verdicts = [
            Verdict(id, "score", False, "open-question", "")
            for id in rows.filter(~rows["id"].is_in(closed["id"].to_list()))["id"]
        ]
        for one in settings.cascade:
            cheap = greedy(one)
            found = run.count(closed, cheap, always(Full(cheap.samples)), what=f"cascade: {cheap.model}")
            solved = [id for id, outcomes in found.items() if outcomes.right]
            evidence = evidence_json({"solver": run.ids[-1]})
            verdicts += [Verdict(id, "score", False, "cascade", evidence) for id in solved]
            closed = closed.filter(~closed["id"].is_in(solved))
        main = run.main(closed, band if isinstance(band, tuple) else None)
        pictured = closed.filter(closed["images"].list.len() > 0)
        blind = run.count(pictured, settings, always(Full(settings.samples)), blind=True) if settings.blind else {}
        more = [run.count(closed, one, always(Full(one.samples)), what=f"also: {one.model}") for one in settings.also]
        verdicts += [
            Verdict(id, "score", False, "unscored", evidence_json({"why": outcomes.failure}))
            for id, outcomes in main.items()
            if outcomes.failure
        ]
        return run.result(rows, verdicts, main, blind, more, band if isinstance(band, tuple) else None)


class Scoring:
    """The passes of one scoring, and what is made of their outcomes."""

    def __init__(self, settings: Score, store: RolloutStore, read_image: ReadImage, runtime: How) -> None:
        self.settings, self.store, self.read_image, self.runtime = settings, store, read_image, runtime
        self._open: tuple[Any, Engine] | None = None
        self.scores: list[dict[str, Any]] = []
        self.ids: list[str] = []
        """Model ids, in the order of the passes."""
        self.passing = 0
        """Questions of all passes that failed and may go better another time."""

    def count(
        self,
        rows: pl.DataFrame,
        solver: Solver,
        rule: Callable[[str], Rule],
        *,
        blind: bool = False,
        what: str = "",
    ) -> dict[str, Outcomes]:
        """One pass; an engine is opened when a sample is missing."""
        one = self._pass(solver, blind, what or ("blind" if blind else "scoring"))
        self.ids.append(one.model_id)
        outcomes = one.over(rows, rule)
        self.passing += sum(found.passing for found in outcomes.values())
        self.scores += [
            {
                "id": id, "solver": one.model_id, "prompt": solver.prompt, "blind": blind, "grader": solver.grader,
                "shuffle_options": solver.shuffle_options, "temperature": solver.temperature,
                **_counts(outcomes[id]), "rollouts_key": outcomes[id].key,
            }
            for id in rows["id"]
            if not outcomes[id].failure
        ]  # fmt: skip
        return outcomes

    def held(self, rows: pl.DataFrame) -> dict[str, int]:
        """How many of the main solver's samples the store has, by id; at most as many as are wanted."""
        keys = self._pass(self.settings, False, "").keys(rows)
        found = self.store.find(list(keys.values()), self.settings.max_tokens)
        wanted = range(self.settings.samples)
        return {id: sum(index in found.get(key, {}) for index in wanted) for id, key in keys.items()}

    def _pass(self, solver: Solver, blind: bool, what: str) -> Pass:
        model_id = identify(solver, offline=self.runtime.offline)
        return Pass(solver, model_id, self.store, lambda: self.engine(solver), self.read_image, blind, what, self._pace)

    def _pace(self, seconds: float) -> None:
        """Over an hour to go is a thing to ask about; what was drawn is kept either way."""
        from curator import plan

        if seconds > plan.LONG:
            plan.consent(f"take about {progress.duration(seconds)} more on this machine", cast("Runtime", self.runtime))

    def engine(self, solver: Solver) -> Engine:
        """The engine for a solver: the one that is open if it has this model, else a new one in its place."""
        wanted = (identify(solver, offline=self.runtime.offline), solver.engine, tuple(solver.servers))
        if self._open is None or self._open[0] != wanted:
            self.close()
            runtime = self.runtime
            made = open_engine(solver, replicas=runtime.replicas, ray=runtime.ray, offline=runtime.offline)
            self._open = (wanted, made)
        return self._open[1]

    def close(self) -> None:
        """Close the engine that is open."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def main(self, rows: pl.DataFrame, band: Band | None) -> dict[str, Outcomes]:
        """The main solver under the recipe's stopping rule; the audited part draws all samples."""
        n, settings = self.settings.samples, self.settings
        full = Full(n)
        if settings.stop == "full":
            return self.count(rows, settings, always(full))
        parts = partition(n, band)
        audit = {id for id in rows["id"] if audited(id, settings.audit)}
        if settings.stop == "exact":
            exact = Exact(n, tuple(parts))
            return self.count(rows, settings, lambda id: full if id in audit else exact)
        for share in (settings.audit, 0.1, 0.2, 0.4, 0.8, 1.0):
            audit = {id for id in rows["id"] if audited(id, max(share, settings.audit))}
            if len(audit) >= PILOT:
                break
        pilot = self.count(rows.filter(rows["id"].is_in(audit)), settings, always(full), what="pilot")
        pairs: dict[tuple[int, int], int] = {}
        for outcomes in pilot.values():
            if not outcomes.failure:
                pair = (outcomes.right, outcomes.drawn)
                pairs[pair] = pairs.get(pair, 0) + 1
        declared = Declared(n, cuts_between(parts, n), fit_beta(pairs), settings.alpha)
        return {**pilot, **self.count(rows.filter(~rows["id"].is_in(audit)), settings, always(declared))}

    def result(
        self,
        rows: pl.DataFrame,
        verdicts: list[Verdict],
        main: dict[str, Outcomes],
        blind: dict[str, Outcomes],
        more: list[dict[str, Outcomes]],
        band: Band | None,
    ) -> Scored:
        """The tables of the stage."""
        import polars as pl

        n, solver = self.settings.samples, identify(self.settings, offline=self.runtime.offline)
        dropped = {verdict.id for verdict in verdicts}
        parts = partition(n, band)
        lines: list[dict[str, Any]] = []
        for id, flags, key in rows.select("id", "flags", "answer_label").iter_rows():
            outcomes = main.get(id)
            line: dict[str, Any] = {"id": id, "flags": list(flags or [])}
            if outcomes is not None and not outcomes.failure:
                at = _part(outcomes, parts, n)
                line |= _counts(outcomes) | {"solver": solver, "difficulty": _difficulty(outcomes, band, at, n)}
                if band is not None and at is not None:
                    line["band_side"] = _side(parts[at], band)
                others = [found[id] for found in more if id in found and not found[id].failure]
                line["flags"] += [flag for flag in _flags(outcomes, others, key) if flag not in line["flags"]]
            seen = blind.get(id)
            if seen is not None and not seen.failure:
                line |= {"blind_pass_count": seen.right, "blind_sample_count": seen.drawn}
            lines.append(line)
        columns = pl.DataFrame(lines, schema=_column_schema())
        counted = columns.filter(pl.col("pass_count").is_not_null() & ~pl.col("id").is_in(dropped))
        right, drawn, unreadable, truncated = (
            int(counted[name].sum() or 0)
            for name in ("pass_count", "sample_count", "unreadable_count", "truncated_count")
        )
        facts: dict[str, Any] = {
            "solver": solver,
            "again": self.passing,
            "samples": {"right": right, "drawn": drawn, "unreadable": unreadable, "truncated": truncated},
            "rewarded": sum(main[id].rewarded for id in counted["id"]),
        }
        note = f"{right:,} right of {drawn:,} samples, {unreadable:,} unreadable, {truncated:,} cut off"
        scores = pl.DataFrame(self.scores, schema=_score_schema()).sort("id", "solver", "blind", "prompt")
        return Scored(
            pl.DataFrame(list(map(asdict, verdicts)), schema=_verdict_schema()),
            columns,
            scores,
            note if counted.height else "nothing to score",
            facts,
        )


def always(rule: Rule) -> Callable[[str], Rule]:
    """The same rule for every question."""
    return lambda _: rule


def _counts(outcomes: Outcomes) -> dict[str, Any]:
    return {
        "pass_count": outcomes.right,
        "sample_count": outcomes.drawn,
        "unreadable_count": outcomes.unreadable,
        "truncated_count": outcomes.truncated,
        "stop_rule": outcomes.rule.name,
    }


def _part(outcomes: Outcomes, parts: list[Band], n: int) -> int | None:
    """Which part of a partition the verdict is; None where the samples leave it open."""
    if isinstance(outcomes.rule, Declared):
        return outcomes.rule.part(outcomes.right, outcomes.drawn - outcomes.right)[0]
    least, most = outcomes.right, outcomes.right + n - outcomes.drawn
    return next((at for at, (low, high) in enumerate(parts) if low <= least and most <= high), None)


def _difficulty(outcomes: Outcomes, band: Band | None, at: int | None, n: int) -> str | None:
    if not isinstance(outcomes.rule, Declared):
        return difficulty_of(outcomes.right, n, outcomes.drawn)
    if band is not None or at is None:
        return None
    low, _ = partition(n)[at]
    return difficulty_of(low, n)


def _side(part: Band, band: Band) -> str:
    return _SIDES[0] if part[1] < band[0] else _SIDES[2] if part[0] > band[1] else _SIDES[1]


def _flags(main: Outcomes, others: list[Outcomes], key: str | None) -> list[str]:
    """key-suspect: every solver (two at least) stands by the same answer, which is not the key. unanswerable: at least
    half of the samples say that what the question is about is not there."""
    flags = []
    stands = [_stands_by(outcomes) for outcomes in (main, *others)]
    if len(stands) > 1 and stands[0] is not None and stands[0] != key and len(set(stands)) == 1:
        flags.append("key-suspect")
    if main.drawn and main.figure_missing / main.drawn >= MISSING_SHARE:
        flags.append("unanswerable")
    return flags


def _stands_by(outcomes: Outcomes) -> str | None:
    labels = outcomes.labels()
    best = max(labels, key=lambda label: labels[label], default=None)
    return best if best is not None and labels[best] >= SUSPECT_SHARE * outcomes.drawn else None


def release_rollouts(rows: pl.DataFrame, settings: Score, runtime: How) -> pl.DataFrame:
    """The main solver's stored samples for these rows, as a side table that `--rollouts` reads back."""
    import polars as pl

    model_id = identify(settings, offline=runtime.offline)

    def nothing() -> Engine:
        raise AssertionError("keys need no engine")

    with RolloutStore(runtime.store) as store:
        one = Pass(settings, model_id, store, nothing, lambda _: b"")
        keys = one.keys(rows.filter((pl.col("answer_type") != "open") & (pl.col("options").list.len() > 0)))
        ids = pl.DataFrame({"id": list(keys), "key": list(keys.values())}, schema={"id": pl.String, "key": pl.String})
        kept = pl.DataFrame(table(store, keys.values()))
    return ids.join(kept, on="key", how="inner").select("id", *kept.columns).sort("id", "idx", "max_tokens")


def _verdict_schema() -> dict[str, Any]:
    import polars as pl

    text = ("reason", "evidence")
    return {"id": pl.String, "stage": pl.String, "keep": pl.Boolean, **dict.fromkeys(text, pl.String)}


def _column_schema() -> dict[str, Any]:
    import polars as pl

    counts = ("pass_count", "sample_count", "unreadable_count", "truncated_count")
    return {
        "id": pl.String, "difficulty": pl.String, "solver": pl.String, **dict.fromkeys(counts, pl.Int32),
        "stop_rule": pl.String, "blind_pass_count": pl.Int32, "blind_sample_count": pl.Int32, "band_side": pl.String,
        "flags": pl.List(pl.String),
    }  # fmt: skip


def _score_schema() -> dict[str, Any]:
    import polars as pl

    counts = ("pass_count", "sample_count", "unreadable_count", "truncated_count")
    return {
        "id": pl.String, "solver": pl.String, "prompt": pl.String, "blind": pl.Boolean, "grader": pl.String,
        "shuffle_options": pl.Int64, "temperature": pl.Float64, **dict.fromkeys(counts, pl.Int32),
        "stop_rule": pl.String, "rollouts_key": pl.String,
    }  # fmt: skip
