"""How hard a question is: bands of pass counts, what a count says about the rate behind it, and what a filter will keep.

    >>> bands(16)
    {'hard': (0, 0), 'medium': (1, 7), 'easy': (8, 16)}
    >>> difficulty_of(5, 16)
    'medium'

Everything here is a pure function of counts: s right of n drawn. `stopping` decides how many to draw.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from curator.errors import UsageError
from curator.progress import counted

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from curator.recipe import Select

GROUP = 8
"""Rollouts of one question in an RL batch (seed.md): all right or all wrong teaches nothing."""
Band = tuple[int, int]
Counts = Mapping[tuple[int, int], int]
"""(right, drawn) -> how many questions."""


# -- bands -------------------------------------------------------------------------------------------------------------


def bands(n: int) -> dict[str, Band]:
    """The named bands as a partition of 0..n right: hard 0, medium 1..ceil(n/2)-1, easy the rest.

    With n = 1 or 2 there is no medium.
    """
    if n < 1:
        raise ValueError(f"{n} samples; bands want at least one")
    half = max(1, math.ceil(n / 2))
    parts = {"hard": (0, 0), "medium": (1, half - 1), "easy": (half, n)}
    return {name: part for name, part in parts.items() if part[0] <= part[1]}


def partition(n: int, band: Band | None = None) -> list[Band]:
    """What the verdict depends on: the named bands, or below / inside / above one band."""
    if band is None:
        return list(bands(n).values())
    low, high = band
    return [part for part in ((0, low - 1), (low, high), (high + 1, n)) if part[0] <= part[1]]


def difficulty_of(right: int, n: int, drawn: int | None = None) -> str | None:
    """The name of the band a question is in, None while `drawn` samples of n leave it open."""
    most = right + n - (n if drawn is None else drawn)
    return next((name for name, (low, high) in bands(n).items() if low <= right and most <= high), None)


def parse_band(text: str) -> Band:
    """A band as people write it: '2-14', '2..14' or '3'.

    Raises:
        UsageError: it is no band.
    """
    match = re.fullmatch(r"\s*(\d+)\s*(?:(?:-|–|\.\.)\s*(\d+)\s*)?", text)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if low > high:
        raise UsageError(f"{text!r} is no band: write it low-high, like 2-14.")
    return low, high


# -- one question ------------------------------------------------------------------------------------------------------


def posterior_mean(right: int, drawn: int, prior: tuple[float, float] = (1.0, 1.0)) -> float:
    """Mean of the pass rate given the counts and a Beta prior (uniform unless one was fitted)."""
    a, b = prior
    return (right + a) / (drawn + a + b)


def credible_interval(
    right: int, drawn: int, level: float = 0.95, prior: tuple[float, float] = (1.0, 1.0)
) -> tuple[float, float]:
    """The central posterior interval of one question's pass rate: as much probability above it as below.

    For the mean over a set's questions see `forecast.mean_estimate`, which is about new questions, not new samples.
    """
    a, b = right + prior[0], drawn - right + prior[1]
    tail = (1 - level) / 2
    return beta_quantile(tail, a, b), beta_quantile(1 - tail, a, b)


def chance(options: int) -> float:
    """The pass rate of a guesser; 0 for an open question."""
    return 1 / options if options else 0.0


def chance_corrected(rate: float, options: int) -> float:
    """The pass rate with guessing taken out: 0 at chance (or below), 1 at always right."""
    level = chance(options)
    return max(0.0, (rate - level) / (1 - level)) if level < 1 else 0.0


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by Lentz's continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cdf(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    tiny = 1e-300
    c, d = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    value = d
    for m in range(1, 400):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for numerator in (even, odd):
            d = 1 / ((1 + numerator * d) or tiny)
            c = (1 + numerator / c) or tiny
            value *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return front * value / a


def beta_quantile(q: float, a: float, b: float) -> float:
    """Where the Beta(a, b) distribution function reaches q, by bisection to 1e-10."""
    low, high = 0.0, 1.0
    while high - low > 1e-10:
        middle = (low + high) / 2
        low, high = (middle, high) if beta_cdf(middle, a, b) < q else (low, middle)
    return (low + high) / 2


# -- a set of questions ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mixture:
    """A distribution of pass rates: `weights` (grid,) on `rates` (grid,)."""

    rates: NDArray[np.float64]
    weights: NDArray[np.float64]

    def in_band(self, band: Band, n: int) -> NDArray[np.float64]:
        """P(count of n within the band | rate), for each rate of the grid."""
        import numpy as np

        low, high = band
        return np.asarray(
            sum(math.comb(n, k) * self.rates**k * (1 - self.rates) ** (n - k) for k in range(low, high + 1))
        )


def deconvolve(counts: Counts, points: int = 401, rounds: int = 800) -> Mixture:
    """The distribution of pass rates behind counts: nonparametric maximum likelihood on a grid, by EM (Laird 1978).

    Plain histograms are wider than what is behind them; predictions made from them promise too much. Stopping early does
    no harm: the likelihood of (s, f) is the same whatever rule stopped there.
    """
    import numpy as np

    rates = np.linspace(0, 1, points)
    pairs = [pair for pair in counts if pair[1] > 0 and counts[pair]]
    if not pairs:
        raise ValueError("no counts to learn from")
    number = np.array([counts[pair] for pair in pairs], float)
    likelihood = np.stack([rates**s * (1 - rates) ** (drawn - s) * math.comb(drawn, s) for s, drawn in pairs])
    weights = np.full(points, 1 / points)
    for _ in range(rounds):
        weights = weights * (likelihood.T @ (number / (likelihood @ weights))) / number.sum()
    return Mixture(rates, weights / weights.sum())


def live_share(rates: Mixture, band: Band | None = None, n: int = 16, group: int = GROUP) -> float:
    """The share of groups of `group` new rollouts that are neither all right nor all wrong, for questions whose first n
    samples lie in the band (all questions without one)."""
    live = 1 - rates.rates**group - (1 - rates.rates) ** group
    kept = rates.weights * (rates.in_band(band, n) if band else 1)
    return float((kept * live).sum() / kept.sum())


def rerun_agreement(rates: Mixture, band: Band, n: int) -> float:
    """The Jaccard similarity expected between what two runs of the same filter keep: E q² / (2 E q − E q²), q = P(kept)."""
    kept = rates.in_band(band, n)
    once, twice = float((rates.weights * kept).sum()), float((rates.weights * kept**2).sum())
    return twice / (2 * once - twice) if once else 1.0


def auto_band(rates: Mixture, n: int, group: int = GROUP) -> Band:
    """The band with the most live groups over dead ones: every count whose questions are live more often than not.

    Falls back on the liveliest single count where no count reaches a half.
    """
    shares = [live_share(rates, (k, k), n, group) for k in range(n + 1)]
    lively = [k for k, share in enumerate(shares) if share > 0.5]
    if not lively:
        best = max(range(n + 1), key=shares.__getitem__)
        return best, best
    return min(lively), max(lively)


# -- the select stage --------------------------------------------------------------------------------------------------


def count_pairs(rows: pl.DataFrame) -> dict[tuple[int, int], int]:
    """How many scored rows have which (pass_count, sample_count)."""
    if "pass_count" not in rows.columns:
        return {}
    scored = rows.filter(rows["pass_count"].is_not_null() & (rows["sample_count"] > 0))
    return {(s, n): number for s, n, number in scored.group_by("pass_count", "sample_count").len().iter_rows()}


def band_reasons(rows: pl.DataFrame, select: Select, samples: int) -> tuple[list[str], str]:
    """Why each row stays outside the recipe's band: '' (inside), too-hard, too-easy, between-bands (medium, where easy and
    hard are wanted), not-settled, no-image-needed. And a note for the funnel line.

    Raises:
        UsageError: the recipe wants what was not scored.
    """
    band, note = select.band, ""
    wanted: set[str] = set(select.difficulty)
    scored = "pass_count" in rows.columns and samples > 0
    if not scored and (band is not None or "any" not in wanted or select.needs_image):
        raise UsageError("a band of difficulty wants scores: set samples above 0, or take --difficulty any.")
    if not scored:
        return [""] * rows.height, criterion(select, samples)
    if band == "auto":
        counts = count_pairs(rows)
        if counts:
            band = auto_band(deconvolve(counts), samples)
            note = f"band {band[0]}-{band[1]} of {samples}, chosen for live groups"
        else:
            band = None
    else:
        note = criterion(select, samples)
    needs = [(s, n) for s, n in _blind(rows)] if select.needs_image else []
    verdicts = _verdicts(rows, band, samples)
    reasons: list[str] = []
    for at, (right, drawn) in enumerate(zip(rows["pass_count"], rows["sample_count"], strict=True)):
        reason = "" if band is None and "any" in wanted else _outside(verdicts[at], {"inside"} if band else wanted)
        if not reason and select.needs_image:
            blind_right, blind_drawn = needs[at]
            if right is None or not drawn or blind_right is None or not blind_drawn:
                reason = "not-settled"
            elif right / drawn <= blind_right / blind_drawn:
                reason = "no-image-needed"
        reasons.append(reason)
    return reasons, note


def whole(rows: pl.DataFrame) -> pl.DataFrame:
    """The scored rows that averages are taken over: all of them, or where drawing stopped early those that were audited.

    A count that stopped early stopped because of what it had seen, so an average over such counts is bent. Which rows draw
    all samples whatever they answer follows from their ids alone (`stopping.audited`).
    """
    import polars as pl

    if "stop_rule" not in rows.columns:
        return rows.head(0)
    return rows.filter((pl.col("sample_count") > 0) & (pl.col("stop_rule") == "full"))


def stop_rules(rows: pl.DataFrame) -> dict[str, int]:
    """How many scored rows stopped by which rule."""
    return (
        dict(sorted(rows["stop_rule"].drop_nulls().value_counts().iter_rows())) if "stop_rule" in rows.columns else {}
    )


def basis(rules: Mapping[str, int]) -> str:
    """What averages are taken over (`whole`), in words, where that is not every scored row; else ''."""
    early = [
        f"{counted(rows, 'row')} stopped drawing early (rule {name})" for name, rows in rules.items() if name != "full"
    ]
    if not early:
        return ""
    audited = rules.get("full", 0)
    averages = (
        f"averages are over {counted(audited, 'row audited in full')}"
        if audited
        else "no row was audited, so there is no average that holds for the set"
    )
    return f"{' and '.join(early)}, and such counts are bent by when they stopped: {averages}."


def figures(rows: pl.DataFrame, select: Select, samples: int) -> dict[str, Any]:
    """What a set's counts promise, for its card: shares rounded to three digits, {} when nothing was scored.

    `unreadable` and `truncated` are shares of all samples of the `whole` rows, missing where there is none; `live` is the
    share of groups of 8 new rollouts that are neither all right nor all wrong, `live_selected` the same for what the band
    keeps; `rerun_agreement` is the Jaccard similarity expected of a second run of the filter (these three from all counts:
    see `deconvolve`); `stop_rules` counts rows by rule. Where some stopped early, `audited` has the counts of the others and
    the normal 95 % intervals of those shares.
    """
    from curator.forecast import mean_estimate

    counts = count_pairs(rows)
    if not counts or not samples:
        return {}
    rates, base = deconvolve(counts), whole(rows)
    found: dict[str, Any] = {"stop_rules": stop_rules(rows), "live": round(live_share(rates), 3)}
    shares = {
        name: mean_estimate((base[f"{name}_count"] / base["sample_count"]).to_list())
        for name in ("unreadable", "truncated")
        if base.height
    }
    found |= {name: round(share.mean, 3) for name, share in shares.items()}
    if base.height < sum(counts.values()):
        found["audited"] = {
            "histogram": histogram(base),
            "blind": blind_sums(base),
            "intervals": {
                name: [round(share.low, 3), round(min(1.0, share.high), 3)]
                for name, share in shares.items()
                if share.low < share.high  # rows that all say the same show no spread to make one of
            },
        }
    band = _selected_band(select, samples, rates)
    if band is not None:
        found["band"] = list(band)
        found["live_selected"] = round(live_share(rates, band, samples), 3)
        found["rerun_agreement"] = round(rerun_agreement(rates, band, samples), 3)
    return found


def histogram(rows: pl.DataFrame) -> list[list[int]]:
    """[sample_count, pass_count, rows] of the scored rows, sorted, as in a manifest's `histogram`."""
    return sorted([drawn, right, number] for (right, drawn), number in count_pairs(rows).items())


def blind_sums(rows: pl.DataFrame) -> dict[str, int]:
    """Sums over the scored rows that were also asked without their images, as in a manifest's `blind`; {} when none was."""
    if "blind_pass_count" not in rows.columns:
        return {}
    both = rows.filter(rows["blind_pass_count"].is_not_null() & rows["pass_count"].is_not_null())
    sums = {
        "right": "blind_pass_count", "drawn": "blind_sample_count", "sighted_right": "pass_count", "sighted_drawn": "sample_count",
    }  # fmt: skip
    return (
        {"rows": both.height, **{name: int(both[column].sum()) for name, column in sums.items()}} if both.height else {}
    )


def _selected_band(select: Select, n: int, rates: Mixture) -> Band | None:
    """The band of counts that a recipe keeps, where it is one."""
    if select.band == "auto":
        return auto_band(rates, n)
    if select.band is not None:
        return select.band
    wanted = sorted(part for name, part in bands(n).items() if name in select.difficulty)
    if not wanted or "any" in select.difficulty:
        return None
    joined = all(after[0] == before[1] + 1 for before, after in pairwise(wanted))
    return (wanted[0][0], wanted[-1][1]) if joined else None


def criterion(select: Select, samples: int) -> str:
    """What the recipe selects, in words: 'medium: 1-7 of 16 right'."""
    if select.band == "auto":
        text = f"the band of {samples} with the most live groups"
    elif select.band is not None:
        text = _right(select.band, samples)
    elif "any" in select.difficulty or not samples:
        text = "any difficulty"
    else:
        parts = {name: part for name, part in bands(samples).items() if name in select.difficulty}
        text = ", ".join(f"{name}: {_right(part, samples)}" for name, part in parts.items())
    return f"{text}, better with the image than without" if select.needs_image else text


def _right(band: Band, samples: int) -> str:
    low, high = band
    return f"{low if low == high else f'{low}-{high}'} of {samples} right"


def _verdicts(rows: pl.DataFrame, band: Any, n: int) -> list[str | None]:
    """Where each row is: below, inside or above the band, or the name of its difficulty; None where that is open.

    What scoring settled stands (a declared verdict cannot be read off the counts); the rest follows from the counts.
    """
    column = "band_side" if band else "difficulty"
    settled = rows[column].to_list() if column in rows.columns else [None] * rows.height
    rules = rows["stop_rule"].to_list() if "stop_rule" in rows.columns else [None] * rows.height
    verdicts: list[str | None] = []
    for known, rule, right, drawn in zip(settled, rules, rows["pass_count"], rows["sample_count"], strict=True):
        if rule == "declared" or right is None:
            verdicts.append(known)
        elif band is None:
            verdicts.append(difficulty_of(right, n, drawn))
        else:
            most = right + n - drawn
            inside = "inside" if band[0] <= right and most <= band[1] else None
            verdicts.append("below" if most < band[0] else "above" if right > band[1] else inside)
    return verdicts


def _outside(verdict: str | None, wanted: set[str]) -> str:
    if verdict is None:
        return "not-settled"
    if verdict in wanted:
        return ""
    order = ("below", "inside", "above") if "inside" in wanted else ("hard", "medium", "easy")
    at, places = order.index(verdict), [order.index(name) for name in wanted]
    return "too-hard" if at < min(places) else "too-easy" if at > max(places) else "between-bands"


def _blind(rows: pl.DataFrame) -> Sequence[tuple[int | None, int | None]]:
    if "blind_pass_count" not in rows.columns:
        raise UsageError("select.needs_image wants blind scores: add --blind.")
    return rows.select("blind_pass_count", "blind_sample_count").rows()
