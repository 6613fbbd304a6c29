"""The parity configs are what seed.md says, field by field, and every bundled config is a valid one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from curator import reference, train
from curator.errors import UsageError
from curator.train import RlvrSettings, SftSettings

CONFIGS = train.training_dir() / "configs"
SHARED = Path(__file__).resolve().parents[2] / "shared"
PARITY_SFT = ["sft-3b-m23k", "sft-3b-pmc", "sft-7b-m23k", "sft-7b-pmc"]
PARITY_RLVR = ["rlvr-3b-m23k", "rlvr-3b-pmc", "rlvr-7b-m23k", "rlvr-7b-pmc", "rlvr-32b-m23k"]
AFTER_SFT = [f"{name}-after-sft" for name in PARITY_RLVR[:4]]


def settings(name: str) -> Any:
    return train.load_settings(name.partition("-")[0], name)


@pytest.mark.parametrize("name", PARITY_SFT)
def test_sft_is_the_seeds(name: str) -> None:
    """SFT: lr 1e-5, cosine, warm-up 0.05, weight decay 1e-4, betas .9/.95, global batch 16, 3-5 epochs, bf16."""
    found = settings(name)
    given = found.trainer
    assert isinstance(found, SftSettings)
    assert found.model == f"Qwen/Qwen2.5-VL-{name.split('-')[1].upper()}-Instruct"
    assert given["learning_rate"] == 1e-5
    assert given["lr_scheduler_type"] == "cosine"
    assert given["warmup_steps"] == 0.05
    assert given["weight_decay"] == 1e-4
    assert (given["adam_beta1"], given["adam_beta2"]) == (0.9, 0.95)
    assert found.batch == 16
    assert 3 <= given["num_train_epochs"] <= 5
    assert given["bf16"] is True
    assert found.prompt == "seed" and found.lora is None


@pytest.mark.parametrize("name", PARITY_RLVR + AFTER_SFT)
def test_rlvr_is_the_seeds(name: str) -> None:
    """GRPO: lr 1e-6, 256 questions x 8 rollouts, mini-batch 128, KL .01, no entropy bonus, 2,048 + 4,096 tokens."""
    found = settings(name)
    assert isinstance(found, RlvrSettings)
    assert found.algorithm == "grpo"
    assert found.trainer["learning_rate"] == 1e-6
    assert found.batch == (128 if "32b" in name else 256)
    assert found.mini_batch == 128
    assert found.rollouts == 8
    assert found.kl == 0.01
    assert found.trainer["entropy_coef"] == 0.0
    assert (found.max_prompt_tokens, found.max_response_tokens) == (2048, 4096)
    assert found.trainer["num_train_epochs"] == (5 if "m23k" in name else 1)
    assert found.order == "easy-to-hard" and found.seed == 42
    assert found.prompt == "seed" and found.reward == "seed-reward" and found.temperature == 1.0
    if name in AFTER_SFT:
        assert found.model == settings(name.removesuffix("-after-sft").replace("rlvr", "sft")).output
    else:
        assert found.model == f"Qwen/Qwen2.5-VL-{name.split('-')[1].upper()}-Instruct"


@pytest.mark.parametrize("rows, batch, epochs, rounds", [(16_500, 256, 5, 320), (115_500, 256, 1, 451)])
def test_rounds_are_the_seeds_steps(rows: int, batch: int, epochs: int, rounds: int) -> None:
    """A round of 256 questions is one step there and two optimizer steps (mini-batches of 128) here."""
    assert rows // batch * epochs == rounds


def test_seed_md_still_says_so() -> None:
    if not (SHARED / "seed.md").is_file():
        pytest.skip("needs ../shared/seed.md, which is not in the repository")
    text = (SHARED / "seed.md").read_text("utf-8")
    for said in (
        "SFT: lr 1e-5, cosine, warm-up 0.05, weight decay 1e-4, betas .9/.95, global batch 16, 3-5 epochs, bf16, FSDP full shard",
        "lr 1e-6, batch 256 questions x 8 rollouts, mini-batch 128, KL loss 0.01 (low-variance), no entropy bonus, prompt "
        "2,048, response 4,096 tokens, m23k 5 epochs (320 steps, 7B), PMC-VQA 1 epoch (451 steps); 32B: batch 128",
        "shuffle with seed 42, then sort easy to hard",
        "Standard errors: PMC 1.1, MMMU 3.8, MedXpertQA .9, PathVQA .8, SLAKE 2.3, VQA-RAD 2.8 points; macro average .92",
    ):
        assert said in text
    rows = dict(re.findall(r"^\| ((?:Qwen|\d+B|GPT)[^|]*?) \| ([\d. |]+) \|$", text, re.M))
    assert {name: tuple(map(float, cells.split("|"))) for name, cells in rows.items()} == reference.TABLE


def test_the_reference_means_are_the_means() -> None:
    for name, cells in reference.TABLE.items():
        assert sum(cells[:6]) / 6 == pytest.approx(cells[6], abs=0.011), name


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_bundled_config_is_valid_and_says_what_it_is(path: Path) -> None:
    assert path.read_text("utf-8").startswith("# ")
    assert settings(path.stem).output == f"outputs/{path.stem}"


@pytest.mark.parametrize("name", ["fsdp2", "fsdp2-nodes", "zero3", "zero3-nodes"])
def test_accelerate_configs_shard_everything(name: str) -> None:
    raw = yaml.safe_load((train.training_dir() / "accelerate" / f"{name}.yaml").read_text("utf-8"))
    assert raw["num_processes"] == 8 * raw["num_machines"]
    assert raw["num_machines"] == (4 if name.endswith("nodes") else 1)
    assert raw["mixed_precision"] == "bf16"
    if name.startswith("fsdp2"):
        assert raw["fsdp_config"]["fsdp_version"] == 2
        assert "Qwen2_5_VLDecoderLayer" in raw["fsdp_config"]["fsdp_transformer_layer_cls_to_wrap"]
    else:
        assert raw["deepspeed_config"]["zero_stage"] == 3


@pytest.mark.parametrize("algorithm", sorted(train.ALGORITHMS))
def test_algorithms_are_trls(algorithm: str) -> None:
    import tiny_qwen  # noqa: F401  # before TRL

    trl = pytest.importorskip("trl")
    loss, scale, level, low, high = train.ALGORITHMS[algorithm]
    made = trl.GRPOConfig(
        output_dir="x", use_cpu=True, bf16=False, loss_type=loss, scale_rewards=scale, importance_sampling_level=level,
        epsilon=low, epsilon_high=high,
    )  # fmt: skip
    assert made.loss_type in ("grpo", "dr_grpo", "dapo", "cispo")


@pytest.mark.parametrize(
    "kind, config, overrides, line",
    [
        ("sft", "sft-7b-m32k", [], "no training config named 'sft-7b-m32k'; did you mean 'sft-7b-m23k'?"),
        ("sft", "sft-7b-m23k", ["batchs=3"], "did you mean 'batch'?"),
        ("sft", "sft-7b-m23k", ["batch=many"], "batch is 'many': give a whole number."),
        ("rlvr", "rlvr-7b-m23k", ["mini_batch=100"], "batch 256 is no multiple of mini_batch 100"),
        ("rlvr", "rlvr-7b-m23k", ["algorithm=ppo"], "algorithm is 'ppo': give 'grpo', 'dr_grpo'"),
        ("rlvr", "rlvr-7b-m23k", ["lora.alfa=3"], "did you mean 'alpha'?"),
        ("sft", "sft-7b-m23k", ["batch"], "write key=value"),
        ("sft", "sft-7b-m23k", ["min_pixels=4000", "max_pixels=3000"], "min_pixels 4000 is over max_pixels 3000"),
        ("sft", "sft-7b-m23k", ["trainer.x=[1"], "--set trainer.x=[1 is not YAML: while parsing a flow sequence"),
        ("sft", "nowhere.yaml", [], "cannot read the training config nowhere.yaml"),
    ],
)
def test_mistakes_are_one_line(kind: str, config: str, overrides: list[str], line: str) -> None:
    with pytest.raises(UsageError) as told:
        train.load_settings(kind, config, overrides)
    assert line in str(told.value) and "\n" not in str(told.value)


def test_overrides_and_flags_change_what_they_name() -> None:
    found = train.load_settings(
        "sft", "sft-7b-m23k", ["trainer.learning_rate=2e-5", "lora.r=8", "limit=10"], dataset="org/set", model=None
    )
    assert found.trainer["learning_rate"] == 2e-5 and found.trainer["weight_decay"] == 1e-4
    assert found.lora is not None and found.lora.r == 8 and found.lora.alpha == 32
    assert (found.dataset, found.limit, found.model) == ("org/set", 10, "Qwen/Qwen2.5-VL-7B-Instruct")


def test_words_and_numbers_are_what_was_meant(tmp_path: Path) -> None:
    """YAML 1.1 reads 1e-5 as a word and no as false."""
    path = tmp_path / "mine.yaml"
    path.write_text("model: a/b\ndataset: c/d\noutput: e\ntrainer: {learning_rate: 1e-5, save_strategy: no}\n", "utf-8")
    assert train.load_settings("sft", path).trainer == {"learning_rate": 1e-5, "save_strategy": "no"}
    found = train.load_settings("sft", path, ["trainer.eval_strategy=no", "trainer.weight_decay=1e-4"]).trainer
    assert (found["eval_strategy"], found["weight_decay"]) == ("no", 1e-4)
