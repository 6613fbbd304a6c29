"""Who answers: an engine is given requests and yields samples as they finish, in any order.

    engine = open_engine(recipe.score)
    for sample in engine.generate(requests, read_image=build.read_image):
        ...

| engine | module | what for |
|---|---|---|
| transformers | `engines.transformers` | anywhere Python runs: Qwen2.5-VL and text-only causal models |
| vllm | `engines.vllm` | one continuous stream in process, with a GPU |
| openai | `engines.openai` | any OpenAI-compatible server or API, several at once |
| ray | `engines.ray` | spreads one of the first two over GPUs and machines |

One request is one sample. Requests of the same question follow each other and share `prompt`, so that an engine can
prepare the question once. What a request costs is decided before an engine is opened: `curator.rollouts` knows what was
drawn already.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from curator.engines.model import fetch_model, identify, uses_servers
from curator.errors import MissingExtra

if TYPE_CHECKING:
    from curator.recipe import Solver

Message = dict[str, Any]
ReadImage = Callable[[str], bytes]

STOP = ("</answer>",)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to draw. All but `max_tokens` is part of a sample's identity; pixels only where there are images."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 4096
    min_pixels: int = 28 * 28
    max_pixels: int = 1024 * 1024
    stop: tuple[str, ...] = STOP
    """Strings that end a sample; the one that did stays in its text."""

    @classmethod
    def of(cls, solver: Solver) -> Sampling:
        """The sampling settings of a recipe's solver."""
        return cls(solver.temperature, solver.top_p, solver.max_tokens, solver.min_pixels, solver.max_pixels)


@dataclass(frozen=True, slots=True)
class Request:
    """One sample to draw."""

    id: str
    """The caller's name of the question; not part of the sample's identity."""
    messages: Sequence[Message]
    """From `answers.render`: an image part is {"type": "image", "image": index into `images`}."""
    images: tuple[str, ...]
    """Content hashes."""
    sampling: Sampling
    model: str
    """The model's exact id (`identify`)."""
    index: int
    prompt: str
    """Hash of all that decides the answers to this question, except the index (`prompt_key`)."""

    @property
    def payload(self) -> str:
        """What `prompt` is the hash of."""
        return prompt_payload(self.model, self.messages, self.images, self.sampling)

    @property
    def seed(self) -> int:
        """The sample's own seed: 31 bits of the hash of its key."""
        return int.from_bytes(hashlib.sha256(f"{self.prompt}/{self.index}".encode()).digest()[:4], "big") >> 1


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer. `finish_reason` is "stop", "length" (cut at the token limit) or "repetition" (caught in a loop)."""

    request_id: str
    index: int
    text: str
    reasoning: str
    """What a server returned apart from the text as `reasoning_content`; else ""."""
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    siblings: int = 0
    """How many more samples of the same response follow: they are acknowledged together or not at all."""

    @property
    def truncated(self) -> bool:
        return self.finish_reason in ("length", "repetition")

    @property
    def response(self) -> str:
        """The whole response as a grader reads it."""
        return f"<think>{self.reasoning}</think>\n{self.text}" if self.reasoning else self.text


@dataclass(frozen=True, slots=True)
class Failed:
    """One sample that could not be drawn, for a reason of its own: the rest goes on."""

    request_id: str
    index: int
    why: str
    passing: bool = False
    """It may go better another time: the next run of the same command asks again."""


class Engine(Protocol):
    """Draws samples."""

    name: str
    """Of the engine, noted with each sample: 'transformers 5.23.0'."""
    model_id: str

    def generate(self, requests: Iterable[Request | None], read_image: ReadImage) -> Iterator[Sample | Failed]:
        """Draw every request once. Requests are pulled as there is room for them; None means "nothing to draw until
        one of those in flight has finished".

        Raises:
            EngineError: no more answers can be had; samples yielded so far stand.
        """
        ...

    def close(self) -> None:
        """Free the memory, the connections and the processes."""
        ...


def prompt_payload(model: str, messages: Sequence[Message], images: Sequence[str], sampling: Sampling) -> str:
    """All that decides the answers to one question, as canonical JSON: what a prompt's key hashes and exports show.

    ASCII throughout, so that a lone surrogate in a source cannot break the store.
    """
    settings = asdict(sampling)
    del settings["max_tokens"]
    if not images:
        del settings["min_pixels"], settings["max_pixels"]
    payload = {"model": model, "messages": list(messages), "images": list(images), "sampling": settings}
    return json.dumps(payload, sort_keys=True, separators=(",", ":"))


def prompt_key(payload: str) -> str:
    """sha256 of a payload."""
    return hashlib.sha256(payload.encode()).hexdigest()


def ask(
    id: str,
    messages: Sequence[Message],
    images: Sequence[str],
    sampling: Sampling,
    model: str,
    indices: Iterable[int],
) -> list[Request]:
    """The requests for some samples of one question."""
    key = prompt_key(prompt_payload(model, messages, images, sampling))
    return [Request(id, messages, tuple(images), sampling, model, index, key) for index in indices]


def choose(solver: Solver) -> str:
    """The engine that 'auto' means here: openai with servers, vllm with a GPU and vllm, else transformers.

    Raises:
        MissingExtra: what the chosen engine needs is not installed.
    """
    if uses_servers(solver):
        return "openai"
    if solver.engine == "vllm":
        if find_spec("vllm") is None:
            raise MissingExtra("the vllm engine", "vllm")
        return "vllm"
    if solver.engine == "auto" and find_spec("vllm") is not None and _has_gpu():
        return "vllm"
    if find_spec("torch") is None or find_spec("transformers") is None:
        raise MissingExtra("a model on this machine (where no server answers)", "local")
    return "transformers"


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def open_engine(solver: Solver, *, replicas: int = 1, ray: str | None = None, offline: bool = False) -> Engine:
    """The engine for a solver, ready to answer.

    Raises:
        MissingExtra, UsageError, NetworkError, EngineError: one line that says what is missing.
    """
    model_id = identify(solver, offline=offline)
    if uses_servers(solver):
        from curator.engines.openai import OpenAIEngine

        return OpenAIEngine(solver, model_id)
    if replicas > 1 or ray is not None:
        from curator.engines.ray import RayEngine

        return RayEngine(solver, model_id, replicas=replicas, address=ray, offline=offline)
    if choose(solver) == "vllm":
        from curator.engines.vllm import VLLMEngine

        return VLLMEngine(fetch_model(solver, model_id, offline=offline), model_id)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from curator.engines.transformers import TransformersEngine

    return TransformersEngine(fetch_model(solver, model_id, offline=offline), model_id)
