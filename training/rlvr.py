"""Reinforcement learning with verifiable rewards: GRPO and its relatives, paid by the code that graded the difficulty.

    accelerate launch training/rlvr.py --config rlvr-3b-m23k --dataset ORG/NAME
    accelerate launch --config_file training/accelerate/fsdp2.yaml training/rlvr.py --config rlvr-7b-pmc

Run the same command again to go on from the last checkpoint.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from curator import train
from curator.errors import MissingExtra, UsageError


def main(settings: train.RlvrSettings, dry_run: bool = False) -> Any:
    """Train, save, and return the trainer; None where all its steps are done already, and with `dry_run`, which only checks."""
    import base
    import data
    from reward import Reward
    from trainers import MixedGRPOTrainer, let_text_rows_in
    from trl import GRPOConfig

    if settings.vllm != "off" and find_spec("vllm") is None:
        raise MissingExtra("rollouts by vLLM (or --set vllm=off)", "vllm")
    model = base.open_base(settings)
    prepared = data.prepare(data.load(settings), settings, "rlvr", model.tokenizer, model.image_processor)
    if len(prepared.dataset) < settings.batch:
        raise UsageError(
            f"{len(prepared.dataset):,} questions are less than one batch of {settings.batch}: lower batch (--set batch=N)."
        )
    checkpoint = base.last_checkpoint(Path(settings.output), model, settings, prepared.data)
    arguments = base.arguments(GRPOConfig, settings, **grpo(settings))
    if base.is_complete(arguments, settings, len(prepared.dataset)):
        return None
    need = base.check_memory(model, settings, arguments)
    base.announce(arguments, data.describe(prepared, settings), checkpoint)
    if dry_run:
        base.say_plan(arguments, settings, model, prepared, need)
        return None
    trainer = MixedGRPOTrainer(
        model=str(model.folder),
        reward_funcs=[Reward(settings.reward, base.end_tokens(model))],
        args=arguments,
        train_dataset=prepared.dataset,
        processing_class=model.processor or model.tokenizer,
        peft_config=base.lora(settings),
    )
    let_text_rows_in(trainer.model, arguments.world_size)
    if trainer.ref_model is not None:
        let_text_rows_in(trainer.ref_model, arguments.world_size)
    return base.run(trainer, settings, model, prepared, checkpoint)


def grpo(settings: train.RlvrSettings) -> dict[str, Any]:
    """Our settings in TRL's words, but for the batches."""
    loss, scale, level, low, high = train.ALGORITHMS[settings.algorithm]
    return {
        "loss_type": loss,
        "scale_rewards": scale,
        "importance_sampling_level": level,
        "epsilon": settings.clip or low,
        "epsilon_high": settings.clip_high or (None if settings.clip else high),
        "beta": settings.kl,
        "num_generations": settings.rollouts,
        "max_completion_length": settings.max_response_tokens,
        "temperature": settings.temperature,
        "shuffle_dataset": settings.order == "shuffled",
        "use_vllm": settings.vllm != "off",
        **({"vllm_mode": settings.vllm} if settings.vllm != "off" else {}),
    }


if __name__ == "__main__":
    sys.exit(train.script("rlvr", main))
