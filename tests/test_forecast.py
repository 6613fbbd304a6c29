"""The forecast: what a pilot of 200 predicts about samples and tokens comes true within its interval."""

from __future__ import annotations

from types import SimpleNamespace

import polars as pl
import pytest

from curator import plan
from curator.builds import Runtime
from curator.errors import EngineError
from curator.forecast import Estimate, forecast, mean_estimate, pilot_ids
from curator.recipe import make_recipe
from curator.rollouts import RolloutStore
from openai_server import serve
from test_score import How, picture, rows, run, settings


@pytest.mark.slow
def test_a_pilot_predicts_what_each_rule_draws(tmp_path):
    frame = rows(900, images=lambda i: [])
    with serve() as server:
        recipe = settings(server, stop="exact")
        said = forecast(frame, recipe, read_image=picture, runtime=How(tmp_path / "s.sqlite"), band=(2, 14))
        pilot = sum(call["n"] for call in server.calls)
        assert (said.questions, said.pilot, said.held) == (900, 200, 3200) and pilot == 3200
        scored = run(frame, recipe, tmp_path / "s.sqlite", band=(2, 14))
        drawn = sum(call["n"] for call in server.calls) - pilot
    assert said.samples["full"].mean == 700 * 16
    assert said.samples["exact"].low <= drawn <= said.samples["exact"].high
    with RolloutStore(tmp_path / "s.sqlite") as store:
        tokens = sum(row["completion_tokens"] for row in store.rows())
    pilot_tokens = tokens - said.tokens.mean
    assert abs(pilot_tokens / 3200 - said.tokens.mean / said.samples["exact"].mean) < 2
    assert scored.columns["sample_count"].sum() < 900 * 16
    assert said.seconds is not None and said.seconds.low < said.seconds.mean < said.seconds.high
    text = str(said)
    assert "--stop exact" in text and "less   <" in text and "on this machine" in text


def test_what_is_in_the_store_is_not_paid_again_and_not_timed(tmp_path):
    frame = rows(60, images=lambda i: [])
    with serve() as server:
        run(frame, settings(server), tmp_path / "s.sqlite")
        before = server.seen
        said = forecast(frame, settings(server), read_image=picture, runtime=How(tmp_path / "s.sqlite"))
        assert server.seen == before
    assert set(said.samples.values()) == {Estimate(0, 0, 0)} and said.seconds is None and said.held == 960
    assert str(said) == "60 questions, 960 samples in the store: nothing is to be drawn"


def test_a_pilot_of_failures_only_is_told_with_the_first_reason(tmp_path):
    frame = rows(6, question=lambda i: f"TOO-LONG {i}", images=lambda i: [])
    with (
        serve() as server,
        pytest.raises(EngineError, match=r"every question of the pilot failed.*maximum context length"),
    ):
        forecast(frame, settings(server), read_image=picture, runtime=How(tmp_path / "s.sqlite"))


@pytest.mark.parametrize("sound", [0, 30])
def test_four_questions_that_fail_for_what_they_are_stop_nothing(tmp_path, sound, capsys):
    """The first pilot is four questions. All too long, they say nothing of the model: sixteen do, where there are so many."""
    frame = rows(4 + sound, images=lambda i: [])
    bad = pl.col("id").is_in(list(pilot_ids(frame["id"], plan.FEW)))
    frame = frame.with_columns(question=pl.when(bad).then("TOO-LONG " + pl.col("question")).otherwise("question"))
    with serve() as server:
        solver = settings(server)
        build = SimpleNamespace(recipe=make_recipe({"name": "x", "sources": ["a"]}), read_image=picture,
                                runtime=Runtime(store=tmp_path / "s.sqlite"))  # fmt: skip
        found = plan.before_drawing(build, frame, solver, "traces")
        assert (found.pilot if found else 0) == (16 if sound else 0)
        assert ("the few questions all failed" in capsys.readouterr().err) != bool(sound)
        all_bad = rows(20, question=lambda i: f"TOO-LONG {i}", images=lambda i: [])
        with pytest.raises(EngineError, match="maximum context length"):
            plan.before_drawing(build, all_bad, solver, "traces")


def test_the_interval_of_a_mean_covers():
    import numpy as np

    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        estimate = mean_estimate(rng.integers(4, 17, 200).tolist())
        hits += estimate.low <= 10 <= estimate.high
    assert 0.92 < hits / 400 < 0.98
    assert mean_estimate([]) == Estimate(0, 0, 0)


def test_the_pilot_is_the_same_whatever_the_order():
    ids = [f"x:{i}" for i in range(1000)]
    assert pilot_ids(ids) == pilot_ids(ids[::-1]) and len(pilot_ids(ids)) == 200
    assert pilot_ids(ids[:50]) == set(ids[:50])
