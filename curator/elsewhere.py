"""A recipe that leaves this machine: what lies in its folders goes by name and hash, and on another machine somebody says where.

    score: {model: q@0b4d6f1c2a3e5d78}                    # was /data/models/q
    dedup: {against: [m23k@9f3c51d07be26a48]}             # was builds/m23k

`curator build --from` of such a recipe asks for what is not there: --solver FOLDER, --against FOLDER …
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curator.errors import UsageError
from curator.phantom import SOLVER

if TYPE_CHECKING:
    from curator.recipe import Recipe, Solver

HASHED = re.compile(r"[^/]+@[0-9a-f]{16}")
"""Something by name and hash, as `public` writes it."""


def public(recipe: Recipe) -> Recipe:
    """The recipe for others to read: what lies in folders of this machine by its name and 16 digits of a hash.

    Models by `engines.model.identify`, releases by the sha256 of their manifest, fingerprints by their digest.
    """
    score, distill = recipe.score, recipe.distill
    against, fingerprints = recipe.dedup.against, recipe.decontaminate.fingerprints
    changes: dict[str, Any] = {
        "score": _public_solver(score, cascade=score.cascade, also=score.also),
        "distill": distill and _public_solver(distill, teachers=distill.teachers),
        "dedup": recipe.dedup.model_copy(update={"against": [_public_release(ref) for ref in against]}),
        "decontaminate": recipe.decontaminate.model_copy(
            update={"fingerprints": [_public_fingerprint(path) for path in fingerprints]}
        ),
    }
    return recipe.model_copy(update=changes)


def _public_solver(solver: Solver, **more: list[Solver]) -> Solver:
    from curator.engines.model import identify, uses_servers

    model, folder = solver.model, Path(solver.model).expanduser()
    if uses_servers(solver):
        # A server calls a model what it likes, often the folder where it lies there.
        model = folder.name if model.startswith((".", "/", "~")) else model
    elif model != SOLVER["model"] and folder.is_dir():
        model = identify(solver) if solver.samples else folder.resolve().name
    inside = {name: [_public_solver(one) for one in solvers] for name, solvers in more.items()}
    return solver.model_copy(update={"model": model, **inside})


def _public_release(ref: str) -> str:
    from curator.publish.tree import release_folder
    from curator.release_facts import read_manifest

    folder = None if ref.startswith("hub:") else release_folder(Path(ref))
    if folder is None:
        return ref
    return f"{read_manifest(folder)['name']}@{hashlib.sha256((folder / 'manifest.json').read_bytes()).hexdigest()[:16]}"


def _public_fingerprint(path: str) -> str:
    if not Path(path).is_file():
        return path
    from curator.fingerprints import Fingerprint

    found = Fingerprint.load(path)
    return f"{found.name}@{found.digest()[:16]}"


def all_here(recipe: Recipe, where: str) -> None:
    """Refuse a published recipe that wants what lay in a folder of the machine that built it, as long as nobody says where.

    Raises:
        UsageError: with the place in the recipe and the option, where there is one.
    """
    from curator.engines.model import uses_servers

    score, distill = recipe.score, recipe.distill
    solvers: list[tuple[str, Solver]] = []
    if score.samples:
        solvers += [("score.model", score), *(("score.cascade", one) for one in score.cascade)]
        solvers += [("score.also", one) for one in score.also]
    if distill:
        solvers += [("distill.model", distill), *(("distill.teachers", one) for one in distill.teachers)]
    wanted = [(place, solver.model) for place, solver in solvers if not uses_servers(solver)]
    wanted += [("dedup.against", ref) for ref in recipe.dedup.against]
    wanted += [("decontaminate.fingerprints", path) for path in recipe.decontaminate.fingerprints]
    options = {"score.model": "--solver", "distill.model": "--teacher", "dedup.against": "--against"}
    for place, name in wanted:
        if HASHED.fullmatch(name) and not Path(name).exists():
            ways = f"give {options[place]} FOLDER" if place in options else f"write in {where} where it lies here"
            raise UsageError(f"{place} is {name}, by name and hash, of the machine that built it: {ways}.")
