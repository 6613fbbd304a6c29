"""The real trainers on a random tiny Qwen2.5-VL: text and image rows in one batch, sharded, resumed, refused in one line."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tiny_qwen import make_model, png, row, write_set

pytest.importorskip("trl")

import torch

from curator import train
from curator.adapters import whole_model
from curator.engines.qwen_processor import load_processor
from curator.errors import MissingExtra, NetworkError, UsageError, WorkspaceError

SCRIPTS = train.training_dir()
sys.path.insert(0, str(SCRIPTS))
import base  # noqa: E402
import rlvr  # noqa: E402
import sft  # noqa: E402
import trainers  # noqa: E402

BARE = base.Base(Path("nowhere"), "phantom@1", None, None, 1)  # what a record needs of a model
ENV = {**os.environ, "PYTHONPATH": str(SCRIPTS.parent), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows with one image, none, two, none …"""
    rows = [row(i, images=[1, 0, 2, 0][i % 4]) for i in range(16)]
    return write_set(tmp_path_factory.mktemp("mix"), rows)


def settings(kind: str, model: Path, dataset: Path, output: Path, /, **changes: Any) -> Any:
    given: dict[str, Any] = {
        "model": str(model), "dataset": str(dataset), "output": str(output), "max_prompt_tokens": 500,
        "max_response_tokens": 120 if kind == "sft" else 8, "max_pixels": 50176, "batch": 4, **changes,
    }  # fmt: skip
    own = {"save_strategy": "no", "learning_rate": 1e-3, "max_steps": 2, "disable_tqdm": True}
    given["trainer"] = {**own, **changes.get("trainer", {})}
    return (train.SftSettings if kind == "sft" else train.RlvrSettings).model_validate(given)


def logged(trainer: Any, key: str) -> list[float]:
    return [entry[key] for entry in trainer.state.log_history if key in entry]


# -- text and image rows in one batch ----------------------------------------------------------------------------------


def test_sft_learns_from_a_mixed_batch(model: Path, mix: Path, tmp_path: Path) -> None:
    trainer = sft.main(
        settings("sft", model, mix, tmp_path / "out", micro_batch=4, trainer={"max_steps": 12, "learning_rate": 5e-3})
    )
    losses = logged(trainer, "loss")
    assert losses[-1] < 0.75 * losses[0]


def test_sft_loss_is_on_the_response_only(model: Path, mix: Path, tmp_path: Path) -> None:
    trainer = sft.main(settings("sft", model, mix, tmp_path / "out", micro_batch=4, trainer={"max_steps": 1}))
    batch = trainer.data_collator([dict(trainer.train_dataset[i]) for i in range(4)])
    words = trainer.processing_class.tokenizer
    for i, labels in enumerate(batch["labels"]):
        taught = words.decode(labels[labels != -100])
        assert taught == trainer.train_dataset[i]["completion"][0]["content"] + "<|im_end|>\n"


@pytest.mark.parametrize("micro", [1, 8])
def test_grpo_takes_a_mixed_batch(model: Path, mix: Path, tmp_path: Path, micro: int) -> None:
    """With micro-batches of one, half of them have no image at all."""
    wanted = settings(
        "rlvr", model, mix, tmp_path / "out", rollouts=2, mini_batch=2, micro_batch=min(micro, 4), kl=0.01
    )
    trainer = rlvr.main(wanted)
    assert len(logged(trainer, "loss")) == 2
    assert logged(trainer, "live_groups") == [0.0]  # random weights are never paid
    assert logged(trainer, "answers/truncated")[0] + logged(trainer, "answers/unreadable")[0] == 1.0
    assert logged(trainer, "kl")[-1] >= 0


def test_a_row_scores_the_same_alone_and_beside_others(model: Path, mix: Path, tmp_path: Path) -> None:
    """What the loss is made of: log-probabilities of text and image rows, in one pass and one by one."""
    trainer = rlvr.main(
        settings("rlvr", model, mix, tmp_path / "out", rollouts=2, micro_batch=8, trainer={"max_steps": 1})
    )
    trainer.model.eval()
    rows = [trainer.train_dataset[i] for i in range(4)]
    made = trainer._generate_and_score_completions([r for r in rows for _ in range(2)])
    keys = ("pixel_values", "image_grid_thw", "mm_token_type_ids", "num_images")
    given = {key: made[key] for key in keys if key in made}
    ids = torch.cat([made["prompt_ids"], made["completion_ids"]], dim=1)
    mask = torch.cat([made["prompt_mask"], made["completion_mask"]], dim=1)
    width = made["completion_ids"].size(1)

    def score(at_once: int) -> torch.Tensor:
        with torch.no_grad():
            found = trainer._get_per_token_logps_and_entropies(
                trainer.model, ids, mask, width, batch_size=at_once, **given
            )
        return found[0] * made["completion_mask"]

    assert torch.allclose(score(8), score(1), atol=1e-4)


def test_a_blank_picture_changes_nothing_and_reaches_every_weight(model: Path) -> None:
    from transformers import Qwen2_5_VLForConditionalGeneration

    words = load_processor(model).tokenizer("a question", return_tensors="pt")["input_ids"]
    plain = Qwen2_5_VLForConditionalGeneration.from_pretrained(model)
    helped = Qwen2_5_VLForConditionalGeneration.from_pretrained(model)
    trainers.let_text_rows_in(helped, processes=2)
    one, two = plain(input_ids=words, labels=words), helped(input_ids=words, labels=words)
    assert torch.equal(one.loss, two.loss)
    one.loss.backward()
    two.loss.backward()
    assert any(p.grad is None for p in plain.model.visual.parameters())
    assert all(p.grad is not None and not p.grad.any() for p in helped.model.visual.parameters())
    for a, b in zip(plain.model.language_model.parameters(), helped.model.language_model.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


def _shard(rank: int, folder: str, address: str, out: Any) -> None:
    """One of two processes: the first has a picture, the second has none."""
    import datetime
    import io

    import torch.distributed as dist
    from PIL import Image
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from transformers import Qwen2_5_VLForConditionalGeneration

    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{address}", datetime.timedelta(seconds=60), rank=rank, world_size=2)
    net = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder)
    trainers.let_text_rows_in(net, processes=2)
    mesh = init_device_mesh("cpu", (2,))
    for block in (*net.model.visual.blocks, *net.model.language_model.layers):
        fully_shard(block, mesh=mesh)
    fully_shard(net, mesh=mesh)
    inputs = _turn(load_processor(folder), None if rank else Image.open(io.BytesIO(png((200, 30, 0)))))
    net(**inputs, labels=inputs["input_ids"]).loss.backward()
    grads = {name: p.grad.full_tensor().clone() for name, p in net.named_parameters()}
    if rank == 0:
        out.put({name: grad.norm().item() for name, grad in grads.items()})
    dist.barrier()
    dist.destroy_process_group()


def _turn(processor: Any, image: Any) -> Any:
    parts = [{"type": "text", "text": "What is it?"}]
    turn = [{"role": "user", "content": [*([{"type": "image", "image": image}] if image else []), *parts]}]
    return processor.apply_chat_template([turn], tokenize=True, return_dict=True, return_tensors="pt")


@pytest.mark.slow
def test_sharded_weights_wait_for_nobody(model: Path, tmp_path: Path) -> None:
    """Real FSDP2 on two processes, one without an image: gradients are the mean of both, vision tower included."""
    import io

    from PIL import Image
    from transformers import Qwen2_5_VLForConditionalGeneration

    context = torch.multiprocessing.get_context("spawn")
    out = context.SimpleQueue()
    both = [context.Process(target=_shard, args=(rank, str(model), str(tmp_path / "meet"), out)) for rank in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
        process.kill()
    assert [process.exitcode for process in both] == [0, 0]
    sharded = out.get()
    net = Qwen2_5_VLForConditionalGeneration.from_pretrained(model)
    for image in (Image.open(io.BytesIO(png((200, 30, 0)))), None):
        inputs = _turn(load_processor(model), image)
        (net(**inputs, labels=inputs["input_ids"]).loss / 2).backward()
    for name, parameter in net.named_parameters():
        assert sharded[name] == pytest.approx(parameter.grad.norm().item(), rel=1e-3, abs=1e-6), name


@pytest.mark.slow
def test_two_processes_train_one_model(model: Path, mix: Path, tmp_path: Path) -> None:
    """`accelerate launch` through the launcher: a global batch of 4 is 2 per process, and one model is saved."""
    config = _config(tmp_path, settings("sft", model, mix, tmp_path / "out", micro_batch=1, order="as-is"))
    assert train.launch("sft", config, processes=2) == 0
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    alone = sft.main(settings("sft", model, mix, tmp_path / "alone", micro_batch=4, order="as-is"))
    assert [e["loss"] for e in state["log_history"] if "loss" in e] == pytest.approx(logged(alone, "loss"), rel=1e-3)


# -- adapters, checkpoints ---------------------------------------------------------------------------------------------


def test_lora_is_a_switch_and_the_adapter_a_whole_model(model: Path, mix: Path, tmp_path: Path) -> None:
    from transformers import Qwen2_5_VLForConditionalGeneration

    wanted = settings(
        "sft", model, mix, tmp_path / "out", lora={"r": 4}, micro_batch=4, trainer={"learning_rate": 1e-2}
    )
    trainer = sft.main(wanted)
    assert not any("visual" in name for name, p in trainer.model.named_parameters() if p.requires_grad)
    assert not (tmp_path / "out" / "README.md").exists()  # PEFT's card
    assert (tmp_path / "out" / "adapter_config.json").is_file() and not (
        tmp_path / "out" / "model.safetensors"
    ).is_file()
    folder = whole_model(str(tmp_path / "out"))
    assert whole_model(str(tmp_path / "out")) == folder  # merged once
    assert load_processor(folder).chat_template
    merged, before = (Qwen2_5_VLForConditionalGeneration.from_pretrained(where) for where in (folder, model))
    changed = [
        name
        for (name, a), b in zip(merged.named_parameters(), before.parameters(), strict=True)
        if not torch.allclose(a, b)
    ]
    assert changed and all("language_model" in name for name in changed)
    further = settings("rlvr", tmp_path / "out", mix, tmp_path / "more")
    opened = base.open_base(further)  # an adapter is trained further as the whole model that it is
    assert str(opened.folder) == folder
    assert [step["kind"] for step in base.lineage(opened, further)["parents"]] == ["sft"]


def test_what_is_saved_is_read_like_the_base(
    model: Path, mix: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = {"max_steps": 1, "save_strategy": "steps", "save_steps": 1, "save_only_model": True}
    wanted = settings("rlvr", model, mix, tmp_path / "out", rollouts=2, micro_batch=8, trainer=steps)
    rlvr.main(wanted)
    said = capsys.readouterr().err
    assert f"trained in 1 step: {tmp_path / 'out'}\n" in said
    assert f"curator eval {tmp_path / 'out'}\n" in said and f"curator push-model {tmp_path / 'out'} ORG/NAME\n" in said
    assert rlvr.main(wanted) is None  # the same command again
    said = capsys.readouterr().err
    assert "complete after 1 step; nothing to do" in said and "curator eval" in said and "another --output" in said
    names = {path.name for path in (tmp_path / "out").rglob("*")}
    assert "README.md" not in names  # TRL's card, written with each checkpoint, is not ours
    assert {"model.safetensors", "config.json", "preprocessor_config.json", "chat_template.jinja"} <= names
    assert (tmp_path / "out" / "preprocessor_config.json").read_bytes() == (
        model / "preprocessor_config.json"
    ).read_bytes()
    record = json.loads((tmp_path / "out" / train.RECORD).read_text())
    assert (record["root"], record["parents"]) == (str(model), [])
    again = base.open_base(settings("sft", tmp_path / "out", mix, tmp_path / "more"))
    assert base.lineage(again, settings("sft", tmp_path / "out", mix, tmp_path / "more")) == {
        "root": str(model),
        "parents": [{"kind": "rlvr", "dataset": str(mix), "model_id": record["model_id"]}],
    }
    assert record["finished"] and record["steps"] == 1 and record["kind"] == "rlvr" and record["rows"] == 16


def _config(folder: Path, wanted: Any) -> Path:
    path = folder / f"config-{len(list(folder.iterdir()))}.yaml"
    path.write_text(json.dumps(wanted.model_dump(mode="json", exclude_unset=True)), "utf-8")
    return path


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_weights(model: Path, mix: Path, tmp_path: Path) -> None:
    steps = {"max_steps": 18, "save_strategy": "steps", "save_steps": 3, "save_total_limit": 2}
    whole = sft.main(settings("sft", model, mix, tmp_path / "whole", micro_batch=4, trainer=steps))
    config = _config(tmp_path, settings("sft", model, mix, tmp_path / "cut", micro_batch=4, trainer=steps))
    command = [sys.executable, str(SCRIPTS / "sft.py"), "--config", str(config)]
    with subprocess.Popen(command, env=ENV, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as first:
        deadline = time.monotonic() + 90
        while not (tmp_path / "cut" / "checkpoint-6" / "trainer_state.json").is_file() and time.monotonic() < deadline:
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
    again = subprocess.run(command, env=ENV, capture_output=True, text=True, check=True)
    if not (tmp_path / "cut" / "model.safetensors").exists():
        pytest.fail(again.stderr)
    assert "going on from" in again.stderr
    state = json.loads((tmp_path / "cut" / "trainer_state.json").read_text())
    losses = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    assert losses == pytest.approx(logged(whole, "loss"), rel=1e-3)  # every step once, with its rows and its moments
    assert state["global_step"] == whole.state.global_step == 18


def test_grpo_goes_on_from_its_own_weights(model: Path, mix: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    steps = {"save_strategy": "steps", "save_steps": 1, "learning_rate": 1e-2}
    given = {
        "rollouts": 2,
        "micro_batch": 8,
        "kl": 0.1,
    }  # random weights are never paid: only the KL term could move them
    first = rlvr.main(settings("rlvr", model, mix, tmp_path / "out", **given, trainer={**steps, "max_steps": 1}))
    moved = {name: p + 0.01 for name, p in first.model.state_dict().items()}
    first.model.load_state_dict(moved)
    first.model.save_pretrained(tmp_path / "out" / "checkpoint-1")
    again = rlvr.main(settings("rlvr", model, mix, tmp_path / "out", **given, trainer={**steps, "max_steps": 2}))
    assert again.state.global_step == 2
    assert logged(again, "kl")[-1] > 0.0  # the policy is the checkpoint's, the reference still the base model
    assert load_file(tmp_path / "out" / "model.safetensors").keys() == load_file(model / "model.safetensors").keys()


def test_a_half_written_checkpoint_is_not_gone_on_from(model: Path, mix: Path, tmp_path: Path) -> None:
    steps = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    sft.main(settings("sft", model, mix, tmp_path / "out", micro_batch=4, trainer=steps))
    (tmp_path / "out" / "checkpoint-4" / "trainer_state.json").unlink()  # written last
    opened = base.open_base(settings("sft", model, mix, tmp_path / "out"))
    found = base.last_checkpoint(tmp_path / "out", opened, settings("sft", model, mix, tmp_path / "out"), {})
    assert found is not None and found.endswith("checkpoint-2")


def test_a_full_disk_leaves_the_record_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = train.SftSettings(model="phantom", dataset="builds/phantom", output=str(tmp_path))
    base.write_record(tmp_path, BARE, wanted, finished=False)
    before = (tmp_path / train.RECORD).read_bytes()

    def run_full(path: Path, text: str, *_: Any) -> None:
        path.write_bytes(text.encode()[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", run_full)
    with pytest.raises(WorkspaceError, match="the disk is full"):
        base.write_record(tmp_path, BARE, wanted, finished=True)
    assert (tmp_path / train.RECORD).read_bytes() == before


# -- one line before the first step ------------------------------------------------------------------------------------


def test_a_checkpoint_of_another_model_is_refused(model: Path, mix: Path, tmp_path: Path) -> None:
    steps = {"max_steps": 1, "save_strategy": "steps", "save_steps": 1}
    sft.main(settings("sft", model, mix, tmp_path / "out", micro_batch=4, trainer=steps))
    other = shutil.copytree(model, tmp_path / "other")
    (other / "extra.json").write_text("{}")
    with pytest.raises(UsageError, match="holds a training of another model"):
        sft.main(settings("sft", other, mix, tmp_path / "out", micro_batch=4, trainer=steps))
    with pytest.raises(UsageError, match="holds a training of another kind"):
        rlvr.main(settings("rlvr", model, mix, tmp_path / "out", rollouts=2, micro_batch=4))
    (tmp_path / "out" / train.RECORD).unlink()
    with pytest.raises(UsageError, match="checkpoints of an unknown training"):
        sft.main(settings("sft", model, mix, tmp_path / "out", micro_batch=4, trainer=steps))


DIFFERENT: list[tuple[dict[str, Any], str]] = [
    ({"seed": 7}, "seed (42, not 7)"),
    ({"dataset": "builds/other"}, "dataset (builds/some, not builds/other)"),
    ({"limit": 5}, "limit (None, not 5)"),
    ({"lora": {}}, "lora (None, not {'r': 16"),
    ({"trainer": {"learning_rate": 1e-3}}, "trainer.learning_rate (1e-05, not 0.001)"),
    ({"trainer": {}}, "trainer.learning_rate (1e-05, not None)"),
]


def begun(output: Path, /, **changes: Any) -> tuple[str | None, train.SftSettings]:
    """A training with one checkpoint, and its settings with changes."""
    given: dict[str, Any] = {
        "model": "phantom", "dataset": "builds/some", "output": str(output), "trainer": {"learning_rate": 1e-5},
    }  # fmt: skip
    settings = train.SftSettings(**given)
    base.write_record(output, BARE, settings, finished=False, data=train.data_facts(settings.dataset))
    (output / "checkpoint-30").mkdir()
    (output / "checkpoint-30" / "trainer_state.json").write_text("{}")
    return str(output / "checkpoint-30"), train.SftSettings(**{**given, **changes})


@pytest.mark.parametrize("changes, what", DIFFERENT, ids=[what for _, what in DIFFERENT])
def test_a_checkpoint_of_other_settings_is_refused_by_the_first_of_them(
    tmp_path: Path, changes: dict[str, Any], what: str
) -> None:
    _, other = begun(tmp_path, **changes)
    with pytest.raises(UsageError) as told:
        base.last_checkpoint(tmp_path, BARE, other, {})
    assert f"holds a training of another {what}" in str(told.value)


def test_how_far_and_on_what_machine_may_change(tmp_path: Path) -> None:
    trainer = {"learning_rate": 1e-5, "max_steps": 90, "num_train_epochs": 2, "save_steps": 7, "logging_steps": 1}
    checkpoint, more = begun(tmp_path, micro_batch=4, output=f"{tmp_path}/.", trainer=trainer)
    assert base.last_checkpoint(tmp_path, BARE, more, {}) == checkpoint


def test_data_that_were_built_anew_are_other_data(tmp_path: Path) -> None:
    manifest = tmp_path / "build" / "release" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text('{"name": "some"}')
    wanted = train.SftSettings(model="phantom", dataset=str(tmp_path / "build"), output=str(tmp_path / "out"))
    base.write_record(tmp_path / "out", BARE, wanted, finished=False, data=train.data_facts(wanted.dataset))
    moved = wanted.model_copy(update={"dataset": str(manifest.parent)})
    assert (
        base.last_checkpoint(tmp_path / "out", BARE, moved, train.data_facts(moved.dataset)) is None
    )  # the same release, and nothing to go on from
    manifest.write_text('{"name": "some", "rows": 2}')
    with pytest.raises(UsageError, match="holds a training of another dataset"):
        base.last_checkpoint(tmp_path / "out", BARE, wanted, train.data_facts(wanted.dataset))


def test_a_hub_set_is_known_by_its_commit(tmp_path: Path) -> None:
    was, now = "a" * 40, "b" * 40
    wanted = train.SftSettings(model="phantom", dataset="org/set", output=str(tmp_path))
    base.write_record(tmp_path, BARE, wanted, finished=False, data={"commit": was})
    base.last_checkpoint(tmp_path, BARE, wanted, {"commit": was})
    base.last_checkpoint(tmp_path, BARE, wanted.model_copy(update={"revision": was}), {"commit": was})
    with pytest.raises(UsageError, match=f"org/set is at commit {now[:12]} now, and .* go on with --revision {was}"):
        base.last_checkpoint(tmp_path, BARE, wanted, {"commit": now})
    base.write_record(tmp_path, BARE, wanted, finished=False)  # by an older curator
    base.last_checkpoint(tmp_path, BARE, wanted, {"commit": now})
    with pytest.raises(UsageError, match="another revision"):
        base.last_checkpoint(tmp_path, BARE, wanted.model_copy(update={"revision": "v2"}), {"commit": now})


def test_a_model_without_a_chat_template_is_refused(model: Path, mix: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(model, tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(UsageError, match="has no chat template"):
        sft.main(settings("sft", bare, mix, tmp_path / "out"))


def test_too_little_memory_is_said_beforehand(
    model: Path, mix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    free = psutil.virtual_memory()._replace(available=1_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    with pytest.raises(UsageError, match=r"needs about .* GiB per process and this machine has 0\.0 free: use --lora"):
        sft.main(settings("sft", model, mix, tmp_path / "out"))


MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    (
        "sft",
        {"trainer": {"learning_rat": 1}},
        "no key of TRL's SFTConfig named 'learning_rat'; did you mean 'learning_rate'?",
    ),
    ("sft", {"micro_batch": 3}, "a step of 4 sequences cannot be divided by micro_batch 3 x 1 processes"),
    ("sft", {"trainer": {"lr_scheduler_type": "zigzag"}}, "TRL does not take these settings"),
    ("rlvr", {"batch": 64}, "16 questions are less than one batch of 64"),
    ("sft", {"model": "/nowhere/model"}, "no model folder at /nowhere/model"),
    ("sft", {"model": "no/model"}, "run again with a network; `curator train` takes --model FOLDER too."),
]


@pytest.mark.parametrize("kind, changes, line", MISTAKES, ids=[case[2][:30] for case in MISTAKES])
def test_settings_that_cannot_work_are_one_line(
    model: Path, mix: Path, tmp_path: Path, kind: str, changes: dict[str, Any], line: str
) -> None:
    wanted = settings(kind, model, mix, tmp_path / "out", **changes)
    with pytest.raises((UsageError, NetworkError)) as told:
        (sft if kind == "sft" else rlvr).main(wanted)
    assert line in str(told.value) and "\n" not in str(told.value)
    assert not (tmp_path / "out").exists()


def test_rollouts_by_a_vllm_that_is_not_there_are_one_line(model: Path, mix: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("vllm") is not None:
        pytest.skip("vLLM is installed here")
    with pytest.raises(MissingExtra, match=r"type `pip install 'medvl-curator\[vllm\]'`"):
        rlvr.main(settings("rlvr", model, mix, tmp_path / "out", rollouts=2, micro_batch=4, vllm="colocate"))


def test_the_script_says_one_line_and_its_exit_code(model: Path, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", [row(0, reasoning=None)])
    config = _config(tmp_path, settings("sft", model, folder, tmp_path / "out"))
    told = subprocess.run(
        [sys.executable, str(SCRIPTS / "sft.py"), "--config", str(config)],
        env=ENV,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 1
    assert (
        told.stderr.startswith("curator: ")
        and told.stderr.count("\n") == 1
        and "has no reasoning traces" in told.stderr
    )


@pytest.mark.parametrize(
    "kind, rows, changes, steps",
    [
        ("sft", 10, {"max_steps": 7}, 7),
        ("sft", 10, {"num_train_epochs": 2}, 6),  # 4 + 4 + 2 rows, twice
        ("rlvr", 10, {"num_train_epochs": 1.5}, 6),  # 2 whole batches of 4, each 2 steps
    ],
)
def test_steps_are_known_beforehand(kind: str, rows: int, changes: dict[str, Any], steps: int) -> None:
    args = SimpleNamespace(**{"max_steps": -1, "num_iterations": 1, **changes})
    given = {"model": "m", "dataset": "d", "output": "o", "batch": 4}
    one = train.RlvrSettings(**given, mini_batch=2) if kind == "rlvr" else train.SftSettings(**given)
    assert base.planned_steps(args, one, rows) == steps


def test_a_dry_run_checks_everything_says_what_it_takes_and_trains_nothing(
    model: Path, mix: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sft.main(settings("sft", model, mix, tmp_path / "out", micro_batch=4), dry_run=True) is None
    told = capsys.readouterr().err
    assert "16 rows of" in told and "2 of 4 sequences" in told and "of prompts and responses in one pass" in told
    assert "learning_rate 0.001" in told and f"output   {tmp_path / 'out'} (new)" in told
    given = {"rollouts": 2, "micro_batch": 4, "trainer": {"max_steps": -1, "num_train_epochs": 3}}
    assert rlvr.main(settings("rlvr", model, mix, tmp_path / "out", **given), dry_run=True) is None
    told = capsys.readouterr().err
    assert "12 of 4 questions x 2 rollouts" in told and "up to 8 drawn in each rollout" in told
    assert not (tmp_path / "out").exists()
