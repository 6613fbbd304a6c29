"""Paired statistics: each is checked against an independent formula, a simulation or a hand count."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator import compare


@pytest.mark.parametrize(
    "only_a, only_b, p",
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 0.0625), (10, 2, 158 / 4096), (2, 10, 158 / 4096), (8, 8, 1.0)],
)
def test_mcnemar_is_the_exact_binomial(only_a: int, only_b: int, p: float) -> None:
    assert compare.mcnemar(only_a, only_b) == pytest.approx(p, rel=1e-9)


def test_mcnemar_does_not_underflow_on_large_benchmarks() -> None:
    assert 0 < compare.mcnemar(1500, 1700) < 0.001
    assert compare.mcnemar(1600, 1600) == 1.0


@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_subsets_with_a_right_one(case: tuple[int, int, int]) -> None:
    n, right, k = case
    subsets = list(combinations(range(n), k))
    by_hand = sum(any(i < right for i in subset) for subset in subsets) / len(subsets)
    assert compare.pass_at_k(right, n, k) == pytest.approx(by_hand)


@pytest.mark.parametrize("right, n, k", [(0, 4, 5), (5, 4, 1), (1, 4, 0)])
def test_pass_at_k_refuses_what_cannot_be(right: int, n: int, k: int) -> None:
    with pytest.raises(ValueError):
        compare.pass_at_k(right, n, k)


def test_questions_of_one_image_do_not_count_as_independent() -> None:
    """50 images of 8 equal answers each: the interval is that of 50 coins, not of 400."""
    values = np.repeat(np.arange(50) % 2, 8).astype(float)
    clustered = compare.accuracy(values, np.repeat(np.arange(50), 8).tolist())
    naive = compare.accuracy(values, list(range(400)))
    assert clustered.se == pytest.approx(math.sqrt(0.25 / 50), rel=0.1)
    assert naive.se == pytest.approx(math.sqrt(0.25 / 400), rel=0.1)
    assert clustered.clusters == 50 and clustered.questions == 400


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    generator = np.random.default_rng(3)
    covered = 0
    for trial in range(100):
        p = generator.beta(2, 2, size=80)  # each image has its own difficulty, three questions of it share that
        answers = (generator.random((80, 3)) < p[:, None]).astype(float).ravel()
        found = compare.accuracy(answers, np.repeat(np.arange(80), 3).tolist(), seed=trial)
        covered += found.low <= 0.5 <= found.high
    assert 88 <= covered <= 100  # 95 % of 100, give or take 3 standard errors


def test_none_right_is_not_certainly_none() -> None:
    found = compare.accuracy([0.0] * 60, list(range(60)))
    assert found.low == 0 and found.high == pytest.approx(1 - 0.025 ** (1 / 60))
    assert compare.accuracy([1.0] * 60, list(range(60))).low == pytest.approx(0.025 ** (1 / 60))


def test_the_same_answers_are_no_difference() -> None:
    found = compare.paired([1, 0, 1, 0], [1, 0, 1, 0], list("abcd"))
    assert (found.difference, found.p, found.only_a, found.only_b) == (0, 1.0, 0, 0)
    assert found.detectable > 0


def test_pairing_finds_what_two_separate_intervals_hide() -> None:
    generator = np.random.default_rng(0)
    a = (generator.random(800) < 0.5).astype(float)
    b = a.copy()
    b[np.flatnonzero(a == 0)[:30]] = 1  # 30 more right, nothing lost
    clusters = list(range(800))
    found = compare.paired(a, b, clusters)
    one, two = compare.accuracy(a, clusters), compare.accuracy(b, clusters)
    assert one.high > two.low  # the intervals overlap
    assert found.p < 1e-6 and found.low > 0 and found.test == "McNemar exact"


def test_clusters_or_fractions_flip_whole_images() -> None:
    assert compare.paired([1, 0, 1], [0, 1, 1], list("aab")).test == compare.SIGN_FLIPS
    assert compare.paired([0.5, 0, 1], [0.25, 1, 1], list("abc")).test == compare.SIGN_FLIPS


@pytest.mark.parametrize("n", [1, 2, 5, 9, 40])
def test_bounds_hold_the_truth_at_least_as_often_as_they_say(n: int) -> None:
    """The exact chance, over all outcomes of n coins, that the interval holds the coin's true share."""
    for truth in np.linspace(0.01, 0.99, 25):
        held = 0.0
        for right in range(n + 1):
            low, high = compare.bounds(right / n, n)
            assert low <= right / n <= high
            if low <= truth <= high:
                held += math.comb(n, right) * truth**right * (1 - truth) ** (n - right)
        assert held >= 0.95


def test_one_image_says_nothing_however_many_questions_it_has() -> None:
    found = compare.accuracy([1, 0, 1, 1], ["a"] * 4)
    assert found.low < 0.01 and found.high > 0.99 and found.se > 0.25
    gained = compare.paired([0, 0, 0], [1, 1, 1], ["a"] * 3)
    assert (gained.p, gained.difference, gained.detectable) == (1.0, 1.0, 1.0) and gained.low < 0


def test_unequal_images_count_as_fewer() -> None:
    """One image of 40 questions and 11 of one: more than ten clusters, and nearly all of the mean rests on one."""
    clusters = [*["big"] * 40, *map(str, range(11))]
    found = compare.accuracy([*[1.0] * 30, *[0.0] * 10, *[1.0] * 11], clusters)
    assert found.clusters == 12 and found.high - found.low > 0.9


@pytest.mark.parametrize("images, gained", [(1, 1), (4, 4), (9, 8), (30, 30), (60, 0)])
def test_no_interval_is_without_width_and_no_p_is_nothing(images: int, gained: int) -> None:
    """Images of two questions each; b answers both of the first `gained` right, where a had none."""
    clusters = np.repeat(np.arange(images), 2).tolist()
    after = np.repeat(np.arange(images) < gained, 2).astype(float)
    found = compare.paired(np.zeros(2 * images), after, clusters)
    assert found.low < found.difference <= found.high or found.low <= found.difference < found.high
    assert found.se > 0 and found.detectable > 0 and found.p >= min(2.0 ** (1 - gained), 1 / (1 + compare.FLIPS), 1.0)
    whole = compare.accuracy(after, clusters)
    assert whole.high - whole.low > 0.05 and whole.se > 0
    pair = compare.compare(
        {("x", str(i)): 0.0 for i in range(2 * images)},
        {("x", str(i)): score for i, score in enumerate(after.tolist())},
        {("x", str(i)): cluster for i, cluster in enumerate(clusters)},
    )
    assert pair.macro.p == pair.micro.p == found.p and pair.macro.low == pytest.approx(found.low)
    assert "| 0.000" not in compare.markdown(pair)


@pytest.mark.parametrize("only_a, only_b", [(0, 0), (1, 0), (0, 5), (3, 7), (6, 6), (2, 11)])
def test_sign_flips_of_single_answers_are_mcnemars(only_a: int, only_b: int) -> None:
    sums = np.array([-1.0] * only_a + [1.0] * only_b + [0.0] * 20)
    assert compare.sign_flips(sums) == pytest.approx(compare.mcnemar(only_a, only_b))


def test_drawn_sign_flips_agree_with_all_of_them() -> None:
    generator = np.random.default_rng(1)
    for _ in range(5):
        sums = generator.integers(-3, 5, 14).astype(float)
        sums[sums == 0] = 1
        signs = 1 - 2 * ((np.arange(2**14)[:, None] >> np.arange(14)) & 1)
        exact = float((np.abs(signs @ sums) >= abs(sums.sum())).mean())
        assert compare.sign_flips(sums) == pytest.approx(exact, abs=0.02)  # 4 standard errors of 10,000 draws


def test_equal_models_seldom_differ_by_chance() -> None:
    """30 images of three questions that share their fate: the test keeps its 5 %."""
    generator = np.random.default_rng(11)
    found = 0
    for trial in range(200):
        change = np.repeat(generator.choice([-1.0, 0.0, 1.0], 30, p=[0.25, 0.5, 0.25]), 3)
        found += compare.paired(np.zeros(90), change, np.repeat(np.arange(30), 3).tolist(), seed=trial).p < 0.05
    assert found <= 20  # 10, give or take 3 standard errors


def test_the_least_detectable_difference_is_found_four_times_of_five() -> None:
    generator = np.random.default_rng(5)
    n, apart = 400, 0.2  # a fifth of the answers differ between the models
    detectable = compare.Z_POWER * math.sqrt(apart / n)
    found = 0
    for trial in range(60):
        change = generator.choice(
            [-1, 0, 1], size=n, p=[apart / 2 - detectable / 2, 1 - apart, apart / 2 + detectable / 2]
        )
        result = compare.paired(np.zeros(n), change, list(range(n)), seed=trial)
        found += result.p < 0.05
        assert result.detectable == pytest.approx(detectable, rel=0.15)
    assert 0.64 <= found / 60 <= 0.96


def test_macro_weighs_benchmarks_alike_and_micro_questions() -> None:
    big = compare.accuracy(np.ones(90), [f"b{i}" for i in range(90)])
    small = compare.accuracy(np.zeros(10), [f"s{i}" for i in range(10)])
    macro, micro = compare.averages([big, small])
    assert macro.value == 0.5 and micro.value == 0.9 and macro.questions == 100


def test_means_of_large_benchmarks_have_the_error_of_their_sum() -> None:
    generator = np.random.default_rng(2)
    parts = [compare.accuracy((generator.random(400) < p).astype(float), list(range(400))) for p in (0.3, 0.6)]
    macro, micro = compare.averages(parts)
    assert macro.se == pytest.approx(math.hypot(parts[0].se, parts[1].se) / 2) and micro.se == pytest.approx(macro.se)
    assert (macro.high - macro.low) / 2 == pytest.approx(1.96 * macro.se, rel=0.05)


def test_a_benchmark_of_one_image_makes_the_mean_uncertain() -> None:
    big = compare.accuracy([0.0, 1.0] * 200, list(range(400)))
    macro, _ = compare.averages([big, compare.accuracy([1.0] * 50, ["one"] * 50)])
    assert macro.value == 0.75 and macro.low < 0.3


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_and_keeps_their_order(ps: dict[str, float]) -> None:
    adjusted = compare.holm(ps)
    assert list(adjusted) == list(ps)
    assert all(ps[name] <= adjusted[name] <= 1 for name in ps)
    ranked = sorted(ps, key=lambda name: ps[name])
    assert all(adjusted[a] <= adjusted[b] for a, b in pairwise(ranked))


def test_only_shared_questions_are_compared() -> None:
    a = {("x", "1"): 1.0, ("x", "2"): 0.0, ("y", "3"): 1.0}
    b = {("x", "1"): 1.0, ("x", "2"): 1.0, ("z", "9"): 1.0}
    found = compare.compare(
        a, b, {("x", "1"): "i", ("x", "2"): "j", ("y", "3"): "k", ("z", "9"): "l"}, names=("base", "new")
    )
    assert list(found.benchmarks) == ["x"] and found.left_out == 2
    assert found.benchmarks["x"].only_b == 1 and found.micro.difference == 0.5
    page = compare.markdown(found)
    assert "| x | 2 | +50.00 |" in page and "2 questions that only one" in page


def test_nothing_shared_is_an_error() -> None:
    with pytest.raises(ValueError):
        compare.compare({("x", "1"): 1.0}, {("x", "2"): 1.0}, {})
