"""Virtual environments for scripts/demo and scripts/test, with nothing but the standard library.

Uses uv where it is installed and pip elsewhere. An environment is made once and again only when the project's
requirements change: a stamp of them lies in it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "scripts" / "constraints.txt"
NOT_OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
"""Without byte code beside it (uv writes none) every process compiles every module that it imports: half of its time."""


def make(folder: str, requirement: str, download: str, *, editable: bool, fast: bool = False) -> Path:
    """A virtual environment in `folder` with `requirement` installed; its python.

    `download` says what it will take; `fast` brings uv along first, for the long lists of the tests.
    """
    place = ROOT / folder
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp, wanted = place / "installed", _stamp(requirement, editable)
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    _check_python()
    print(f"Installing into {folder}: {download}", flush=True)
    started = time.monotonic()
    uv = shutil.which("uv")
    if uv:
        _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(place)])
    else:
        shutil.rmtree(place, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(place)])
        if fast:
            _run([str(python), "-m", "pip", "install", "--quiet", "uv"])
            uv = str(python.with_name("uv"))
    what = ["--editable", f".{requirement}"] if editable else [f".{requirement}"]
    common = ["--quiet", "--constraint", str(CONSTRAINTS), *what]
    if uv:
        _run([uv, "pip", "install", "--python", str(python), *common])
    else:
        _run([str(python), "-m", "pip", "install", *common])
    stamp.write_text(wanted)
    print(f"Installed in {time.monotonic() - started:.0f} s.\n", flush=True)
    return python


def environ(**more: str) -> dict[str, str]:
    """The environment for the programs we start: threads that wait quietly, no other Python's packages, byte code kept."""
    quiet = {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false", "PYTHONNOUSERSITE": "1"}
    kept = {k: v for k, v in os.environ.items() if k not in NOT_OURS}
    if "PIP_FIND_LINKS" in os.environ:  # uv does not read pip's variables
        kept.setdefault("UV_FIND_LINKS", os.environ["PIP_FIND_LINKS"])
    return {**kept, **quiet, **more}


def _stamp(requirement: str, editable: bool) -> str:
    state = hashlib.sha256(f"{requirement} {editable} {sys.version}".encode())
    files = [ROOT / "pyproject.toml", CONSTRAINTS]
    if not editable:  # what is installed is a copy: any change of the package makes it stale
        inside = (ROOT / name for name in ("curator", "recipes", "cards", "training"))
        files += sorted(f for d in inside for f in d.rglob("*") if f.is_file() and "__pycache__" not in f.parts)
    for file in files:
        state.update(file.read_bytes())
    return state.hexdigest()


def _check_python() -> None:
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        sys.exit(
            f"curator needs Python 3.11 to 3.13; this is {sys.version.split()[0]}. Start the script with another one."
        )
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing and not shutil.which("uv"):
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        sys.exit(f"This Python has no {missing[0]}: install the system package {package} (Debian, Ubuntu), or uv.")


def _run(command: list[str]) -> None:
    finished = subprocess.run(command, cwd=ROOT, env=environ())
    if finished.returncode:
        sys.exit(f"failed ({finished.returncode}): {' '.join(command)}\nFix what it says and run this script again.")
