"""What scoring would take, from a pilot: samples under each stopping rule, tokens and hours, each with its interval.

    print(forecast(rows, recipe.score, read_image=build.read_image, runtime=build.runtime))

The pilot's samples go to the rollout store like all others: going on with the build pays for the rest only.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from curator import progress
from curator.difficulty import partition
from curator.engines import ReadImage
from curator.errors import EngineError
from curator.outcomes import Outcomes
from curator.progress import counted
from curator.rollout_files import reuse
from curator.rollouts import RolloutStore
from curator.score import How, Scoring, always
from curator.stopping import Declared, Exact, Full, Rule, cuts_between, fit_beta, replay

if TYPE_CHECKING:
    import polars as pl

    from curator.recipe import Score

PILOT = 200
_Z = 1.96


class PilotFailed(EngineError):
    """Every question of a pilot failed, and it tells nothing."""


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval."""

    mean: float
    low: float
    high: float

    def scaled(self, factor: float) -> Estimate:
        """The same for `factor` times as many."""
        return Estimate(self.mean * factor, self.low * factor, self.high * factor)

    def __str__(self) -> str:
        return f"{self.mean:,.0f} ({self.low:,.0f}-{self.high:,.0f})"


@dataclass(frozen=True)
class Forecast:
    """What scoring a set would take. Samples are those still to draw, the pilot's among those already held."""

    questions: int
    pilot: int
    held: int
    samples: dict[str, Estimate]
    """By stopping rule."""
    tokens: Estimate
    """Of all samples still to draw under the recipe's rule."""
    seconds: Estimate | None
    """The same on this machine; None when the store had the whole pilot and nothing was timed."""
    rule: str
    counts: dict[str, tuple[int, int]]
    """Right and drawn of the pilot's questions, by id."""

    def of(self, questions: Estimate) -> Forecast:
        """The same for that many of these questions, all samples of each."""
        factor = questions.mean / self.questions if self.questions else 0.0
        sway = questions.high / questions.mean if questions.mean else 1.0

        def scaled(whole: Estimate) -> Estimate:
            return Estimate(whole.mean * factor, whole.low * factor / sway, whole.high * factor * sway)

        samples = {"full": scaled(self.samples["full"])}
        seconds = None if self.seconds is None else scaled(self.seconds)
        return replace(
            self, questions=round(questions.mean), samples=samples, tokens=scaled(self.tokens), seconds=seconds
        )

    def __str__(self) -> str:
        have = f"{counted(self.questions, 'question')}, {counted(self.held, 'sample')} in the store"
        if not self.samples[self.rule].high:
            return f"{have}: nothing is to be drawn"
        lines = [f"{have} (pilot: {counted(self.pilot, 'question')})"]
        for name, samples in self.samples.items():
            saved = 1 - samples.mean / self.samples["full"].mean if self.samples["full"].mean else 0.0
            less = f", {saved:.0%} less" if name != "full" else ""
            stop = f"--stop {name:<9}" if len(self.samples) > 1 else ""
            lines.append(f"  {stop}{samples} samples to draw{less}{'   <' if stop and name == self.rule else ''}")
        lines.append(f"  tokens          {self.tokens}")
        if self.seconds is not None:
            low, mean, high = (progress.duration(x) for x in (self.seconds.low, self.seconds.mean, self.seconds.high))
            lines.append(f"  on this machine {mean} ({low} to {high})")
        return "\n".join(lines)


def mean_estimate(values: Sequence[float]) -> Estimate:
    """The mean of a random sample of questions with its 95 % interval (normal, with n - 1)."""
    n = len(values)
    mean = sum(values) / n if n else 0.0
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) / n) if n > 1 else mean
    return Estimate(mean, max(0.0, mean - _Z * spread), mean + _Z * spread)


def _of_further(each: Estimate, seen: int, further: int) -> Estimate:
    """The sum over `further` questions like the `seen` ones: how they differ themselves comes on top of the mean's error."""
    wider = math.sqrt(1 + seen / further) if further else 0.0
    low, high = each.mean - (each.mean - each.low) * wider, each.mean + (each.high - each.mean) * wider
    return Estimate(each.mean, max(0.0, low), high).scaled(further)


def pilot_ids(ids: Sequence[str], size: int = PILOT) -> set[str]:
    """A fixed, random-looking choice of questions."""
    return set(sorted(ids, key=lambda id: hashlib.sha256(f"pilot/{id}".encode()).digest())[:size])


def rules(settings: Score, band: Any, pilot: Sequence[Outcomes]) -> dict[str, Rule]:
    """The three stopping rules as they would be for this recipe."""
    n = settings.samples
    parts = tuple(partition(n, band if isinstance(band, tuple) else None))
    pairs: dict[tuple[int, int], int] = {}
    for outcomes in pilot:
        pair = (outcomes.right, outcomes.drawn)
        pairs[pair] = pairs.get(pair, 0) + 1
    declared = Declared(n, cuts_between(parts, n), fit_beta(pairs), settings.alpha)
    return {"full": Full(n), "exact": Exact(n, parts), "declared": declared}


def forecast(
    rows: pl.DataFrame,
    settings: Score,
    *,
    read_image: ReadImage,
    runtime: How,
    band: Any = None,
    size: int = PILOT,
) -> Forecast:
    """Draw a pilot in full and predict the rest.

    Raises:
        PilotFailed: every question of the pilot failed.
        CuratorError: as `score`.
    """
    import polars as pl

    with RolloutStore(runtime.store) as store:
        if runtime.rollouts:
            reuse(store, runtime.rollouts, offline=runtime.offline)
        with closing(Scoring(settings, store, read_image, runtime)) as scoring:
            closed = rows.filter((pl.col("answer_type") != "open") & (pl.col("options").list.len() > 0))
            chosen = pilot_ids(closed["id"].to_list(), size)
            pilot_rows = closed.filter(pl.col("id").is_in(list(chosen)))
            before = scoring.held(pilot_rows)
            missing = pilot_rows.height * settings.samples - sum(before.values())
            if missing:
                scoring.engine(settings)  # loading a model is paid once, and is no part of the rate
            started = time.monotonic()
            pilot = scoring.count(pilot_rows, settings, always(Full(settings.samples)), what="pilot")
            seconds = time.monotonic() - started
            scored = [outcomes for outcomes in pilot.values() if not outcomes.failure]
            if pilot and not scored:
                why = next(iter(pilot.values())).failure
                raise PilotFailed(f"every question of the pilot failed and it tells nothing; the first: {why}")
            held = scoring.held(closed)
            tokens = [
                sum(sample.completion_tokens for sample in samples.values()) / len(samples)
                for samples in store.find([outcomes.key for outcomes in scored], settings.max_tokens).values()
            ]
    samples: dict[str, Estimate] = {}
    for name, rule in rules(settings, band, scored).items():
        audit = 0.0 if name == "full" else settings.audit
        drawn = [float(replay([code >= 64 for code in outcomes.codes], rule)[1]) for outcomes in scored]
        each = mean_estimate([(1 - audit) * d + audit * settings.samples for d in drawn])
        open_ = [number for number in held.values() if number < settings.samples]
        have = sum(min(number, each.mean) for number in open_)
        total = _of_further(each, len(scored), len(open_))
        samples[name] = Estimate(*(max(0.0, x - have) for x in (total.mean, total.low, total.high)))
    per_sample, todo = mean_estimate(tokens), samples[settings.stop]
    per_second = missing / seconds if missing else 0.0
    # A question's samples come together, so the pilot's rate varies by question about as its tokens do.
    sway = (per_sample.high - per_sample.mean) / per_sample.mean if per_sample.mean else 0.0
    return Forecast(
        questions=closed.height,
        pilot=pilot_rows.height,
        held=sum(held.values()),
        samples=samples,
        tokens=Estimate(todo.mean * per_sample.mean, todo.low * per_sample.low, todo.high * per_sample.high),
        seconds=Estimate(
            todo.mean / per_second, todo.low / per_second / (1 + sway), todo.high / per_second * (1 + sway)
        )
        if per_second
        else None,
        rule=settings.stop,
        counts={id: (outcomes.right, outcomes.drawn) for id, outcomes in pilot.items() if not outcomes.failure},
    )
