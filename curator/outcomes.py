"""One solver over many questions: look up, draw what is missing, grade, and let the stopping rule say when it is enough.

The questions go by as a stream: nothing waits for a batch, and follow-up samples of a question that is not settled go
before new questions, so that its picture is still at hand. What is counted are the first samples in index order, where the
rule stopped; which of them finished first, or what else the store holds, changes nothing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from curator import progress
from curator.answers import displayed, grade, option_order, render
from curator.engines import Engine, Failed, ReadImage, Request, Sample, Sampling, ask
from curator.records import LABELS, Record
from curator.rollouts import RolloutStore, keep
from curator.unanswerable import says_figure_is_missing

if TYPE_CHECKING:
    import polars as pl

    from curator.recipe import Solver
    from curator.stopping import Rule

_CHUNK = 512
_SOON, _SLOW, _BATCH = 15.0, 240.0, 128
_NO_LABEL = 31
_TRUNCATED, _RIGHT, _REWARDED = 32, 64, 128


@dataclass(slots=True)
class Outcomes:
    """What became of one question's samples, in index order."""

    key: str
    """Of its prompt in the rollout store."""
    rule: Rule
    codes: bytearray = field(default_factory=bytearray)
    figure_missing: int = 0
    failure: str = ""
    """Why it could not be scored."""
    passing: bool = False
    """That may go better another time."""

    @property
    def right(self) -> int:
        return sum(code & _RIGHT > 0 for code in self.codes)

    @property
    def rewarded(self) -> int:
        """Right, and in the form that a training reward pays."""
        return sum(code & _REWARDED > 0 for code in self.codes)

    @property
    def drawn(self) -> int:
        return len(self.codes)

    @property
    def truncated(self) -> int:
        """Cut off, and not right."""
        return sum(code & (_TRUNCATED | _RIGHT) == _TRUNCATED for code in self.codes)

    @property
    def unreadable(self) -> int:
        """Not cut off, and no answer found in it."""
        return sum(code == _NO_LABEL for code in self.codes)

    def labels(self) -> dict[str, int]:
        """How often each label was answered, in the order of the record's options."""
        counts: dict[str, int] = {}
        for code in self.codes:
            if code & 31 != _NO_LABEL:
                label = LABELS[code & 31]
                counts[label] = counts.get(label, 0) + 1
        return counts


@dataclass(slots=True)
class _Live:
    """A question that is not settled yet."""

    row: dict[str, Any]
    messages: list[dict[str, Any]]
    images: tuple[str, ...]
    options: list[str]
    answer_label: str | None
    order: list[int] | None
    outcomes: Outcomes
    came: dict[int, Sample] = field(default_factory=dict)
    """Samples whose turn in index order has not come."""
    awaited: int = 0


@dataclass
class Pass:
    """One solver, one prompt: how it is asked and graded, and who answers."""

    solver: Solver
    model_id: str
    store: RolloutStore
    open_engine: Callable[[], Engine]
    read_image: ReadImage
    blind: bool = False
    what: str = "scoring"
    pace: Callable[[float], None] | None = None
    """Told once, after a while of drawing, how many seconds are left; may raise to stop."""

    def over(self, rows: pl.DataFrame, rule: Callable[[str], Rule]) -> dict[str, Outcomes]:
        """The outcomes of every row (id, question, options, answer_label, images), by id. `rule` gives each id its rule.

        Raises:
            CuratorError: no engine, no store, no more answers; what was drawn is in the store.
        """
        done: dict[str, Outcomes] = {}
        while rows.height:
            self.store.overruled.clear()
            done.update(_Stream(self, rows, rule).run())
            # Another process acknowledged some of these samples first: count what the store holds.
            again = [id for id, outcomes in done.items() if outcomes.key in self.store.overruled]
            rows = rows.filter(rows["id"].is_in(again))
        return done

    def keys(self, rows: pl.DataFrame) -> dict[str, str]:
        """The prompt key of every row in the rollout store, by id."""
        return {row["id"]: self.prepare(row)[1].prompt for row in rows.iter_rows(named=True)}

    def prepare(self, row: dict[str, Any]) -> tuple[_Live, Request]:
        """A row as a question, and the request for its first sample."""
        solver = self.solver
        record = Record(
            id=row["id"], question=row["question"], options=row["options"], answer_label=row["answer_label"],
            images=row["images"],
        )  # fmt: skip
        messages = render(record, solver.prompt, blind=self.blind, shuffle_seed=solver.shuffle_options)
        options, label = displayed(record, solver.shuffle_options)
        order = None if solver.shuffle_options is None else option_order(record, solver.shuffle_options)
        images = () if self.blind else tuple(row["images"])
        first = ask(row["id"], messages, images, Sampling.of(solver), self.model_id, [0])[0]
        live = _Live(row, messages, images, options, label, order, None)  # type: ignore[arg-type]
        return live, first

    def code(self, question: _Live, sample: Sample) -> int:
        """One sample graded, as a small number."""
        graded = grade(
            sample.response,
            question.options,
            question.answer_label,
            grader=self.solver.grader,
            truncated=sample.truncated,
        )
        at = LABELS.index(graded.label) if graded.label is not None else _NO_LABEL
        if at != _NO_LABEL and question.order is not None:
            at = question.order[at]
        if not graded.correct:
            return at | (_TRUNCATED if sample.truncated else 0)
        paid = grade(sample.response, question.options, question.answer_label, strict=True).correct
        return at | (_TRUNCATED if sample.truncated else 0) | _RIGHT | (_REWARDED if paid else 0)


class _Stream:
    """One run of a pass over rows."""

    def __init__(self, settings: Pass, rows: pl.DataFrame, rule: Callable[[str], Rule]) -> None:
        self.settings, self.rows, self.rule = settings, rows, rule
        self.done: dict[str, Outcomes] = {}
        self.live: dict[str, _Live] = {}
        self.twins: dict[str, list[_Live]] = {}
        self.asked: set[str] = set()
        self.failed: dict[str, Failed] = {}
        self.ready: deque[Request] = deque()
        self.tally = {"right": 0, "wrong": 0, "unreadable": 0}
        self.drawn = 0
        self.passed = 0
        self.pace = settings.pace

    def run(self) -> dict[str, Outcomes]:
        most = self.most = sum(self.rule(id).n for id in self.rows["id"])
        with progress.bar(self.settings.what, most, unit="samples") as self.bar:
            requests = self._requests()
            first = next(requests, None)
            if first is not None:
                engine = self.settings.open_engine()
                self.started = time.monotonic()
                answers = keep(
                    chain([first], requests),
                    store=self.settings.store,
                    engine=engine,
                    read_image=self.settings.read_image,
                )
                for request, answer in answers:
                    self._take(request, answer)
                    if self.pace is not None:
                        self._tell_pace()
        return self.done

    def _tell_pace(self) -> None:
        """Once the rate is known somewhat: a batch or two, or some minutes of a machine that is far too slow."""
        seconds = time.monotonic() - self.started
        if self.pace is None or not self.drawn or seconds < _SOON or (self.drawn < _BATCH and seconds < _SLOW):
            return
        pace, self.pace = self.pace, None
        pace((self.most - self.passed) * seconds / self.drawn)

    def _requests(self) -> Iterator[Request | None]:
        """What is missing in the store; None while all of it is in flight."""
        for part in self.rows.iter_slices(_CHUNK):
            prepared = [self.settings.prepare(row) for row in part.iter_rows(named=True)]
            limit = self.settings.solver.max_tokens
            held = self.settings.store.find([first.prompt for _, first in prepared], limit)
            for question, first in prepared:
                while self.ready:
                    yield self.ready.popleft()
                self._begin(question, first, held.get(first.prompt, {}))
        while self.ready or self.live:
            yield self.ready.popleft() if self.ready else None

    def _begin(self, question: _Live, first: Request, held: dict[int, Sample]) -> None:
        question.outcomes = Outcomes(first.prompt, self.rule(question.row["id"]))
        failed = self.failed.get(first.prompt)
        if failed is not None:
            # More samples of the equal question that failed may be in flight: asking for them would pay them twice.
            question.outcomes.failure, question.outcomes.passing = failed.why, failed.passing
        elif first.prompt in self.asked and first.prompt not in self.live:
            # An equal question was drawn since the look-up.
            self.settings.store.flush()
            held = self.settings.store.find([first.prompt], self.settings.solver.max_tokens).get(first.prompt, {})
        question.came = dict(held)
        if first.prompt in self.live:
            # An equal question is being drawn: this one waits for its samples instead of paying them twice.
            self.twins.setdefault(first.prompt, []).append(question)
            return
        self._advance(question, first)

    def _advance(self, question: _Live, request: Request) -> None:
        """Count the samples whose turn has come; then ask for the next wave, or close the question."""
        outcomes = question.outcomes
        while not outcomes.failure:
            wave = outcomes.rule.wave(outcomes.right, outcomes.drawn - outcomes.right)
            if wave == 0:
                break
            indices = range(outcomes.drawn, outcomes.drawn + wave)
            missing = [index for index in indices if index not in question.came]
            if missing:
                self.live[outcomes.key] = question
                self.asked.add(outcomes.key)
                question.awaited = len(missing)
                self.ready.extend(replace(request, id=outcomes.key, index=index) for index in missing)
                return
            for index in indices:
                self._count(question, question.came[index])
        self._close(question, request)

    def _count(self, question: _Live, sample: Sample) -> None:
        code = self.settings.code(question, sample)
        question.outcomes.codes.append(code)
        if not self.settings.blind:
            question.outcomes.figure_missing += says_figure_is_missing(sample.response)
        name = "right" if code & _RIGHT else "unreadable" if code & 31 == _NO_LABEL else "wrong"
        self.tally[name] += 1
        self.passed += 1
        self.bar.advance(1, note=" / ".join(f"{number:,} {kind}" for kind, number in self.tally.items()))

    def _close(self, question: _Live, request: Request) -> None:
        outcomes = question.outcomes
        self.done[question.row["id"]] = outcomes
        self.live.pop(outcomes.key, None)
        self.bar.advance(outcomes.rule.n - outcomes.drawn)
        self.passed += outcomes.rule.n - outcomes.drawn
        waiting = self.twins.pop(outcomes.key, [])
        for at, twin in enumerate(waiting):
            twin.came.update(question.came)
            twin.outcomes.failure, twin.outcomes.passing = outcomes.failure, outcomes.passing
            self._advance(twin, request)
            if outcomes.key in self.live:
                self.twins[outcomes.key] = waiting[at + 1 :]
                return

    def _take(self, request: Request, answer: Sample | Failed) -> None:
        """One answer of the engine: when the last one of a wave is in, the question goes on."""
        question = self.live.get(request.prompt)
        if question is None:
            return  # the question failed while this sample was in flight; the store has it
        question.awaited -= 1
        if isinstance(answer, Failed):
            question.outcomes.failure, question.outcomes.passing = answer.why, answer.passing
            self.failed[request.prompt] = answer
            self.ready = deque(other for other in self.ready if other.prompt != request.prompt)
        else:
            question.came[answer.index] = answer
            self.drawn += 1
        if question.awaited == 0 or question.outcomes.failure:
            self._advance(question, request)
