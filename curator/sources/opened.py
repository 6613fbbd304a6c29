"""A source being read: files found, rows mapped, every raw row exactly one record or one verdict."""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curator.errors import SourceError, UsageError, unknown
from curator.recipe import SourceChoice
from curator.records import BadRow, Record, Verdict, evidence_json
from curator.sources.archives import Archive
from curator.sources.files import Row, Tree, glob, read_bytes, read_rows, where
from curator.sources.parquet import read_parquet_images
from curator.sources.source import Layout, Raw, Source

if TYPE_CHECKING:
    from numpy.random import Generator

SHOWN = 12  # column names in an error message
CHEAP_ROWS, CHEAP_BYTES = 10_000, 250e6
"""A held-out split of at most so many documented rows and bytes is read whole whatever the limit."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What reading some splits takes: rows, bytes over the network, bytes on disk."""

    rows: int
    fetch_bytes: int
    disk_bytes: int


class Opened:
    """One source of a recipe with its files found. Nothing large is read before rows or images are asked for."""

    def __init__(self, source: Source, choice: SourceChoice, tree: Tree) -> None:
        self.source, self.choice, self.tree = source, choice, tree
        self.layouts = _matching(source, tree)
        self.warnings: list[str] = []
        """What the person who builds should know, one line each."""
        _check_options(source, choice.options)
        self._train, self._held_out = source.train, source.held_out
        if source.choose:
            self._train, self._held_out = source.choose(choice.options)
        self.splits: list[str] = list(
            dict.fromkeys(split for layout in self.layouts for split in self._existing(layout))
        )
        self._check_pictures()
        self.revision = choice.revision or tree.revision
        if tree.revision != "local":
            self.revision = tree.revision

    def _existing(self, layout: Layout) -> list[str]:
        return [split for split, patterns in layout.files.items() if glob(self.tree, patterns)]

    def _layout(self, split: str) -> Layout:
        for layout in self.layouts:
            if split in layout.files and glob(self.tree, layout.files[split]):
                return layout
        raise unknown("split", split, self.splits, f"{self.source.name} has {', '.join(self.splits)}.")

    def build_splits(self, wanted: Iterable[str] | None = None) -> list[str]:
        """The splits to build: those asked for, else the training split with the validation split.

        Raises:
            UsageError: a split that is not there, or none to train on.
        """
        asked = list(wanted or self.choice.splits or [])
        for split in asked:
            if split not in self.splits:
                raise unknown("split", split, self.splits, f"{self.source.name} has {', '.join(self.splits)}.")
        if asked:
            return asked
        found = self._building()
        if not found:
            raise UsageError(
                f"{self.source.name} has no training split here; give --split, one of {', '.join(self.splits)}."
            )
        return found

    def _building(self) -> list[str]:
        return self.choice.splits or [split for split in self._train if split in self.splits]

    def held_out(self) -> list[str]:
        """The splits that are not being built and that the built ones must not leak into."""
        building = self.build_splits()
        names = self.splits if self._held_out is None else self._held_out
        return [split for split in names if split in self.splits and split not in building and split not in self._train]

    def limit_of(self, split: str) -> int | None:
        """How many rows of a split are read; None: all.

        The recipe's limit is about what is built. What that is checked against is read whole where it is cheap: a leak into
        the rest of a held-out split would not be seen.
        """
        if self.choice.limit is None or split in (self._building() or [split]):
            return self.choice.limit
        whole = self._estimate([split], lambda _: None)
        return None if whole.rows <= CHEAP_ROWS and whole.disk_bytes <= CHEAP_BYTES else self.choice.limit

    def files(self, split: str) -> list[str]:
        """The question files of a split."""
        return glob(self.tree, self._layout(split).files[split])

    def identity(self, split: str) -> str:
        """A hash of what the split's rows are made from: files, revision, adapter. Reads nothing large."""
        paths = sorted({path.partition("!")[0] for path in self.files(split)})
        stamps = [[path, self.tree.stamp(path)] for path in paths]
        mapping = self._layout(split).map
        code = _code_hash(mapping.__module__ if mapping else "")
        return hashlib.sha256(json.dumps([self.tree.revision, stamps, self._beside, code]).encode()).hexdigest()

    @functools.cached_property
    def _beside(self) -> list[list[str]]:
        """The stamps of what lies beside the question files, where there are pictures; on the Hub the revision says it."""
        pictured = self.source.modality != "text" or any(layout.images for layout in self.layouts)
        if not pictured or self.tree.revision != "local":
            return []
        questions = {path.partition("!")[0] for split in self.splits for path in self.files(split)}
        return [[path, self.tree.stamp(path)] for path in self.tree.sizes() if path not in questions]

    # -- rows ----------------------------------------------------------------------------------------------------------

    def records(self, split: str) -> Iterator[Record | Verdict]:
        """Every raw row of the split, up to `limit_of`, as one record or one verdict, in file order.

        `where` of the recipe applies to the splits being built only: what they are checked against is whole.

        Raises:
            SourceError: files that are not what was documented, an empty source.
        """
        layout = self._layout(split)
        assert layout.map is not None, f"{self.source.name} has a layout without a row mapping"
        where_ = self.choice.where if split in (self._building() or [split]) else {}
        taken: Counter[str] = Counter()
        repeated: set[str] = set()
        rng = _generator(self.choice.options.get("shuffle"))
        limit = self.limit_of(split)
        count = 0
        for raw, problem in self._raw_rows(layout, split):
            if limit is not None and count >= limit:
                break
            count += 1
            raw.rng = rng
            try:
                if problem is not None:
                    raise problem
                if not layout.keep_repeats:
                    content = _content(raw)
                    if content in repeated:
                        raise BadRow("repeated-row")
                    repeated.add(content)
                record = self._record(layout, raw, taken)
                unmatched = mismatch(record, where_)
                if unmatched:
                    yield _verdict(record.id, "filtered", BadRow("filtered", **unmatched).evidence)
                else:
                    yield record
            except BadRow as bad:
                evidence = evidence_json({**raw.place, **json.loads(bad.evidence or "{}")})
                yield _verdict(self._name(split, _native_id(layout, raw), taken), bad.reason, evidence)
        if not count:
            raise SourceError(
                f"{self.source.name}: no rows in split {split} of {self.tree.where}: the files are empty."
            )

    def _record(self, layout: Layout, raw: Raw, taken: Counter[str]) -> Record:
        assert layout.map is not None
        try:
            record = layout.map(raw)
            record.complete()
        except KeyError as error:
            raise BadRow("missing-field", field=str(error.args[0])) from None
        except (TypeError, ValueError, AttributeError, IndexError, ArithmeticError, RecursionError) as error:
            raise BadRow("wrong-type", error=str(error)) from None
        record.notes = [*raw.notes, *record.notes]
        record.images = [self._reference(layout, image) for image in record.images]
        record.source, record.source_split, record.source_revision = self.source.name, raw.split, self.revision
        record.source_id = record.source_id or _by_column(layout, raw)
        try:
            json.dumps([getattr(record, name) for name in Record.__dataclass_fields__], ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise BadRow("unreadable-row", error=f"a text is no Unicode: {error.reason}") from None
        if not record.source_id:
            content = [record.images, record.question, record.options, record.answer]
            record.source_id = hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:16]
        record.license = record.license or self._license(record)
        record.id = self._name(raw.split, record.source_id, taken)
        return record

    def _license(self, record: Record) -> str:
        return self.source.license_of(self, record) if self.source.license_of else self.source.license

    def _name(self, split: str, native: str, taken: Counter[str]) -> str:
        taken[native] += 1
        return f"{self.source.name}:{split}:{native}{f'-{taken[native]}' if taken[native] > 1 else ''}"

    def _raw_rows(self, layout: Layout, split: str) -> Iterator[tuple[Raw, BadRow | None]]:
        renamed = {old: names[0] for names in (c.split("|") for c in layout.columns) for old in names[1:]}
        for path in glob(self.tree, layout.files[split]):
            if self.limit_of(split) is None:
                self.tree.prefer_whole(path.partition("!")[0], self.tree.sizes().get(path, 0))
            checked = False
            early: list[tuple[Raw, BadRow | None]] = []
            rows = read_rows(
                self.tree,
                path,
                header=layout.header,
                delimiter=layout.delimiter,
                unroll=layout.unroll,
                pictures=layout.pictures,
            )
            for number, row in enumerate(rows, 1):
                bad = row if isinstance(row, BadRow) else None
                fields = {} if isinstance(row, BadRow) else {renamed.get(k, k): v for k, v in row.items()}
                raw = Raw(fields or {"line": bad.evidence if bad else ""})
                raw.split, raw.file, raw.tree = split, path, self.tree
                raw.place = {"file": path, **({"line": row.line} if isinstance(row, Row) else {"row": number})}
                if bad is None and layout.belongs and not layout.belongs(raw):
                    continue
                if checked:
                    yield raw, bad
                    continue
                # a JSON row may lack a key that its neighbours have: judge the columns by several rows
                early.append((raw, bad))
                if len(early) == 32 or not (_missing(layout, early) or _lacking(layout, early)):
                    self._require(layout, path, early)
                    checked = True
                    yield from early
            if not checked and early:
                self._require(layout, path, early)
                yield from early

    def _require(self, layout: Layout, path: str, rows: list[tuple[Raw, BadRow | None]]) -> None:
        if all(bad is not None for _, bad in rows):
            return
        missing, lacking = _missing(layout, rows), _lacking(layout, rows)
        if not missing and not lacking:
            return
        found = list(dict.fromkeys(key for raw, bad in rows if bad is None for key in raw))
        shown = ", ".join(map(repr, found[:SHOWN])) + (" …" if len(found) > SHOWN else "")
        if missing:
            hint = (
                "check `columns` in the recipe."
                if self.choice.columns
                else f"{self.source.name} may have changed, pin a revision or map its columns with hub:."
            )
            raise SourceError(
                f"{where(self.tree, path)} has no column {' and no column '.join(map(repr, missing))}; it has {shown}: {hint}"
            )
        raise SourceError(
            f"{where(self.tree, path)} has no column for the {lacking[0]}: it has {shown}, expected one of "
            f"{', '.join(layout.needs[lacking[0]])}; rename it, or say `columns: {{{lacking[0]}: NAME}}` in a recipe."
        )

    # -- images --------------------------------------------------------------------------------------------------------

    def _check_pictures(self) -> None:
        """Decide per folder of images whether it lies there as files or in an archive, and warn when neither does."""
        self._folders: dict[str, str] = {}
        self._absent: set[str] = set()
        sizes = self.tree.sizes()
        for layout in self.layouts:
            for prefix, archive in layout.images.items():
                if any(path.startswith(prefix) for path in sizes):
                    self._folders[prefix] = ""
                elif archive in sizes:
                    self._folders[prefix] = archive
                else:
                    self._absent.add(prefix)
            if layout.images and self._absent >= set(layout.images):
                wanted = " nor ".join(name for pair in list(layout.images.items())[:2] for name in pair if name)
                self.warnings.append(f"{self.source.name}: no images in {self.tree.where}: neither {wanted} is there.")

    def _reference(self, layout: Layout, image: str) -> str:
        if not isinstance(image, str) or not image:
            raise BadRow("missing-image", image=image)
        if "#" in image and image.partition("#")[0] in self.tree.sizes():
            return image
        parts = image.replace("\\", "/").split("/")
        if image.startswith(("/", "\\")) or ".." in parts or ":" in image[:2]:
            raise BadRow("unsafe-image-path", image=image)
        prefix = max((p for p in layout.images if image.startswith(p)), key=len, default="")
        if prefix in self._absent:
            return image
        archive = self._folders.get(prefix, "")
        if archive:
            known = Archive.of(self.tree, archive).members if self.tree.revision == "local" else None
            if known is not None and image not in known:
                raise BadRow("missing-image", image=image, archive=archive)
            return f"{archive}!{image}"
        if image not in self.tree.sizes():
            raise BadRow("missing-image", image=image)
        return image

    def read_images(self, references: Iterable[str]) -> Iterator[tuple[str, bytes | Exception]]:
        """Each reference once, with its bytes or what is wrong with it; archives in place, Parquet by row group."""
        archives: dict[str, list[str]] = {}
        tables: dict[str, list[str]] = {}
        plain: list[str] = []
        for reference in dict.fromkeys(references):
            archive, bang, member = reference.partition("!")
            table, mark, cell = reference.rpartition("#")
            if bang and archive in self.tree.sizes():
                archives.setdefault(archive, []).append(member)
            elif mark and table in self.tree.sizes():
                tables.setdefault(table, []).append(cell)
            else:
                plain.append(reference)
        for reference in plain:
            if reference in self.tree.sizes():
                try:
                    yield reference, read_bytes(self.tree, reference)
                except (SourceError, OSError) as error:
                    yield reference, error
            else:
                yield reference, FileNotFoundError(f"no image at {where(self.tree, reference)}")
        for archive, members in archives.items():
            for member, data in Archive.of(self.tree, archive).read_all(members):
                yield f"{archive}!{member}", data
        for table, cells in tables.items():
            yield from read_parquet_images(self.tree, table, cells)

    # -- cost ----------------------------------------------------------------------------------------------------------

    def estimate(self, splits: Iterable[str] | None = None) -> Estimate:
        """Rows, download and disk of reading these splits, from file sizes and documented counts; reads no rows."""
        return self._estimate(splits or self.build_splits(), self.limit_of)

    def _estimate(self, splits: Iterable[str], limit_of: Callable[[str], int | None]) -> Estimate:
        sizes = self.tree.sizes()
        rows = 0
        shares: dict[str, float] = {}
        for split in dict.fromkeys(splits):
            layout, limit = self._layout(split), limit_of(split)
            documented = self.source.rows.get(split, 0)
            count = min(limit or documented, documented or limit or 0)
            rows += count
            for path in {path.partition("!")[0] for path in self.files(split)}:
                shares[path] = count / documented if limit and documented else 1.0
            everywhere = sum(self.source.rows.get(name, 0) for name in layout.files)
            for archive in layout.images.values():
                if archive in sizes:
                    part = count / everywhere if everywhere and count else 1.0
                    shares[archive] = min(1.0, shares.get(archive, 0.0) + part)
        # more than half of a file is fetched whole
        taken = {path: sizes[path] * (share if share <= 0.5 else 1.0) for path, share in shares.items()}
        fetch = sum(size for path, size in taken.items() if not self.tree.cached(path))
        return Estimate(rows, int(fetch), int(sum(taken.values())))


@functools.cache
def _code_hash(module: str) -> str:
    """A hash of the code that reads: the frame and the adapter's own file, so that a repaired adapter reads again."""
    frame = ["archives.py", "closed.py", "columns.py", "files.py", "opened.py", "parquet.py", "source.py"]
    paths = [Path(__file__).parent / name for name in frame]
    own = getattr(sys.modules.get(module), "__file__", None)
    return hashlib.sha256(b"".join(path.read_bytes() for path in [*paths, *([Path(own)] if own else [])])).hexdigest()


def matches(record: Record, where_: Mapping[str, str | list[str]]) -> bool:
    """Does the record have these values? {column: value or values}; see `SourceChoice.where`."""
    return not mismatch(record, where_)


def mismatch(record: Record, where_: Mapping[str, str | list[str]]) -> dict[str, Any]:
    """The first column whose value is not among those wanted, with the value it has; {} when all are.

    Raises:
        UsageError: a record has no such column.
    """
    for column, wanted in where_.items():
        if column not in Record.__dataclass_fields__:
            raise unknown("column", column, Record.__dataclass_fields__, "In a source's `where`.")
        value = getattr(record, column)
        values = value if isinstance(value, list) else [value]
        allowed = [wanted] if isinstance(wanted, str) else wanted
        if not any(str(v) in allowed for v in values):
            return {column: value}
    return {}


def _generator(seed: str | None) -> Generator | None:
    if seed is None:
        return None
    if not seed.isdecimal():
        raise UsageError(f"option shuffle is {seed!r}; give a whole number.")
    import numpy as np

    return np.random.default_rng(int(seed))


def _verdict(id: str, reason: str, evidence: str) -> Verdict:
    return Verdict(id, "ingest", False, reason, evidence)


def _native_id(layout: Layout, raw: Raw) -> str:
    """An id for a row that is no question, which may hold anything."""
    found = _by_column(layout, raw).encode("utf-8", "replace").decode()
    return found or hashlib.sha256(_content(raw).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _content(raw: Raw) -> str:
    """What is in a row, as one text; of a row that no JSON can hold, where it stands."""
    try:
        return json.dumps(raw, sort_keys=True, ensure_ascii=False, default=str)
    except (ValueError, TypeError, RecursionError):
        return json.dumps(raw.place)


def _by_column(layout: Layout, raw: Raw) -> str:
    """The row's own id, '' where it has none."""
    columns = layout.id.split("+") if layout.id else []
    cells = [raw.get(column) for column in columns]
    return "-".join(str(cell) for cell in cells) if cells and all(isinstance(cell, str | int) for cell in cells) else ""


def _missing(layout: Layout, rows: list[tuple[Raw, BadRow | None]]) -> list[str]:
    have = {key for raw, bad in rows if bad is None for key in raw}
    return [column for column in (c.split("|")[0] for c in layout.columns) if column not in have]


def _lacking(layout: Layout, rows: list[tuple[Raw, BadRow | None]]) -> list[str]:
    have = {key for raw, bad in rows if bad is None for key in raw}
    return [what for what, names in layout.needs.items() if have.isdisjoint(names)]


def _matching(source: Source, tree: Tree) -> list[Layout]:
    found = [layout for layout in source.layouts if any(glob(tree, patterns) for patterns in layout.files.values())]
    if found:
        return found
    wanted = [p if isinstance(p, str) else p[0] for layout in source.layouts for p in layout.files.values()]
    have = list(tree.sizes())
    shown = ", ".join(have[:5]) + (" …" if len(have) > 5 else "") if have else "nothing"
    raise SourceError(
        f"no files of {source.name} in {tree.where}: looked for {' or '.join(dict.fromkeys(wanted))}; found {shown}."
    )


def _check_options(source: Source, options: Mapping[str, str]) -> None:
    for key, value in options.items():
        if key not in source.options:
            known = f"It has {', '.join(source.options)}." if source.options else "It has none."
            raise unknown(f"option of {source.name}", key, source.options, known)
        allowed = source.options[key]
        if allowed and str(value) not in allowed:
            raise UsageError(f"{source.name}: option {key} is {value!r}; give one of {', '.join(allowed)}.")


def local_path(text: str) -> Path:
    """A folder as the user typed it."""
    return Path(text).expanduser()
