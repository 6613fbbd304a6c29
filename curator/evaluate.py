"""How good is a model: accuracy per benchmark with its interval, by our grader and by the seed's, from one set of answers.

    found = evaluate("outputs/rlvr-3b-m23k", "medvlthinker", engine="vllm")
    print(markdown(found.report))
    report(found)["benchmarks"]["vqa-rad"]["accuracy"]

Answers go to the rollout store as they come: the same command goes on after a kill, and grading again costs nothing.
Greedy with one sample, temperature 1 with several; then accuracy is the mean over samples, and pass@k is beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from curator import answers, compare, progress, reference
from curator.adapters import whole_model
from curator.engines import STOP, Engine, Failed, Request, Sample, Sampling, ask, open_engine
from curator.engines.model import identify, model_folder
from curator.errors import EngineError, NetworkError, UsageError, in_words
from curator.plan import ask_servers
from curator.recipe import Solver
from curator.rollouts import RolloutStore, draw
from curator.suites import Question, Suite, open_suite
from curator.workspace import atomic, write_text

if TYPE_CHECKING:
    import polars as pl

GRADERS = answers.GRADERS
RESULTS, RESPONSES, PAGE = "results.json", "responses.parquet", "results.md"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Where an evaluation lies and what it found."""

    folder: Path
    report: dict[str, Any]
    responses: pl.DataFrame


def evaluate(
    model: str,
    suite: str = "medvlthinker",
    *,
    revision: str | None = None,
    suite_revision: str | None = None,
    engine: str = "auto",
    servers: Sequence[str] = (),
    samples: int = 1,
    temperature: float | None = None,
    max_tokens: int | None = None,
    prompt: str = "curator",
    blind: bool = False,
    limit: int | None = None,
    against: str | None = None,
    out: str | Path | None = None,
    store: str | Path | None = None,
    seed: int = 0,
    replicas: int = 1,
    ray: str | None = None,
    offline: bool = False,
) -> Evaluation:
    """Ask `model` every question of `suite`, grade the answers, write results.json, results.md and responses.parquet.

    `model` is a Hub id, a folder, an adapter's folder or phantom; with `servers`, the name they serve it under.
    `against` names a row of the seed's table (`reference.TABLE`); by default the one the model is comparable with.
    The default folder is named for model and suite; another evaluation that lies there is replaced only where `out` says so.

    Raises:
        UsageError: no such model, suite or row of the table, or the default folder holds another evaluation.
        EngineError: no server answers and the store has no sample of its model; or the engine stopped answering (what was
            drawn is kept), or gave no answer at all.
    """
    if samples < 1:
        raise UsageError(f"--samples {samples}: draw at least one answer a question.")
    if against is not None and against not in reference.TABLE:
        raise UsageError(f"no row {against!r} in the seed's table; there are {', '.join(reference.TABLE)}.")
    store = None if store is None else Path(store)
    asked_for = {
        "model": model,
        "revision": revision,
        "engine": engine,
        "servers": list(servers),
        "samples": samples,
        "temperature": (0.0 if samples == 1 else 1.0) if temperature is None else temperature,
        "max_tokens": max_tokens or (64 if suite == "phantom" else 4096),
        "prompt": prompt,
    }
    served = bool(servers) or engine == "openai"
    if served:
        ask_servers([_solver(asked_for)], store)
    questions = open_suite(suite, limit=limit, revision=suite_revision)
    whole = model if served else whole_model(model)
    solver = _solver({**asked_for, "model": whole, "max_pixels": _max_pixels(whole, served)})
    try:
        model_id = identify(solver, offline=offline)
    except NetworkError as error:
        raise NetworkError(f"{error}; `curator eval` takes a model's folder, or --server URL too.") from None
    facts = {
        "model": model,
        "model_id": model_id,
        "suite": suite,
        "suite_origin": questions.origin,
        "suite_sha256": questions.sha256,
        "left_out": questions.left_out,
        "settings": {
            "prompt": prompt, "blind": blind, "limit": limit, "samples": samples, "seed": seed,
            **asdict(Sampling.of(solver)), "stop": list(STOP),  # as it is read back
        },
        "against": against or (reference.guess(model) if suite != "phantom" else None),
    }  # fmt: skip
    folder = Path(out or Path("evals") / _slug(model, suite, samples))
    _before_replacing(folder, facts, asked_for=out is not None)
    with RolloutStore(store) as rollouts, ExitStack() as stack:
        # One engine for both passes, opened where an answer is missing: a second would not fit beside it on a GPU.
        opened = cache(
            lambda: stack.enter_context(closing(open_engine(solver, replicas=replicas, ray=ray, offline=offline)))
        )
        rows = [
            row
            for is_blind in ((False, True) if blind else (False,))
            for row in _answers(questions, solver, model_id, is_blind, rollouts, opened)
        ]
    frame = _frame(rows)
    if frame["failed"].all():
        raise EngineError(f"{model} gave no answer at all: {frame['why'][0]}.")
    found = report(frame, facts, seed=seed)
    _write(folder, frame, found)
    if (failed := int(frame["failed"].sum())) > 0:
        progress.say(
            f"{progress.counted(failed, 'answer')} could not be drawn ({frame.filter(frame['failed'])['why'][0]}): counted as not right."
        )
    return Evaluation(folder, found, frame)


def _solver(asked_for: dict[str, Any]) -> Solver:
    try:
        return Solver.model_validate(asked_for)
    except ValidationError as error:
        raise UsageError(f"--{in_words(error.errors()[0])}.") from None


def results(place: str | Path) -> dict[str, Any]:
    """What an evaluation found, from its folder or a file in it.

    Raises:
        UsageError: there is none, or its results cannot be read.
    """
    path = folder_of(place) / RESULTS
    if not path.is_file():
        raise UsageError(f"{place} holds no evaluation: give a folder that `curator eval` wrote, e.g. evals/NAME.")
    try:
        found = json.loads(path.read_text("utf-8"))
        if not {"model_id", "settings", "benchmarks"} <= set(found):
            raise ValueError
    except (OSError, ValueError, TypeError):
        raise _damaged(path) from None
    return dict(found)


def folder_of(place: str | Path) -> Path:
    """The folder of an evaluation that was named by it or by a file in it."""
    path = Path(place)
    return path.parent if path.is_file() else path


def _damaged(path: Path) -> UsageError:
    return UsageError(f"{path} is damaged: run the same `curator eval` again, which draws nothing that is stored.")


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The settings in which two evaluations (their facts or results) differ."""
    names = dict.fromkeys((*a["settings"], *b["settings"]))
    pairs = {name: (a["settings"].get(name), b["settings"].get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _before_replacing(folder: Path, facts: dict[str, Any], *, asked_for: bool) -> None:
    """Another evaluation is replaced on demand only, and said; the same one goes on.

    Raises:
        UsageError: the folder holds another, and was not asked for by name.
    """
    try:
        there = results(folder)
    except UsageError:
        return  # nothing that could be read
    changed = [f"{name} {a} → {b}" for name, (a, b) in differences(there, facts).items()]
    if there["model_id"] != facts["model_id"]:
        changed.insert(0, f"model {there['model_id']} → {facts['model_id']}")
    if there.get("suite_sha256") != facts["suite_sha256"]:
        changed.insert(0, f"other questions of {there.get('suite')}")
    if not changed:
        return
    held = f"{folder} holds another evaluation ({', '.join(changed)})"
    if not asked_for:
        raise UsageError(
            f"{held}: --out {folder}-2 writes beside it, --out {folder} replaces it; samples are kept either way."
        )
    progress.say(f"{held}: this one replaces it.")


def _answers(
    suite: Suite, solver: Solver, model_id: str, blind: bool, store: RolloutStore, opened: Callable[[], Engine]
) -> Iterator[dict[str, Any]]:
    """The graded answers of one pass, stored ones first."""
    asked = list(_requests(suite, solver, model_id, blind))
    by_id = {question.id: question for question in suite.questions}
    right = 0
    what = f"evaluating {model_id.partition('@')[0]}{' without images' if blind else ''}"
    with progress.bar(what, len(asked), "answers") as bar:
        for request, answer in draw(asked, store=store, engine=opened, read_image=suite.read_image):
            row = _graded(by_id[request.id], request, answer, blind)
            right += row["curator"]
            bar.advance(1, note=f"{right:,} right")
            yield row


def _requests(suite: Suite, solver: Solver, model_id: str, blind: bool) -> Iterator[Request]:
    sampling = Sampling.of(solver)
    for question in suite.questions:
        if blind and not question.images:
            continue
        messages = answers.render(question, solver.prompt, blind=blind)
        yield from ask(
            question.id, messages, () if blind else question.images, sampling, model_id, range(solver.samples)
        )


def _graded(question: Question, request: Request, answer: Sample | Failed, blind: bool) -> dict[str, Any]:
    text = answer.response if isinstance(answer, Sample) else ""
    cut = isinstance(answer, Sample) and answer.truncated
    grades = {
        grader: answers.grade(text, question.options, question.answer_label, grader=grader, truncated=cut)
        for grader in GRADERS
    }
    failed = isinstance(answer, Failed)
    return {
        "benchmark": question.benchmark,
        "id": question.id,
        "blind": blind,
        "index": request.index,
        "cluster": question.cluster,
        "answer_label": question.answer_label,
        "label": grades["curator"].label,
        "unreadable": grades["curator"].unreadable and not cut and not failed,
        "truncated": cut,
        "failed": failed,
        "why": answer.why if isinstance(answer, Failed) else "",
        "tokens": 0 if isinstance(answer, Failed) else answer.completion_tokens,
        "text": text,
        **{grader: grade.correct for grader, grade in grades.items()},
    }


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(rows, infer_schema_length=None, schema_overrides={"label": pl.String}).sort(
        "benchmark", "blind", "id", "index"
    )


def report(frame: pl.DataFrame, facts: Mapping[str, Any], *, seed: int = 0) -> dict[str, Any]:
    """Everything the page and `--json` show, from graded responses: one row per (benchmark, id, blind, index)."""
    import polars as pl

    seen, unseen = frame.filter(~pl.col("blind")), frame.filter(pl.col("blind"))
    order = {name: i for i, name in enumerate(reference.BENCHMARKS)}
    names = sorted(seen["benchmark"].unique(), key=lambda name: (order.get(name, len(order)), name))
    theirs = reference.row(facts["against"]) if facts.get("against") else {}
    benchmarks: dict[str, Any] = {}
    parts: list[compare.Interval] = []
    for name in names:
        here = seen.filter(pl.col("benchmark") == name)
        scores, clusters = _scores(here)
        ours = compare.accuracy(scores, clusters, seed=seed)
        parts.append(ours)
        benchmarks[name] = {
            "accuracy": asdict(ours),
            "graders": {grader: float(here[grader].mean()) for grader in GRADERS},  # type: ignore[arg-type]
            **{what: float(here[what].mean()) for what in ("unreadable", "truncated", "failed")},  # type: ignore[arg-type]
            "tokens": float(here["tokens"].mean()),  # type: ignore[arg-type]
            "pass_at": _pass_at(here),
        }
        without = unseen.filter(pl.col("benchmark") == name)
        if len(without):
            benchmarks[name]["blind"] = _blind(here, without, seed)
        if name in theirs:
            benchmarks[name]["reference"] = _beside(ours, theirs[name], reference.STANDARD_ERRORS[name])
    macro, micro = compare.averages(parts)
    found = {**facts, "benchmarks": benchmarks, "macro": asdict(macro), "micro": asdict(micro)}
    if set(names) == set(reference.BENCHMARKS) and theirs:
        found["reference_mean"] = _beside(macro, theirs["mean"], reference.STANDARD_ERRORS["mean"])
    return found


def _scores(frame: pl.DataFrame, grader: str = "curator") -> tuple[compare.Floats, list[str]]:
    import polars as pl

    each = frame.group_by("id", maintain_order=True).agg(
        pl.col(grader).cast(pl.Float64).mean().alias("score"), pl.col("cluster").first()
    )
    return each["score"].to_numpy(), each["cluster"].to_list()


def _pass_at(frame: pl.DataFrame) -> dict[str, float]:
    import polars as pl

    counts = frame.group_by("id").agg(pl.col("curator").sum().alias("right"), pl.len().alias("n"))
    n = int(counts["n"].min())  # type: ignore[arg-type]
    ks = [k for k in (1, 2, 4, 8, 16, 32, 64, 128) if k <= n] if n > 1 else []
    return {
        str(k): float(np.mean([compare.pass_at_k(c, m, k) for c, m in counts.select("right", "n").iter_rows()]))
        for k in ks
    }


def _blind(seen: pl.DataFrame, unseen: pl.DataFrame, seed: int) -> dict[str, Any]:
    """Accuracy without the images, and what the images add on the same questions."""
    import polars as pl

    scores, clusters = _scores(unseen)
    shown = seen.filter(pl.col("id").is_in(unseen["id"].unique().to_list()))
    with_images, _ = _scores(shown)
    return {
        "accuracy": asdict(compare.accuracy(scores, clusters, seed=seed)),
        "gain": asdict(compare.paired(scores, with_images, clusters, seed=seed)),
    }


def _beside(ours: compare.Interval, theirs: float, se: float) -> dict[str, float]:
    spread = float(np.hypot(100 * ours.se, se))
    return {"accuracy": theirs, "se": se, "difference_in_se": (100 * ours.value - theirs) / spread}


def _write(folder: Path, frame: pl.DataFrame, found: dict[str, Any]) -> None:
    with atomic(folder / RESPONSES) as temporary:
        frame.write_parquet(temporary)
    write_text(folder / PAGE, markdown(found))
    write_text(folder / RESULTS, json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def markdown(found: Mapping[str, Any]) -> str:
    """The page of one evaluation, in percent."""
    several = found["settings"]["samples"] > 1
    blind = any("blind" in part for part in found["benchmarks"].values())
    against = found.get("against")
    heads = ["benchmark", "questions", "accuracy", "95 % interval", *GRADERS[1:], "unreadable", "truncated"]
    heads += ["blind", "gain from images"] if blind else []
    ks = sorted({int(k) for part in found["benchmarks"].values() for k in part["pass_at"]}) if several else []
    heads += [f"pass@{k}" for k in ks]
    heads += [f"theirs: {against}", "difference / s.e."] if against else []
    lines = [f"# {found['model']} on {found['suite']}", "", _row(heads), "|---|" + "---:|" * (len(heads) - 1)]
    for name, part in found["benchmarks"].items():
        ours = part["accuracy"]
        cells = [name, f"{ours['questions']:,}", _pc(ours["value"]), _range(ours)]
        cells += [_pc(part["graders"][grader]) for grader in GRADERS[1:]]
        cells += [_pc(part["unreadable"]), _pc(part["truncated"])]
        if blind:
            has = part.get("blind")
            cells += [_pc(has["accuracy"]["value"]), f"{100 * has['gain']['difference']:+.2f}"] if has else ["", ""]
        cells += [_pc(part["pass_at"][str(k)]) if str(k) in part["pass_at"] else "" for k in ks]
        cells += _theirs(part.get("reference")) if against else []
        lines.append(_row(cells))
    for title, key in (("**macro mean**", "macro"), ("**all questions**", "micro")):
        mean = found[key]
        cells = [title, f"{mean['questions']:,}", _pc(mean["value"]), _range(mean)]
        cells += [""] * (len(heads) - len(cells) - (2 if against else 0))
        cells += _theirs(found.get("reference_mean") if key == "macro" else None) if against else []
        lines.append(_row(cells))
    settings = found["settings"]
    drawn = f"{settings['samples']} samples at temperature {settings['temperature']}" if several else "greedy"
    lines += [
        "",
        f"Model {found['model_id']}; {drawn}, at most {settings['max_tokens']:,} tokens, prompt {settings['prompt']}. "
        "Percent; intervals by a bootstrap over images, or by Hoeffding's bound where these are few or all alike; "
        "seed-* are MedVLThinker's graders on the same responses.",
    ]
    if (limit := settings["limit"]) is not None:
        lines.append(f"At most {progress.counted(limit, 'question')} of each benchmark (--limit), not all of them.")
    if found["left_out"]:
        lines.append("Left out: " + "; ".join(f"{n:,} {why}" for why, n in found["left_out"].items()) + ".")
    if (failed := sum(part["failed"] for part in found["benchmarks"].values())) > 0:
        lines.append(f"Some answers could not be drawn and count as not right (sum of shares {100 * failed:.2f} %).")
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _pc(share: float) -> str:
    return f"{100 * share:.2f}"


def _range(interval: Mapping[str, float]) -> str:
    return f"{100 * interval['low']:.2f} … {100 * interval['high']:.2f}"


def _theirs(beside: Mapping[str, float] | None) -> list[str]:
    return [f"{beside['accuracy']:.2f}", f"{beside['difference_in_se']:+.1f}"] if beside else ["", ""]


def compare_runs(a: str | Path, b: str | Path, *, grader: str = "curator", seed: int = 0) -> compare.Comparison:
    """Paired comparison of two evaluation folders on the questions they share; `compare.markdown` prints it, and the
    settings in which they differ.

    Raises:
        UsageError: a folder holds no evaluation or a damaged one, or they are of different suites, or share no question.
    """
    if grader not in GRADERS:
        raise UsageError(f"no grader {grader!r}; there are {', '.join(GRADERS)}.")
    found_a, found_b = results(a), results(b)
    if found_a.get("suite_sha256") != found_b.get("suite_sha256"):
        raise UsageError(
            f"{a} is on {_suite(found_a)} and {b} on {_suite(found_b)}: evaluate both on the same suite; samples are kept."
        )
    (first, clusters), (second, more) = _read(folder_of(a), grader), _read(folder_of(b), grader)
    names = folder_of(a).name, folder_of(b).name
    try:
        found = compare.compare(first, second, {**clusters, **more}, names=names, seed=seed)
    except ValueError:
        raise UsageError(f"{a} and {b} share no question: evaluate both without --limit.") from None
    return replace(found, settings=differences(found_a, found_b))


def _suite(found: Mapping[str, Any]) -> str:
    return f"{found.get('suite')} ({str(found.get('suite_sha256'))[:8]})"


def _read(folder: Path, grader: str) -> tuple[dict[tuple[str, str], float], dict[tuple[str, str], str]]:
    import polars as pl

    try:
        each = (
            pl.read_parquet(folder / RESPONSES)
            .filter(~pl.col("blind"))
            .group_by("benchmark", "id")
            .agg(pl.col(grader).cast(pl.Float64).mean(), pl.col("cluster").first())
        )
    except (pl.exceptions.PolarsError, OSError):
        raise _damaged(folder / RESPONSES) from None
    keys = list(zip(each["benchmark"], each["id"], strict=True))
    return dict(zip(keys, each[grader], strict=True)), dict(zip(keys, each["cluster"], strict=True))


def _slug(model: str, suite: str, samples: int) -> str:
    parts = [Path(model).name or model, Path(suite).name or suite, *([f"{samples}-samples"] if samples > 1 else [])]
    return "-".join("".join(c if c.isalnum() or c in "-_." else "-" for c in part) for part in parts)


def _max_pixels(model: str, served: bool) -> int:
    """The largest image the model was made for, at most the recipe's own limit."""
    most = int(Solver.model_fields["max_pixels"].default)
    folder = None if served else model_folder(model)
    path = folder / "preprocessor_config.json" if folder else None
    if path is None or not path.is_file():
        return most
    own = json.loads(path.read_text("utf-8"))
    return min(most, int(own.get("max_pixels") or (own.get("size") or {}).get("longest_edge") or most))
