"""TRL's trainers, made to take text rows and image rows in one batch and to go on from a checkpoint.

TRL 1.16 and transformers 5 stumble over four things with Qwen2.5-VL, each of which a test shows:

1. GRPOTrainer reports the images of a text row as None, and the image processor takes a list only.
2. A micro-batch without any image still gets (empty) pixel values, on which the vision tower fails.
3. With sharded weights every process must run the vision tower as often as the others, or the ones that have an image
   wait for ever for the ones that do not.
4. A checkpoint is saved under the published names of its weights and loaded under the module's names, without a check:
   a resumed training would start again from the base weights, with the optimizer of the trained ones.
"""

from __future__ import annotations

from typing import Any

import torch
from trl import GRPOTrainer, SFTTrainer


class _Resuming:
    """Loads a checkpoint's weights as any model is loaded, by name conversion and strictly (4); writes no card."""

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """TRL's card knows neither data nor evaluation: `curator push-model` makes the one that is published."""

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        net: Any = self.model if model is None else model  # type: ignore[attr-defined]
        if self.is_fsdp_enabled or self.is_deepspeed_enabled or hasattr(net, "peft_config"):  # type: ignore[attr-defined]
            super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]
            return
        found = type(net).from_pretrained(resume_from_checkpoint, dtype=net.dtype)
        net.load_state_dict(found.state_dict())


class MixedSFTTrainer(_Resuming, SFTTrainer):  # type: ignore[misc]  # untyped base
    """SFTTrainer that goes on where it stopped."""


class MixedGRPOTrainer(_Resuming, GRPOTrainer):  # type: ignore[misc]  # untyped base
    """GRPOTrainer whose batches may hold text rows; logs the share of groups that teach anything."""

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        """TRL's tuple, with [] instead of None for rows without images (its seventh item)."""
        out = list(super()._generate(prompts))
        if out[6] is not None:
            out[6] = [images or [] for images in out[6]]
        return tuple(out)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL logs the share of groups whose rewards are all equal; a reader asks for the others."""
        dead = self._metrics["train"].get("frac_reward_zero_std")
        if self.model.training and dead:
            logs = {**logs, "live_groups": 1 - sum(dead) / len(dead)}
        super().log(logs, start_time)


def let_text_rows_in(model: torch.nn.Module, processes: int = 1) -> None:
    """Let a vision-language model take a batch without images (2), on several processes too (3).

    With several processes the vision tower sees one blank square of 28 x 28 pixels instead, times zero: the result is
    unchanged, every parameter gets a gradient, and every process makes the same calls.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    core = getattr(base, "model", None)
    tower = getattr(core, "visual", None)
    if tower is None:
        return
    blank = False

    def before(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        nonlocal blank
        pixels = kwargs.get("pixel_values")
        without = pixels is None or pixels.shape[0] == 0
        # TRL's losses and scores pass labels; generation does not, and must not pay for a blank image per token.
        blank = without and processes > 1 and kwargs.get("labels") is not None
        if pixels is not None and without:
            kwargs = {k: v for k, v in kwargs.items() if k not in ("pixel_values", "image_grid_thw")}
        return args, kwargs

    def after_embedding(module: torch.nn.Module, _: tuple[Any, ...], embedded: torch.Tensor) -> torch.Tensor:
        nonlocal blank
        if not blank:
            return embedded
        blank = False
        settings = tower.config
        side = settings.spatial_merge_size
        width = settings.in_channels * settings.temporal_patch_size * settings.patch_size**2
        pixels = torch.zeros(side * side, width, device=embedded.device, dtype=embedded.dtype)
        grid = torch.tensor([[1, side, side]], device=embedded.device)
        seen = tower(pixels, grid_thw=grid)
        seen = getattr(seen, "pooler_output", seen)
        return embedded + 0 * seen.sum().to(embedded.dtype)

    base.register_forward_pre_hook(before, with_kwargs=True)
    base.get_input_embeddings().register_forward_hook(after_embedding)
