"""Publish a trained model: weights, the settings that made them, and a card with its evaluation, in one commit.

    push_model("outputs/rlvr-7b-m23k", "ORG/NAME", evaluations=["evals/rlvr-7b-m23k-medvlthinker"])

Checkpoints, optimizer states and pickled arguments stay at home. Pushing the same folder again does nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curator.adapters import whole_model
from curator.engines.model import identify
from curator.errors import UsageError
from curator.evaluate import markdown, results
from curator.publish.card import escape, template_dir
from curator.publish.client import Hub, RemoteFile, git_blob, sha256, transport_errors
from curator.recipe import Solver
from curator.train import RECORD

_FILES = re.compile(
    r"(config|generation_config|adapter_config|tokenizer.*|special_tokens_map|added_tokens|vocab|(video_)?preprocessor_config|"
    r"processor_config|chat_template|model\.safetensors\.index|trainer_state)\.json|chat_template\.jinja|merges\.txt|"
    r"(model|adapter_model).*\.safetensors|" + re.escape(RECORD)
)
_LICENSES = {"3B": "other", "7B": "apache-2.0", "32B": "apache-2.0", "72B": "other"}


@dataclass(frozen=True, slots=True)
class PushedModel:
    """What was, or with a dry run would be, published."""

    repo: str
    commit: str | None
    """None when there was nothing to do, or in a dry run."""
    files: list[str] = field(default_factory=list)
    """Files that are new or changed."""
    bytes: int = 0
    card: str = ""


def push_model(
    folder: str | Path,
    repo: str,
    *,
    evaluations: Sequence[str | Path] = (),
    version: str | None = None,
    private: bool = False,
    dry_run: bool = False,
    endpoint: str | None = None,
    token: str | None = None,
) -> PushedModel:
    """Publish a trained folder as `repo`; `version` tags the commit (a tag never moves).

    Raises:
        UsageError: the folder holds no model trained here, an evaluation is of other weights, or the tag is taken.
        PublishError, NetworkError: the Hub refused or could not be reached; main is as it was.
    """
    folder = Path(folder)
    record = _record(folder)
    found = [_evaluation(place, folder) for place in evaluations]
    if repo.count("/") != 1:
        raise UsageError(f"{repo!r} is no name on the Hub: give ORG/NAME.")
    card = render(record, repo, found)
    paths = sorted(path for path in folder.iterdir() if path.is_file() and _FILES.fullmatch(path.name))
    if not any(path.suffix == ".safetensors" for path in paths):
        raise UsageError(f"{folder} holds no weights (*.safetensors): let the training finish first.")
    content: dict[str, Path | bytes] = {path.name: path for path in paths}
    content["README.md"] = card.encode()
    content[RECORD] = _json(record)
    for i, (place, evaluation) in enumerate(zip(evaluations, found, strict=True)):
        content[f"evaluation/{i}-{Path(place).name}.json"] = _json(evaluation)
    hub = Hub(repo, endpoint=endpoint, token=token)
    remote, head, tags = ({}, None, {}) if dry_run and token is None and not _logged_in() else _look(hub)
    changed = [name for name, what in content.items() if not _same(remote.get(name), what)]
    size = sum(what.stat().st_size if isinstance(what := content[name], Path) else len(what) for name in changed)
    if dry_run:
        return PushedModel(repo, None, changed, size, card)
    if version is not None and version in tags and (changed or tags[version] != head):
        raise UsageError(f"{repo} has a version {version} already, and tags never move: give another --version.")
    commit = _commit(hub, content, changed, head, private, record) if changed else head
    if version is not None and commit is not None and version not in tags:
        hub.ask(lambda: hub.api.create_tag(repo, tag=version, revision=commit), doing="tagging")
    return PushedModel(repo, commit if changed else None, changed, size, card)


def _commit(
    hub: Hub,
    content: dict[str, Path | bytes],
    changed: list[str],
    head: str | None,
    private: bool,
    record: dict[str, Any],
) -> str:
    from huggingface_hub import CommitOperationAdd

    if head is None:
        hub.ask(lambda: hub.api.create_repo(hub.repo, private=private, exist_ok=True), doing="creating")
    operations = [CommitOperationAdd(name, content[name] if isinstance(content[name], bytes) else str(content[name]))
                  for name in changed]  # fmt: skip
    hub.ask(lambda: hub.api.preupload_lfs_files(hub.repo, operations), doing="uploading")
    title = f"{record['kind'].upper()} of {record['settings']['model']}"
    try:
        made = hub.api.create_commit(hub.repo, operations, commit_message=title, parent_commit=head)
        return str(made.oid)
    except tuple(transport_errors()) as error:
        # The answer to a commit can be lost after the commit was made: look before giving up.
        remote, now, _ = _look(hub)
        if now is not None and all(_same(remote.get(name), content[name]) for name in changed):
            return now
        raise hub.explain(error, "publishing") from error


def _look(hub: Hub) -> tuple[dict[str, RemoteFile], str | None, dict[str, str]]:
    """The remote files, head and tags; nothing where there is no such repository yet."""
    from huggingface_hub.errors import RepositoryNotFoundError
    from huggingface_hub.hf_api import RepoFile

    def head() -> str | None:
        try:
            return str(hub.api.model_info(hub.repo).sha)
        except RepositoryNotFoundError:
            return None

    if (at := hub.ask(head)) is None:
        return {}, None, {}
    listing = hub.ask(lambda: list(hub.api.list_repo_tree(hub.repo, revision=at, recursive=True)))
    files = {
        item.path: RemoteFile(item.size, item.lfs.sha256 if item.lfs else "", item.blob_id)
        for item in listing
        if isinstance(item, RepoFile)
    }
    refs = hub.ask(lambda: hub.api.list_repo_refs(hub.repo))
    return files, at, {tag.name: tag.target_commit for tag in refs.tags}


def _same(remote: RemoteFile | None, local: Path | bytes) -> bool:
    if remote is None:
        return False
    if isinstance(local, bytes):
        return remote.size == len(local) and remote.blob_id == git_blob(local)
    if remote.size != local.stat().st_size:
        return False
    return remote.is_same(remote.size, sha256(local) if remote.sha256 else "", lambda: git_blob(local.read_bytes()))


def _logged_in() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None


def _record(folder: Path) -> dict[str, Any]:
    if not (folder / RECORD).is_file():
        raise UsageError(f"{folder} holds no training of curator's: give the output folder of `curator train`.")
    return _public(json.loads((folder / RECORD).read_text("utf-8")))


# What of a record may be a folder of this machine.
_PLACES = frozenset({"dataset", "model", "output", "root"})


def _public(record: dict[str, Any]) -> dict[str, Any]:
    """The record for others to read: folders of this machine by their names alone, a local set by its release's name."""

    def public(part: dict[str, Any]) -> dict[str, Any]:
        return {key: _named(value) if key in _PLACES else value for key, value in part.items()}

    settings = public(record["settings"])
    if name := record.get("data", {}).get("name"):
        settings["dataset"] = name
    return {**public(record), "settings": settings, "parents": [public(step) for step in record.get("parents", [])]}


def _named(place: Any) -> Any:
    """A folder of this machine by its name, anything else as it is."""
    here = isinstance(place, str) and (place.startswith((".", "/", "~")) or Path(place).is_dir())
    return Path(place).expanduser().resolve().name if here else place


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _evaluation(place: str | Path, folder: Path) -> dict[str, Any]:
    found = results(place)
    now = identify(Solver(model=whole_model(str(folder))))
    if found["model_id"].rpartition("@")[2] != now.rpartition("@")[2]:
        raise UsageError(
            f"{place} is an evaluation of {found['model_id']}, and the weights in {folder} are {now}: run `curator eval {folder}`."
        )
    return {key: _named(value) if key in ("model", "suite", "suite_origin") else value for key, value in found.items()}


def render(record: dict[str, Any], repo: str, evaluations: Sequence[dict[str, Any]] = ()) -> str:
    """The model's README.md: YAML metadata, training, evaluation, limits."""
    import jinja2
    import yaml

    settings = record["settings"]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_dir()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown: what came from outside goes through md()
    )
    environment.globals.update(
        md=escape, n=lambda number: f"{number:,}", code=lambda text: re.sub(r"[`|\s]+", " ", str(text))
    )
    body = environment.get_template("model_card.md.jinja").render(
        **{"steps": 0, "finished": False, "left_out": {}, "rows": 0, **record},
        title=repo.partition("/")[2],
        repo=repo,
        base=settings["model"],
        lora=settings["lora"] is not None,
        algorithm=settings.get("algorithm", ""),
        data_line=_data_line(record),
        limits=_limits(record["root"]),
        evaluations=[{"page": re.sub(r"(?m)^# ", "### ", markdown(found))} for found in evaluations],
    )
    head = yaml.safe_dump(_metadata(record, evaluations), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{head}---\n\n" + re.sub(r"\n{3,}", "\n\n", body).strip() + "\n"


def _limits(base: str) -> str:
    if base == "phantom":
        return "It is a toy of a few hundred thousand parameters that answers about drawn phantoms; nothing in it is medical."
    return "It can be wrong in a convincing tone."


def _data_line(record: dict[str, Any]) -> str:
    settings, data = record["settings"], record.get("data", {})
    parts = [settings["dataset"], f"config {settings['subset'] or 'default'}", f"split {settings['split']}"]
    if data.get("version") or settings["revision"]:
        parts.append(f"version {data.get('version') or settings['revision']}")
    if data.get("manifest_sha256"):
        parts.append(f"manifest sha256 {data['manifest_sha256'][:16]}")
    if data.get("commit"):
        parts.append(f"commit {data['commit'][:12]}")
    return ", ".join(parts)


def _metadata(record: dict[str, Any], evaluations: Sequence[dict[str, Any]]) -> dict[str, Any]:
    settings = record["settings"]
    base = record["root"]
    size = re.search(r"Qwen2\.5-VL-(\d+B)", base)
    sees = base == "phantom" or "VL" in base
    data: dict[str, Any] = {
        "library_name": "peft" if settings["lora"] else "transformers",
        "pipeline_tag": "image-text-to-text" if sees else "text-generation",
        "license": _LICENSES.get(size[1], "other") if size else "apache-2.0" if base == "phantom" else "other",
        "tags": ["medical", "reasoning", "medvl-curator", record["kind"]],
    }
    if data["license"] == "other":
        data["license_name"] = "same-as-the-base-model"
    if re.fullmatch(r"[\w.-]+/[\w.-]+", base):
        data["base_model"] = base
    repo = settings["dataset"].removeprefix("hub:")
    if re.fullmatch(r"[\w.-]+/[\w.-]+", repo) and not record.get("data", {}).get("manifest_sha256"):
        data["datasets"] = [repo]
    # What leaderboards read is about whole benchmarks; a limited evaluation is on the page, which says that it is limited.
    whole = [found for found in evaluations if found["settings"]["limit"] is None]
    if whole:
        data["model-index"] = [{"name": "model", "results": [r for found in whole for r in _results(found)]}]
    return data


def _results(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "task": {"type": "visual-question-answering"},
            "dataset": {"name": name, "type": name},
            "metrics": [{"type": "accuracy", "value": round(100 * part["accuracy"]["value"], 2)}],
        }
        for name, part in found["benchmarks"].items()
    ]
