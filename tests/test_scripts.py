"""What the scripts start runs as fast as it does for a user."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))
import environment


def test_what_is_imported_once_is_not_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # as the images of many containers set it
    (tmp_path / "once.py").write_text("")
    subprocess.run([sys.executable, "-c", "import once"], cwd=tmp_path, env=environment.environ(), check=True)
    assert list((tmp_path / "__pycache__").glob("once.*.pyc"))
