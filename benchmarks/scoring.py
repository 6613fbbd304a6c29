"""How fast 16 samples a question are drawn with vLLM: everything at once, the seed's batches, and our stream.

python3 scripts/vllm_env.py --only-make && .venv-vllm/bin/python benchmarks/scoring.py

Real vLLM on this machine's processors with the phantom model and its pictures; writes benchmarks/results/scoring.md, some
five minutes on two free cores. In one process with one vLLM, in turns, so that each round compares like with like; caches
are emptied before each run. Seconds of the wall and of the processor (all threads of the process).
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.update(
    HF_HUB_OFFLINE="1",
    # One computing thread: a model this small gains nothing by two, and other work on the machine disturbs it less.
    OMP_NUM_THREADS="1",
    VLLM_CPU_OMP_THREADS_BIND="nobind",
    TOKENIZERS_PARALLELISM="false",
    VLLM_CPU_KVCACHE_SPACE="1",
    VLLM_ENABLE_V1_MULTIPROCESSING=os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING", "0"),
    VLLM_LOGGING_LEVEL="ERROR",
)
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from curator import phantom
from curator.answers import render
from curator.engines import Request, Sampling, ask
from curator.engines.vllm import VLLMEngine, sampling_params
from curator.recipe import SourceChoice
from curator.records import Record
from curator.rollouts import RolloutStore, draw
from curator.sources import open_source

SAMPLES = 16
RUNAWAYS, MEDIAN, LONGEST = 0.015, 20, 400
"""Of the heavy-tailed lengths: 1.5 % of the samples run to twenty times the others' length."""
Run = Callable[[], int]


class Work:
    """The questions, and the same ones as vLLM's own `generate` wants them."""

    def __init__(self, questions: int, slots: int) -> None:
        opened = open_source(SourceChoice(name="phantom", options={"rows": str(3 * questions + 240)}))
        read = [row for row in opened.records("train") if isinstance(row, Record) and row.options and row.images]
        self.images = {
            name: data for name, data in opened.read_images(sorted({n for r in read for n in r.images}))
            if isinstance(data, bytes) and decodes(data)
        }  # fmt: skip
        self.records = [record for record in read if set(record.images) <= self.images.keys()][:questions]
        assert len(self.records) == questions
        self.engine = VLLMEngine(phantom.model_dir(), "phantom", slots=slots, check=False)
        self.llm: Any = self.engine._llm
        self.folder = Path(tempfile.mkdtemp())
        self.runs = 0
        self.storing: list[float] = []
        """The store's share of the processor's time, of each run into it."""
        self.steps, self.stepping = 0, 0.0
        """The engine's steps of this run, and the seconds in them."""
        self._step = self.llm.llm_engine.step
        self.llm.llm_engine.step = self._counted

    def _counted(self) -> Any:
        start = time.perf_counter()
        outputs = self._step()
        self.steps += 1
        self.stepping += time.perf_counter() - start
        return outputs

    def requests(self, stop: tuple[str, ...]) -> list[Request]:
        return [
            request
            for record in self.records
            for request in ask(record.id, render(record), record.images, self.sampling(stop), "phantom", range(SAMPLES))
        ]

    def sampling(self, stop: tuple[str, ...]) -> Sampling:
        return Sampling(max_tokens=64 if stop else LONGEST, max_pixels=9408, stop=stop)

    def prompts(self, records: list[Record]) -> list[dict[str, Any]]:
        """Text and decoded pictures, one after the other."""
        from PIL import Image

        return [
            {
                "prompt": self.engine.tokenizer.apply_chat_template(
                    render(record), chat_template=self.engine.template, tokenize=False, add_generation_prompt=True
                ),
                "multi_modal_data": {
                    "image": [Image.open(io.BytesIO(self.images[name])).convert("RGB") for name in record.images]
                },
            }
            for record in records
        ]

    def params(self, records: list[Record], stop: tuple[str, ...]) -> list[Any]:
        """The same sampling as ours, all samples of a question in one request, every sample with a seed of its own."""
        made = []
        for at in range(len(records)):
            made.append(copy.copy(sampling_params(self.sampling(stop))))
            made[-1].n, made[-1].seed = SAMPLES, SAMPLES * at
        return made

    # -- the contenders: each returns the tokens drawn ------------------------------------------------------------------

    def at_once(self, stop: tuple[str, ...]) -> int:
        return self._vllm(self.records, stop)

    def seed_loop(self, stop: tuple[str, ...], batch: int) -> int:
        """Batches with a barrier, pictures made ready in line, and a file appended after each batch."""
        tokens = 0
        with (self.folder / f"{self.runs}.jsonl").open("w") as file:
            for start in range(0, len(self.records), batch):
                tokens += self._vllm(self.records[start : start + batch], stop, file)
        return tokens

    def _vllm(self, records: list[Record], stop: tuple[str, ...], file: Any = None) -> int:
        outputs = self.llm.generate(self.prompts(records), self.params(records, stop), use_tqdm=False)
        if file is not None:
            for record, output in zip(records, outputs, strict=True):
                file.write(json.dumps({"id": record.id, "texts": [made.text for made in output.outputs]}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        assert all(len(output.outputs) == SAMPLES for output in outputs)
        return sum(len(made.token_ids) for output in outputs for made in output.outputs)

    def stream(self, stop: tuple[str, ...]) -> int:
        """Ours without the store."""
        return sum(
            answer.completion_tokens for answer in self.engine.generate(self.requests(stop), self.images.__getitem__)
        )

    def stored(self, stop: tuple[str, ...]) -> int:
        """Ours: every sample committed and synced."""
        processor = time.process_time()
        with Timed(self.folder / f"{self.runs}.sqlite") as store:
            drawn = draw(
                self.requests(stop), store=store, engine=lambda: self.engine, read_image=self.images.__getitem__
            )
            tokens = sum(answer.completion_tokens for _, answer in drawn)
        self.storing.append(store.spent / (time.process_time() - processor))
        return tokens

    def forget(self) -> None:
        """Empty every cache."""
        self.llm.reset_prefix_cache()
        self.llm.llm_engine.reset_mm_cache()
        self.engine._prompts.clear()
        self.runs += 1
        self.steps, self.stepping = 0, 0.0


class Timed(RolloutStore):
    """A store that counts the processor's seconds of its own work: looking up, taking in, and its writing thread."""

    spent = 0.0

    def find(self, *given: Any) -> Any:
        with self._counted():
            return super().find(*given)

    def put(self, *given: Any) -> None:
        with self._counted():
            super().put(*given)

    def _write(self) -> None:
        with self._counted():
            super()._write()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        start = time.thread_time()
        try:
            yield
        finally:
            self.spent += time.thread_time() - start


def decodes(data: bytes) -> bool:
    from PIL import Image

    try:
        Image.open(io.BytesIO(data)).convert("RGB")
    except (OSError, SyntaxError):
        return False
    return True


@contextmanager
def lengths(work: Work) -> Iterator[None]:
    """Every run gets the same lengths in the same order of requests, whatever the model would say."""
    core = work.llm.llm_engine.engine_core
    original = core.add_request
    total = len(work.records) * SAMPLES
    drawn = random.Random(0)
    wanted = [LONGEST if drawn.random() < RUNAWAYS else drawn.randint(MEDIAN - 8, MEDIAN + 8) for _ in range(total)]
    count = 0

    def add(request: Any) -> None:
        nonlocal count
        params = copy.copy(request.sampling_params)
        params.max_tokens, params.ignore_eos = wanted[count % total], True
        params.stop_token_ids, params._eos_token_id, params.repetition_detection = [], None, None
        request.sampling_params = params
        count += 1
        original(request)

    core.add_request = add
    try:
        yield
    finally:
        core.add_request = original


Figures = dict[str, list[tuple[float, float, int, float]]]
"""Tokens a second of the wall and of the processor, engine steps, and the share of the time outside of them, by round."""


def interleaved(work: Work, contenders: dict[str, Run], rounds: int) -> Figures:
    """Every contender in every round."""
    figures: Figures = {name: [] for name in contenders}
    for at in range(rounds + 1):
        names = list(contenders)
        for name in names[at % len(names) :] + names[: at % len(names)]:
            work.forget()
            wall, processor = time.perf_counter(), time.process_time()
            tokens = contenders[name]()
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            if at:  # the first round warms up
                figures[name].append((tokens / wall, tokens / processor, work.steps, 1 - work.stepping / wall))
            print(f"  {name}: {tokens:,} tokens, {wall:.1f} s, {processor:.1f} s of the processor", file=sys.stderr)
    return figures


def table(figures: Figures, base: str) -> list[str]:
    """Medians, and the median ratio to `base` in the same round with its range."""
    lines = [
        "| | tokens/s | tokens/s of processor time | ratio (wall) | ratio (processor) | engine steps | outside of them |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, runs in figures.items():
        cells = [f"{statistics.median(run[which] for run in runs):,.0f}" for which in (0, 1)]
        for which in (0, 1):
            ratios = [run[which] / other[which] for run, other in zip(runs, figures[base], strict=True)]
            cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")
        cells.append(f"{statistics.median(run[2] for run in runs):,.0f}")
        cells.append(f"{statistics.median(run[3] for run in runs):.1%}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measure, print and store the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=90)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    chosen = parser.parse_args()
    work = Work(chosen.questions, chosen.slots)
    stop = ("</answer>",)
    plain = interleaved(
        work,
        {
            "LLM.generate, everything at once": lambda: work.at_once(stop),
            "the seed's loop, 512 questions a batch": lambda: work.seed_loop(stop, 512),
            "our stream, nothing stored": lambda: work.stream(stop),
            "our stream into the store": lambda: work.stored(stop),
        },
        chosen.rounds,
    )
    per_slot = chosen.slots // SAMPLES
    storing = statistics.median(work.storing[1:])
    work.records = work.records[: chosen.questions // 3]  # a barrier takes its time
    with lengths(work):
        tailed = interleaved(
            work,
            {
                "LLM.generate, everything at once": lambda: work.at_once(()),
                f"the seed's loop, {per_slot} questions a batch (its sequences fill the slots)": lambda: work.seed_loop(
                    (), per_slot
                ),
                f"the seed's loop, {8 * per_slot} questions a batch": lambda: work.seed_loop((), 8 * per_slot),
                "our stream into the store": lambda: work.stored(()),
            },
            chosen.rounds,
        )
    import vllm

    page = [
        "# Drawing samples with vLLM",
        "",
        f"vLLM {vllm.__version__} on {os.cpu_count()} cores, one computing thread (load average {os.getloadavg()[0]:.0f} at the end: where",
        "others compute too, read the columns of processor time), phantom model and pictures,",
        f"{chosen.questions} questions x {SAMPLES} samples, {chosen.slots} slots, for everyone the same way of sampling; median of",
        f"{chosen.rounds} interleaved rounds after one to warm up, with the range of the ratios in the same round. How many steps the engine",
        "took does not depend on the machine's mood; outside of them is what the loop around the engine takes of the wall's time.",
        "",
        "As the model answers, up to `</answer>` or 64 tokens (ratios to everything at once):",
        "",
        *table(plain, "LLM.generate, everything at once"),
        "",
        "The second row does the same work as the first when one batch holds everything: how far they differ is the noise of this machine.",
        f"The store's own work (looking up, taking in, committing) is {storing:.2%} of the processor's time, median of the runs.",
        "",
        f"The first {len(work.records)} questions with heavy-tailed lengths, the same for all ({RUNAWAYS:.1%} of {LONGEST} tokens, the others {MEDIAN - 8} to {MEDIAN + 8}):",
        "",
        *table(tailed, "LLM.generate, everything at once"),
        "",
        "Our stream over the seed's loop, same rounds:",
        "",
        *against(tailed, "our stream into the store"),
        "",
    ]
    text = "\n".join(page)
    print(text)
    (Path(__file__).parent / "results" / "scoring.md").write_text(text, "utf-8")
    work.engine.close()


def against(figures: Figures, ours: str) -> list[str]:
    """Ours over each of the others."""
    lines = ["| over | wall | processor |", "|---|---:|---:|"]
    for name, runs in figures.items():
        if name != ours:
            cells = []
            for which in (0, 1):
                ratios = [mine[which] / run[which] for mine, run in zip(figures[ours], runs, strict=True)]
                cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
