"""The sources: one short file each, found by lying in this folder or by another package's entry point.

    for item in open_source(SourceChoice(name="vqa-rad", data_dir="../shared/data/vqa_rad")).records("train"):
        ...  # a Record, or a Verdict that says why the row is none

To add one from another package, name its `Source` under the entry point group `curator.sources`.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from curator.errors import SourceError, unknown
from curator.recipe import SourceChoice
from curator.records import BadRow, Record
from curator.sources.opened import Estimate, Opened, local_path, matches
from curator.sources.source import REASONS, Layout, Raw, Source

__all__ = [
    "REASONS",
    "BadRow",
    "Estimate",
    "Layout",
    "Opened",
    "Raw",
    "Record",
    "Source",
    "all_sources",
    "expected_files",
    "explain",
    "get",
    "local_path",
    "matches",
    "names",
    "open_source",
    "table",
]

GROUP = "curator.sources"
_FRAME = {"archives", "closed", "columns", "files", "hub", "licenses", "opened", "parquet", "remote", "source"}


def names() -> list[str]:
    """The names of all sources, bundled and installed, in alphabetical order."""
    bundled = {module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__) if module.name not in _FRAME}
    return sorted(bundled | {point.name for point in entry_points(group=GROUP)})


def get(name: str) -> Source:
    """The source of this name, or `hub:ORG/NAME`.

    Raises:
        UsageError: no such source; the nearest name is suggested.
        SourceError: an installed source that cannot be loaded.
    """
    if name.startswith("hub:"):
        from curator.sources.hub import hub_source

        return hub_source(name)
    if name not in names():
        raise unknown("source", name, names(), "`curator sources` lists all.")
    bundled = name.replace("-", "_") in {module.name for module in pkgutil.iter_modules(__path__)}
    for point in entry_points(group=GROUP):
        if point.name == name and not bundled:
            return _loaded(name, point.value, point.load)
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    found: Source = next(value for value in vars(module).values() if isinstance(value, Source) and value.name == name)
    return found


def all_sources() -> list[Source]:
    """Every source, in alphabetical order of name."""
    return [get(name) for name in names()]


def _loaded(name: str, where: str, load: Any) -> Source:
    try:
        found = load()
    except (ImportError, AttributeError) as error:
        raise SourceError(f"the installed source {name!r} ({where}) cannot be loaded: {error}.") from None
    if not isinstance(found, Source):
        raise SourceError(
            f"the entry point {name!r} ({where}) is a {type(found).__name__}, not a curator.sources.Source."
        )
    return found


def open_source(choice: SourceChoice, *, offline: bool = False) -> Opened:
    """Find the files of one source of a recipe: in `data_dir`, else on the Hub at a pinned revision.

    Raises:
        UsageError: no such source or option.
        SourceError: the files are not there; GatedError, NetworkError for the Hub.
    """
    from curator.sources.files import LocalTree

    source = get(choice.name)
    if source.opener:
        return source.opener(source, choice, offline)
    if choice.data_dir:
        return Opened(source, choice, LocalTree(local_path(choice.data_dir)))
    if source.repo is None:
        raise SourceError(
            f"{source.name} is not on the Hub: get it from {source.homepage} and give its folder with --data-dir."
        )
    from curator.sources.remote import HubTree

    return Opened(source, choice, HubTree(source.repo, choice.revision or source.revision, offline=offline))


def table(name: str | None = None) -> list[dict[str, Any]]:
    """The facts of every source, or of one, for `curator sources`."""
    if name is not None:
        return [_facts(get(name))]
    anything = Source(
        name="hub:ORG/NAME",
        title="any data set of the Hub, columns mapped in a recipe",
        license="its card's",
        redistributable=None,
        modality="image+text",
    )
    return [_facts(source) for source in [*all_sources(), anything]]


def explain(name: str) -> str:
    """One source for a reader: its facts, the files that `--data-dir` wants, and what its adapter says of it.

    Raises:
        UsageError: no such source.
    """
    source = get(name)
    facts = [(key, value) for key, value in _facts(source).items() if value not in ("", "-")]
    facts += [("note", source.note)] if source.note else []
    facts += [(f"option {key}", ", ".join(values) or "text") for key, values in source.options.items()]
    facts += [("--data-dir", line) for line in expected_files(source)]
    bundled = sys.modules.get(f"{__name__}.{name.partition(':')[0].replace('-', '_')}")
    mapping = next((layout.map for layout in source.layouts if layout.map), None)
    about = (getattr(bundled or sys.modules.get(getattr(mapping, "__module__", "")), "__doc__", "") or "").strip()
    return "\n".join([*(f"{key:<17}{value}" for key, value in facts), "", about])


def expected_files(source: Source) -> list[str]:
    """The files of each of a source's layouts, in words: 'train: train.json; pictures: imgs/ or imgs.zip'.

    Where the splits' files differ in the split's name only, SPLIT stands for it.
    """
    lines = []
    for layout in source.layouts:
        alike: dict[str, dict[str, str]] = {}
        for split, patterns in layout.files.items():
            text = " or ".join((patterns,) if isinstance(patterns, str) else patterns).replace("|", ", ")
            alike.setdefault(text.replace(split, "SPLIT"), {})[split] = text
        parts = [
            f"{', '.join(texts)}: {pattern if len(texts) > 1 else next(iter(texts.values()))}"
            for pattern, texts in alike.items()
        ]
        pictures = [" or ".join(filter(None, pair)) for pair in layout.images.items()]
        lines.append("; ".join([*parts, *([f"pictures: {', '.join(pictures)}"] if pictures else [])]))
    return lines


def _facts(source: Source) -> dict[str, Any]:
    return {
        "name": source.name,
        "what": source.title,
        "modality": source.modality,
        "language": " ".join(source.languages),
        "rows": "  ".join(f"{split} {count:,}" for split, count in source.rows.items()) or "-",
        "download": _size(source.fetch_bytes),
        "license": source.license,
        "redistribute": {True: "yes", False: "no", None: "by row"}[source.redistributable],
        "gated": "yes" if source.gated else "no",
        "from": source.repo or source.homepage or "-",
        "paper": source.paper,
    }


def _size(count: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return "-" if not count else f"{count} B"


class _Callable(ModuleType):
    """`curator.sources` is this package, and `curator.sources()` the list, as `curator.build()` is a verb: both hold."""

    def __call__(self) -> list[Source]:
        return all_sources()


sys.modules[__name__].__class__ = _Callable
