"""Is one model better than another? Accuracy with its interval, and paired tests on the same questions.

Questions about one image are not independent, so everything here counts images: intervals come from a bootstrap that
draws whole images with replacement (Miller 2024, arXiv 2411.00640, clustered errors; Efron and Tibshirani 1993, ch. 13),
and from `bounds` where the images are too few or too alike to be drawn again; tests flip the signs of whole images.

    accuracy([1, 0, 1, 1], ["a", "a", "b", "c"])              # Interval(value=.75, low=…, high=…, se=…)
    paired([1, 0, 1, 1], [1, 1, 1, 1], ["a", "a", "b", "c"])  # b against a
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DRAWS = 2000
FEW = 10.0  # images under which a bootstrap of them is no guide: it draws again only what these few happened to be
FLIPS = 10_000
Z = 1.959964
Z_POWER = Z + 0.841621  # two-sided test at 5 %, found 80 % of the time
SIGN_FLIPS = "sign flips of whole images"
SAME = 1e-9  # under this, two sums of scores differ by rounding only


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval; shares, not percent."""

    value: float
    low: float
    high: float
    se: float
    """The bootstrap's; where `bounds` gives the interval, its half width over 1.96."""
    questions: int
    clusters: int


@dataclass(frozen=True, slots=True)
class Paired:
    """How much better b is than a on the same questions; shares, not percent."""

    difference: float
    low: float
    high: float
    se: float
    p: float
    """Two-sided: McNemar's exact test where each question is its own cluster and right or wrong; else `sign_flips`."""
    test: str
    only_a: int
    only_b: int
    questions: int
    clusters: int
    detectable: float
    """The least true difference that this comparison would find 80 times of 100: 2.80 standard errors, at most 1."""

    @property
    def interval(self) -> Interval:
        return Interval(self.difference, self.low, self.high, self.se, self.questions, self.clusters)


def _by_cluster(values: Floats, clusters: Sequence[Hashable]) -> tuple[Floats, Floats]:
    """(sums of values, numbers of values), one for each cluster."""
    index: dict[Hashable, int] = {}
    member = np.array([index.setdefault(c, len(index)) for c in clusters], dtype=np.int64)
    sizes = np.bincount(member, minlength=len(index)).astype(np.float64)
    return np.bincount(member, weights=values, minlength=len(index)).astype(np.float64), sizes


def replicates(sums: Floats, sizes: Floats, *, seed: int, draws: int = DRAWS) -> Floats:
    """Means of `draws` bootstrap samples of whole clusters, shape (draws,)."""
    generator = np.random.default_rng(seed)
    out = np.empty(draws)
    step = max(1, 4_000_000 // len(sums))  # 32 MB of weights at a time
    for start in range(0, draws, step):
        weights = generator.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), min(step, draws - start))
        out[start : start + step] = (weights @ sums) / (weights @ sizes)
    return out


def bounds(mean: float, n: float, miss: float = 0.05) -> tuple[float, float]:
    """Where the true mean can be, given the mean of n independent scores in 0..1, whatever their distribution.

    Every m with n KL(mean || m) <= ln(2 / miss), where KL(p || m) = p ln(p/m) + (1-p) ln((1-p)/(1-m)) (Hoeffding 1963,
    theorem 1). With none right, that is the exact binomial's end, 1 - (miss/2)^(1/n). Between, it is wider than that.
    """
    reach = math.log(2 / miss) / n

    def apart(m: float) -> float:
        if not 0 < m < 1:
            return math.inf
        return sum(p * math.log(p / q) for p, q in ((mean, m), (1 - mean, 1 - m)) if p > 0)

    def edge(end: float) -> float:
        near, far = mean, end
        for _ in range(50):
            middle = (near + far) / 2
            near, far = (middle, far) if apart(middle) <= reach else (near, middle)
        return near

    return edge(0.0), edge(1.0)


def _interval(
    value: float, sums: Floats, sizes: Floats, widest: Callable[[float], tuple[float, float]], seed: int
) -> Interval:
    """The percentile interval of the bootstrap, or `widest` of the number of clusters where that tells nothing.

    Clusters of unequal size count as (sum of sizes)^2 / (sum of squared sizes) equal ones (Kish 1965).
    """
    questions, clusters = int(sizes.sum()), len(sizes)
    alike = float(sizes.sum() ** 2 / (sizes**2).sum())
    drawn = replicates(sums, sizes, seed=seed)
    low, high = (float(end) for end in np.quantile(drawn, [0.025, 0.975]))
    if alike >= FEW and high - low > SAME:
        return Interval(value, low, high, float(drawn.std(ddof=1)), questions, clusters)
    low, high = widest(alike)
    return Interval(value, low, high, (high - low) / 2 / Z, questions, clusters)


def accuracy(values: Sequence[float] | Floats, clusters: Sequence[Hashable], *, seed: int = 0) -> Interval:
    """The mean of per-question scores in 0..1 with a cluster-bootstrap interval; of few or equal clusters, `bounds`.

    Raises:
        ValueError: no questions, or not one cluster for each.
    """
    scores = np.asarray(values, dtype=np.float64)
    if len(scores) == 0 or len(scores) != len(clusters):
        raise ValueError(f"{len(scores)} scores and {len(clusters)} clusters")
    value = float(scores.mean())
    return _interval(value, *_by_cluster(scores, clusters), lambda n: bounds(value, n), seed)


def averages(parts: Iterable[Interval]) -> tuple[Interval, Interval]:
    """(macro, micro) over benchmarks: the mean of their values, and the mean over all questions.

    Benchmarks are not drawn from anything, and independent of each other. With weights w, their intervals add up to
    mean -/+ sqrt(sum of (w (value - low))^2), and so for high (Zou and Donner 2008, Statistics in Medicine 27:1693): one that is
    wide because its images are few makes the mean's wide.
    """
    each = list(parts)
    return _mean(each, [1.0] * len(each)), _mean(each, [float(part.questions) for part in each])


def _mean(parts: Sequence[Interval], weights: Sequence[float]) -> Interval:
    shares = np.array(weights) / sum(weights)
    values, lows, highs, ses = np.array([(part.value, part.low, part.high, part.se) for part in parts]).T
    value = float(shares @ values)
    below, above, se = (float(np.linalg.norm(shares * far)) for far in (values - lows, highs - values, ses))
    questions, clusters = sum(part.questions for part in parts), sum(part.clusters for part in parts)
    return Interval(value, value - below, value + above, se, questions, clusters)


def mcnemar(only_a: int, only_b: int) -> float:
    """McNemar's exact two-sided p: of the questions on which the two differ, each is a fair coin (McNemar 1947)."""
    n, k = only_a + only_b, min(only_a, only_b)
    if n == 0:
        return 1.0
    # In logarithms, because 2**-n underflows from n = 1,075 on.
    terms = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2) for i in range(k + 1)]
    return min(1.0, 2 * math.fsum(math.exp(t) for t in terms))


def paired(
    a: Sequence[float] | Floats, b: Sequence[float] | Floats, clusters: Sequence[Hashable], *, seed: int = 0
) -> Paired:
    """b - a on the same questions, in the same order.

    The interval is the bootstrap's; of few or equal clusters, the share gained less the share lost, `bounds` of each at
    half the risk.

    Raises:
        ValueError: lengths differ, or there are no questions.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if not len(first) == len(second) == len(clusters) or not len(first):
        raise ValueError(f"{len(first)}, {len(second)} scores and {len(clusters)} clusters")
    change = second - first

    def widest(n: float) -> tuple[float, float]:
        gained = bounds(float(change.clip(min=0).mean()), n, 0.025)
        lost = bounds(float((-change).clip(min=0).mean()), n, 0.025)
        return gained[0] - lost[1], gained[1] - lost[0]

    sums, sizes = _by_cluster(change, clusters)
    spread = _interval(float(change.mean()), sums, sizes, widest, seed)
    only_a, only_b = int((change < 0).sum()), int((change > 0).sum())
    if np.isin(change, (-1.0, 0.0, 1.0)).all() and len(sizes) == len(change):
        return _paired(spread, mcnemar(only_a, only_b), "McNemar exact", only_a, only_b)
    return _paired(spread, sign_flips(sums, seed=seed), SIGN_FLIPS, only_a, only_b)


def _paired(spread: Interval, p: float, test: str, only_a: int, only_b: int) -> Paired:
    return Paired(
        spread.value, spread.low, spread.high, spread.se, p, test, only_a, only_b, spread.questions, spread.clusters,
        min(1.0, Z_POWER * spread.se),
    )  # fmt: skip


def sign_flips(sums: Floats, *, seed: int = 0) -> float:
    """Two-sided p of a sum over clusters: how often it is as large when each cluster's sign is a fair coin.

    That is what it would be if the two models were alike (Fisher 1935, section 21; Pitman 1937). All 2^k signs where k
    clusters differ and that is at most `FLIPS`: then it is exact, never under 2 / 2^k, and for single right or wrong answers
    it is McNemar's. Else (1 + as large) / (1 + FLIPS) of drawn ones (Phipson and Smyth 2010, arXiv 1603.05766).
    """
    differing = sums[np.abs(sums) > SAME]
    total = abs(float(differing.sum())) - SAME
    if 2 ** len(differing) <= FLIPS:
        reached = np.zeros(1)
        for one in differing:
            reached = np.concatenate([reached + one, reached - one])
        return float((np.abs(reached) >= total).mean())
    generator = np.random.default_rng(seed)
    step = max(1, 4_000_000 // len(differing))  # 32 MB of signs at a time
    larger = 0
    for start in range(0, FLIPS, step):
        heads = generator.integers(0, 2, (min(step, FLIPS - start), len(differing)), dtype=np.int8)
        larger += int((np.abs(2 * (heads @ differing) - differing.sum()) >= total).sum())
    return (1 + larger) / (1 + FLIPS)


def holm(ps: Mapping[str, float]) -> dict[str, float]:
    """p values adjusted for looking at several benchmarks (Holm 1979)."""
    out: dict[str, float] = {}
    worst = 0.0
    for rank, (name, p) in enumerate(sorted(ps.items(), key=lambda item: item[1])):
        worst = max(worst, min(1.0, p * (len(ps) - rank)))
        out[name] = worst
    return {name: out[name] for name in ps}


def pass_at_k(right: int, samples: int, k: int) -> float:
    """The unbiased estimate of pass@k from n samples of which c are right: 1 - C(n-c, k) / C(n, k) (Chen et al. 2021,
    arXiv 2107.03374).

    Raises:
        ValueError: k is not within 1..n, or c not within 0..n.
    """
    if not 1 <= k <= samples or not 0 <= right <= samples:
        raise ValueError(f"pass@{k} of {right} right among {samples}")
    if samples - right < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(samples - right + 1, samples + 1))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two evaluations on the questions they share."""

    a: str
    b: str
    benchmarks: dict[str, Paired]
    adjusted: dict[str, float]
    """Holm's p per benchmark."""
    macro: Paired
    micro: Paired
    left_out: int
    """Questions that only one of the two answered."""
    settings: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    """What the two were asked otherwise: the setting's value in a and in b."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def compare(
    a: Mapping[tuple[str, str], float],
    b: Mapping[tuple[str, str], float],
    clusters: Mapping[tuple[str, str], Hashable],
    *,
    names: tuple[str, str] = ("A", "B"),
    seed: int = 0,
) -> Comparison:
    """Compare per-question scores keyed by (benchmark, id); only shared questions count.

    Raises:
        ValueError: no shared question.
    """
    shared = sorted(set(a) & set(b))
    if not shared:
        raise ValueError("the two evaluations share no question")
    by_benchmark: dict[str, list[tuple[str, str]]] = {}
    for key in shared:
        by_benchmark.setdefault(key[0], []).append(key)
    parts: dict[str, Paired] = {}
    sums: dict[str, Floats] = {}
    for name, keys in by_benchmark.items():
        first, second = np.array([a[k] for k in keys]), np.array([b[k] for k in keys])
        groups = [clusters[k] for k in keys]
        parts[name] = paired(first, second, groups, seed=seed)
        sums[name], _ = _by_cluster(second - first, groups)
    macro, micro = averages(part.interval for part in parts.values())
    means = [sums[name] / part.questions for name, part in parts.items()]
    only = sum(part.only_a for part in parts.values()), sum(part.only_b for part in parts.values())
    return Comparison(
        *names,
        parts,
        holm({name: part.p for name, part in parts.items()}),
        _paired(macro, sign_flips(np.concatenate(means), seed=seed), SIGN_FLIPS, *only),
        _paired(micro, sign_flips(np.concatenate(list(sums.values())), seed=seed), SIGN_FLIPS, *only),
        len(set(a) ^ set(b)),
    )


def markdown(found: Comparison) -> str:
    """The comparison as a Markdown table, in points."""
    lines = [
        f"# {found.b} against {found.a}",
        "",
        "| benchmark | questions | difference | 95 % interval | only A | only B | p | p (Holm) | least detectable |",
        "|---|---:|---:|---|---:|---:|---:|---:|---:|",
    ]
    for name, part in found.benchmarks.items():
        lines.append(_line(name, part, p_text(found.adjusted[name])))
    lines += [_line("**macro mean**", found.macro, ""), _line("**all questions**", found.micro, "")]
    tests = sorted({part.test for part in (*found.benchmarks.values(), found.macro)})
    lines += ["", f"Points of accuracy, {found.b} (B) minus {found.a} (A), paired on the same questions. Tests: "
              f"{', '.join(tests)}; intervals by a bootstrap over images, or by Hoeffding's bound where these are few or all "
              "alike; least detectable at 5 % with power .8."]  # fmt: skip
    if found.settings:
        told = "; ".join(f"{name} {a} (A), {b} (B)" for name, (a, b) in found.settings.items())
        lines.append(f"Settings differ, so not all of a difference is the model's: {told}.")
    if found.left_out:
        lines.append(f"{found.left_out:,} questions that only one of the two answered are left out.")
    return "\n".join(lines) + "\n"


def _line(name: str, part: Paired, adjusted: str) -> str:
    return (
        f"| {name} | {part.questions:,} | {100 * part.difference:+.2f} | {100 * part.low:+.2f} … {100 * part.high:+.2f} "
        f"| {part.only_a:,} | {part.only_b:,} | {p_text(part.p)} | {adjusted} | {100 * part.detectable:.2f} |"
    )


def p_text(p: float) -> str:
    """A p value as it is printed: three places, and never as nothing."""
    return f"{p:.3f}" if p >= 0.001 else "<0.001"
