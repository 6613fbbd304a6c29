"""`curator push-model` with the real client to a Hub on the loopback."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tiny_qwen import make_model, row, write_set

pytest.importorskip("trl")
import yaml

from curator import cli, evaluate, train
from curator.errors import CuratorError, UsageError
from curator.publish import client
from curator.publish.model import push_model, render
from hub_server import READ_TOKEN, WRITE_TOKEN, HubServer, loopback_hub

sys.path.insert(0, str(train.training_dir()))
import sft


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(client, "WAITS", (0.01, 0.01))
    with loopback_hub() as running:
        yield running


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model trained for one step, with a checkpoint beside it, and its evaluation."""
    home = tmp_path_factory.mktemp("trained")
    data = write_set(home / "set", [row(i, images=i % 2) for i in range(8)])
    settings = train.SftSettings.model_validate({
        "model": str(make_model(home / "base")), "dataset": str(data), "output": str(home / "out"), "batch": 4,
        "micro_batch": 4, "max_prompt_tokens": 500, "max_pixels": 50176,
        "trainer": {"max_steps": 1, "save_strategy": "steps", "save_steps": 1, "disable_tqdm": True},
    })  # fmt: skip
    sft.main(settings)
    evaluate.evaluate(
        str(home / "out"),
        str(data),
        engine="transformers",
        max_tokens=4,
        out=home / "eval",
        store=home / "store.sqlite",
    )
    return home / "out"


def test_no_path_of_this_machine_is_published(server: HubServer, trained: Path) -> None:
    push(server, trained, evaluations=[trained.parent / "eval"])
    home = str(trained.parent)
    files = server.files(server.repos["models", "org/tiny"])
    assert "curator_training.json" in files
    assert not [name for name, content in files.items() if home.encode() in content]


def push(server: HubServer, folder: Path, token: str = WRITE_TOKEN, **options: Any) -> Any:
    return push_model(folder, "org/tiny", endpoint=server.url, token=token, **options)


def test_a_push_is_one_commit_and_the_second_does_nothing(server: HubServer, trained: Path, tmp_path: Path) -> None:
    done = push(server, trained, evaluations=[trained.parent / "eval"], version="v1.0.0")
    repo = server.repos["models", "org/tiny"]
    names = set(server.files(repo, "main"))
    assert {"model.safetensors", "config.json", "README.md", train.RECORD, "evaluation/0-eval.json"} <= names
    assert not any("checkpoint" in name or name.endswith((".bin", ".pt")) for name in names)
    assert repo.tags["v1.0.0"] == done.commit == repo.branches["main"]
    made = len(repo.commits)
    again = push(server, trained, evaluations=[trained.parent / "eval"], version="v1.0.0")
    assert (again.commit, again.files) == (None, []) and len(repo.commits) == made
    assert server.files(repo, "main")["model.safetensors"] == (trained / "model.safetensors").read_bytes()


def test_the_card_says_what_made_the_model_and_how_good_it_is(trained: Path) -> None:
    record = json.loads((trained / train.RECORD).read_text())
    found = json.loads((trained.parent / "eval" / evaluate.RESULTS).read_text())
    card = render(record, "org/tiny", [found])
    head = yaml.safe_load(card.split("---")[1])
    assert head["library_name"] == "transformers" and "sft" in head["tags"]
    assert head["model-index"][0]["results"][0]["dataset"]["name"] == "toy"
    for said in (
        "not for clinical decisions",
        "supervised fine-tuning",
        "| rows | 8",
        "| toy | 8 |",
        "`max_steps`",
        "## Limits",
    ):
        assert said in card, said
    from huggingface_hub import ModelCard

    assert ModelCard(card).data.to_dict()["tags"] == head["tags"]


@pytest.mark.parametrize(
    "model_id, license, base",
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct@abc", "apache-2.0", "Qwen/Qwen2.5-VL-7B-Instruct"),
        ("Qwen/Qwen2.5-VL-3B-Instruct@abc", "other", "Qwen/Qwen2.5-VL-3B-Instruct"),
        ("phantom@abc", "apache-2.0", None),
    ],
)
def test_the_licence_is_the_base_models(trained: Path, model_id: str, license: str, base: str | None) -> None:
    record = json.loads((trained / train.RECORD).read_text())
    record["model_id"], record["root"] = model_id, model_id.partition("@")[0]
    record["settings"]["dataset"], record["data"] = "org/m23k", {}
    head = yaml.safe_load(render(record, "org/tiny").split("---")[1])
    assert head["license"] == license and head.get("base_model") == base and head["datasets"] == ["org/m23k"]


def test_a_model_trained_twice_names_its_root(trained: Path) -> None:
    record = json.loads((trained / train.RECORD).read_text())
    record |= {
        "kind": "rlvr", "model_id": "sft-7b@abc", "root": "Qwen/Qwen2.5-VL-7B-Instruct",
        "settings": train.RlvrSettings(model="outputs/sft", dataset="org/set", output="x").model_dump(mode="json"),
        "parents": [{"kind": "sft", "dataset": "org/traces", "model_id": "Qwen/Qwen2.5-VL-7B-Instruct@123"}],
    }  # fmt: skip
    card = render(record, "org/tiny")
    assert yaml.safe_load(card.split("---")[1])["base_model"] == "Qwen/Qwen2.5-VL-7B-Instruct"
    assert "| trained before | sft on org/traces" in card and "verifiable rewards (grpo)" in card


def test_a_dry_run_needs_no_token_and_sends_nothing(server: HubServer, trained: Path) -> None:
    planned = push_model(trained, "org/tiny", endpoint=server.url, dry_run=True)
    assert planned.commit is None and "model.safetensors" in planned.files and planned.bytes > 1_000_000
    assert not server.repos


def test_what_was_pushed_is_said_once(
    server: HubServer, trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    for dry_run, says in ((True, "would send 10 files"), (False, "10 files"), (False, "nothing to do, it is the same")):
        cli.push_model(trained, "org/tiny", dry_run=dry_run)
        said = capsys.readouterr()
        assert (said.out + said.err).count("org/tiny: ") == 1 and f"org/tiny: {says}" in said.out


def test_an_answer_that_is_lost_is_found_again(server: HubServer, trained: Path) -> None:
    server.fail("POST", "/commit/", lose_answer=True)
    done = push(server, trained)
    repo = server.repos["models", "org/tiny"]
    assert done.commit == repo.branches["main"] and "model.safetensors" in server.files(repo, "main")


def test_an_interrupted_push_leaves_main_alone_and_then_sends_the_rest(server: HubServer, trained: Path) -> None:
    server.fail("POST", "/commit/", status=500)
    with pytest.raises(CuratorError) as told:
        push(server, trained)
    assert "\n" not in str(told.value)
    repo = server.repos["models", "org/tiny"]
    assert "model.safetensors" not in server.files(repo, "main")
    assert push(server, trained).commit == repo.branches["main"]


def test_a_version_never_moves(server: HubServer, trained: Path, tmp_path: Path) -> None:
    push(server, trained, version="v1")
    with pytest.raises(UsageError, match="tags never move"):
        push(server, trained, evaluations=[trained.parent / "eval"], version="v1")


def test_an_evaluation_is_of_the_very_weights(server: HubServer, trained: Path, tmp_path: Path) -> None:
    """Weights trained anew in the same folder are others; the same in another folder are the same."""
    moved = tmp_path / "moved"
    shutil.copytree(trained, moved)
    done = push(server, moved, evaluations=[trained.parent / "eval"], dry_run=True)
    assert "evaluation/0-eval.json" in done.files
    weights = moved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(UsageError, match=rf"out@\w+, and the weights in {moved} are moved@\w+: run `curator eval"):
        push(server, moved, evaluations=[trained.parent / "eval"], dry_run=True)


def test_a_limited_evaluation_is_on_the_page_as_such_and_nowhere_else(trained: Path, tmp_path: Path) -> None:
    home = trained.parent
    few = evaluate.evaluate(
        str(trained), str(home / "set"), engine="transformers", max_tokens=4, limit=2, out=tmp_path,
        store=home / "store.sqlite",
    ).report  # fmt: skip
    record = json.loads((trained / train.RECORD).read_text())
    card = render(record, "org/tiny", [few])
    assert "At most 2 questions of each benchmark (--limit), not all of them." in card
    assert "model-index" not in yaml.safe_load(card.split("---")[1])


def test_what_cannot_be_published_is_one_line(server: HubServer, trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "eval"
    other.mkdir()
    found = json.loads((trained.parent / "eval" / evaluate.RESULTS).read_text())
    (other / evaluate.RESULTS).write_text(json.dumps({**found, "model_id": "phantom@0000000000000000"}))
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / train.RECORD).write_bytes((trained / train.RECORD).read_bytes())
    cases: list[tuple[Path, dict[str, Any], str]] = [
        (tmp_path, {}, "holds no training of curator's"),
        (unfinished, {}, "holds no weights"),
        (trained, {"evaluations": [other]}, "is an evaluation of phantom@0000000000000000, and the weights in"),
        (trained, {"evaluations": [tmp_path]}, "holds no evaluation"),
        (trained, {"token": READ_TOKEN}, "write access"),
    ]
    for folder, options, line in cases:
        with pytest.raises(CuratorError) as told:
            push(server, folder, **options)
        assert line in str(told.value) and "\n" not in str(told.value)
