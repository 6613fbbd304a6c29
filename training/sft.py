"""Supervised fine-tuning on the accepted reasoning traces; loss on the response only.

    accelerate launch training/sft.py --config sft-3b-m23k --dataset ORG/NAME
    python training/sft.py --config my.yaml --set trainer.learning_rate=2e-5 --dry-run

Run the same command again to go on from the last checkpoint.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from curator import train


def main(settings: train.SftSettings, dry_run: bool = False) -> Any:
    """Train, save, and return the trainer; None where all its steps are done already, and with `dry_run`, which only checks."""
    import base
    import data
    from trainers import MixedSFTTrainer, let_text_rows_in
    from trl import SFTConfig

    model = base.open_base(settings)
    prepared = data.prepare(data.load(settings), settings, "sft", model.tokenizer, model.image_processor)
    checkpoint = base.last_checkpoint(Path(settings.output), model, settings, prepared.data)
    arguments = base.arguments(SFTConfig, settings, max_length=None, train_sampling_strategy=base.sampling(settings))
    if base.is_complete(arguments, settings, len(prepared.dataset)):
        return None
    need = base.check_memory(model, settings, arguments)
    base.announce(arguments, data.describe(prepared, settings), checkpoint)
    if dry_run:
        base.say_plan(arguments, settings, model, prepared, need)
        return None
    trainer = MixedSFTTrainer(
        model=str(model.folder),
        args=arguments,
        train_dataset=prepared.dataset,
        processing_class=model.processor or model.tokenizer,
        peft_config=base.lora(settings),
    )
    let_text_rows_in(trainer.model, arguments.world_size)
    return base.run(trainer, settings, model, prepared, checkpoint)


if __name__ == "__main__":
    sys.exit(train.script("sft", main))
