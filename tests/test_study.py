"""The whole way on phantom: each step by its documented command, and the comparison of the paper as one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

pytest.importorskip("trl")
from curator import compare, evaluate, phantom, study
from curator.errors import UsageError
from hub_server import HubServer, loopback_hub

if not (phantom.model_dir() / "model.safetensors").is_file():
    pytest.skip("the phantom model is not here", allow_module_level=True)

SHORT = ["trainer.learning_rate=3e-4", "trainer.logging_steps=1", "trainer.save_strategy=no"]


def short(rows: int, steps: int) -> list[str]:
    """A few steps on a few rows, over and over: enough for loss and reward to move."""
    return [part for value in (*SHORT, f"limit={rows}", f"trainer.max_steps={steps}") for part in ("--set", value)]


def logged(folder: Path, key: str) -> list[float]:
    history = json.loads((folder / "trainer_state.json").read_text("utf-8"))["log_history"]
    return [entry[key] for entry in history if key in entry]


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with loopback_hub() as running:
        yield running


def curator(*arguments: str, cwd: Path, **environment: str) -> str:
    root = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run(
        [sys.executable, "-m", "curator", *arguments], cwd=cwd, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_from_pictures_to_a_published_model_by_command(tmp_path: Path, hub: HubServer) -> None:
    curator(
        "build", "--source", "phantom", "--difficulty", "medium", "--samples", "8", "--teacher", "phantom", cwd=tmp_path
    )
    curator("train", "sft", "--config", "sft-phantom", *short(16, 6), cwd=tmp_path)
    curator("train", "rlvr", "--config", "rlvr-phantom", "--model", "outputs/sft-phantom", *short(8, 12), cwd=tmp_path)
    curator("eval", "phantom", "--suite", "phantom", "--limit", "40", cwd=tmp_path)
    page = curator("eval", "outputs/rlvr-phantom", "--suite", "phantom", "--limit", "40", cwd=tmp_path)
    assert "| phantom | 40 |" in page
    shown = curator("compare", "evals/phantom-phantom", "evals/rlvr-phantom-phantom", cwd=tmp_path)
    assert "# rlvr-phantom-phantom against phantom-phantom" in shown and "least detectable" in shown
    pushed = curator(
        "push-model", "outputs/rlvr-phantom", "org/phantom-rl", "--evaluation", "evals/rlvr-phantom-phantom", "--version",
        "1.0.0", cwd=tmp_path, **hub.env(),
    )  # fmt: skip
    assert "commit" in pushed
    card = hub.files(hub.repos["models", "org/phantom-rl"], "1.0.0")["README.md"].decode()
    assert "nothing in it is medical" in card and "| phantom | 40 |" in card and "manifest sha256" in card
    losses = logged(tmp_path / "outputs/sft-phantom", "loss")
    assert losses[-1] < 0.8 * losses[0]
    rewards = logged(tmp_path / "outputs/rlvr-phantom", "reward")
    assert sum(rewards[-4:]) > sum(rewards[:4]) + 0.2  # of 64 answers each: from about .36 to .58
    assert all(0 < share <= 1 for share in logged(tmp_path / "outputs/rlvr-phantom", "live_groups"))
    assert len(logged(tmp_path / "outputs/rlvr-phantom", "answers/unreadable")) == len(rewards) == 12


@pytest.mark.slow
def test_a_study_is_one_table_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    raw = study.load_study("phantom").model_dump(mode="json")
    raw["sizes"]["0.6M"]["sft"] = {"image-text": "sft-phantom"}
    raw["sizes"]["0.6M"]["rlvr"] = {"image-text": "rlvr-phantom"}
    raw["builds"]["phantom"]["changes"]["score"] = {
        "model": "phantom",
        "samples": 8,
        "max_tokens": 64,
        "max_pixels": 9408,
    }
    raw["evaluation"] = {"limit": 40}
    raw["overrides"] = ["trainer.max_steps=2", "trainer.save_strategy=no"]
    Path("short.yaml").write_text(yaml.safe_dump(raw), "utf-8")
    table = study.run("short.yaml", out=tmp_path / "study")
    assert table is not None
    page = table.read_text("utf-8")
    for line in ("| 0.6M base |", "| 0.6M sft(image-text) |", "| 0.6M rlvr(image-text) |"):
        assert line in page
    facts = json.loads((tmp_path / "study" / "results.json").read_text("utf-8"))
    trained = facts["results"]["0.6M-rlvr-image-text"]
    assert trained["against_base"]["macro"]["questions"] == trained["evaluation"]["macro"]["questions"] == 40
    record = json.loads((tmp_path / "study/models/0.6M-rlvr-image-text/curator_training.json").read_text("utf-8"))
    assert record["settings"]["only"] == "image-text" and record["left_out"].get("not image-text", 0) > 0

    def refuse(*_: object, **__: object) -> int:
        raise AssertionError("a finished training was run again")

    monkeypatch.setattr(study.train, "launch", refuse)
    monkeypatch.setattr(evaluate, "open_engine", refuse)
    before = table.read_bytes()
    assert study.run("short.yaml", out=tmp_path / "study") == table and table.read_bytes() == before


def test_a_finished_training_is_run_again_when_its_data_were_built_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = study.load_study("phantom")
    cell = next(cell for cell in study.cells(found) if cell.kind == "sft")
    settings = study._settings(found, cell, tmp_path)
    manifest, record = Path(settings.dataset) / "manifest.json", Path(settings.output) / study.train.RECORD
    for path in (manifest, record):
        path.parent.mkdir(parents=True)
    launched = []
    monkeypatch.setattr(study.train, "launch", lambda kind, *_, **__: launched.append(kind))
    manifest.write_text('{"name": "phantom"}')
    facts = {"settings": settings.model_dump(mode="json"), "data": study.train.data_facts(settings.dataset)}
    record.write_text(json.dumps({"finished": True, **facts}))
    assert study._train(found, cell, tmp_path) == settings.output and not launched
    manifest.write_text('{"name": "phantom", "rows": 3}')
    assert study._train(found, cell, tmp_path) == settings.output and launched == ["sft"]


@pytest.mark.parametrize("name", ["phantom", "medvlthinker"])
def test_a_study_says_beforehand_what_it_takes(name: str) -> None:
    found = study.load_study(name)
    said = study.plan(found)
    assert said.count("GPU-hours") == len(study.cells(found)) - len(found.sizes) + 1
    for what in found.builds.values():
        assert study.build_recipe(what).name


def test_the_papers_study_is_the_papers_table() -> None:
    found = study.load_study("medvlthinker")
    names = [cell.name for cell in study.cells(found)]
    kinds = ["base", "sft-text", "sft-image-text", "rlvr-text", "rlvr-image-text"]
    assert names == [f"{size}-{kind}" for size in ("3B", "7B") for kind in kinds]


@pytest.mark.parametrize(
    "change, line",
    [
        ({"data": {"text": "other"}}, "text trains on 'other', which is not among builds"),
        ({"builds": {"phantom": {}}}, "builds.phantom: give either recipe or dataset"),
        ({"sizzes": {}}, "no study key named 'sizzes'; did you mean 'sizes'?"),
        ({"builds": {"phantom": {"recipes": "phantom"}}}, "no study key named 'recipes'; did you mean 'recipe'?"),
        ({"sizes": {"1B": {"model": "m", "parameter": 1}}}, "sizes.1B.parameters is missing"),
    ],
)
def test_mistakes_in_a_study_are_one_line(tmp_path: Path, change: dict[str, object], line: str) -> None:
    raw = {**study.load_study("phantom").model_dump(mode="json"), **change}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(raw), "utf-8")
    with pytest.raises(UsageError) as told:
        study.load_study(tmp_path / "mine.yaml")
    assert line in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize("written", [b"name: \xff", b"[1, 2", b"- a list"], ids=["not UTF-8", "no YAML", "no mapping"])
def test_a_file_that_holds_no_study_is_one_line(tmp_path: Path, written: bytes) -> None:
    (tmp_path / "mine.yaml").write_bytes(written)
    with pytest.raises(UsageError) as told:
        study.load_study(tmp_path / "mine.yaml")
    assert "mine.yaml" in str(told.value) and "\n" not in str(told.value)


def test_changes_that_do_not_fit_the_recipe_are_one_line() -> None:
    with pytest.raises(UsageError, match=r"phantom: sources is \{'limit': 3\}: give a list"):
        study.build_recipe(study.Build(recipe="phantom", changes={"sources": {"limit": 3}}))


def test_an_unknown_study_suggests_one() -> None:
    with pytest.raises(UsageError, match="did you mean 'phantom'"):
        study.load_study("fantom")


def test_comparisons_are_plain_data() -> None:
    found = compare.compare({("x", "1"): 1.0}, {("x", "1"): 0.0}, {("x", "1"): "i"})
    assert json.loads(json.dumps(found.as_dict()))["benchmarks"]["x"]["difference"] == -1.0
