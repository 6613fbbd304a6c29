"""Evaluation: numbers counted by hand from answers laid into the rollout store, and the real engine on a tiny model."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from tiny_qwen import make_model, png, row, write_set

pytest.importorskip("torch")


from curator import answers, compare, evaluate, reference, suites
from curator.engines import Sample, Sampling, ask, open_engine
from curator.engines.model import identify
from curator.errors import EngineError, NetworkError, UsageError
from curator.recipe import Solver
from curator.rollouts import RolloutStore
from curator.train import RECORD

RIGHT = "<think> so </think>\n<answer> {} </answer>"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("tiny") / "tiny-vl")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """slake: 8 questions about 4 images; vqa-rad: 4 about their own; one open question."""
    rows = [row(i, source="slake") for i in range(8)] + [row(i, source="vqa-rad", images=1) for i in range(8, 12)]
    for i in range(8):
        rows[i]["images"] = [{"bytes": png((i // 2 * 60, 9, 9)), "path": None}]
    rows.append(row(12, source="vqa-rad", options=[], answer_label=None, answer="a fracture", answer_type="open"))
    return write_set(tmp_path_factory.mktemp("bench"), rows)


id_of = attrgetter("id")
Say = Callable[[suites.Question, int, bool], tuple[str, str] | None]


def lay_in(store: Path, model: Path, bench: Path, say: Say, *, samples: int = 1, prompt: str = "curator") -> None:
    """Put answers into the store under the keys that an evaluation asks for."""
    temperature = 0.0 if samples == 1 else 1.0
    solver = Solver(model=str(model), temperature=temperature, max_pixels=50176)
    model_id = identify(solver)
    with RolloutStore(store) as rollouts:
        for question in suites.open_suite(str(bench)).questions:
            for blind in (False, True):
                messages = answers.render(question, prompt, blind=blind)
                images = () if blind else question.images
                for request in ask(question.id, messages, images, Sampling.of(solver), model_id, range(samples)):
                    if (said := say(question, request.index, blind)) is not None:
                        text, why = said
                        rollouts.put([(request, Sample(question.id, request.index, text, "", why, 50, 7))], "hand")


def run(model: Path, bench: Path, tmp_path: Path, name: str = "found", **settings: Any) -> evaluate.Evaluation:
    return evaluate.evaluate(
        str(model), str(bench), out=tmp_path / name, store=tmp_path / "store.sqlite", engine="transformers", **settings
    )


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever asks for an engine has not found its answers in the store."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("an engine was opened")

    monkeypatch.setattr(evaluate, "open_engine", refuse)


@pytest.mark.usefixtures("no_engine")
def test_shares_are_what_a_hand_counts(model: Path, bench: Path, tmp_path: Path) -> None:
    def say(question: suites.Question, _: int, blind: bool) -> tuple[str, str]:
        i = int(question.id[-3:])
        if i in (0, 1, 8):
            return RIGHT.format(question.answer_label), "stop"
        if i == 2:
            return "I cannot say.", "stop"
        if i == 3:
            return "<think> and so on and so on", "length"
        if i == 4:  # right for us, and only for us: the seed wants the letter, the letter with its text, or the text
            return f"<answer> {question.answer_label}) </answer>", "stop"
        return RIGHT.format("ABCD"["BCDA".index(question.answer_label)]), "stop"

    lay_in(tmp_path / "store.sqlite", model, bench, say)
    found = run(model, bench, tmp_path).report
    slake, rad = found["benchmarks"]["slake"], found["benchmarks"]["vqa-rad"]
    assert list(found["benchmarks"]) == ["slake", "vqa-rad"]
    assert slake["accuracy"]["value"] == 3 / 8 and rad["accuracy"]["value"] == 1 / 4
    assert (slake["accuracy"]["questions"], slake["accuracy"]["clusters"]) == (8, 4)
    assert slake["graders"]["seed-regrade"] == 2 / 8 and slake["graders"]["curator"] == 3 / 8
    assert slake["unreadable"] == 1 / 8 and slake["truncated"] == 1 / 8 and slake["failed"] == 0
    assert found["macro"]["value"] == pytest.approx((3 / 8 + 1 / 4) / 2) and found["micro"]["value"] == pytest.approx(
        4 / 12
    )
    assert found["left_out"] == {"no key (open question)": 1}
    page = (tmp_path / "found" / evaluate.PAGE).read_text("utf-8")
    assert "| slake | 8 | 37.50 |" in page and "| **macro mean** | 12 | 31.25 |" in page and "1 no key" in page
    assert json.loads((tmp_path / "found" / evaluate.RESULTS).read_text("utf-8")) == json.loads(json.dumps(found))


@pytest.mark.usefixtures("no_engine")
def test_several_samples_give_pass_at_k(model: Path, bench: Path, tmp_path: Path) -> None:
    def say(question: suites.Question, index: int, blind: bool) -> tuple[str, str]:
        right = index < int(question.id[-3:]) % 3  # 0, 1 or 2 of 4
        return RIGHT.format(question.answer_label if right else "ABCD"["BCDA".index(question.answer_label)]), "stop"

    lay_in(tmp_path / "store.sqlite", model, bench, say, samples=4)
    part = run(model, bench, tmp_path, samples=4).report["benchmarks"]["slake"]
    counts = [i % 3 for i in range(8)]
    assert part["accuracy"]["value"] == pytest.approx(sum(counts) / 32)
    for k in (1, 2, 4):
        assert part["pass_at"][str(k)] == pytest.approx(sum(compare.pass_at_k(c, 4, k) for c in counts) / 8)


@pytest.mark.usefixtures("no_engine")
def test_a_blind_run_says_what_the_images_add(model: Path, bench: Path, tmp_path: Path) -> None:
    def say(question: suites.Question, _: int, blind: bool) -> tuple[str, str]:
        right = not blind or int(question.id[-3:]) == 0
        return RIGHT.format(question.answer_label if right else "ABCD"["BCDA".index(question.answer_label)]), "stop"

    lay_in(tmp_path / "store.sqlite", model, bench, say)
    found = run(model, bench, tmp_path, blind=True)
    blind = found.report["benchmarks"]["slake"]["blind"]
    assert blind["accuracy"]["value"] == 1 / 8 and blind["gain"]["difference"] == 7 / 8
    assert "gain from images" in evaluate.markdown(found.report)


@pytest.mark.usefixtures("no_engine")
def test_the_seeds_row_stands_beside_ours(model: Path, bench: Path, tmp_path: Path) -> None:
    def say(question: suites.Question, _: int, blind: bool) -> tuple[str, str]:
        return RIGHT.format(question.answer_label), "stop"

    lay_in(tmp_path / "store.sqlite", model, bench, say, prompt="seed")
    found = run(model, bench, tmp_path, against="3B RL(m23k)", prompt="seed").report
    beside = found["benchmarks"]["vqa-rad"]["reference"]
    assert (beside["accuracy"], beside["se"]) == (71.08, 2.8)
    own = 100 * found["benchmarks"]["vqa-rad"]["accuracy"]["se"]
    assert own > 10, "four questions, all right, are no certainty"
    assert beside["difference_in_se"] == pytest.approx((100 - 71.08) / math.hypot(own, 2.8))
    assert "| theirs: 3B RL(m23k) | difference / s.e. |" in evaluate.markdown(found)
    assert "reference_mean" not in found  # two benchmarks are not the six


@pytest.mark.usefixtures("no_engine")
def test_evaluations_at_once_wait_for_the_one_that_builds_the_suite(capsys: pytest.CaptureFixture[str]) -> None:
    with ThreadPoolExecutor(3) as at_once:
        found = list(at_once.map(suites.open_suite, ["phantom"] * 3))
    assert [len(suite.questions) for suite in found] == [100] * 3
    said = capsys.readouterr().err.splitlines()  # no line for each stage, and once built not a word
    assert [line.partition(" in ")[0] for line in said] == ["built the suite phantom"]


def test_a_limit_takes_questions_of_many_images(tmp_path: Path) -> None:
    """Ten images of six questions each, one after the other, in two benchmarks."""
    rows = [row(i, source=source, images=1) for source in ("slake", "vqa-rad") for i in range(60)]
    for i, one in enumerate(rows):
        one["id"], one["images"] = f"{one['source']}:{i}", [{"bytes": png((i // 6 * 12, 9, 9)), "path": None}]
    bench = str(write_set(tmp_path, rows))
    whole, few, more = (suites.open_suite(bench, limit=limit).questions for limit in (None, 6, 12))
    assert (
        [sum(one.benchmark == "slake" for one in some) for some in (few, more)]
        == [6, 6 * 2]
        == [len(few) // 2, len(more) // 2]
    )
    assert len({one.cluster for one in few}) > 6, "the first six of each are of one image each"
    assert set(map(id_of, few)) < set(map(id_of, more)), "a larger limit asks the same questions and more"
    assert [id_of(one) for one in few] == [one.id for one in whole if one.id in set(map(id_of, few))]


def test_two_evaluations_are_compared_question_by_question(model: Path, bench: Path, tmp_path: Path) -> None:
    def first(question: suites.Question, _: int, blind: bool) -> tuple[str, str]:
        return RIGHT.format("A"), "stop"

    lay_in(tmp_path / "store.sqlite", model, bench, first)
    run(model, bench, tmp_path, name="a")
    lay_in(tmp_path / "store.sqlite", model, bench, lambda q, *_: (RIGHT.format(q.answer_label), "stop"), prompt="seed")
    run(model, bench, tmp_path, name="b", prompt="seed")
    found = evaluate.compare_runs(tmp_path / "a", tmp_path / "b" / "results.json")
    assert (found.a, found.b) == ("a", "b")
    assert found.benchmarks["slake"].difference == 6 / 8 and found.benchmarks["slake"].only_b == 6
    assert found.benchmarks["slake"].test == compare.SIGN_FLIPS  # two questions share an image
    assert found.benchmarks["vqa-rad"].test == "McNemar exact"
    assert found.micro.difference == pytest.approx(9 / 12)


def test_a_comparison_says_which_settings_differ(model: Path, bench: Path, tmp_path: Path) -> None:
    run(model, bench, tmp_path, name="a", max_tokens=2, limit=2)
    run(model, bench, tmp_path, name="b", max_tokens=2, limit=3, prompt="seed")
    found = evaluate.compare_runs(str(tmp_path / "a"), tmp_path / "b")
    assert found.settings == {"prompt": ("curator", "seed"), "limit": (2, 3)} and found.left_out == 2
    assert "prompt curator (A), seed (B); limit 2 (A), 3 (B)" in compare.markdown(found)
    assert not evaluate.compare_runs(tmp_path / "a", tmp_path / "a").settings


def test_another_evaluation_is_replaced_only_on_demand(
    model: Path, bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def typed(model: Path = model, **settings: Any) -> evaluate.Evaluation:
        settings = {"max_tokens": 2, "limit": 3, **settings}
        return evaluate.evaluate(str(model), str(bench), store="s.sqlite", engine="transformers", **settings)

    first = typed()
    page = (first.folder / evaluate.PAGE).read_bytes()
    for settings, says in (
        ({"limit": 1, "prompt": "seed"}, r"prompt curator → seed, limit 3 → 1\): --out .*-2 writes beside it"),
        ({"blind": True}, "blind False → True"),
    ):
        with pytest.raises(UsageError, match=says) as told:
            typed(**settings)
        assert "\n" not in str(told.value) and (first.folder / evaluate.PAGE).read_bytes() == page
    assert typed().report == first.report, "the very same goes on"
    namesake = tmp_path / "elsewhere" / model.name
    shutil.copytree(model, namesake)
    (namesake / "chat_template.jinja").write_text("other")
    with pytest.raises(UsageError, match=rf"model {model.name}@\w+ → {model.name}@\w+"):
        typed(namesake)
    write_set(bench_copy := tmp_path / bench.name, [row(i, source="slake") for i in range(3)])
    with pytest.raises(UsageError, match="other questions of"):
        evaluate.evaluate(str(model), str(bench_copy), store="s.sqlite", engine="transformers", max_tokens=2, limit=3)
    assert "replaces" not in capsys.readouterr().err
    replaced = typed(limit=1, out=str(first.folder))
    assert replaced.report["micro"]["questions"] == 2
    assert capsys.readouterr().err.count("holds another evaluation (limit 3 → 1): this one replaces it.\n") == 1


def test_the_real_engine_answers_once(model: Path, bench: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    first = run(model, bench, tmp_path, name="one", max_tokens=6, limit=3)
    assert "At most 3 questions of each benchmark" in evaluate.markdown(first.report)
    assert first.responses.height == 6 and first.report["benchmarks"]["slake"]["tokens"] > 0
    request.getfixturevalue("no_engine")
    again = run(model, bench, tmp_path, name="two", max_tokens=6, limit=3)
    assert (again.folder / evaluate.RESPONSES).read_bytes() == (first.folder / evaluate.RESPONSES).read_bytes()
    assert again.report == first.report


def test_both_passes_share_one_engine_that_is_closed(
    model: Path, bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, closed = [], []

    def watched(*args: Any, **options: Any) -> Any:
        engine = open_engine(*args, **options)
        free = engine.close

        def close() -> None:
            closed.append(engine)
            free()

        opened.append(engine)
        monkeypatch.setattr(engine, "close", close)
        return engine

    monkeypatch.setattr(evaluate, "open_engine", watched)
    found = run(model, bench, tmp_path, max_tokens=3, limit=2, blind=True)
    assert found.responses["blind"].sum() == 4 and len(opened) == 1 and closed == opened


def test_what_cannot_be_evaluated_is_one_line(model: Path, bench: Path, tmp_path: Path) -> None:
    opened = write_set(tmp_path / "open", [row(0, options=[], answer_label=None)])
    another = write_set(tmp_path / "another", [row(i, source="slake") for i in range(7)])
    settings: dict[str, Any] = {"max_tokens": 2, "limit": 1}
    whole, torn, gone = (run(model, bench, tmp_path, name, **settings).folder for name in ("whole", "torn", "gone"))
    other = run(model, another, tmp_path, "other", **settings).folder
    (torn / evaluate.RESULTS).write_text('{"model_id": "')
    (gone / evaluate.RESPONSES).write_bytes(b"PAR1, and no more")
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: run(model, opened, tmp_path), "holds no question with options and a key"),
        (lambda: run(model, Path("nowhere"), tmp_path), "no suite 'nowhere'"),
        (lambda: run(model, Path("nowhere"), tmp_path, servers=["http://me:secret@a"]), "takes no user and password"),
        (lambda: run(Path("no/model"), bench, tmp_path), "`curator eval` takes a model's folder, or --server URL too."),
        (lambda: run(model, Path("medvlthinker"), tmp_path), "type `curator build medvlthinker-eval` first"),
        (lambda: run(model, bench, tmp_path, samples=0), "draw at least one answer"),
        (lambda: run(model, bench, tmp_path, against="3B RL(x)"), "no row '3B RL(x)'"),
        (lambda: run(Path("/no/model/here"), bench, tmp_path), "no model folder at /no/model/here"),
        (lambda: evaluate.compare_runs(tmp_path, tmp_path), "holds no evaluation"),
        (
            lambda: evaluate.compare_runs(whole, torn),
            f"{torn / evaluate.RESULTS} is damaged: run the same `curator eval`",
        ),
        (lambda: evaluate.compare_runs(whole, gone), f"{gone / evaluate.RESPONSES} is damaged: run the same"),
        (lambda: evaluate.compare_runs(whole, other), "evaluate both on the same suite; samples are kept"),
    ]
    for call, line in cases:
        with pytest.raises((UsageError, NetworkError)) as told:
            call()
        assert line in str(told.value) and "\n" not in str(told.value)


DEAD = ["http://127.0.0.1:9/v1"]


def test_a_dead_server_is_told_before_the_suite_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "open_suite", lambda *_, **__: pytest.fail("the suite was opened"))
    with pytest.raises(EngineError, match="no server answers: http://127.0.0.1:9/v1: Connection refused") as told:
        evaluate.evaluate("any", "phantom", servers=DEAD, out=tmp_path / "out", store=tmp_path / "store.sqlite")
    assert "\n" not in str(told.value) and not (tmp_path / "out").exists()


def test_a_dead_server_is_one_line_where_its_answers_are_stored(
    bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, solver = tmp_path / "store.sqlite", Solver(model="any", servers=DEAD, temperature=0.0)

    def evaluated() -> evaluate.Evaluation:
        return evaluate.evaluate("any", str(bench), servers=DEAD, out=tmp_path / "out", store=store)

    with RolloutStore(store) as rollouts:
        for question in suites.open_suite(str(bench)).questions:
            messages = answers.render(question, "curator")
            asked = ask(question.id, messages, question.images, Sampling.of(solver), "any", [0])
            text = RIGHT.format(question.answer_label)
            rollouts.put([(asked[0], Sample(question.id, 0, text, "", "stop", 50, 7))], "hand")
    assert evaluated().report["micro"]["value"] == 1
    line = "Connection refused. Start it, or check its address. Going on: what is wanted of any may be stored already."
    assert capsys.readouterr().err.count(line) == 1


@pytest.mark.parametrize(
    "name, found",
    [
        ("Qwen/Qwen2.5-VL-3B-Instruct", "Qwen2.5-VL-3B"),
        ("Qwen/Qwen2.5-VL-32B-Instruct", "Qwen2.5-VL-32B"),
        ("Qwen/Qwen2.5-VL-72B-Instruct", None),
        ("phantom", None),
    ],
)
def test_a_base_model_finds_its_row(name: str, found: str | None) -> None:
    assert reference.guess(name) == found


@pytest.mark.parametrize(
    "kind, base, dataset, found",
    [
        ("rlvr", "Qwen/Qwen2.5-VL-7B-Instruct", "org/m23k-medium", "7B RL(m23k)"),
        ("sft", "Qwen/Qwen2.5-VL-3B-Instruct", "builds/pmc-vqa", "3B SFT(PMC)"),
        ("sft", "Qwen/Qwen2.5-VL-32B-Instruct", "builds/m23k", None),
        ("rlvr", "phantom", "builds/m23k", None),
    ],
)
def test_a_trained_model_finds_its_row(tmp_path: Path, kind: str, base: str, dataset: str, found: str | None) -> None:
    settings = {"model": base, "dataset": dataset, "subset": None, "output": "x"}
    (tmp_path / RECORD).write_text(json.dumps({"kind": kind, "settings": settings}))
    assert reference.guess(str(tmp_path)) == found
