"""What this machine can run: found or missing, what for, and the command that gets it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as real_version
from pathlib import Path

import pytest

from curator import doctor


def test_what_is_missing_says_what_for_and_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name in doctor.EXTRAS:
            raise PackageNotFoundError(name)
        return real_version(name)

    monkeypatch.setattr(doctor, "version", version)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    said = {finding.what: finding for finding in doctor.examine(tmp_path)}
    for name, (extra, _) in doctor.EXTRAS.items():
        assert said[name].found is None
        line = str(said[name])
        assert line.startswith("missing") and f"pip install 'medvl-curator[{extra}]'" in line and "needed to" in line
    assert str(said["gpu"]).startswith("missing") and "--server URL" in str(said["gpu"])
    assert str(said["python"]).startswith("found") and str(said["polars"]).startswith("found")
    assert {"what", "found", "needed", "install"} == set(doctor.as_json([said["vllm"]])[0])
