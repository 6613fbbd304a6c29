"""Training settings, read from `training/configs/*.yaml`, and the launcher of the two bundled scripts.

    curator train sft  --config sft-7b-m23k --dataset ORG/NAME
    curator train rlvr --config rlvr-7b-m23k --dataset builds/m23k --accelerate fsdp2 --processes 8
    accelerate launch --config_file training/accelerate/fsdp2.yaml training/rlvr.py --config rlvr-7b-m23k

Batches are global: the scripts divide them by the number of processes, so one config is the same training on one GPU
and on thirty-two. Whatever is not here goes to TRL as it stands, under `trainer:`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from curator.errors import CuratorError, MissingExtra, UsageError, unknown
from curator.recipe import pixels_in_order
from curator.settings import checked, parsed, read_yaml

KINDS = ("sft", "rlvr")
RECORD = "curator_training.json"  # beside the weights: which settings made them


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lora(_Part):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) instead of all weights."""

    r: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: str | list[str] = "all-linear"


class Settings(_Part):
    """What both trainings share."""

    model: str
    """A Hub id, a folder, or phantom."""
    model_revision: str | None = None
    dataset: str
    """A published set (ORG/NAME), a build's folder or its release."""
    subset: str | None = None
    """The set's config, e.g. pmc-vqa; None: its default."""
    revision: str | None = None
    split: str = "train"
    only: Literal["all", "text", "image-text"] = "all"
    """Train on rows without images, on rows with images, or on both."""
    limit: int | None = Field(None, ge=1)
    """Train on at most this many rows, chosen by the seed."""
    output: str
    prompt: Literal["curator", "seed"] = "curator"
    order: Literal["shuffled", "easy-to-hard", "weighted", "as-is"] = "shuffled"
    """weighted: drawn with replacement, by the chance that a group of rollouts has any variance."""
    seed: int = 42
    batch: int = Field(16, ge=1)
    """SFT: sequences in one optimizer step. RLVR: questions answered between two rounds of optimizer steps."""
    micro_batch: int = Field(1, ge=1)
    """Sequences in one forward pass of one process."""
    max_prompt_tokens: int = Field(2048, ge=1)
    max_response_tokens: int = Field(4096, ge=1)
    over_limit: Literal["error", "drop"] = "error"
    """What to do about a row over these limits; never cut, because a cut prompt loses its image or its question."""
    max_images: int = Field(8, ge=0)
    min_pixels: int = Field(28 * 28, ge=1)
    max_pixels: int = Field(1024 * 1024, ge=784)
    lora: Lora | None = None
    trainer: dict[str, Any] = {}
    """Passed to TRL's SFTConfig or GRPOConfig as it stands: learning_rate, num_train_epochs, save_steps …"""

    @model_validator(mode="after")
    def _pixels_in_order(self) -> Self:
        pixels_in_order(self.min_pixels, self.max_pixels)
        return self


class SftSettings(Settings):
    """Supervised fine-tuning on the accepted traces; loss on the response only."""


class RlvrSettings(Settings):
    """Reinforcement learning with verifiable rewards: GRPO and its relatives."""

    batch: int = Field(256, ge=1)
    mini_batch: int | None = Field(None, ge=1)
    """Questions in one optimizer step; None: all of `batch`."""
    rollouts: int = Field(8, ge=2)
    algorithm: Literal["grpo", "dr_grpo", "dapo", "cispo", "gspo"] = "grpo"
    kl: float = Field(0.0, ge=0)
    """Weight of the low-variance KL estimate to the base model; 0 keeps no reference model."""
    clip: float | None = Field(None, gt=0)
    clip_high: float | None = Field(None, gt=0)
    temperature: float = Field(1.0, gt=0)
    reward: Literal["curator", "seed-reward"] = "curator"
    vllm: Literal["off", "colocate", "server"] = "off"

    @model_validator(mode="after")
    def _mini_fits(self) -> RlvrSettings:
        if self.mini_batch is not None and self.batch % self.mini_batch:
            raise ValueError(f"batch {self.batch} is no multiple of mini_batch {self.mini_batch}")
        return self


# What each name means in TRL 1.16: (loss_type, scale_rewards, importance_sampling_level, epsilon, epsilon_high).
# DAPO's clip is of arXiv 2503.14476, CISPO's of 2510.13786 (ScaleRL), GSPO's of 2507.18071, Dr. GRPO is 2503.20783.
ALGORITHMS: dict[str, tuple[str, str, str, float, float | None]] = {
    "grpo": ("grpo", "group", "token", 0.2, None),
    "dr_grpo": ("dr_grpo", "none", "token", 0.2, None),
    "dapo": ("dapo", "group", "token", 0.2, 0.28),
    "cispo": ("cispo", "group", "token", 0.2, 5.0),
    "gspo": ("grpo", "group", "sequence", 3e-4, 4e-4),
}


def training_dir() -> Path:
    """Where the bundled scripts and configs lie: inside the wheel, or beside the package in a checkout."""
    inside = Path(__file__).parent / "training"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "training"


def load_settings(
    kind: str, config: str | Path, overrides: Sequence[str] = (), **changes: Any
) -> SftSettings | RlvrSettings:
    """Settings from a bundled config's name or a YAML file, then `changes` (None is no change), then `key=value`s.

    Raises:
        UsageError: no such config, an unknown key (the nearest is suggested) or a bad value.
    """
    path = Path(config)
    if path.suffix not in (".yaml", ".yml"):
        bundled = training_dir() / "configs"
        path = bundled / f"{config}.yaml"
        if not path.is_file():
            known = [p.stem for p in bundled.glob(f"{kind}-*.yaml")]
            raise unknown(
                "training config", str(config), known, f"Or give a file; bundled: {', '.join(sorted(known))}."
            )
    raw = read_yaml(path, "training config")
    raw.update({key: value for key, value in changes.items() if value is not None})
    for override in overrides:
        _set(raw, override)
    if isinstance(raw.get("trainer"), dict):
        raw["trainer"] = {key: _meant(key, value) for key, value in raw["trainer"].items()}
    model: type[SftSettings] | type[RlvrSettings] = SftSettings if kind == "sft" else RlvrSettings
    return checked(model, raw, "training", str(path), "; what belongs to TRL goes under trainer")


def _set(raw: dict[str, Any], override: str) -> None:
    """Apply one `a.b=value`; the value is read as YAML."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UsageError(f"--set {override}: write key=value, e.g. --set trainer.learning_rate=1e-5.")
    value = _meant(key, parsed(text, f"--set {override}")) if text else None
    *parents, last = key.split(".")
    for parent in parents:
        below = raw.get(parent)
        raw[parent] = below = dict(below) if isinstance(below, dict) else {}
        raw = below
    raw[last] = value


def _meant(key: str, value: Any) -> Any:
    """What YAML 1.1 misreads: 1e-6 is a number and no word, and a strategy's `no` is a word and not false."""
    if value is False and key.endswith("_strategy"):
        return "no"
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return float(value)
    return value


def data_facts(dataset: str) -> dict[str, Any]:
    """Which release a local folder holds: its name, version and the hash of its manifest; {} for anything else."""
    for folder in (Path(dataset) / "release", Path(dataset)):
        if (folder / "manifest.json").is_file():
            raw = (folder / "manifest.json").read_bytes()
            manifest = json.loads(raw)
            digest = hashlib.sha256(raw).hexdigest()
            return {"name": manifest["name"], "version": manifest.get("version"), "manifest_sha256": digest}
    return {}


def launch(
    kind: str,
    config: str | Path,
    *,
    dataset: str | None = None,
    subset: str | None = None,
    revision: str | None = None,
    model: str | None = None,
    output: str | None = None,
    lora: bool = False,
    overrides: Sequence[str] = (),
    accelerate: str | None = None,
    processes: int | None = None,
    dry_run: bool = False,
) -> int:
    """Run a bundled script in its own process, alone or under `accelerate launch`; returns its exit code.

    `accelerate` is a file or the name of one of `training/accelerate/` (fsdp2, fsdp2-nodes, zero3, zero3-nodes).

    Raises:
        UsageError: an unknown kind or config, or settings that do not hold.
        MissingExtra: without the packages of `train`.
    """
    if kind not in KINDS:
        raise unknown("training", kind, KINDS, f"There are {' and '.join(KINDS)}.")
    need_train_extra()
    given = {"dataset": dataset, "subset": subset, "revision": revision, "model": model, "output": output}
    load_settings(kind, config, overrides, **given)
    arguments = ["--config", str(config)]
    for name, value in given.items():
        arguments += [f"--{name}", value] if value is not None else []
    arguments += [part for override in overrides for part in ("--set", override)]
    arguments += ["--lora"] * lora + ["--dry-run"] * dry_run
    command = [sys.executable]
    if accelerate is not None or (processes or 1) > 1:
        command += ["-m", "accelerate.commands.launch"]
        command += [] if _has_gpu() else ["--cpu"]
        if accelerate is not None:
            command += ["--config_file", str(_accelerate_file(accelerate))]
        if processes is not None:
            command += ["--num_processes", str(processes)]
    here = str(Path(__file__).parent.parent)  # the script imports this curator, installed or not
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))}
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    script = training_dir() / f"{kind}.py"
    return subprocess.run([*command, str(script), *arguments], check=False, env=environment).returncode


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def _accelerate_file(name: str) -> Path:
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UsageError(f"no accelerate config at {path}.")
        return path
    bundled = training_dir() / "accelerate"
    if not (bundled / f"{name}.yaml").is_file():
        raise unknown("accelerate config", name, (p.stem for p in bundled.glob("*.yaml")), "Or give a file.")
    return bundled / f"{name}.yaml"


def need_train_extra() -> None:
    """Raise MissingExtra where training cannot run."""
    import importlib.util

    for package in ("torch", "transformers", "trl", "accelerate"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra("training", "train")


def script(kind: str, train: Callable[[Any, bool], None]) -> int:
    """The command line of a bundled script: `train(settings, dry_run)` with settings from `--config` and its changes.

    One line per mistake, on the first process only; returns the exit code.
    """
    parser = argparse.ArgumentParser(prog=f"training/{kind}.py", description=sys.modules["__main__"].__doc__)
    parser.add_argument("--config", required=True, help="a bundled config's name or a YAML file")
    for name in ("dataset", "subset", "revision", "model", "output"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--lora", action="store_true", help="train low-rank adapters")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--dry-run", action="store_true", help="all checks, no training")
    given = vars(parser.parse_args())
    config, overrides, dry_run = given.pop("config"), given.pop("overrides"), given.pop("dry_run")
    given["lora"] = {} if given["lora"] else None
    try:
        need_train_extra()
        train(load_settings(kind, config, overrides, **given), dry_run)
    except CuratorError as error:
        if _first_process():
            print(f"curator: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        if _first_process():
            print("curator: stopped; the same command goes on from the last checkpoint.", file=sys.stderr)
        return 130
    return 0


def _first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"
