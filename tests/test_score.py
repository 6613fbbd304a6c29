"""The score stage: counts are a replay of the store, rules decide in index order, and what fails is told and set aside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from curator.difficulty import difficulty_of
from curator.engines import Failed, ReadImage, Request, Sample
from curator.errors import EngineError, NetworkError
from curator.outcomes import Outcomes, Pass
from curator.recipe import Score, Solver
from curator.rollout_files import export
from curator.rollouts import RolloutStore
from curator.score import always, identity, release_rollouts, score
from curator.stopping import Full, audited
from curator.unanswerable import says_figure_is_missing
from openai_server import Server, serve


@dataclass
class How:
    store: Path | None
    rollouts: str | None = None
    offline: bool = True
    yes: bool = False
    replicas: int = 1
    ray: str | None = None


def rows(count: int = 40, **changes) -> pl.DataFrame:
    lines = [
        {
            "id": f"x:train:{i:03}", "question": f"What is number {i}?", "options": ["w", "x", "y", "z"],
            "answer_label": "ABCD"[i % 4], "answer_type": "choice", "images": ["picture"] if i % 2 else [], "flags": [],
            **{name: value(i) for name, value in changes.items()},
        }
        for i in range(count)
    ]  # fmt: skip
    texts = pl.List(pl.String)
    return pl.DataFrame(
        lines, schema_overrides={"images": texts, "flags": texts, "options": texts, "answer_label": pl.String}
    )


def picture(_: str) -> bytes:
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (56, 56), (9, 9, 9)).save(out, "PNG")
    return out.getvalue()


def settings(server: Server, **changes) -> Score:
    return Score(**{"model": "phantom", "servers": [server.url], "max_tokens": 64, **changes})


def run(frame: pl.DataFrame, recipe: Score, store: Path, **how):
    band = how.pop("band", None)
    return score(frame, recipe, read_image=picture, runtime=How(store, **how), band=band)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "s.sqlite"


@pytest.fixture(scope="module")
def server():
    with serve(models=("phantom", "other", "third")) as one:
        yield one


def counts(scored) -> dict[str, tuple]:
    names = ("pass_count", "sample_count", "unreadable_count", "truncated_count", "stop_rule", "difficulty")
    return {line["id"]: tuple(line[name] for name in names) for line in scored.columns.iter_rows(named=True)}


def test_every_question_draws_all_and_counts_add_up(server, store):
    scored = run(rows(), settings(server), store)
    found = scored.columns
    assert found.height == 40 and scored.verdicts.is_empty()
    assert found["sample_count"].to_list() == [16] * 40
    assert found["pass_count"].n_unique() > 8, "the server is sure of some and not of others"
    assert 0 < found["unreadable_count"].sum() < 40 * 16 * 0.1
    assert [difficulty_of(k, 16) for k in found["pass_count"]] == found["difficulty"].to_list()
    assert set(found["solver"]) == {"phantom"} and set(found["stop_rule"]) == {"full"}
    assert scored.scores.height == 40 and scored.facts["samples"]["drawn"] == 640
    assert scored.note.startswith(f"{found['pass_count'].sum()} right of 640 samples")


def test_what_a_reward_would_pay_is_counted_apart(store):
    responses = [
        "<think> x </think>\n<answer> B </answer>",
        "The answer is B.",
        "<think> x </think> <answer>A</answer>",
        "?",
    ]
    question = rows(1).row(0, named=True) | {"answer_label": "B"}
    with RolloutStore(store) as opened:
        one = Pass(Score(model="phantom"), "m@1", opened, NotImplemented, picture)
        live, _ = one.prepare(question)
        codes = [one.code(live, Sample("q", 0, text, "", "stop", 1, 1)) for text in responses]
    outcomes = Outcomes("key", Full(4), bytearray(codes))
    assert (outcomes.right, outcomes.rewarded) == (2, 1)


def test_a_second_run_and_another_grader_ask_nobody(server, store):
    first = run(rows(), settings(server), store)
    with serve() as nobody:
        again = run(rows(), settings(nobody), store)
        regraded = run(rows(), settings(nobody, grader="seed-rollout"), store)
        fewer = run(rows(), settings(nobody, samples=8), store)
        assert nobody.seen == 0
    assert again.columns.equals(first.columns) and again.scores.equals(first.scores)
    assert regraded.columns["sample_count"].sum() == 640
    assert all(
        small <= large for small, large in zip(fewer.columns["pass_count"], first.columns["pass_count"], strict=True)
    )


def test_more_samples_in_the_store_never_change_a_count(server, store, tmp_path):
    alone = run(rows(), settings(server, samples=8, stop="exact"), tmp_path / "alone.sqlite")
    run(rows(), settings(server, samples=16), store)
    after = run(rows(), settings(server, samples=8, stop="exact"), store)
    # The server answers a call of n by the first one's seed, so texts differ between stores; the rule must not.
    assert after.columns["sample_count"].to_list() != [8] * 40
    again = run(rows(), settings(server, samples=8, stop="exact"), store)
    assert again.columns.equals(after.columns)
    assert alone.columns.height == after.columns.height


def test_exact_verdicts_are_those_of_full_counts(server, store):
    full = run(rows(200), settings(server), store)
    for band in (None, (2, 14), (1, 6)):
        exact = run(rows(200), settings(server, stop="exact"), store, band=band)
        drawn = exact.columns["sample_count"]
        assert drawn.sum() < 200 * 16
        for one, other in zip(full.columns.iter_rows(named=True), exact.columns.iter_rows(named=True), strict=True):
            if band is None:
                assert one["difficulty"] == other["difficulty"]
            else:
                side = "below" if one["pass_count"] < band[0] else "above" if one["pass_count"] > band[1] else "inside"
                assert other["band_side"] == side
                assert other["difficulty"] in (None, one["difficulty"])
            assert other["stop_rule"] == ("full" if audited(one["id"], 0.05) else "exact")
            assert other["sample_count"] == 16 or other["stop_rule"] == "exact"


def test_exact_from_an_empty_store_pays_for_what_it_counts_only(server, tmp_path):
    exact = run(rows(60), settings(server, stop="exact"), tmp_path / "exact.sqlite")
    with RolloutStore(tmp_path / "exact.sqlite") as held:
        assert sum(1 for _ in held.rows()) == exact.columns["sample_count"].sum()


def test_declared_fits_its_prior_on_questions_that_drew_all(server, store):
    declared = run(rows(400), settings(server, stop="declared"), store)
    rules = declared.columns.group_by("stop_rule").agg(pl.len(), pl.col("sample_count").mean())
    found = {rule: (number, mean) for rule, number, mean in rules.iter_rows()}
    assert found["full"][0] >= 150 and found["full"][1] == 16
    assert 4 <= found["declared"][1] < 14
    assert declared.columns["difficulty"].null_count() == 0


def test_blind_counts_are_of_the_same_questions_without_their_images(server, store):
    scored = run(rows(), settings(server, blind=True), store)
    for line in scored.columns.iter_rows(named=True):
        pictured = int(line["id"][-3:]) % 2 == 1
        assert line["blind_sample_count"] == (16 if pictured else None)
    blind = scored.scores.filter("blind")
    assert blind.height == 20
    assert not any(call["images"] for call in server.calls[-20:])


def test_open_questions_are_set_aside_with_the_reason(server, store):
    frame = rows(6, options=lambda i: [] if i == 3 else ["w", "x"], answer_type=lambda i: "open" if i == 3 else "choice",
                 answer_label=lambda i: None if i == 3 else "A")  # fmt: skip
    scored = run(frame, settings(server), store)
    assert scored.verdicts.rows() == [("x:train:003", "score", False, "open-question", "")]
    line = scored.columns.row(3, named=True)
    assert line["pass_count"] is None and line["difficulty"] is None and line["flags"] == []


def test_a_question_that_cannot_be_asked_is_unscored_with_the_servers_words(server, store):
    frame = rows(6, question=lambda i: "TOO-LONG" if i == 2 else f"What is number {i}?")
    scored = run(frame, settings(server), store)
    (verdict,) = scored.verdicts.rows()
    assert verdict[:4] == ("x:train:002", "score", False, "unscored") and "maximum context length" in verdict[4]
    assert scored.columns["sample_count"].to_list() == [16, 16, None, 16, 16, 16]
    assert run(frame, settings(server), store).verdicts.rows() == [verdict]


def test_equal_questions_with_different_keys_are_drawn_once_and_graded_each(server, store):
    frame = rows(4, question=lambda i: "The same?", images=lambda i: [], answer_label=lambda i: "ABCD"[i])
    before = len(server.calls)
    scored = run(frame, settings(server, stop="exact", audit=0.0), store)
    with RolloutStore(store) as held:
        assert sum(1 for _ in held.rows()) <= 16
    assert scored.columns["pass_count"].n_unique() > 1
    assert len({call["prompt"] for call in server.calls[before:]}) == 1


class FirstFails:
    """An engine with three slots: the first request fails, and then the newest in flight is answered first."""

    name, model_id = "first fails", "m"

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def generate(self, requests: Iterable[Request | None], read_image: ReadImage) -> Iterator[Sample | Failed]:
        source, in_flight = iter(requests), []
        while True:
            while len(in_flight) < 3 and (request := next(source, None)) is not None:
                in_flight.append(request)
                self.asked.append((request.prompt, request.index))
            if not in_flight:
                return
            if len(self.asked) == 3:
                first = in_flight.pop(0)
                yield Failed(first.id, first.index, "gave up", True)
            request = in_flight.pop()
            yield Sample(request.id, request.index, "<answer> A </answer>", "", "stop", 1, 1)

    def close(self) -> None:
        pass


def test_an_equal_question_after_one_that_failed_fails_too_and_pays_nothing_twice(store):
    frame, engine = rows(3, question=lambda i: "Another?" if i == 2 else "The same?", images=lambda i: []), FirstFails()
    with RolloutStore(store) as held:
        found = Pass(Solver(samples=5), "m", held, lambda: engine, picture).over(frame, always(Full(5)))
    assert [(one.failure, one.passing) for one in found.values()] == [("gave up", True)] * 2 + [("", False)]
    assert len(engine.asked) == len(set(engine.asked)) == 3 + 5, "what the failed question still wanted is not drawn"


def test_a_shuffle_of_the_options_is_graded_as_shown_and_kept_apart(server, store):
    plain = run(rows(), settings(server), store)
    shuffled = run(rows(), settings(server, shuffle_options=3), store)
    assert set(plain.scores["rollouts_key"]).isdisjoint(shuffled.scores["rollouts_key"])
    with RolloutStore(store) as held:
        line = shuffled.scores.row(5, named=True)
        from curator.answers import displayed, grade
        from curator.records import Record

        row = rows().row(5, named=True)
        record = Record(
            id=row["id"], question=row["question"], options=row["options"], answer_label=row["answer_label"]
        )
        options, label = displayed(record, 3)
        samples = held.find([line["rollouts_key"]], 64)[line["rollouts_key"]]
        assert line["pass_count"] == sum(grade(s.response, options, label).correct for s in samples.values())


def test_a_cascade_drops_what_a_cheap_solver_gets_right(server, store):
    cheap = Solver(model="other", servers=[server.url], max_tokens=64)
    scored = run(rows(), settings(server, cascade=[cheap]), store)
    dropped = scored.verdicts.filter(pl.col("reason") == "cascade")
    assert 0 < dropped.height < 40
    assert set(dropped["evidence"]) == {'{"solver": "other"}'}
    first = scored.scores.filter(pl.col("solver") == "other")
    assert first.height == 40 and set(first["sample_count"]) == {1} and set(first["temperature"]) == {0.0}
    assert scored.scores.filter(pl.col("solver") == "phantom").height == 40 - dropped.height
    assert set(dropped["id"]) == set(first.filter(pl.col("pass_count") == 1)["id"])


def test_several_solvers_fill_the_scores_table_and_flag_suspicious_keys(server, store):
    more = [Solver(model=name, servers=[server.url], max_tokens=64, samples=8) for name in ("other", "third")]
    scored = run(rows(120), settings(server, also=more), store)
    assert scored.scores.group_by("solver").len().sort("solver").rows() == [
        ("other", 120),
        ("phantom", 120),
        ("third", 120),
    ]
    flagged = scored.columns.filter(pl.col("flags").list.contains("key-suspect"))
    assert 0 < flagged.height < 120, "the server is sure of letters that are not the key"
    assert flagged["pass_count"].max() <= 4


@pytest.mark.parametrize(
    "text, missing",
    [
        ("The figure is not shown, so I cannot tell.", True),
        ("No image was provided with this question.", True),
        ("I can't see the image you mention.", True),
        ("Since the X-ray isn't available, I guess B.", True),
        ("The images have not been attached.", True),
        ("The image shows a fracture that is not displaced.", False),
        ("The scan is normal; no mass is shown.", False),
        ("The lesion in the image is not visible to me.", False),
        ("The mass is not shown on this slide.", False),
        ("An image isn’t provided.", True),
        ("<think> It is round. </think> <answer> B </answer>", False),
    ],
)
def test_what_says_that_a_figure_is_missing(text, missing):
    assert says_figure_is_missing(text) is missing


def test_published_rollouts_score_a_set_without_any_engine(server, store, tmp_path):
    first = run(rows(), settings(server), store)
    published = release_rollouts(rows(), settings(server), How(store))
    assert published.height == 640 and published["id"].n_unique() == 40
    (tmp_path / "release" / "tables").mkdir(parents=True)
    published.write_parquet(tmp_path / "release" / "tables" / "rollouts-00000-of-00001.parquet")
    with serve() as nobody:
        reused = run(rows(), settings(nobody), tmp_path / "new.sqlite", rollouts=str(tmp_path / "release"))
        assert nobody.seen == 0
    assert reused.columns.equals(first.columns)
    with RolloutStore(tmp_path / "new.sqlite") as held:
        assert export(held, tmp_path / "again.parquet") == 640


def test_a_dead_server_ends_the_run_and_the_next_one_goes_on(store, monkeypatch):
    from curator.engines.openai import OpenAIEngine

    monkeypatch.setattr(OpenAIEngine.__init__, "__kwdefaults__", {"timeout": 5.0, "patience": 0.5, "choices": 16})
    with serve(delay=0.05) as first:
        original = first.http

        def kill_after(self, count=[0]):  # noqa: B006
            count[0] += 1
            if count[0] == 12:
                original.shutdown()
                original.server_close()

        monkeypatch.setattr("curator.outcomes._Stream._close", _after(kill_after, monkeypatch))
        with pytest.raises(EngineError, match="run the same command again"):
            run(rows(200), settings(first), store)
    monkeypatch.undo()
    with RolloutStore(store) as held:
        kept = sum(1 for _ in held.rows())
    assert kept >= 12 * 16
    with serve() as second:
        scored = run(rows(200), settings(second), store)
        assert sum(call["n"] for call in second.calls) == 200 * 16 - kept
    assert scored.columns["sample_count"].to_list() == [16] * 200


def _after(then, monkeypatch):
    from curator.outcomes import _Stream

    close = _Stream._close

    def wrapped(self, *args):
        close(self, *args)
        then(self)

    return wrapped


def test_what_decides_counts_is_in_the_identity_and_nothing_else(server):
    base = settings(server)
    same = [
        base.model_copy(update={"servers": ["http://elsewhere"]}),
        base.model_copy(update={"alpha": 0.2}),
        base.model_copy(update={"audit": 0.2}),
    ]
    assert all(identity(one) == identity(base) for one in same)
    assert identity(base, (1, 7)) == identity(base), "all n are drawn whatever the band"
    other = [
        {"samples": 8}, {"grader": "seed-rollout"}, {"prompt": "seed"}, {"temperature": 0.5}, {"max_tokens": 9},
        {"blind": True}, {"stop": "exact"}, {"shuffle_options": 1}, {"model": "other"},
        {"also": [Solver(servers=["http://x"])]}, {"cascade": [Solver(servers=["http://x"])]},
    ]  # fmt: skip
    found = [str(identity(base.model_copy(update=change))) for change in other]
    assert len({*found, str(identity(base))}) == len(other) + 1
    exact = base.model_copy(update={"stop": "exact"})
    assert identity(exact, (1, 7)) != identity(exact, (2, 7))
    assert identity(base.model_copy(update={"samples": 0})) == {"samples": 0}


def test_a_hub_model_without_network_or_cache_is_one_line(store, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(NetworkError, match="run again with a network"):
        run(rows(2), Score(model="no/such-model-here"), store)


def test_what_failed_for_a_passing_reason_is_asked_again_by_the_same_command(server, store, monkeypatch):
    from types import SimpleNamespace

    from curator import stages
    from curator.engines.openai import OpenAIEngine
    from curator.recipe import Recipe

    frame, facts = rows(6), {}
    answer = OpenAIEngine._answer

    def flaky(self, group, read_image, results):
        if "number 2?" in str(group[0].messages):
            from curator.engines import Failed

            results.put([Failed(r.id, r.index, "gave up after many tries: 503", True) for r in group])
        else:
            answer(self, group, read_image, results)

    monkeypatch.setattr(OpenAIEngine, "_answer", flaky)
    scored = run(frame, settings(server), store)
    assert scored.facts["again"] == 1 and scored.verdicts["reason"].to_list() == ["unscored"]

    recipe = Recipe(name="x", sources=["phantom"], score=settings(server))
    build = SimpleNamespace(
        recipe=recipe, runtime=SimpleNamespace(offline=True), workspace=SimpleNamespace(facts=lambda _: facts)
    )
    first = stages.score_settings(build)
    facts |= {**scored.facts, "attempt": stages.score_settings(build)[-1]}
    assert stages.score_settings(build) != first, "the stage runs again"
    monkeypatch.undo()
    again = run(frame, settings(server), store)
    assert again.verdicts.is_empty() and again.columns["sample_count"].to_list() == [16] * 6
    facts |= {**again.facts, "attempt": stages.score_settings(build)[-1]}
    assert stages.score_settings(build) == stages.score_settings(build) != first


@pytest.mark.parametrize("kind", ["blind", "cascade", "also"])
def test_passing_failures_of_every_pass_are_asked_again(kind, server, store, monkeypatch):
    from curator.engines.openai import OpenAIEngine

    answer = OpenAIEngine._answer

    def flaky(self, group, read_image, results):
        if self.model == "other" or not group[0].images:
            results.put([Failed(r.id, r.index, "gave up after many tries: 503", True) for r in group])
        else:
            answer(self, group, read_image, results)

    monkeypatch.setattr(OpenAIEngine, "_answer", flaky)
    other = Solver(model="other", servers=[server.url], max_tokens=64, samples=1)
    recipe = settings(server, **{kind: True if kind == "blind" else [other]})
    frame = rows(4, images=lambda i: ["picture"])
    assert run(frame, recipe, store).facts["again"] == 4
    monkeypatch.undo()
    assert run(frame, recipe, store).facts["again"] == 0


def test_hours_of_work_want_a_yes_and_what_was_drawn_is_kept(store, monkeypatch):
    from curator.errors import UsageError

    monkeypatch.setattr("curator.outcomes._SOON", 0.2)
    monkeypatch.setattr("curator.plan.LONG", 1.0)
    with serve(delay=0.1) as slow:
        with pytest.raises(UsageError, match=r"take about .* more on this machine: add --yes"):
            run(rows(1500), settings(slow), store)
        with RolloutStore(store) as held:
            kept = sum(1 for _ in held.rows())
        assert kept >= 128
        run(rows(200), settings(slow), store, yes=True)
