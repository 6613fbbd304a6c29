"""What a source is: its facts, its layouts on disk or on the Hub, and one function from raw row to record.

    MEDQA = Source(name="medqa", repo="GBaker/MedQA-USMLE-4-options", license="mit", …,
                   files={"train": "phrases_no_exclude_train.jsonl", "test": "phrases_no_exclude_test.jsonl"},
                   columns=("question", "options", "answer_idx"))

    @MEDQA.row
    def record(raw: Raw) -> Record:
        return Record(question=raw.text("question"), …)

A missing field, a wrong type or a `BadRow` inside `record` becomes a verdict of stage `ingest`; nothing else is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from curator.records import BadRow, Record

if TYPE_CHECKING:
    from numpy.random import Generator

    from curator.recipe import SourceChoice
    from curator.sources.files import Tree, Unroll
    from curator.sources.opened import Opened

Row = Callable[["Raw"], Record]

REASONS: dict[str, str] = {
    "missing-field": "the row lacks a field, or holds null there",
    "wrong-type": "a field holds something else than documented",
    "unreadable-row": "the line is no JSON or no CSV, a number in it has more digits than can be read, or a text is no Unicode",
    "ragged-row": "the line has more or fewer cells than the header",
    "empty-question": "no stem",
    "empty-option": "an option without text",
    "option-count": "one option, or more than 26",
    "duplicate-options": "two options are equal, so the key is ambiguous",
    "no-answer": "no key (hidden test answers among them)",
    "unknown-label": "the key letter names no option",
    "answer-not-among-options": "the answer's text is none of the options",
    "label-contradicts-answer": "key letter and answer text name different options",
    "option-prefix-mismatch": "an option carries the letter of another one",
    "options-undecided": "a closed question whose alternatives no rule finds",
    "missing-image": "the row names an image that is not among the files, or none where it needs one",
    "unsafe-image-path": "an image path that leaves the source's folder",
    "needs-image": "a text set's question that refers to a picture which is not published with it",
    "repeated-row": "the row is an earlier one of its file again, which the published set leaves out",
    "filtered": "the recipe's `where` leaves the row out",
}
"""Every reason that an ingest verdict can have."""


class Raw(dict[str, Any]):
    """One raw row: its fields, where it stands, and what was repaired while reading it."""

    split = ""
    file = ""
    tree: Tree
    rng: Generator | None = None
    """The generator of the `shuffle` option, one for all rows of a split."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.notes: list[str] = []
        self.place: dict[str, Any] = {}
        """The file and, from 1, the line there (of JSON and Parquet: the row)."""

    def text(self, column: str, default: str | None = None) -> str:
        """A field as text without outer blanks (NBSP and hair spaces too); numbers become text, with a note.

        Raises:
            BadRow: the field is missing or null and there is no default, or it holds no text.
        """
        value = self.get(column)
        if value is None:
            if default is None:
                raise BadRow("missing-field", field=column)
            return default
        if isinstance(value, int | float) and not isinstance(value, bool):
            self.note("number-as-text")
            value = str(value)
        if not isinstance(value, str):
            raise BadRow("wrong-type", field=column, expected="text", found=type(value).__name__)
        stripped = value.strip().strip("\u200b\ufeff")
        if stripped != value:
            self.note("trimmed-blanks")
        return stripped

    def shuffled(self, count: int) -> list[int]:
        """The order of `count` options: as they are, or shuffled in place when the recipe asks for it."""
        order = list(range(count))
        if self.rng is not None:
            self.rng.shuffle(order)
        return order

    def note(self, what: str) -> None:
        """Count a repair."""
        if what not in self.notes:
            self.notes.append(what)


@dataclass(kw_only=True, eq=False)
class Layout:
    """One way in which a source's files lie: which files, which columns, and the mapping of a row."""

    files: dict[str, str | tuple[str, ...]]
    """Split -> glob pattern, or several of which the first that matches is used."""
    columns: tuple[str, ...] = ()
    """Columns that must be there; `Answer|Anwser` accepts either and reads as the first."""
    id: str = ""
    """The column that identifies a row, or several as `exam+qid`; without one the id is a hash of the row's content."""
    images: dict[str, str] = field(default_factory=dict)
    """Folder prefix -> archive that holds it, e.g. {"images/": "images.zip"}; read from whichever is there."""
    needs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What a row must have -> the columns it may be in, for files whose columns are found by their usual names."""
    pictures: tuple[str, ...] = ()
    """Columns of a Parquet file that hold pictures even as plain bytes; a struct with bytes always does."""
    header: tuple[str, ...] = ()
    """Column names of CSV files that have no header line; `category?` may be missing from a file."""
    delimiter: str = ""
    unroll: Unroll | None = None
    belongs: Callable[[Raw], bool] | None = None
    """For files that hold several splits: is the row one of `raw.split`?"""
    keep_repeats: bool = True
    """False drops rows that repeat an earlier one of the split exactly, as the published version of the set did."""
    map: Row | None = None

    def row(self, function: Row) -> Row:
        """Decorator: this function maps a raw row of this layout to a record."""
        self.map = function
        return function


@dataclass(kw_only=True, eq=False)
class Source:
    """A source's facts and layouts. `curator sources` prints them; adding one edits no other file."""

    name: str
    title: str
    license: str
    """An id of `curator.licenses`: lower-case SPDX, or `other`, `unknown`."""
    redistributable: bool | None
    """May rows and images be published again? None: each row's own licence decides. See `curator.licenses`."""
    repo: str | None = None
    """ORG/NAME of the data set on the Hub; None when it lies elsewhere (then `homepage` says where)."""
    revision: str | None = None
    """The Hub revision that is read when the recipe names none."""
    homepage: str = ""
    paper: str = ""
    modality: str = "text"
    """text, or image+text."""
    languages: tuple[str, ...] = ("en",)
    rows: dict[str, int] = field(default_factory=dict)
    """Documented rows per split."""
    fetch_bytes: int = 0
    """Bytes of a whole download."""
    gated: bool = False
    train: tuple[str, ...] = ("train", "validation")
    """Splits that are built by default, those of them that exist."""
    held_out: tuple[str, ...] | None = None
    """Splits that a build of the others is checked against; None: all that are not being built."""
    options: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Settings of the adapter and the values each may have."""
    choose: Callable[[Mapping[str, str]], tuple[tuple[str, ...], tuple[str, ...]]] | None = None
    """(options) -> (train, held out), for sources whose versions have splits of their own."""
    license_of: Callable[[Opened, Record], str] | None = None
    """The licence of one row, where licences differ inside the set."""
    note: str = ""
    """What a user should know before building it, one line."""
    opener: Callable[[Source, SourceChoice, bool], Opened] | None = None
    """For sources that are not files: (source, choice, offline) -> Opened."""
    files: dict[str, str | tuple[str, ...]] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    id: str = ""
    images: dict[str, str] = field(default_factory=dict)
    layouts: list[Layout] = field(default_factory=list)
    """Further ways in which the files may lie; `files`, `columns`, `id` and `images` are the first."""

    def __post_init__(self) -> None:
        if self.files:
            self.layout(files=self.files, columns=self.columns, id=self.id, images=self.images)

    def layout(self, **settings: Any) -> Layout:
        """Add a layout; its `row` decorates the mapping."""
        made = Layout(**settings)
        self.layouts.append(made)
        return made

    def row(self, function: Row) -> Row:
        """Decorator: this function maps a raw row of every layout that has no mapping of its own."""
        for layout in self.layouts:
            layout.map = layout.map or function
        return function
