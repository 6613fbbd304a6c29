"""The model to train: found, able to chat, fitting into memory, and the one its checkpoint was made of.

Everything here is asked before the first step, and every answer that ends a training is one line.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import shlex
import shutil
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from curator.adapters import whole_model
from curator.engines.model import fetch_model, identify
from curator.engines.qwen_processor import load_processor
from curator.errors import NetworkError, UsageError, unknown
from curator.memory import GIB, Memory, forecast
from curator.progress import counted, say
from curator.recipe import Solver
from curator.train import RECORD, RlvrSettings, Settings
from curator.workspace import data_home, write_text


@dataclass
class Base:
    """A base model's folder and what reads its input."""

    folder: Path
    model_id: str
    tokenizer: Any
    processor: Any | None
    """None for a model that reads text only."""
    parameters: int

    @property
    def image_processor(self) -> Any | None:
        return None if self.processor is None else self.processor.image_processor


def open_base(settings: Settings) -> Base:
    """The base model's files, tokenizer and processor; no weights are loaded, but those of an adapter to be merged.

    Raises:
        UsageError: no such model, an adapter that cannot be merged, or no chat template.
        NetworkError: the Hub cannot be asked.
    """
    model = settings.model
    if (Path(model) / "adapter_config.json").is_file():
        with FileLock(data_home() / "merging.lock"):  # of several processes the first one merges
            model = whole_model(model)
    solver = Solver(model=model, revision=settings.model_revision, engine="transformers")
    try:
        model_id = identify(solver)
    except NetworkError as error:
        raise NetworkError(f"{error}; `curator train` takes --model FOLDER too.") from None
    folder = fetch_model(solver, model_id)
    config = AutoConfig.from_pretrained(folder)
    sees = getattr(config, "vision_config", None) is not None
    if sees:
        qwen = config.model_type in ("qwen2_vl", "qwen2_5_vl")  # ours needs no torchvision; others bring their own
        processor = load_processor(folder) if qwen else AutoProcessor.from_pretrained(folder)
        processor.image_processor.size = {"shortest_edge": settings.min_pixels, "longest_edge": settings.max_pixels}
        tokenizer = processor.tokenizer
    else:
        processor, tokenizer = None, AutoTokenizer.from_pretrained(folder)
    if not (getattr(processor, "chat_template", None) or tokenizer.chat_template):
        raise UsageError(
            f"{settings.model} has no chat template: train an Instruct model, or add chat_template.jinja to it."
        )
    tokenizer.chat_template = tokenizer.chat_template or processor.chat_template
    with torch.device("meta"):
        kind = AutoModelForImageTextToText if sees else AutoModelForCausalLM
        parameters = sum(p.numel() for p in kind.from_config(config).parameters())
    return Base(folder, model_id, tokenizer, processor, parameters)


def arguments(config: type[Any], settings: Settings, **ours: Any) -> Any:
    """TRL's configuration: ours, the global batch divided among the processes, and `trainer:` as it stands.

    Raises:
        UsageError: a batch that cannot be divided, or a key or value that TRL does not take.
    """
    on_cpu = not torch.cuda.is_available()
    device = {"use_cpu": True, "bf16": False, "gradient_checkpointing": False} if on_cpu else {"bf16": True}
    wanted = {
        "output_dir": settings.output,
        "seed": settings.seed,
        "per_device_train_batch_size": settings.micro_batch,
        "report_to": [],
        "logging_steps": 1,
        "remove_unused_columns": False,
        **device,
        **ours,
        **settings.trainer,
    }
    known = {f.name for f in dataclasses.fields(config)}
    for key in settings.trainer:
        if key not in known:
            raise unknown(f"key of TRL's {config.__name__}", key, known, "Look under trainer in the config.")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    rollouts = settings.rollouts if isinstance(settings, RlvrSettings) else 1
    batch = (settings.mini_batch or settings.batch) if isinstance(settings, RlvrSettings) else settings.batch
    at_once = settings.micro_batch * processes
    if (batch * rollouts) % at_once:
        raise UsageError(
            f"a step of {batch * rollouts} sequences cannot be divided by micro_batch {settings.micro_batch} x "
            f"{processes} processes: change micro_batch."
        )
    wanted["gradient_accumulation_steps"] = batch * rollouts // at_once
    if isinstance(settings, RlvrSettings):
        wanted["steps_per_generation"] = settings.batch * rollouts // at_once
    try:
        return config(**wanted)
    except (TypeError, ValueError, ImportError) as error:
        raise UsageError(f"TRL does not take these settings: {' '.join(str(error).split())}") from None


def sampling(settings: Settings) -> str:
    """The order in which SFT visits rows: reshuffled every epoch, or as `data.prepare` ordered them."""
    return "random" if settings.order == "shuffled" else "sequential"


def lora(settings: Settings) -> Any | None:
    """The adapter's configuration, if one is wanted; the vision tower stays as it is."""
    if settings.lora is None:
        return None
    import peft

    wanted = settings.lora
    return peft.LoraConfig(
        r=wanted.r,
        lora_alpha=wanted.alpha,
        lora_dropout=wanted.dropout,
        target_modules=wanted.targets,
        exclude_modules=r".*visual.*",
        task_type="CAUSAL_LM",
    )


def end_tokens(base: Base) -> frozenset[int]:
    """Ids that end a turn."""
    ids = {base.tokenizer.eos_token_id, base.tokenizer.pad_token_id}
    path = base.folder / "generation_config.json"
    if path.is_file():
        more = json.loads(path.read_text("utf-8")).get("eos_token_id")
        ids |= set(more) if isinstance(more, list) else {more}
    return frozenset(i for i in ids if i is not None)


def announce(args: Any, line: str, checkpoint: str | None) -> None:
    """What is about to be done, on the first process."""
    if args.process_index == 0:
        say(f"training on {line}")
        if checkpoint is not None:
            say(f"going on from {checkpoint}")


def planned_steps(args: Any, settings: Settings, rows: int) -> int:
    """Optimizer steps of the whole training, as Trainer and TRL's sampler count them.

    An epoch of RLVR is its whole batches; of SFT all rows, the last step smaller.
    """
    if args.max_steps > 0:
        return int(args.max_steps)
    if isinstance(settings, RlvrSettings):
        batch = settings.batch
        per_epoch = rows // batch * (batch // (settings.mini_batch or batch)) * int(args.num_iterations)
    else:
        per_epoch = -(-rows // settings.batch)
    return math.ceil(float(args.num_train_epochs) * per_epoch)


def is_complete(args: Any, settings: Settings, rows: int) -> bool:
    """Whether the output folder holds this very training, all of its steps done; then the first process says so."""
    output = Path(settings.output)
    if not (output / RECORD).is_file() or not any(output.glob("*.safetensors")):
        return False
    record = json.loads((output / RECORD).read_text("utf-8"))
    if not record["finished"] or record["steps"] < planned_steps(args, settings, rows):
        return False
    if args.process_index == 0:
        say(f"{output} holds this training, complete after {counted(record['steps'], 'step')}; nothing to do")
        say_next(output, record["root"])
        say("  anew:    another --output, or remove the folder")
    return True


def say_next(output: Path, root: str) -> None:
    """What a trained model is for: the commands that measure and publish it."""
    place = shlex.quote(str(output))
    say(f"  measure: curator eval {place}{' --suite phantom' if root == 'phantom' else ''}")
    say(f"  publish: curator push-model {place} ORG/NAME")


def say_plan(args: Any, settings: Settings, base: Base, prepared: Any, need: Memory) -> None:
    """What a training would take and do, for `--dry-run`; the first process says it."""
    if args.process_index:
        return
    steps, a_pass = planned_steps(args, settings, len(prepared.dataset)), f"{prepared.tokens:,}"
    if isinstance(settings, RlvrSettings):
        size = f"{settings.mini_batch or settings.batch:,} questions x {settings.rollouts} rollouts"
        tokens = (
            f"{a_pass} of the prompts in one pass, and up to {settings.max_response_tokens:,} drawn in each rollout"
        )
        own = ["algorithm", "reward", "kl", "temperature", "vllm", "batch", "mini_batch", "rollouts"]
    else:
        size, own = f"{settings.batch:,} sequences", ["batch"]
        tokens = f"{a_pass} of prompts and responses in one pass over the rows"
    values = settings.model_dump(mode="json")
    parts = [f"{name} {values[name]}" for name in [*own, "micro_batch", "order", "seed", "prompt", "lora"]]
    parts += [f"{name} {value}" for name, value in settings.trainer.items()]
    folder = f"{settings.output}{'' if Path(settings.output).exists() else ' (new)'}"
    for name, line in {
        "model": f"{base.model_id}, {base.parameters:,} parameters, about {need.total / GIB:.1f} GiB a process",
        "steps": f"{steps:,} of {size}",
        "tokens": tokens,
        "settings": ", ".join(parts),
        "output": folder,
    }.items():
        say(f"  {name:<9}{line}")
    say("all checks hold; without --dry-run this trains")


def run(trainer: Any, settings: Settings, base: Base, prepared: Any, checkpoint: str | None) -> Any:
    """Train (from the checkpoint if there is one), save the model, its record and its log; returns the trainer.

    The first process ends with where the model lies and what to do with it.

    Raises:
        UsageError: out of memory, with what to change.
    """
    output = Path(settings.output)
    if hasattr(trainer.model, "create_or_update_model_card"):  # nor does PEFT's card belong there (see trainers.py)
        trainer.model.create_or_update_model_card = lambda *_: None
    facts = {
        "rows": len(prepared.dataset),
        "left_out": prepared.left_out,
        "data": prepared.data,
        "versions": versions(),
    }
    if trainer.is_world_process_zero():
        write_record(output, base, settings, finished=False, **facts)
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    except torch.OutOfMemoryError:
        raise UsageError(
            f"out of GPU memory at step {trainer.state.global_step}: lower micro_batch, use --lora or more processes; "
            "the same command goes on from the last checkpoint."
        ) from None
    save(trainer, output, base)
    if trainer.is_world_process_zero():
        trainer.state.save_to_json(str(output / "trainer_state.json"))
        write_record(output, base, settings, finished=True, steps=trainer.state.global_step, **facts)
        say(f"trained in {counted(trainer.state.global_step, 'step')}: {output}")
        say_next(output, lineage(base, settings)["root"])
    return trainer


def versions() -> dict[str, str]:
    """Of the packages that decide what a training does."""
    found = {name: version(name) for name in ("torch", "transformers", "trl", "accelerate")}
    try:
        return {**found, "curator": version("medvl-curator")}
    except PackageNotFoundError:
        return {**found, "curator": "checkout"}


def check_memory(base: Base, settings: Settings, args: Any) -> Memory:
    """What one process needs, by the arithmetic of docs/training.md.

    Raises:
        UsageError: it has less.
    """
    processes = args.world_size
    sharded = bool(os.environ.get("ACCELERATE_USE_FSDP") or os.environ.get("ACCELERATE_USE_DEEPSPEED"))
    reinforced = settings if isinstance(settings, RlvrSettings) else None
    need = forecast(
        base.parameters,
        lora=settings.lora is not None,
        reference=reinforced is not None and reinforced.kl > 0 and settings.lora is None,
        shards=processes if sharded else 1,
        tokens=settings.micro_batch * (settings.max_prompt_tokens + settings.max_response_tokens),
        config=AutoConfig.from_pretrained(base.folder),
    )
    if torch.cuda.is_available():
        what, have = "GPU", torch.cuda.get_device_properties(0).total_memory
        if reinforced is not None and reinforced.vllm == "colocate":
            have = int(have * (1 - settings.trainer.get("vllm_gpu_memory_utilization", 0.3)))
    else:
        what, have = "machine", import_module("psutil").virtual_memory().available // (1 if sharded else processes)
    if need.total > have:
        ways = [] if settings.lora else ["--lora"]
        ways += [] if sharded else ["--accelerate fsdp2 with more processes"]
        ways += ["a smaller micro_batch or fewer tokens"]
        raise UsageError(
            f"{settings.model} ({base.parameters / 1e9:.2f} B parameters) needs about {need.total / GIB:.1f} GiB per "
            f"process and this {what} has {have / GIB:.1f} free: use {', or '.join(ways)}."
        )
    return need


# What may differ between two starts of one training: how far it goes, what is kept and said of it, how the machine is used.
_FREE = re.compile(
    r"output|micro_batch|vllm|trainer\.(max_steps|num_train_epochs|(save|logging)_\w+|report_to|run_name|disable_tqdm|"
    r"gradient_checkpointing|vllm_(server_\w+|gpu_memory_utilization|tensor_parallel_size|enable_sleep_mode))"
)


def last_checkpoint(output: Path, base: Base, settings: Settings, data: dict[str, Any]) -> str | None:
    """The checkpoint from which the same command goes on, if there is one; `data` says which release is trained on.

    Raises:
        UsageError: the folder holds another training; the line names the first difference.
    """
    if not output.is_dir():
        return None
    record = output / RECORD
    if record.is_file():
        before = json.loads(record.read_text("utf-8"))
        trained_on = before.get("data", {})
        if ("commit" in trained_on) != ("commit" in data):  # an older record names none: then the set's name decides
            trained_on, data = ({k: v for k, v in one.items() if k != "commit"} for one in (trained_on, data))
        elif trained_on.get("commit") != data.get("commit") and before["settings"]["dataset"] == settings.dataset:
            raise UsageError(
                f"{settings.dataset} is at commit {data['commit'][:12]} now, and {output} holds a training on "
                f"{trained_on['commit'][:12]}: go on with --revision {trained_on['commit']}, or give another --output."
            )
        was = _identity(before["kind"], before["model_id"], before["settings"], trained_on)
        now = _identity(_kind(settings), base.model_id, settings.model_dump(mode="json"), data)
        for what in {**now, **was}:
            if was.get(what) != now.get(what) and not _FREE.fullmatch(what):
                raise UsageError(
                    f"{output} holds a training of another {what} ({was.get(what)}, not {now.get(what)}): give another "
                    "--output, or remove the folder."
                )
    elif any(output.glob("checkpoint-*")):
        raise UsageError(f"{output} holds checkpoints of an unknown training: give another --output.")
    found = sorted(output.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2] or 0), reverse=True)
    return next((str(path) for path in found if _is_whole(path)), None)


def _identity(kind: str, model_id: str, settings: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """What a training is, flat; its model and its data by what they hold where that is known, else by name."""
    others = {name: value for name, value in settings.items() if name not in ("model", "model_revision", "trainer")}
    trainer = {f"trainer.{name}": value for name, value in settings["trainer"].items()}
    if "commit" in data:
        del others["revision"]
    dataset = data.get("manifest_sha256", data.get("commit", settings["dataset"]))
    return {"kind": kind, "model": model_id, **others, **trainer, "dataset": dataset}


def _is_whole(checkpoint: Path) -> bool:
    """Trainer writes its state last: a checkpoint that was being written when the process died has none."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return True


def write_record(output: Path, base: Base, settings: Settings, **more: Any) -> None:
    """Beside the weights: which model, data and settings made them."""
    record = {
        "kind": _kind(settings),
        "model_id": base.model_id,
        **lineage(base, settings),
        "parameters": base.parameters,
        "settings": settings.model_dump(mode="json"),
        **more,
    }
    write_text(output / RECORD, json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def lineage(base: Base, settings: Settings) -> dict[str, Any]:
    """The model at the root, and the trainings between it and this one: RL after SFT has the licence of the root."""
    path = base.folder / RECORD
    if not path.is_file():
        return {"root": settings.model, "parents": []}
    before = json.loads(path.read_text("utf-8"))
    step = {"kind": before["kind"], "dataset": before["settings"]["dataset"], "model_id": before["model_id"]}
    return {"root": before["root"], "parents": [*before["parents"], step]}


def save(trainer: Any, output: Path, base: Base) -> None:
    """The trained weights, with the base's own processor files, so that any reader of the base reads this too."""
    if trainer.is_fsdp_enabled:  # checkpoints are sharded; what is published is whole
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    trainer.save_model(str(output))
    if not trainer.accelerator.is_main_process:
        return
    (output / "processor_config.json").unlink(missing_ok=True)
    for name in ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"):
        if (base.folder / name).is_file():
            shutil.copyfile(base.folder / name, output / name)


def _kind(settings: Settings) -> str:
    return "rlvr" if isinstance(settings, RlvrSettings) else "sft"
