"""Shared by all tests: where real data lies, and a data home of their own so that no test touches the user's."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before any library reads them: no test reaches the network, and threads wait without burning the other core.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With workers the slow tests come first, every other one for each of two, so that they end together.

    `--dist worksteal` gives each worker an equal part of the list, which it runs from its beginning; the other takes from
    the end of what is left.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    rest = [item for item in items if not item.get_closest_marker("slow")]
    half = max(0, len(items) // 2 - len(slow[::2]))
    items[:] = [*slow[::2], *rest[:half], *slow[1::2], *rest[half:]]


@pytest.fixture(autouse=True)
def curator_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh data home (rollout store, fingerprints, last build) for each test."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("CURATOR_HOME", str(home))
    return home


@pytest.fixture
def deadline() -> Iterator[None]:
    """Fails a test that waits for ever, after 20 seconds."""

    def stop(*_: object) -> None:
        raise TimeoutError("still waiting after 20 s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real rows and images; the test is skipped where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the real rows of ../shared/data, which are not in the repository")
    return SHARED / "data"
