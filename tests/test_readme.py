"""Every command of the README is run: here, or by the test that is named beside it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from curator.cli import app
from hub_server import HubServer

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
README = (ROOT / "README.md").read_text("utf-8")
CONSOLE = re.findall(r"^\$ (.+)$", "\n".join(re.findall(r"```console\n(.*?)```", README, re.DOTALL)), re.MULTILINE)
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)

ELSEWHERE = {
    "python3 scripts/demo": ".ci/run runs it",
    "python3 scripts/test": ".ci/run runs it",
    "curator build --source phantom --difficulty medium --samples 8 --teacher": "tests/test_study.py",
    "curator train sft": "tests/test_study.py",
    "curator train rlvr": "tests/test_study.py",
    "curator eval": "tests/test_study.py",
    "curator compare": "tests/test_study.py",
    "curator push-model": "tests/test_study.py",
}


def elsewhere(command: str) -> str | None:
    return next((where for start, where in ELSEWHERE.items() if command.startswith(start)), None)


def run_as(command: str) -> str:
    """How the beginning of a command stands where it is run: as it is in a script, as arguments of `curator` in a test."""
    program, *words = command.split()
    return f"{program}({', '.join(map(json.dumps, words))}" if program == "curator" else command


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < 250


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("start, where", ELSEWHERE.items())
def test_what_is_run_elsewhere_is_run_there(start: str, where: str) -> None:
    text = (ROOT / where.removesuffix(" runs it")).read_text("utf-8")
    assert run_as(start) in re.sub(r"\(\s+", "(", text)
    assert any(command.startswith(start) for command in CONSOLE)


# Between backticks, at the beginning of an indented or commented line or after a prompt stands a command; elsewhere
# "curator" may be the subject of a sentence, unless a verb of the command line follows.
SAID = re.compile(r"(`|^[ #$]{2,})?(?<![\w./-])curator +([a-z][\w-]*)([^`\n]*)", re.MULTILINE)
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
VERBS = get_command(app).commands
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"] + [
    path
    for folder in ("recipes", "docs", "cards", "curator", "training", "scripts", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".md", ".yaml", ".jinja", ".py")
]


def wrong_commands(text: str) -> list[str]:
    """The commands in a text that the command line does not have, or that do not have an option given."""
    wrong = []
    joined = re.sub(r'\\\n|" *\n *f?"', " ", text)  # over a line's end in a shell, and in a message in the code
    for mark, verb, rest in SAID.findall(joined):
        if verb not in VERBS:
            wrong += [f"curator {verb}"] if mark else []
            continue
        known = {"--help", *(option for parameter in VERBS[verb].params for option in parameter.opts)}
        wrong += [f"curator {verb} {option}" for option in OPTION.findall(rest) if option not in known]
    return wrong


def test_every_command_that_is_told_of_is_there() -> None:
    wrong = {str(path.relative_to(ROOT)): wrong_commands(path.read_text("utf-8")) for path in TEXTS}
    assert {path: found for path, found in wrong.items() if found} == {}


def test_a_command_that_is_not_there_is_found() -> None:
    said = "#   curator build --recipe slake\n`curator merge A B`\n$ curator push A \\\n  --buld B\ncurator ships it\n"
    code = '"try `curator show "\n    f"--satge X`"\n'
    found = ["curator build --recipe", "curator merge", "curator push --buld", "curator show --satge"]
    assert wrong_commands(said + code) == found


def test_the_figures_are_what_the_benchmarks_printed() -> None:
    for line in README.split("## Figures")[1].split("\n## ")[0].splitlines():
        if not (file := re.search(r"`(\w+)\.py` \|$", line)):
            continue
        printed = (ROOT / "benchmarks" / "results" / f"{file[1]}.md").read_text("utf-8")
        for figure in re.findall(r"\d+\.\d+%?", line):
            assert figure in printed, f"{figure} is not on the page of {file[1]}.py"


@pytest.mark.slow
def test_the_commands_run_as_they_stand(tmp_path: Path) -> None:
    if not (SHARED / "data" / "vqa_rad").is_dir():
        pytest.skip("needs the real VQA-RAD of ../shared/data, which is not in the repository")
    place = tmp_path / "checkout"
    place.mkdir()
    (place / "vqa_rad").symlink_to(SHARED / "data" / "vqa_rad")
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "curator").write_text(f'#!/bin/sh\nexec {sys.executable} -m curator "$@"\n')
    (bin_folder / "curator").chmod(0o755)
    with HubServer() as hub:
        environ = {
            **os.environ, **hub.env(), "CURATOR_HOME": str(tmp_path / "home"), "HF_HOME": str(tmp_path / "hf"),
            "PYTHONPATH": str(ROOT), "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        }  # fmt: skip
        for command in CONSOLE:
            if elsewhere(command):
                continue
            done = subprocess.run(
                ["sh", "-c", command], cwd=place, env=environ, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            if command.startswith("curator build"):
                assert_said(done.stderr, shown_after(command))
        for code in PYTHON:
            done = subprocess.run(
                [sys.executable, "-c", code], cwd=place, env=environ, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0 and "PIL" in done.stdout, done.stderr
    shutil.rmtree(place)


def shown_after(command: str) -> list[str]:
    """The output that the README shows below a command."""
    block = next(b for b in re.findall(r"```console\n(.*?)```", README, re.DOTALL) if f"$ {command}\n" in b)
    return block.split(f"$ {command}\n", 1)[1].split("\n$ ")[0].rstrip("\n").splitlines()


def assert_said(said: str, shown: list[str]) -> None:
    """Each funnel line shown was said: word for word up to scoring, whose samples follow the machine's arithmetic."""
    real = {line.split()[0]: line.rstrip() for line in said.splitlines() if " → " in line}
    wanted = {line.split()[0]: line.rstrip() for line in shown if " → " in line}
    assert list(wanted) == list(real)
    before = list(wanted)[: list(wanted).index("score")]
    assert {stage: real[stage] for stage in before} == {stage: wanted[stage] for stage in before}
