"""Rows of any shape: columns found by their usual names or given in the recipe, options and keys in any of their forms."""

from __future__ import annotations

import fnmatch
import functools
import json
import re
from collections.abc import Callable, Mapping
from copy import copy
from pathlib import PurePosixPath
from typing import Any

import yaml

from curator.errors import SourceError, UsageError, unknown
from curator.recipe import SourceChoice
from curator.records import LABELS, BadRow, Record
from curator.sources.files import LocalTree, Tree, read_bytes, read_rows, where
from curator.sources.opened import Opened, local_path
from curator.sources.source import Layout, Raw, Source

USUAL: dict[str, tuple[str, ...]] = {
    "question": ("question", "Question", "stem", "query", "input", "prompt"),
    "options": ("options", "choices", "Options", "Choices"),
    "answer": ("answer", "Answer", "answer_text", "gt_answer", "answer_string"),
    "answer_label": ("answer_label", "answer_idx", "label", "answer_letter", "Answer_label"),
    "images": ("images", "image", "image_path", "image_name", "file_name", "Figure_path"),
    "id": ("id", "qid", "question_id"),
    "language": ("language", "q_lang", "lang"),
    "imaging_modality": ("imaging_modality", "modality", "modality_type"),
    "reasoning": ("reasoning", "rationale", "explanation"),
    "license": ("license",),
}
SPELLED_OUT = (("A", "B", "C", "D", "E"), ("option_A", "option_B", "option_C", "option_D", "option_E"),
               ("opa", "opb", "opc", "opd", "ope"), ("Choice A", "Choice B", "Choice C", "Choice D", "Choice E"))  # fmt: skip
KEYS = ("zero-based", "one-based")
"""Values of option `keys`: the number of the first option, where keys are numbers."""
KINDS = (".parquet", ".jsonl", ".json", ".csv", ".tsv")
SPLITS = {"train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation",
          "dev": "validation", "test": "test", "testing": "test"}  # fmt: skip


def labelled(raw: Raw, column: str) -> list[str]:
    """The options of {"A": text, "B": text, …} in the order of their letters.

    Raises:
        BadRow: letters that leave one out, or texts that are none.
    """
    cell = raw[column]
    if isinstance(cell, list):  # [{"key": "A", "value": …}], as some copies have it
        cell = {item["key"]: item["value"] for item in cell}
    letters = sorted(letter for letter, text in cell.items() if text is not None)
    if "".join(letters) != LABELS[: len(letters)]:
        raise BadRow("unknown-label", letters=letters)
    return [cell[letter].strip() for letter in letters]


def open_folder(source: Source, choice: SourceChoice, offline: bool) -> Opened:
    """A user's folder as a source."""
    if not choice.data_dir:
        raise UsageError("folder reads your own files: give their folder with --data-dir.")
    return _opened(source, choice, LocalTree(local_path(choice.data_dir)), "")


def open_hub(source: Source, choice: SourceChoice, offline: bool) -> Opened:
    """A data set of the Hub, or a local copy of it, as a source."""
    tree: Tree
    license = ""
    if choice.data_dir:
        tree = LocalTree(local_path(choice.data_dir))
    else:
        from curator.sources.remote import HubTree

        assert source.repo is not None
        found = HubTree(source.repo, choice.revision, offline=offline)
        license, tree = found.license, found
    return _opened(source, choice, tree, choice.options.get("config", ""), license)


def _opened(source: Source, choice: SourceChoice, tree: Tree, config: str, license: str = "") -> Opened:
    for column in choice.columns:
        if column not in USUAL:
            raise unknown("record column", column, USUAL, f"{source.name}: map any of {', '.join(USUAL)}.")
    source = copy(source)  # its licence and layout are those of these files only
    source.license = choice.options.get("license", license or source.license)
    splits = _declared(tree, config) or _by_name(tree, config)
    if not splits:
        raise SourceError(f"no question files in {tree.where}: looked for {', '.join(f'*{kind}' for kind in KINDS)}.")
    images = choice.columns.get("images", USUAL["images"])
    pictures = (images,) if isinstance(images, str) else tuple(images)

    @functools.cache
    def first_key(path: str) -> int:
        said = choice.options.get("keys")
        return KEYS.index(said) if said else _first_key(tree, path, choice.columns, pictures)

    layout = Layout(
        pictures=pictures,
        files={split: "|".join(_exactly(path) for path in paths) for split, paths in splits.items()},
        columns=tuple(
            dict.fromkeys(
                c for given in choice.columns.values() for c in ([given] if isinstance(given, str) else given)
            )
        ),
        needs={
            what: names
            for what, names in {
                "question": USUAL["question"],
                "answer": (*USUAL["answer"], *USUAL["answer_label"]),
            }.items()
            if not {what, f"{what}_label"} & set(choice.columns)
        },
        map=lambda raw: mapped(raw, choice.columns, choice.options.get("language", "en"), first_key),
    )
    source.layouts = [layout]
    return Opened(source, choice, tree)


def _declared(tree: Tree, config: str) -> dict[str, list[str]]:
    """Split -> files, as the README's `configs` say; of several configs the default one, or the one asked for.

    Raises:
        UsageError: no such config.
    """
    if "README.md" not in tree.sizes():
        return {}
    front = re.match(r"---\s*\n(.*?)\n---", read_bytes(tree, "README.md").decode("utf-8", "replace"), re.S)
    try:
        card = yaml.safe_load(front[1]) if front else None
    except yaml.YAMLError:
        return {}
    listed = card.get("configs") if isinstance(card, dict) else None
    configs = {
        str(c.get("config_name", "default")): c for c in listed or [] if isinstance(c, dict) and c.get("data_files")
    }
    if not configs:
        return {}
    if config and config not in configs:
        raise unknown("config", config, configs, f"{tree.where} has {', '.join(configs)}.")
    default = next((name for name, c in configs.items() if c.get("default")), "default")
    chosen = configs[config or (default if default in configs else next(iter(configs)))]["data_files"]
    parts = chosen if isinstance(chosen, list) else [chosen]
    found: dict[str, list[str]] = {}
    for part in parts:
        split, patterns = (
            (part.get("split", "train"), part.get("path", "")) if isinstance(part, dict) else ("train", part)
        )
        for pattern in patterns if isinstance(patterns, list) else [patterns]:
            wanted = str(pattern).replace("**/", "*")
            paths = [p for p in tree.sizes() if fnmatch.fnmatchcase(p, wanted) and p.endswith(KINDS)]
            if paths:
                found.setdefault(str(split), []).extend(paths)
    return found


def _by_name(tree: Tree, config: str) -> dict[str, list[str]]:
    """Split -> files, by what the files are called."""
    splits: dict[str, list[str]] = {}
    for path in tree.sizes():
        if path.endswith(KINDS) and not path.startswith(".") and (not config or path.startswith(f"{config}/")):
            split = _split_of(path)
            if split:
                splits.setdefault(split, []).append(path)
    return splits


def _exactly(path: str) -> str:
    return re.sub(r"([\[\]*?])", r"[\1]", path)


def _split_of(path: str) -> str:
    """The split that a file belongs to by its name; '' for a file beside the questions (package.json …)."""
    name = PurePosixPath(path)
    for part in (name.stem, *reversed(name.parts[:-1])):
        word = re.split(r"[-_.]", part.lower())[0]
        if word in SPLITS:
            return SPLITS[word]
    return "train" if len(name.parts) <= 2 and name.stem not in ("dataset_infos", "manifest", "metadata_schema") else ""


def _first_key(tree: Tree, path: str, columns: Mapping[str, str | list[str]], pictures: tuple[str, ...] = ()) -> int:
    """What the numbers that are keys in a file count from, 0 or 1, as the file itself proves.

    From 0: a key is 0, or the place of the answer's text counted so. From 1: there is no such row, and a key is the number of
    options, or that place counted from 1.

    Raises:
        SourceError: neither, so that every key could mean either of two options.
    """
    from_one = unclear = False
    for row in read_rows(tree, path, pictures=pictures):
        if isinstance(row, BadRow):
            continue
        raw = Raw(row)
        try:
            options = _options(raw, columns.get("options"))
            number = _number(_key(raw, columns, options), options)
            place = _place(_cell(raw, columns, "answer"), options)
        except (BadRow, KeyError, TypeError, ValueError, AttributeError, RecursionError):
            continue  # a verdict, when it is read as a question
        if number is None:
            continue
        if number == (0 if place is None else place):
            return 0
        from_one = from_one or number == (len(options) if place is None else place + 1)
        unclear = unclear or (place is None and 0 < number < len(options))
    if unclear and not from_one:
        raise SourceError(
            f"{where(tree, path)} has numbers as keys, none of them 0 or the number of options, so they may count from 0 or "
            f"from 1: say `options: {{keys: {KEYS[0]}}}` or `options: {{keys: {KEYS[1]}}}` in a recipe."
        )
    return int(from_one)


def mapped(
    raw: Raw,
    columns: Mapping[str, str | list[str]],
    language: str = "en",
    first_key: Callable[[str], int] = lambda _: 0,
) -> Record:
    """A raw row of unknown shape as a record; `first_key` says what the numbers that are keys in a file count from.

    Raises:
        BadRow: a column that the recipe names is not there, or the row is no question.
    """
    options = _options(raw, columns.get("options"))
    answer, key = _cell(raw, columns, "answer"), _key(raw, columns, options)
    record = Record(
        question=_text(raw, columns, "question") or "",
        options=options,
        images=_images(_cell(raw, columns, "images")),
        language=_text(raw, columns, "language") or language,
        imaging_modality=_text(raw, columns, "imaging_modality"),
        reasoning=_text(raw, columns, "reasoning"),
        license=_text(raw, columns, "license") or "",
        source_id=_text(raw, columns, "id") or "",
    )
    number = _number(key, options)
    if number is not None:
        place = number - first_key(raw.file)
        if not 0 <= place < len(options):
            raise BadRow("unknown-label", key=key)
        record.answer_label = LABELS[place]
    elif key is not None:
        record.answer_label = _letter(key)
    if answer is not None and not options:
        record.answer = str(answer).strip()
        if record.answer.casefold() in ("yes", "no"):
            record.options = ["Yes", "No"]
    elif _place(answer, options) is not None:
        record.answer = answer.strip()
    return record


def _key(raw: Raw, columns: Mapping[str, str | list[str]], options: list[str]) -> Any:
    """The cell that names an option by letter or number, None where there is none: the label, else an answer that is no text
    among the options."""
    label, answer = _cell(raw, columns, "answer_label"), _cell(raw, columns, "answer")
    if label is not None or not options or _place(answer, options) is not None:
        return label
    return answer


def _place(answer: Any, options: list[str]) -> int | None:
    """The place, from 0, of the option that has the answer's text."""
    texts = [option.casefold() for option in options]
    found = answer.strip().casefold() if isinstance(answer, str) else None
    return texts.index(found) if found in texts else None


def _cell(raw: Raw, columns: Mapping[str, str | list[str]], name: str) -> Any:
    given = columns.get(name)
    if given is not None:
        if isinstance(given, list):
            return [raw[column] for column in given]
        return raw[given]
    return next((raw[column] for column in USUAL[name] if raw.get(column) is not None), None)


def _text(raw: Raw, columns: Mapping[str, str | list[str]], name: str) -> str | None:
    value = _cell(raw, columns, name)
    return None if value is None or value == "" else Raw({name: value}).text(name)


def _options(raw: Raw, given: str | list[str] | None) -> list[str]:
    if isinstance(given, list):
        return [raw.text(column) for column in given if raw[column] not in (None, "")]
    cell = raw[given] if given else next((raw[c] for c in USUAL["options"] if raw.get(c) is not None), None)
    if cell is None and given is None:
        spelled = next((names for names in SPELLED_OUT if all(n in raw for n in names[:2])), ())
        return [raw.text(n) for n in spelled if raw.get(n) not in (None, "")]
    if isinstance(cell, str) and cell.strip().startswith(("[", "{")):
        try:
            cell = json.loads(cell)
        except json.JSONDecodeError:
            raise BadRow("wrong-type", field="options", expected="a list", found=cell) from None
    if isinstance(cell, str):
        cell = [part for part in re.split(r"\s*[|;\n]\s*", cell.strip()) if part]
    if isinstance(cell, dict):
        return labelled(Raw({"options": cell}), "options")
    return [str(option).strip() for option in cell or []]


def _number(key: Any, options: list[str]) -> int | None:
    """A key that is the number of an option, as text too where no option is that number; None: it is none."""
    if isinstance(key, str) and re.fullmatch(r"\s*[0-9]{1,2}\s*", key) and key.strip() not in options:
        return int(key)
    return key if isinstance(key, int) and not isinstance(key, bool) else None


def _letter(key: Any) -> str:
    """A key as letter: of 'B', 'b)'."""
    found = re.fullmatch(r"\(?([A-Za-z])[.):]?", str(key).strip())
    if not found:
        raise BadRow("answer-not-among-options", answer=str(key))
    return found[1].upper()


def _images(cell: Any) -> list[str]:
    if cell is None or cell == "":
        return []
    if isinstance(cell, str) and cell.startswith("["):
        cell = json.loads(cell)
    cells = cell if isinstance(cell, list) else [cell]
    return [str(image) for image in cells if image]
