"""vLLM in process, as one continuous stream: a request enters as another finishes, and nothing waits for a batch.

Images are decoded and brought to size ahead of time by worker threads; a prompt is rendered once per question, in order,
and shared by its samples, whose prefix vLLM then finds in its cache. Where the engine has a process of its own, as with a
GPU, one more thread renders, and a picture crosses to it once. A quarter more requests than slots are in flight at least,
so the scheduler never waits for us; more enter some at a time.

Before a long run a self-check compares greedy answers with a warm and a cold prefix cache on a few pictures (vLLM issue
20261 reports wrong ones on Qwen2.5-VL); if they disagree, the cache is turned off and a line says so.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import replace
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curator import progress
from curator.engines import Failed, ReadImage, Request, Sample, Sampling
from curator.engines.chat import chat_template, flat_messages
from curator.engines.openai import fitted
from curator.errors import EngineError, UsageError

if TYPE_CHECKING:
    from PIL import Image

SLOTS = 256
AHEAD = 1.25
"""Requests in flight per slot of the scheduler, at least; 64 in flight of 256 slots ran at 65 % (stack.md)."""
_MOST = 2
"""The same, at most: new ones enter some at a time, since a step between two of them runs with cold caches."""
_KEPT = 64
"""Rendered prompts kept for the next wave of their questions."""
_CHECKED = 4
_FEWEST = 8
_MODEL_LENGTH = 32768


class VLLMEngine:
    """Draws samples with vLLM in this process (its GPU workers are processes of their own).

    `settings` go to `vllm.LLM`.
    """

    def __init__(self, folder: Path, model_id: str, *, slots: int = SLOTS, check: bool = True, **settings: Any) -> None:
        import torch

        self._on_gpu = torch.cuda.is_available()
        if not self._on_gpu:
            # A process of its own for the engine pays with a GPU; on processors it only starts slowly.
            os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        import vllm

        self._apart: bool = vllm.envs.VLLM_ENABLE_V1_MULTIPROCESSING
        self.model_id, self.name = model_id, f"vllm {vllm.__version__}"
        self.folder, self.slots, self.unchecked = folder, slots, check
        self._settings = settings
        self._prefix_caching = True
        self._llm = self._open()
        config = self._llm.llm_engine.model_config
        self.reads_images = bool(config.is_multimodal_model)
        self.context = int(config.max_model_len)
        self.tokenizer: Any = self._llm.get_tokenizer()
        self.template = chat_template(folder, self.tokenizer)
        self._workers = ThreadPoolExecutor(max(2, min(8, (os.cpu_count() or 2) - 1)), "images")
        self._renderer = ThreadPoolExecutor(1, "prompts")
        self._prompts: OrderedDict[tuple[str, Sampling], Future[Any]] = OrderedDict()
        self._next = 0

    def _open(self) -> Any:
        """Start vLLM; out of memory, with half the slots."""
        import torch
        from transformers import AutoConfig

        try:
            config = AutoConfig.from_pretrained(self.folder)
            length = int(getattr(config.get_text_config(), "max_position_embeddings", _MODEL_LENGTH))
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot load a model from {self.folder}: {_one_line(error)}") from None
        while True:
            try:
                return self._start(min(length, _MODEL_LENGTH))
            except (torch.OutOfMemoryError, RuntimeError, ValueError, OSError) as error:
                said = _one_line(error)
                if not any(sign in said.lower() for sign in ("out of memory", "cache blocks", "kv cache")):
                    raise UsageError(f"vLLM cannot load a model from {self.folder}: {said}") from None
                self._halve(said)

    def _halve(self, said: str) -> None:
        if self.slots <= _FEWEST:
            raise EngineError(f"{self.folder.name} does not fit this machine's memory: {said}")
        self.slots //= 2
        progress.say(f"  out of memory: going on with {self.slots} sequences at once")

    def _start(self, length: int) -> Any:
        import torch
        from vllm import LLM

        # A split prefill with per-request seeds breaks vLLM on CPU ("CPU Generator does not use offset"). Samples share
        # whole blocks of their prompt: of vLLM's 128 tokens there, a short question fills none.
        by_device = (
            {"dtype": "bfloat16"}
            if self._on_gpu
            else {"dtype": "float32", "enforce_eager": True, "enable_chunked_prefill": False, "block_size": 32}
        )
        settings = {
            "model": str(self.folder),
            "max_num_seqs": self.slots,
            "max_model_len": length,
            "enable_prefix_caching": self._prefix_caching,
            "generation_config": "vllm",
            "disable_log_stats": True,
            "trust_remote_code": False,
            "limit_mm_per_prompt": {"image": 16, "video": 0},
            "seed": 0,
            **by_device,
            **self._settings,
        }
        try:
            return LLM(**settings)
        except (TypeError, ValueError) as error:
            if "limit_mm_per_prompt" not in str(error) and "multimodal" not in str(error).lower():
                raise
            settings.pop("limit_mm_per_prompt")  # a text-only model
            return LLM(**settings)
        finally:
            torch.set_grad_enabled(True)  # vLLM turns gradients off for the whole process

    # -- the stream --------------------------------------------------------------------------------------------------

    def generate(self, requests: Iterable[Request | None], read_image: ReadImage) -> Iterator[Sample | Failed]:
        """See `Engine`."""
        import torch
        from vllm.exceptions import VLLMValidationError
        from vllm.v1.engine.exceptions import EngineDeadError

        source = iter(requests)
        if self.unchecked and self.reads_images:
            source = self._self_check(source, read_image)
        waiting: deque[tuple[Request, Future[Any]]] = deque()
        running: dict[str, tuple[Request, Future[Any]]] = {}
        retried: set[tuple[str, int]] = set()
        more, idle = True, False
        try:
            while True:
                room = len(running) < AHEAD * self.slots
                while room and more and len(running) + len(waiting) < 2 * _MOST * self.slots:
                    request = next(source, _END)
                    more = request is not _END
                    if not isinstance(request, Request):
                        break
                    waiting.append((request, self._prepared(request, read_image)))
                while room and waiting and len(running) < _MOST * self.slots and (waiting[0][1].done() or not running):
                    idle = False
                    request, prepared = waiting.popleft()
                    try:
                        running[self._enter(request, prepared.result())] = request, prepared
                    except (OSError, ValueError, KeyError, VLLMValidationError) as error:
                        yield Failed(request.id, request.index, _one_line(error))
                if running:
                    try:
                        outputs = self._llm.llm_engine.step()
                    except (EngineDeadError, torch.OutOfMemoryError) as error:
                        again = [request for request, _ in chain(running.values(), waiting)]
                        running.clear()
                        self._stop()
                        self._halve(_one_line(error))
                        self._llm = self._open()
                        waiting = deque((request, self._prepared(request, read_image)) for request in again)
                        continue
                    for output in outputs:
                        if not output.finished:
                            continue
                        request, prepared = running.pop(output.request_id)
                        if output.outputs[0].finish_reason == "error" and (request.id, request.index) not in retried:
                            # The engine's process has dropped a picture that we believe it has: send it again, once.
                            retried.add((request.id, request.index))
                            if self._prompts.get(_prompt_name(request)) is prepared:
                                del self._prompts[_prompt_name(request)]
                            waiting.appendleft((request, self._prepared(request, read_image)))
                        else:
                            yield self._answer(request, output)
                elif not waiting:
                    if not more:
                        return
                    if idle:
                        raise EngineError("the scheduler waits for samples that nobody draws.")
                    idle = True
        finally:
            # Left early (Ctrl-C, a failing store): what is in flight must not answer the next caller.
            if running and self._llm is not None:
                self._llm.llm_engine.abort_request(list(running))
            for request, prepared in waiting:
                if prepared.cancel():
                    self._prompts.pop(_prompt_name(request), None)

    def _enter(self, request: Request, prompt: Any) -> str:
        """Give one sample to vLLM; its name there."""
        self._next += 1
        name = str(self._next)
        params = copy(prompt.sampling_params)
        params.max_tokens = min(request.sampling.max_tokens, self.context - len(prompt.prompt_token_ids))
        params.seed = request.seed
        one = copy(prompt)
        one.request_id, one.external_req_id, one.sampling_params = name, name, params
        # As `LLMEngine.add_request` does with a request in this form, without looking it over again.
        self._llm.llm_engine.output_processor.add_request(one, None)
        self._llm.llm_engine.engine_core.add_request(one)
        if self._apart and prompt.mm_features:
            # The engine's process keeps a picture that it was sent: the question's other samples only name it.
            kept = self._llm.llm_engine.renderer.mm_processor_cache
            prompt.mm_features = [
                replace(feature, data=None) if kept.is_cached_item(feature.mm_hash) else feature
                for feature in prompt.mm_features
            ]
        return name

    def _answer(self, request: Request, output: Any) -> Sample | Failed:
        (made,) = output.outputs
        if made.finish_reason not in ("stop", "length", "repetition"):
            return Failed(request.id, request.index, f"vLLM ended it: {made.finish_reason}", True)
        tokens = len(output.prompt_token_ids)
        return Sample(request.id, request.index, made.text, "", made.finish_reason, tokens, len(made.token_ids))

    # -- prompts -----------------------------------------------------------------------------------------------------

    def _prepared(self, request: Request, read_image: ReadImage) -> Future[Any]:
        """The rendered prompt of a request, once per question, made ahead."""
        key = _prompt_name(request)
        found = self._prompts.get(key)
        if found is None:
            pictures = [
                self._workers.submit(_picture, request.images[part["image"]], request.sampling, read_image)
                for part in _parts(request)
                if part["type"] == "image"
            ]
            render = partial(self._render, request, pictures)
            # Where vLLM computes in this very thread, one more thread of Python would only take turns with it.
            found = self._prompts[key] = self._renderer.submit(render) if self._apart else _WhenDue(render)
            while len(self._prompts) > _KEPT + self.slots:
                self._prompts.popitem(last=False)
        self._prompts.move_to_end(key)
        return found

    def _render(self, request: Request, pictures: list[Future[Image.Image]]) -> Any:
        if pictures and not self.reads_images:
            raise ValueError("this model reads no images")
        messages = request.messages if self.reads_images else flat_messages(request.messages)
        text = self.tokenizer.apply_chat_template(
            messages, chat_template=self.template, tokenize=False, add_generation_prompt=True
        )
        prompt: dict[str, Any] = {"prompt_token_ids": self.tokenizer(text, add_special_tokens=False)["input_ids"]}
        if len(prompt["prompt_token_ids"]) >= self.context:
            raise ValueError(f"the prompt has {len(prompt['prompt_token_ids'])} tokens, the model reads {self.context}")
        if pictures:
            limits = {"shortest_edge": request.sampling.min_pixels, "longest_edge": request.sampling.max_pixels}
            shown = [request.images[part["image"]] for part in _parts(request) if part["type"] == "image"]
            prompt |= {
                "multi_modal_data": {"image": [picture.result() for picture in pictures]},
                "multi_modal_uuids": {"image": [f"{name}-{limits}" for name in shown]},
                "mm_processor_kwargs": {"size": limits},
            }
        engine = self._llm.llm_engine
        # vLLM's own form of a request: checked and sorted once, copied for each sample.
        return engine.input_processor.process_inputs(
            "",
            engine.renderer.render_cmpl([prompt])[0],
            sampling_params(request.sampling),
            engine.get_supported_tasks(),
        )

    # -- self-check --------------------------------------------------------------------------------------------------

    def _self_check(self, source: Iterator[Request | None], read_image: ReadImage) -> Iterator[Request | None]:
        """Compare greedy answers with a cold and a warm prefix cache on the first few pictures."""
        self.unchecked = False
        taken: list[Request | None] = []
        chosen: dict[str, Request] = {}
        for request in source:
            taken.append(request)
            if request is None:
                break
            if request.images:
                greedy = replace(request.sampling, temperature=0.0, max_tokens=min(32, request.sampling.max_tokens))
                chosen.setdefault(request.prompt, replace(request, sampling=greedy, index=0))
            if len(chosen) == _CHECKED or len(taken) == 4 * self.slots:
                break
        if chosen and self.disagreements(list(chosen.values()), read_image) * 2 > len(chosen):
            progress.say("  vLLM's prefix cache changes answers here (vLLM issue 20261): going on without it")
            self._stop()
            self._prefix_caching = False
            self._llm = self._open()
        return chain(taken, source)

    def disagreements(self, requests: list[Request], read_image: ReadImage) -> int:
        """On how many of these requests a warm cache gives another text than a cold one."""
        cold: list[str] = []
        for request in requests:
            self._forget()
            cold += [_text(answer) for answer in self.generate([request], read_image)]
        self._forget()
        warm: dict[tuple[str, int], str] = {}
        for _ in range(2):  # the first fills the cache, the second reads it
            answers = self.generate(requests, read_image)
            warm = {(answer.request_id, answer.index): _text(answer) for answer in answers}
        return sum(warm[r.id, r.index] != text for r, text in zip(requests, cold, strict=True))

    def _forget(self) -> None:
        self._llm.reset_prefix_cache()

    def close(self) -> None:
        """Stop vLLM and free its memory."""
        self._renderer.shutdown(cancel_futures=True)
        self._workers.shutdown(cancel_futures=True)
        self._stop()

    def _stop(self) -> None:
        import torch

        for prompt in self._prompts.values():
            prompt.cancel()
        self._prompts.clear()
        if self._llm is not None:
            with contextlib.suppress(AttributeError):
                self._llm.llm_engine.engine_core.shutdown()
            self._llm = None
        gc.collect()
        if self._on_gpu:
            torch.cuda.empty_cache()


class _WhenDue(Future[Any]):
    """Made by whoever asks for it first."""

    def __init__(self, make: Callable[[], Any]) -> None:
        super().__init__()
        self._make = make

    def done(self) -> bool:
        return True

    def result(self, timeout: float | None = None) -> Any:
        if not super().done():
            try:
                self.set_result(self._make())
            except (OSError, ValueError, KeyError) as error:
                self.set_exception(error)
        return super().result(timeout)


_END: Any = object()


@lru_cache
def sampling_params(sampling: Sampling) -> Any:
    """vLLM's form of how samples are drawn; made once, as making one and copying it deeply costs more than asking."""
    from vllm import SamplingParams
    from vllm.sampling_params import RepetitionDetectionParams, RequestOutputKind

    return SamplingParams(
        n=1,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens,
        stop=list(sampling.stop),
        include_stop_str_in_output=True,
        repetition_detection=RepetitionDetectionParams(max_pattern_size=64, min_pattern_size=16, min_count=16),
        output_kind=RequestOutputKind.FINAL_ONLY,
        skip_clone=True,  # each request has a copy of its own
    )


def _prompt_name(request: Request) -> tuple[str, Sampling]:
    return request.prompt, replace(request.sampling, max_tokens=0)


def _picture(name: str, sampling: Sampling, read_image: ReadImage) -> Image.Image:
    """One image, decoded and at the size the model sees: PIL lets other threads run meanwhile."""
    from PIL import Image

    with Image.open(io.BytesIO(read_image(name))) as image:
        size = fitted(*image.size, sampling.min_pixels, sampling.max_pixels)
        return image.convert("RGB").resize(size, Image.Resampling.BICUBIC)


def _parts(request: Request) -> Iterator[dict[str, Any]]:
    for message in request.messages:
        if not isinstance(message["content"], str):
            yield from message["content"]


def _text(answer: Sample | Failed) -> str:
    return answer.text if isinstance(answer, Sample) else answer.why


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
