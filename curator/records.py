"""One row is one question: the only definition of a record, of a verdict and of their tables.

    >>> Record(question="Is there a fracture?", options=["Yes", "No"], answer_label="B").complete().answer
    'No'

`COLUMNS` are the columns of a published set, flat, in this order. Inside a build `images` holds references (`files.py`
of the sources explains them) until the images stage, and sha256 content hashes after it; a release embeds the bytes.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    import datasets

SCHEMA_VERSION = 1
LABELS = string.ascii_uppercase
DIFFICULTIES = ("easy", "medium", "hard")

_TEXT, _COUNT, _TEXTS = pa.string(), pa.int32(), pa.list_(pa.string())
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

COLUMNS: dict[str, pa.DataType] = {
    "id": _TEXT,
    "images": pa.list_(_IMAGE),
    "question": _TEXT,
    "options": _TEXTS,
    "answer_label": _TEXT,
    "answer": _TEXT,
    "answer_type": _TEXT,
    "reasoning": _TEXT,
    "reasoning_model": _TEXT,
    "language": _TEXT,
    "imaging_modality": _TEXT,
    "source": _TEXT,
    "source_split": _TEXT,
    "source_id": _TEXT,
    "source_revision": _TEXT,
    "license": _TEXT,
    "split_group": _TEXT,
    "difficulty": _TEXT,
    "solver": _TEXT,
    "pass_count": _COUNT,
    "sample_count": _COUNT,
    "unreadable_count": _COUNT,
    "truncated_count": _COUNT,
    "stop_rule": _TEXT,
    "blind_pass_count": _COUNT,
    "blind_sample_count": _COUNT,
    "flags": _TEXTS,
}


@dataclass(slots=True, kw_only=True)
class Record:
    """One question. An adapter fills in what its source has; `complete` derives the rest."""

    question: str
    options: list[str] = field(default_factory=list)
    answer_label: str | None = None
    answer: str | None = None
    answer_type: str = ""
    images: list[str] = field(default_factory=list)
    language: str = "en"
    imaging_modality: str | None = None
    reasoning: str | None = None
    reasoning_model: str | None = None
    id: str = ""
    source: str = ""
    source_split: str = ""
    source_id: str = ""
    source_revision: str = ""
    license: str = ""
    flags: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was repaired while reading, counted in the manifest; not a published column."""

    def complete(self) -> Record:
        """Fill in answer from label, label from answer (exact, then ignoring case) and the answer type.

        Raises:
            BadRow: with a reason of `REASONS` in `sources/source.py` when the row is no usable question.
        """
        if not self.question or not self.question.strip():
            raise BadRow("empty-question")
        if len(self.options) == 1 or len(self.options) > len(LABELS):
            raise BadRow("option-count", options=len(self.options))
        if any(not option.strip() for option in self.options):
            raise BadRow("empty-option")
        if self.options:
            folded = [" ".join(option.split()).casefold() for option in self.options]
            if len(set(folded)) < len(folded):
                raise BadRow("duplicate-options", options=self.options)
            if self.answer_label is None and self.answer is not None:
                wanted = " ".join(self.answer.split()).casefold()
                if wanted not in folded:
                    raise BadRow("answer-not-among-options", answer=self.answer)
                self.answer_label = LABELS[folded.index(wanted)]
            if self.answer_label is None:
                raise BadRow("no-answer")
            if self.answer_label not in list(LABELS[: len(self.options)]):
                raise BadRow("unknown-label", label=self.answer_label)
            keyed = self.options[LABELS.index(self.answer_label)]
            if (
                self.answer is not None
                and " ".join(self.answer.split()).casefold() != " ".join(keyed.split()).casefold()
            ):
                raise BadRow("label-contradicts-answer", label=self.answer_label, option=keyed, answer=self.answer)
            self.answer = keyed
            if not self.answer_type:
                self.answer_type = "yes_no" if set(folded) == {"yes", "no"} else "choice"
        else:
            if self.answer is None or not self.answer.strip():
                raise BadRow("no-answer")
            self.answer_label = None
            self.answer_type = "open"
        return self


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one stage decided about one row: `reason` is a word of that stage ('' for a row kept), `evidence` is JSON."""

    id: str
    stage: str
    keep: bool
    reason: str = ""
    evidence: str = ""


class BadRow(Exception):
    """Raised by an adapter for a raw row that is no usable question; becomes a verdict of stage `ingest`."""

    def __init__(self, reason: str, **evidence: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.evidence = evidence_json({name: _shortened(value) for name, value in evidence.items()})


MAX_EVIDENCE = 200
"""Characters of a raw value that a verdict shows: verdicts are published, and a raw value may be a picture."""


def _shortened(value: Any) -> Any:
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, TypeError, RecursionError) as error:
        text = value = f"{type(value).__name__}: {error}"
    return value if len(text) <= MAX_EVIDENCE else f"{text[:MAX_EVIDENCE]}…"


def evidence_json(evidence: dict[str, Any]) -> str:
    """Evidence as compact JSON with sorted keys; '' when there is none. Half a surrogate pair becomes a question mark."""
    text = json.dumps(evidence, ensure_ascii=False, sort_keys=True, default=str) if evidence else ""
    return text.encode("utf-8", "replace").decode()


def working_schema() -> pa.Schema:
    """The schema of records between ingest and write: the fields of `Record`, images as strings."""
    listy = {"options", "images", "flags", "notes"}
    return pa.schema([(f.name, _TEXTS if f.name in listy else _TEXT) for f in fields(Record)])


def to_table(records: Iterable[Record]) -> pa.Table:
    """Records as one Arrow table in `working_schema`."""
    rows = list(records)
    schema = working_schema()
    return pa.table(
        {name: pa.array([getattr(r, name) for r in rows], schema.field(name).type) for name in schema.names},
        schema=schema,
    )


def release_schema() -> pa.Schema:
    """The Arrow schema of a published shard, with the features that `datasets` reads from its metadata."""
    schema = pa.schema([pa.field(name, kind) for name, kind in COLUMNS.items()])
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": _features_json()}})})


def features() -> datasets.Features:
    """The `datasets` features of a published set."""
    import datasets

    return datasets.Features.from_dict(_features_json())


def _features_json() -> dict[str, Any]:
    value = {_TEXT: "string", _COUNT: "int32"}
    out: dict[str, Any] = {}
    for name, kind in COLUMNS.items():
        if name == "images":
            out[name] = {"feature": {"_type": "Image"}, "_type": "List"}
        elif pa.types.is_list(kind):
            out[name] = {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"}
        else:
            out[name] = {"dtype": value[kind], "_type": "Value"}
    return out
