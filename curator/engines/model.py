"""Which model, exactly: a solver's name becomes 'repo@commit' or 'folder@hash of its files', and a folder with weights.

A sample's identity rests on this, so it is found without loading anything.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from curator import progress
from curator.errors import NetworkError, UsageError, WorkspaceError

if TYPE_CHECKING:
    from curator.recipe import Solver

_COMMIT = re.compile(r"[0-9a-f]{40}")
_DECISIVE = {".json", ".safetensors", ".bin", ".pt", ".txt", ".model", ".jinja", ".tiktoken"}


def model_folder(model: str) -> Path | None:
    """The folder a solver's name means, if it means one: `phantom`, or a path that exists."""
    if model == "phantom":
        from curator import phantom

        return phantom.model_dir()
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    looks_like_path = model.startswith((".", "/", "~")) or model.count("/") > 1
    if path.exists() or looks_like_path:
        raise UsageError(
            f"no model folder at {model}: give a folder with config.json and weights, or a Hub name ORG/NAME."
        )
    return None


def identify(solver: Solver, *, offline: bool = False) -> str:
    """Name and revision of a solver's model without loading it: 'repo@commit', or 'folder@hash of its files'.

    With servers the weights cannot be seen: the name, with the recipe's revision where it gives one.

    Raises:
        UsageError: no such folder or Hub repository.
        NetworkError: the Hub cannot be asked and nothing is cached.
    """
    if uses_servers(solver):
        return f"{solver.model}@{solver.revision}" if solver.revision else solver.model
    folder = model_folder(solver.model)
    if folder is not None:
        name = "phantom" if solver.model == "phantom" else folder.resolve().name
        return f"{name}@{folder_hash(folder)[:16]}"
    if solver.revision and _COMMIT.fullmatch(solver.revision):
        return f"{solver.model}@{solver.revision}"
    return f"{solver.model}@{_hub_commit(solver.model, solver.revision, offline)}"


def folder_hash(folder: Path) -> str:
    """sha256 over names and contents of the files of a model folder that decide its answers.

    Raises:
        UsageError: the folder holds no config.json, or no weights.
    """
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix in _DECISIVE and not p.name.startswith("."))
    if not any(p.name == "config.json" for p in files):
        raise UsageError(f"{folder} is no model folder: it has no config.json.")
    if not any(p.suffix in (".safetensors", ".bin", ".pt") for p in files):
        raise UsageError(f"{folder} is no model folder: it has no weights (*.safetensors).")
    return _files_hash(tuple((p, p.stat().st_size, p.stat().st_mtime_ns) for p in files))


@cache
def _files_hash(files: tuple[tuple[Path, int, int], ...]) -> str:
    whole = hashlib.sha256()
    for path, _, _ in files:
        with path.open("rb") as file:
            whole.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


@cache
def _hub_commit(repo: str, revision: str | None, offline: bool) -> str:
    from huggingface_hub import HfApi, errors, snapshot_download

    try:
        if not offline:
            sha = HfApi().model_info(repo, revision=revision, timeout=10).sha
            if sha is not None:
                return str(sha)
    except errors.RepositoryNotFoundError:
        raise UsageError(f"no model {repo!r} on the Hub for you: check the name, or `hf auth login`.") from None
    except errors.RevisionNotFoundError:
        raise UsageError(f"the model {repo} has no revision {revision!r} on the Hub.") from None
    except errors.HFValidationError:
        raise UsageError(f"{repo!r} is neither a model folder nor a Hub name (ORG/NAME).") from None
    except _unreachable():
        pass  # no network: the cache may know
    try:
        cached = snapshot_download(repo, revision=revision, allow_patterns=["config.json"], local_files_only=True)
        return Path(cached).name
    except errors.LocalEntryNotFoundError:
        # Weights fetched by commit leave no branch name in the cache; a single snapshot needs none.
        held = _snapshots(repo)
        if revision is None and len(held) == 1:
            return held[0]
        several = f" (which holds {len(held)} other revisions: name one)" if held else ""
        raise NetworkError(
            f"no network, and {repo} is not in the Hub's cache{several}: run again with a network"
        ) from None


def _snapshots(repo: str) -> list[str]:
    """The commits of a model that the Hub's cache holds with a config."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}" / "snapshots"
    return sorted(path.parent.name for path in folder.glob("*/config.json"))


def _unreachable() -> tuple[type[Exception], ...]:
    """What "no network" looks like: huggingface_hub passes on the errors of its HTTP library, whichever it has."""
    from huggingface_hub import errors

    known = (OSError, errors.LocalEntryNotFoundError, errors.HfHubHTTPError, errors.OfflineModeIsEnabled)
    return (*known, *(sys.modules[name].HTTPError for name in ("httpx", "httpx2") if name in sys.modules))


def uses_servers(solver: Solver) -> bool:
    """Whether somebody else's process answers."""
    return solver.engine == "openai" or (solver.engine == "auto" and bool(solver.servers))


def fetch_model(solver: Solver, model_id: str, *, offline: bool = False) -> Path:
    """The folder with a solver's weights, downloaded when it is a Hub name.

    Raises:
        NetworkError: no network and not cached.
    """
    folder = model_folder(solver.model)
    if folder is not None:
        return folder
    from huggingface_hub import snapshot_download

    repo, _, commit = model_id.rpartition("@")
    wanted = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
    try:
        if not offline and commit not in _snapshots(repo):
            _say_size(repo, commit, wanted)
        return Path(snapshot_download(repo, revision=commit, allow_patterns=wanted, local_files_only=offline))
    except _unreachable() as error:
        raise NetworkError(f"cannot fetch the model {repo}: {str(error).splitlines()[0]}") from None


def _say_size(repo: str, commit: str, wanted: list[str]) -> None:
    """Say how much a model's weights are before they are fetched.

    Raises:
        WorkspaceError: the Hub's cache has no room for them.
    """
    from huggingface_hub import HfApi, constants

    files = HfApi().model_info(repo, revision=commit, files_metadata=True).siblings or []
    size = sum(file.size or 0 for file in files if any(fnmatch(file.rfilename, pattern) for pattern in wanted))
    progress.say(f"  fetching {repo}: {size / 1e9:,.1f} GB into the Hub's cache")
    place = Path(constants.HF_HUB_CACHE)
    while not place.exists():
        place = place.parent
    if size > shutil.disk_usage(place).free:
        raise WorkspaceError(
            f"{repo} takes {size / 1e9:,.1f} GB and {constants.HF_HUB_CACHE} has less: free some space, or move it with HF_HOME."
        )


def fetch_dataset(repo: str, revision: str | None, patterns: list[str], *, offline: bool = False) -> Path:
    """Some files of a dataset repository, in the Hub's cache.

    Raises:
        UsageError: no such dataset for this user.
        NetworkError: no network and not cached.
    """
    from huggingface_hub import errors, snapshot_download

    try:
        return Path(
            snapshot_download(
                repo, repo_type="dataset", revision=revision, allow_patterns=patterns, local_files_only=offline
            )
        )
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        raise UsageError(f"no data set {repo!r} on the Hub for you: {str(error).splitlines()[0]}") from None
    except _unreachable() as error:
        raise NetworkError(f"cannot fetch {repo}: {str(error).splitlines()[0]}") from None
