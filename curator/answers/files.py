"""Grading a file of responses: what `curator grade FILE.jsonl` does.

One JSON object per line. `response` is the text (a list of texts is graded one by one); `options` the option texts in
order, or an object of label to text; `answer_label` the key, or null to read without grading. `truncated` (or
`finish_reason` "length") says that the response was cut. Other fields are carried along, but for those of the verdict's own
names (`label` to `why`), which it replaces: the totals say so.

    {"response": "The answer is (B).", "options": ["Yes", "No"], "answer_label": "B"}

gives

    {…, "label": "B", "correct": true, "unreadable": false, "how": "statement", "why": null}
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curator.answers.grading import grade
from curator.answers.prompt import labels
from curator.errors import UsageError

_HALF_PAIR = re.compile("[\ud800-\udfff]")


@dataclass(slots=True)
class Summary:
    """Counts of a graded file. Unreadable responses are a kind of not right, reported apart from wrong ones."""

    responses: int = 0
    correct: int = 0
    wrong: int = 0
    unreadable: int = 0
    unkeyed: int = 0
    """Only read: their answer_label is null."""
    replaced: set[str] = field(default_factory=set)
    """Fields of the input that had a verdict's name."""
    how: Counter[str] = field(default_factory=Counter)
    why: Counter[str] = field(default_factory=Counter)

    @property
    def accuracy(self) -> float | None:
        """Right answers over all graded responses, unreadable ones included; None without any key."""
        graded = self.correct + self.wrong + self.unreadable
        return self.correct / graded if graded else None

    def __str__(self) -> str:
        rate = f" = {self.accuracy:.1%}" if self.accuracy is not None else ""
        return (
            f"{self.responses:,} responses: {self.correct:,} correct{rate}, {self.wrong:,} wrong, "
            f"{self.unreadable:,} unreadable"
            + (f", {self.unkeyed:,} without a key" if self.unkeyed else "")
            + (f"; replaced the input's own {', '.join(sorted(self.replaced))}" if self.replaced else "")
        )


@dataclass(slots=True)
class GradedFile:
    """The graded rows of a file, read as they are asked for; `summary` is complete when they are exhausted."""

    path: Path
    grader: str = "curator"
    strict: bool = False
    summary: Summary = field(default_factory=Summary)

    @property
    def rows(self) -> Iterator[dict[str, Any]]:
        """The graded rows, from the beginning of the file."""
        return iter(self)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.summary = Summary()
        try:
            lines = self.path.open(encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{self.path}: {error.strerror or error}; give a JSON Lines file") from None
        with lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield from self._rows(line, f"{self.path}:{number}")

    def _rows(self, line: str, where: str) -> Iterator[dict[str, Any]]:
        row, responses, options, key = _parsed(line, where)
        cut = row.get("truncated") is True or row.get("finish_reason") == "length"
        for i, response in enumerate(responses):
            graded = grade(response, options, key, grader=self.grader, strict=self.strict, truncated=cut)
            self._count(graded.correct, graded.unreadable, graded.answer.how, graded.answer.why, key)
            extra = {"response": response, "sample": i} if isinstance(row["response"], list) else {}
            verdict = {
                "label": graded.label,
                "correct": graded.correct if key is not None else None,
                "unreadable": graded.unreadable,
                "how": graded.answer.how or None,
                "why": graded.answer.why,
            }
            self.summary.replaced |= row.keys() & verdict.keys()
            yield {**row, **extra, **verdict}

    def _count(self, correct: bool, unreadable: bool, how: str, why: str | None, key: str | None) -> None:
        self.summary.responses += 1
        self.summary.how[how or "unread"] += 1
        if why:
            self.summary.why[why] += 1
        if key is None:
            self.summary.unkeyed += 1
        elif unreadable:
            self.summary.unreadable += 1
        elif correct:
            self.summary.correct += 1
        else:
            self.summary.wrong += 1


def grade_file(path: str | Path, *, grader: str = "curator", strict: bool = False) -> GradedFile:
    """Grade a JSON Lines file: iterate over the result for rows, then read its `summary`."""
    return GradedFile(Path(path), grader, strict)


def _parsed(line: str, where: str) -> tuple[dict[str, Any], list[str], list[str], str | None]:
    try:
        row = _json(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UsageError(f"{where}: not JSON ({getattr(error, 'msg', error)}); write one object per line") from None
    if not isinstance(row, dict):
        raise UsageError(f"{where}: not an object; each line needs response, options and answer_label")
    for name in ("response", "options", "answer_label"):
        if name not in row:
            raise UsageError(f"{where}: no '{name}'; each line needs response, options and answer_label")
    responses = row["response"] if isinstance(row["response"], list) else [row["response"]]
    if not all(isinstance(response, str) for response in responses):
        raise UsageError(f"{where}: 'response' is not text; give a string or a list of strings")
    options = row["options"]
    if isinstance(options, str):
        try:
            options = _json(options)
        except (json.JSONDecodeError, RecursionError):
            raise UsageError(f"{where}: 'options' is text, not a list or an object of texts") from None
    names = list(options) if isinstance(options, dict) else None
    texts = list(options.values()) if isinstance(options, dict) else options
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UsageError(f"{where}: 'options' must be a list of texts, or an object of label to text")
    if len(texts) > 26:
        raise UsageError(f"{where}: {len(texts)} options; a question has at most 26")
    if names is not None and names != list(labels(len(names))):
        raise UsageError(f"{where}: option labels are {', '.join(names)}; they must be A, B, C … in order")
    key = row.get("answer_label")
    if key is not None and (not isinstance(key, str) or len(key) != 1 or key not in labels(len(texts))):
        known = ", ".join(labels(len(texts))) or "no options"
        shown = repr(key) if len(repr(key)) <= 40 else f"{repr(key)[:40]}…"
        raise UsageError(f"{where}: answer_label is {shown}; it must be one of {known}, or null to read only")
    return row, responses, texts, key


def _json(text: str) -> Any:
    """JSON as it can be printed and stored again: half of a surrogate pair, which a response that was cut inside of an emoji
    ends with, becomes U+FFFD, and a number of more digits than Python reads is text."""
    found = json.loads(text, parse_int=_whole_number)
    if "\\u" not in text:
        return found
    return json.loads(_HALF_PAIR.sub("\ufffd", json.dumps(found, ensure_ascii=False)), parse_int=_whole_number)


def _whole_number(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:
        return digits
