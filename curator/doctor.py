"""What this machine can run, and what to type for the rest. Prints no token, reads no data."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from curator import progress
from curator.workspace import data_home

SCARCE = 5e9
"""Bytes of free disk under which a build of pictures is likely to fill it."""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's list: what was looked at, what there is (None: it is missing), and what to do about it."""

    what: str
    found: str | None
    needed: str = ""
    """What is missing, or worth knowing, and for what."""
    install: str = ""
    """The command that gets it."""

    def __str__(self) -> str:
        more = ": ".join(part for part in (self.needed, self.install) if part)
        state = "missing" if self.found is None else "found"
        return f"{state:<9}{self.what:<16}{'  '.join(part for part in (self.found, more) if part)}"


EXTRAS = {
    "torch": ("local", "needed to score on this machine (engine transformers)"),
    "transformers": ("local", "needed to score on this machine (engine transformers)"),
    "vllm": ("vllm", "needed to score fast on a GPU (engine vllm)"),
    "ray": ("ray", "needed to score on several GPUs or machines (--replicas, --ray)"),
    "trl": ("train", "needed to train (curator train)"),
}
"""Package -> the extra that has it, and what for; curator works without each, and asks for it when it is wanted."""


def examine(folder: Path | None = None) -> list[Finding]:
    """Look at Python, packages, GPU, disk, memory, token and store."""
    return [
        Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *(Finding(name, _installed(name)) for name in ("medvl-curator", "datasets", "huggingface-hub", "polars")),
        *(_package(name) for name in EXTRAS),
        _gpu(),
        Finding("cores", str(os.cpu_count())),
        _disk(folder or Path()),
        _token(),
        _network(),
        Finding("rollout store", *_store()),
    ]


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _package(name: str) -> Finding:
    extra, purpose = EXTRAS[name]
    have = _installed(name)
    return Finding(name, have) if have else Finding(name, None, purpose, f"pip install 'medvl-curator[{extra}]'")


def _gpu() -> Finding:
    slow = "without one a 3B solver is slow here: use --limit, --server URL, or --rollouts to reuse published samples"
    if _installed("torch") is None:
        return Finding("gpu", None, f"not looked for, as torch is missing; {slow}")
    import torch

    if torch.cuda.is_available():
        return Finding("gpu", ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())))
    if torch.backends.mps.is_available():
        return Finding("gpu", "Apple GPU (mps)")
    return Finding("gpu", None, slow)


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    scarce = "little: pmc-vqa wants 40 GB; --out takes a build to another disk" if free < SCARCE else ""
    return Finding("disk", f"{progress.size(free)} free here", scarce)


def _token() -> Finding:
    from huggingface_hub import get_token

    if get_token() is not None:
        return Finding("hub token", "set")
    return Finding("hub token", None, "needed to push and to read gated sources", "hf auth login")


def _network() -> Finding:
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    return Finding(
        "network", "HF_HUB_OFFLINE is set: only the Hub's cache is read" if offline else "allowed, not tried"
    )


def _store() -> tuple[str, str]:
    path = data_home() / "rollouts.sqlite"
    return (
        str(path),
        progress.size(path.stat().st_size) if path.is_file() else "not there yet: the first build makes it",
    )


def as_json(findings: list[Finding]) -> list[dict[str, object]]:
    """The findings as plain data."""
    return [asdict(finding) for finding in findings]
