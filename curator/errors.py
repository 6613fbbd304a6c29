"""What can go wrong, as one tree. The command line prints one line of each and exits with its `exit_code`.

    CuratorError                 1
    ├── UsageError               1   a wrong option, name or recipe key: says what to type instead
    ├── SourceError              1   a source's files are missing, unreadable or not what was documented
    │   ├── GatedError           1   the Hub wants terms accepted or a token: says where
    │   └── NetworkError         2   no network, or a server that kept failing: run again
    ├── MissingExtra             1   an optional dependency is not installed: says the command
    ├── EngineError              2   a solver or teacher that cannot be loaded or stopped answering
    ├── WorkspaceError           1   a build's folder is locked, unwritable, full or of another schema
    ├── VerificationError        1   a release whose bytes, counts or promises do not hold
    ├── NotChecked               2   a release that holds, as far as it could be checked
    ├── PublishError             2   the Hub refused a push or lost it: nothing half-published
    └── Interrupted            130   Ctrl-C, with the state saved

Every message is one sentence: what is wrong, where, and what to do. A user's mistake never shows a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


class CuratorError(Exception):
    """Base of every error that curator raises on purpose."""

    exit_code = 1


class UsageError(CuratorError):
    """A wrong option, name or recipe key."""


class SourceError(CuratorError):
    """A source's files are missing, unreadable or not laid out as documented."""


class GatedError(SourceError):
    """The Hub wants terms accepted, or a token."""


class NetworkError(SourceError):
    """The network or a server kept failing after bounded retries."""

    exit_code = 2


class MissingExtra(CuratorError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs more packages: type `pip install 'medvl-curator[{extra}]'`")
        self.extra = extra


class EngineError(CuratorError):
    """A solver or teacher that cannot be loaded, or stopped answering; what was drawn is kept."""

    exit_code = 2


class WorkspaceError(CuratorError):
    """A build's folder is locked, cannot be written, is full or of another schema."""


class VerificationError(CuratorError):
    """A release whose bytes, counts or promises do not hold."""


class NotChecked(CuratorError):
    """A release that holds as far as it could be checked, and something could not."""

    exit_code = 2


class PublishError(CuratorError):
    """The Hub refused a push or lost it; main is as it was."""

    exit_code = 2


class Interrupted(CuratorError):
    """Ctrl-C: everything acknowledged is on disk; the same command goes on."""

    exit_code = 130


def in_words(found: Mapping[str, Any], name: str | None = None) -> str:
    """What is wrong with a value, from one of pydantic's `errors()`: 'score.samples is -3: give at least 0'.

    `name` says what the value is, where its place in a file does not.
    """
    limits = found.get("ctx", {})
    if name is None:
        name = ".".join(str(part) for part in found["loc"] if "[" not in str(part))
    wanted = {
        "int": "a whole number", "float": "a number", "bool": "true or false", "string": "text", "list": "a list",
        "dict": "a mapping (key: value)", "model": "a mapping (key: value)", "tuple": "a list",
        "greater_than_equal": f"at least {limits.get('ge')}", "less_than_equal": f"at most {limits.get('le')}",
        "greater_than": f"more than {limits.get('gt')}", "less_than": f"less than {limits.get('lt')}",
        "literal_error": limits.get("expected"), "too_short": f"at least {limits.get('min_length')}",
    }  # fmt: skip
    kind = found["type"]
    give = wanted.get(kind) or wanted.get(kind.rpartition("_")[0]) or wanted.get(kind.partition("_")[0])
    if kind == "missing":
        return f"{name} is missing"
    if kind == "value_error" or give is None:
        return f"{name}{': ' if name else ''}{found['msg'].removeprefix('Value error, ')}"
    return f"{name} is {found['input']!r}: give {give}"


def unknown(kind: str, name: str, known: Iterable[str], hint: str) -> UsageError:
    """The error for a name that is not known, with the nearest one that is."""
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    guess = f"; did you mean {near[0]!r}?" if near else "."
    return UsageError(f"no {kind} named {name!r}{guess} {hint}")
