"""A data set on the Hub as a tree of files: listed at a pinned commit, read by byte range or fetched whole, once.

Pieces are read with ranges while less than half of a file is wanted; more than that fetches the whole file into the Hub's
own cache (resumed when it was cut off, checked against the Hub's sha256). What the cache holds is never fetched again, and
`HF_HUB_OFFLINE=1` reads nothing else. Retries are bounded: `ATTEMPTS` per request, honouring Retry-After.
"""

from __future__ import annotations

import hashlib
import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TypeVar

from curator.errors import GatedError, NetworkError, SourceError
from curator.progress import say
from curator.workspace import write_text

ATTEMPTS = 5
PAUSE = 1.0  # seconds before the second attempt; doubles with each
LONGEST_PAUSE = 60.0  # a Retry-After beyond this is an answer for people, not for a loop
TIMEOUT = 30.0
WHOLE_BELOW = 4 << 20  # bytes: smaller files are not worth ranges
BUFFER = 256 << 10
_WAYS = "run again with a network; `curator build` takes a local copy too (--data-dir DIR)."
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})

T = TypeVar("T")


class HubTree:
    """One revision of one data set on the Hub.

    Raises:
        NetworkError: no network, or the Hub kept failing.
        GatedError: terms to accept or a token to give.
        SourceError: no such data set or revision; nothing in the cache when offline.
    """

    def __init__(self, repo: str, revision: str | None = None, *, offline: bool = False) -> None:
        from huggingface_hub import constants

        self.repo = repo
        self._asked_for = revision or "main"
        self._sizes: dict[str, int] = {}
        self._etags: dict[str, str] = {}
        self._sha256: dict[str, str] = {}
        self.license = ""
        """The licence of the data set's card; '' when it names none."""
        if offline or constants.HF_HUB_OFFLINE:
            self._from_cache(revision, f"offline, and {repo} is not in the Hub's cache: {_WAYS}")
        else:
            self._from_hub(revision)
        self.where = f"hub:{repo}@{self.revision[:7]}"

    # -- what is there -------------------------------------------------------------------------------------------------

    def _from_hub(self, revision: str | None) -> None:
        from huggingface_hub import HfApi

        try:
            info = self._asked(
                lambda: HfApi().dataset_info(self.repo, revision=revision, files_metadata=True, timeout=TIMEOUT)
            )
        except _NoNetwork:
            line = f"no network, to read {self.repo}: {_WAYS}"
            if revision is not None and re.fullmatch("[0-9a-f]{40}", revision):
                self._from_cache(revision, line)
                return
            raise NetworkError(line) from None
        self.revision = str(info.sha)
        card = info.card_data.to_dict() if info.card_data else {}  # type: ignore[no-untyped-call]
        self.license = str(card.get("license") or "")
        for file in info.siblings or []:
            self._sizes[file.rfilename] = file.size or 0
            self._etags[file.rfilename] = (file.lfs.sha256 if file.lfs else file.blob_id) or str(file.size)
            if file.lfs and file.lfs.sha256:
                self._sha256[file.rfilename] = file.lfs.sha256

    def _from_cache(self, revision: str | None, otherwise: str) -> None:
        ref = self._home() / "refs" / self._asked_for
        commit = ref.read_text("utf-8").strip() if ref.is_file() else (revision or "")
        snapshot = self._home() / "snapshots" / commit
        if not commit or not snapshot.is_dir():
            raise NetworkError(otherwise)
        self.revision = commit
        for path in sorted(snapshot.rglob("*")):
            if path.is_file():
                name = path.relative_to(snapshot).as_posix()
                self._sizes[name] = path.stat().st_size
                self._etags[name] = path.resolve().name

    def sizes(self) -> dict[str, int]:
        return self._sizes

    def stamp(self, path: str) -> str:
        return self._etags[path]

    def cached(self, path: str) -> bool:
        return self._cached(path) is not None

    def _cached(self, path: str) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.repo, path, repo_type="dataset", revision=self.revision)
        return Path(found) if isinstance(found, str) else None

    # -- reading -------------------------------------------------------------------------------------------------------

    def open(self, path: str) -> BinaryIO:
        if self._sizes[path] <= WHOLE_BELOW:
            return self._fetched(path).open("rb")
        cached = self._cached(path)
        if cached:
            return cached.open("rb")
        return io.BufferedReader(_RangeFile(self, path))

    def read_range(self, path: str, start: int, length: int) -> bytes:
        cached = self._cached(path)
        if cached:
            with cached.open("rb") as file:
                file.seek(start)
                return file.read(length)
        return self._range(path, start, min(start + length, self._sizes[path]))

    def prefer_whole(self, path: str, wanted: int) -> None:
        if wanted * 2 > self._sizes[path]:
            self._fetched(path)

    def _fetched(self, path: str) -> Path:
        """The whole file, in the Hub's cache; checked when it has just been fetched."""
        cached = self._cached(path)
        if cached:
            return cached
        from huggingface_hub import hf_hub_download

        if self._sizes[path] > 50_000_000:
            say(f"  fetching {path} of {self.repo}, {self._sizes[path] / 1e9:.2f} GB (resumed if it stops)")
        try:
            got = Path(
                self._asked(lambda: hf_hub_download(self.repo, path, repo_type="dataset", revision=self.revision))
            )
        except _NoNetwork:
            raise NetworkError(
                f"the network went away, fetching {path} of {self.repo}: run the same command again."
            ) from None
        self._check(path, got)
        self._remember()
        return got

    def _remember(self) -> None:
        """Note in the cache which commit the asked name stood for, as the Hub's client does, so that it is found offline."""
        if self._asked_for != self.revision:
            ref = self._home() / "refs" / self._asked_for
            write_text(ref, self.revision)

    def _home(self) -> Path:
        from huggingface_hub import constants

        return Path(constants.HF_HUB_CACHE) / f"datasets--{self.repo.replace('/', '--')}"

    def _check(self, path: str, got: Path) -> None:
        wanted = self._sha256.get(path)
        good = got.stat().st_size == self._sizes[path]
        if good and wanted:
            with got.open("rb") as file:
                good = hashlib.file_digest(file, "sha256").hexdigest() == wanted
        if not good:
            got.resolve().unlink(missing_ok=True)
            got.unlink(missing_ok=True)
            raise NetworkError(
                f"{path} of {self.repo} arrived damaged and was thrown away: run the same command again."
            )

    def _range(self, path: str, start: int, end: int) -> bytes:
        """Bytes start..end (exclusive) of a file.

        Raises:
            NetworkError: after `ATTEMPTS` refusals, cut connections or short answers.
        """
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import (  # type: ignore[attr-defined]
            build_hf_headers,
            get_session,
            hf_raise_for_status,
        )

        if end <= start:
            return b""
        url = hf_hub_url(self.repo, path, repo_type="dataset", revision=self.revision)
        asked = {**build_hf_headers(), "Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}

        def ask() -> bytes:
            with get_session().stream("GET", url, headers=asked, timeout=TIMEOUT, follow_redirects=True) as response:
                if response.status_code >= 400:
                    response.read()
                    hf_raise_for_status(response)
                if response.status_code != 206:
                    raise SourceError(
                        f"the server of {self.repo} ignores byte ranges: fetch {path} and use --data-dir."
                    )
                data: bytes = response.read()
                if len(data) != end - start:
                    raise _Short(f"{len(data)} of {end - start} bytes")
                return data

        try:
            return self._asked(ask)
        except _NoNetwork:
            raise NetworkError(
                f"the network went away, reading {path} of {self.repo}: run the same command again."
            ) from None

    # -- asking, a bounded number of times --------------------------------------------------------------------------------

    def _asked(self, ask: Callable[[], T]) -> T:
        """The answer of the Hub, asked again after passing failures; its refusals as our errors."""
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        passing: tuple[type[Exception], ...] = (
            *_transport_errors(), LocalEntryNotFoundError, ConnectionError, TimeoutError, _Short
        )  # fmt: skip
        last = ""
        pause = PAUSE
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(pause)
            pause = min(PAUSE * 2 ** (attempt + 1), LONGEST_PAUSE)
            try:
                return ask()
            except HfHubHTTPError as error:
                status = error.response.status_code if error.response is not None else 0
                if status not in _RETRIED:
                    self._refused(error)
                last = f"the Hub answered {status}"
                pause = _retry_after(error.response.headers.get("Retry-After"), pause)
            except passing as error:
                # nobody answers at all: say so at once instead of knocking on; later cuts are worth another try
                if attempt == 0 and _unreachable(error):
                    raise _NoNetwork from None
                last = f"the connection failed ({type(error).__name__}: {error})".replace("\n", " ")
        raise NetworkError(f"{last}, {ATTEMPTS} times, reading {self.repo}: run the same command again in a while.")

    def _refused(self, error: Exception) -> NoReturn:
        from huggingface_hub import errors as hub

        page = f"https://huggingface.co/datasets/{self.repo}"
        if isinstance(error, hub.GatedRepoError):
            raise GatedError(
                f"{self.repo} is gated: accept its terms at {page}, then `hf auth login` (or set HF_TOKEN) and run again."
            ) from None
        if isinstance(error, hub.RevisionNotFoundError):
            raise SourceError(
                f"{self.repo} has no such revision; its revisions are listed at {page}/commits."
            ) from None
        if isinstance(error, hub.RepositoryNotFoundError):
            raise SourceError(
                f"no data set {self.repo} on the Hub, or it is private: check the name, or `hf auth login` with a token."
            ) from None
        if isinstance(error, hub.EntryNotFoundError):
            raise SourceError(
                f"a file of {self.repo} is gone from revision {getattr(self, 'revision', '')[:7]}."
            ) from None
        raise NetworkError(f"the Hub refused {self.repo}: {str(error).splitlines()[0]}") from None


class _RangeFile(io.RawIOBase):
    """A remote file for random access, read ahead by `BUFFER`; wrap it in a BufferedReader."""

    def __init__(self, tree: HubTree, path: str) -> None:
        self._tree, self._path, self._at = tree, path, 0
        self._size = tree.sizes()[path]
        self._ahead, self._ahead_at = b"", 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        end = min(self._at + len(view), self._size)
        if not (self._ahead_at <= self._at and end <= self._ahead_at + len(self._ahead)):
            self._ahead = self._tree._range(self._path, self._at, min(max(end, self._at + BUFFER), self._size))
            self._ahead_at = self._at
        start = self._at - self._ahead_at
        data = self._ahead[start : start + max(0, end - self._at)]
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


class _NoNetwork(Exception):
    pass


class _Short(Exception):
    pass


def _transport_errors() -> tuple[type[Exception], ...]:
    """The HTTP client's own exceptions; which client it is differs between versions of huggingface_hub."""
    from huggingface_hub.errors import HfHubHTTPError

    return tuple(c for c in HfHubHTTPError.__mro__ if c.__name__ == "HTTPError" and issubclass(c, Exception))


def _unreachable(error: BaseException) -> bool:
    chain: list[Any] = [error]
    while chain[-1].__cause__ or chain[-1].__context__:
        chain.append(chain[-1].__cause__ or chain[-1].__context__)
    return any(
        type(e).__name__ in ("ConnectError", "ConnectionRefusedError", "gaierror", "OfflineModeIsEnabled")
        for e in chain
    )


def _retry_after(header: str | None, otherwise: float) -> float:
    try:
        return min(float(header or ""), LONGEST_PAUSE)
    except ValueError:
        return otherwise
