"""What models are evaluated on: questions with keys, from a built or published evaluation set.

with open_suite("phantom") as suite: …            phantom's own test split, built when first asked for
open_suite("medvlthinker")                        builds/medvlthinker-eval, six benchmarks, 8,220 questions
open_suite("builds/mine"), open_suite("ORG/NAME@v1.0.0")
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from curator import progress
from curator.errors import UsageError
from curator.recipe import load_recipe, make_recipe
from curator.workspace import data_home

NAMED = {"medvlthinker": "medvlthinker-eval", "phantom": "phantom-eval"}


@dataclass(frozen=True, slots=True)
class Question:
    """One question with its key."""

    id: str
    benchmark: str
    question: str
    options: list[str]
    answer_label: str
    images: tuple[str, ...]

    @property
    def cluster(self) -> str:
        """Questions about one image stand or fall together."""
        return self.images[0] if self.images else self.id


@dataclass
class Suite:
    """Questions, and the bytes of their images by content hash."""

    name: str
    origin: str
    questions: list[Question]
    left_out: dict[str, int] = field(default_factory=dict)
    sha256: str = ""
    """Of all its questions with a key, under a limit too: the same everywhere that the same is asked."""
    _images: dict[str, tuple[int, int]] = field(default_factory=dict)
    _rows: Any = None

    def read_image(self, sha256: str) -> bytes:
        """The stored bytes of an image."""
        row, place = self._images[sha256]
        data: bytes = self._rows[row]["images"][place]["bytes"]
        return data


def open_suite(name: str, *, limit: int | None = None, revision: str | None = None) -> Suite:
    """A named suite, a build's or release's folder, or a published set.

    `limit` keeps N questions of each benchmark, those whose ids have the smallest hashes: in a set's own order those of
    one image are neighbours.

    Raises:
        UsageError: no such suite, or it holds no question with a key.
    """
    where = _release(name)
    rows = _load(where, revision or (name.partition("@")[2] or None))
    suite = Suite(name, where, [], _rows=rows)
    for i, row in enumerate(rows):
        if row["answer_label"] is None:
            suite.left_out["no key (open question)"] = suite.left_out.get("no key (open question)", 0) + 1
            continue
        hashes = tuple(hashlib.sha256(image["bytes"]).hexdigest() for image in row["images"])
        for place, sha256 in enumerate(hashes):
            suite._images.setdefault(sha256, (i, place))
        suite.questions.append(
            Question(row["id"], row["source"], row["question"], row["options"], row["answer_label"], hashes)
        )
    if not suite.questions:
        raise UsageError(f"{where} holds no question with options and a key.")
    lines = sorted(json.dumps(astuple(question)) for question in suite.questions)
    suite.sha256 = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    if limit is not None:
        suite.questions = _some(suite.questions, limit)
    return suite


def _some(questions: list[Question], limit: int) -> list[Question]:
    taken: Counter[str] = Counter()
    kept = set()
    for question in sorted(questions, key=lambda one: hashlib.sha256(one.id.encode()).digest()):
        taken[question.benchmark] += 1
        if taken[question.benchmark] <= limit:
            kept.add(question.id)
    return [question for question in questions if question.id in kept]


def _release(name: str) -> str:
    if name == "phantom":
        return str(_phantom())
    if name in NAMED:
        for place in (Path("builds") / NAMED[name], data_home() / "suites" / NAMED[name]):
            if (place / "release").is_dir():
                return str(place / "release")
        raise UsageError(
            f"the suite {name!r} is not built here: type `curator build {NAMED[name]}` first, or give a published set."
        )
    path = Path(name)
    if (path / "release").is_dir():
        return str(path / "release")
    if path.is_dir():
        return name
    repo = name.removeprefix("hub:").partition("@")[0]
    if repo.count("/") != 1 or name.startswith((".", "/")):
        raise UsageError(f"no suite {name!r}: give {', '.join(NAMED)}, a build's folder, or ORG/NAME@version.")
    return repo


def _phantom() -> Path:
    from curator.builds import Runtime
    from curator.pipeline import run

    bundled = load_recipe("phantom")
    recipe = make_recipe(
        {
            "name": NAMED["phantom"],
            "sources": [{"name": "phantom", "splits": ["test"]}],
            "score": {"samples": 0},
            "evaluation": True,
            "images": bundled.images.model_dump(),
        }
    )
    folder = data_home() / "suites" / NAMED["phantom"]
    with progress.hushed():
        found = run(recipe, Runtime(out=folder, wait=True))
    if len(found.unchanged) < len(found.funnel):
        progress.say(f"built the suite phantom in {folder}")
    return found.release


def _load(where: str, revision: str | None) -> Any:
    import datasets

    datasets.disable_progress_bars()
    try:
        found = datasets.load_dataset(where, revision=revision)
    except (ValueError, FileNotFoundError, ConnectionError, OSError) as error:
        raise UsageError(f"cannot load the suite {where}: {' '.join(str(error).split())[:300]}") from None
    missing = {"id", "images", "question", "options", "answer_label", "source"} - set(
        next(iter(found.values())).column_names
    )
    if missing:
        raise UsageError(f"{where} is no curator set: it lacks {', '.join(sorted(missing))}.")
    rows = datasets.concatenate_datasets([found[split] for split in sorted(found)])
    return rows.cast_column("images", datasets.List(datasets.Image(decode=False)))
