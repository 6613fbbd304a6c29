"""The engine that asks others: any server or API that speaks OpenAI's chat completions, several at once.

    curator build --source vqa-rad --server http://gpu1:8000 --server http://gpu2:8000

The samples of one question that are missing go out as one call with `n` choices and the first one's seed (a server derives
the others from it), so a picture travels once; choices that did not come are asked for again.

A key is sent in a header, and never written anywhere. OPENAI_API_KEY goes to OpenAI, to this machine, and over https to the
servers that were named; over plain http to another machine it never goes. CURATOR_API_KEY is the key of servers of one's own
(`vllm serve --api-key`): it goes to every server but OpenAI's, in the place of the other.

A server that fails rests for a while and others take over. Rate limits are obeyed: 429 with Retry-After, and the
x-ratelimit headers of an answer (`limits.py`): a server that has nothing left is not asked until it has. A request that the server calls
wrong (400: too long, too many images) fails alone. The engine gives up when nothing has answered for `patience` seconds.
"""

from __future__ import annotations

import base64
import http.client
import io
import ipaddress
import json
import math
import os
import queue
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from curator import progress
from curator.engines import Failed, ReadImage, Request, Sample, limits
from curator.engines.chat import flat_messages
from curator.errors import EngineError, UsageError, unknown

if TYPE_CHECKING:
    from curator.recipe import Solver

KEY, OWN_KEY = "OPENAI_API_KEY", "CURATOR_API_KEY"
PUBLIC = "https://api.openai.com/v1"
SAMPLES_AT_ONCE = 320
CALLS_AT_ONCE = 64
"""Per server. vLLM runs 256 sequences by default; a quarter more keeps it from waiting."""
_TRIES = 6
_LONGEST_REST = 30.0
_ALL_WRONG = 8
"""So many calls refused with none ever answered: it is the settings, not the questions."""
_MOST_TOKENS = 2**31 - 1
"""What a server counts beyond that is no count; exports hold 32 bits."""
_RETRY = {408, 409, 425, 500, 502, 503, 504, 529}

Answers = Sequence[Sample | Failed]


class _Again(Exception):
    """The call may go better later: `rest` seconds from now where the server said so.

    `told`: the server is well and asked to wait. `ours`: it may be the call itself that fails (500, nonsense).
    """

    def __init__(self, why: str, *, rest: float | None = None, told: bool = False, ours: bool = False) -> None:
        super().__init__(why)
        self.rest, self.told, self.ours = rest, told, ours


class _Wrong(Exception):
    """The server will never answer this call."""


@dataclass
class _Server:
    url: str
    calls: int = 0
    failures: int = 0
    rests_until: float = 0.0
    told_until: float = 0.0
    """It said so itself: no success of another call ends this rest."""

    room: int | None = None
    """How many more calls its limit allows, where it says so."""

    def ready_at(self) -> float:
        return max(self.rests_until, self.told_until)

    def takes(self, now: float) -> bool:
        """Whether another call may go out now. After a reset one goes first, to see how much there is."""
        return self.ready_at() <= now and (self.room is None or self.calls < max(self.room, 1))


class OpenAIEngine:
    """Draws samples from servers."""

    name = "openai"

    def __init__(
        self, solver: Solver, model_id: str, *, timeout: float = 900.0, patience: float = 180.0, choices: int = 16
    ) -> None:
        self.model_id, self.model = model_id, solver.model
        self.timeout, self.patience, self.choices = timeout, patience, choices
        self._servers = [
            _Server(base_url(url)) for url in solver.servers or [os.environ.get("OPENAI_BASE_URL") or PUBLIC]
        ]
        self._limit_name = "max_tokens"
        self._state = threading.Lock()
        self._closed = threading.Event()
        self._answered = 0
        self._refused = 0
        self._last_answer = time.monotonic()
        self._tasks: queue.SimpleQueue[tuple[list[Request], ReadImage, queue.SimpleQueue[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._threads: list[threading.Thread] = []
        self._check()

    # -- health ------------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        """Ask every server which models it has, before thousands of calls find out.

        Raises:
            EngineError: none answers, or the key is refused.
            UsageError: a server does not have the model.
        """
        silent: list[str] = []
        for server in self._servers:
            try:
                listed = json.loads(self._send(f"{server.url}/models", None, timeout=min(10.0, self.timeout))[0])
                names = [str(entry["id"]) for entry in listed["data"]]
            except _Again as error:
                silent.append(f"{server.url}: {error}")
                server.rests_until = time.monotonic() + 5
                continue
            except (_Wrong, ValueError, KeyError, TypeError):
                continue  # not every server lists its models; the first call will tell
            if names and self.model not in names:
                raise unknown("model", self.model, names, f"{server.url} serves: {', '.join(names[:5])}.")
        if len(silent) == len(self._servers):
            raise EngineError(f"no server answers: {silent[0]}. Start it, or check its address.")
        for line in silent:
            progress.say(f"  {line}; going on without it until it answers")

    # -- the stream --------------------------------------------------------------------------------------------------

    def generate(self, requests: Iterable[Request | None], read_image: ReadImage) -> Iterator[Sample | Failed]:
        """See `Engine`."""
        source = iter(requests)
        results: queue.SimpleQueue[Answers | BaseException] = queue.SimpleQueue()
        room = SAMPLES_AT_ONCE * len(self._servers)
        most_calls = CALLS_AT_ONCE * len(self._servers)
        in_flight, calls, more = 0, 0, True
        ahead: Request | None = None
        self._last_answer = time.monotonic()
        while True:
            while more and in_flight < room and calls < most_calls:
                group: list[Request] = [ahead] if ahead else []
                ahead = None
                while len(group) < self.choices:
                    request = next(source, _END)
                    more = request is not _END
                    if not isinstance(request, Request):
                        break
                    if group and not _together(group[0], request):
                        ahead = request
                        break
                    group.append(request)
                if not group:
                    break
                self._tasks.put((group, read_image, results))
                in_flight, calls = in_flight + len(group), calls + 1
                if len(self._threads) < min(calls, most_calls):
                    self._start_thread()
            if not in_flight:
                if more or ahead:
                    raise EngineError("the scheduler waits for samples that nobody draws.")
                return
            came = results.get()
            if isinstance(came, BaseException):
                raise came
            in_flight -= len(came)
            if not came:
                calls -= 1
            yield from came

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._work, name="openai", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            group, read_image, results = task
            try:
                self._answer(group, read_image, results)
            except BaseException as error:  # noqa: BLE001 (`generate` raises it; it would wait for ever else)
                results.put(error)
            results.put([])  # the call is over

    def _answer(self, group: list[Request], read_image: ReadImage, results: queue.SimpleQueue[Any]) -> None:
        """Put an answer to every request of a group into `results`, one response's samples at a time."""
        try:
            messages = _messages(group[0], read_image)
        except (OSError, ValueError, KeyError) as error:
            results.put([Failed(r.id, r.index, " ".join(str(error).split())) for r in group])
            return
        tries = 0.0
        while group and not self._closed.is_set():
            answered = self._answered
            try:
                samples = self._call(group, messages)
            except _Again as error:
                # While nobody gets an answer it is the server that fails, and `patience` decides; not this question.
                if not error.told:
                    tries += 1.0 if self._answered > answered else 0.5 if error.ours and answered else 0.0
                if tries >= _TRIES:
                    results.put([Failed(r.id, r.index, f"gave up after many tries: {error}", True) for r in group])
                    return
            except _Wrong as error:
                self._note_refusal(str(error))
                results.put([Failed(r.id, r.index, str(error)) for r in group])
                return
            else:
                tries = 0.0
                results.put(samples)
                group = group[len(samples) :]

    def _note_refusal(self, why: str) -> None:
        with self._state:
            self._refused += 1
            if self._refused >= _ALL_WRONG and not self._answered:
                raise EngineError(f"the server refuses every call: {why}")

    def _call(self, group: list[Request], messages: list[dict[str, Any]]) -> list[Sample]:
        """One HTTP call. Returns at least one sample.

        Raises:
            _Again, _Wrong: see there.
            EngineError: no server has answered for too long, or the key is refused.
        """
        sampling = group[0].sampling
        body = {
            "model": self.model,
            "messages": messages,
            "n": len(group),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            self._limit_name: sampling.max_tokens,
            "seed": group[0].seed,
            "stop": list(sampling.stop),
        }
        server = self._pick()
        try:
            raw, headers = self._send(f"{server.url}/chat/completions", body, timeout=self.timeout)
            samples = _samples(group, raw)
        except _Again as error:
            self._note_failure(server, error)
            raise
        finally:
            with self._state:
                server.calls -= 1
        taken = samples[0].prompt_tokens + sum(sample.completion_tokens for sample in samples)
        rest = limits.until_reset(headers, taken) or 0.0
        with self._state:
            server.failures, server.rests_until, server.room = 0, 0.0, limits.room(headers)
            self._answered += 1
            self._last_answer = time.monotonic() + rest
            server.told_until = max(server.told_until, self._last_answer) if rest else server.told_until
        return samples

    def _pick(self) -> _Server:
        """The least busy server that is not resting; waits while all are."""
        while not self._closed.is_set():
            now = time.monotonic()
            with self._state:
                ready = [server for server in self._servers if server.takes(now)]
                if ready:
                    chosen = min(ready, key=lambda server: (server.calls, server.failures))
                    chosen.calls += 1
                    return chosen
                wait = min(server.ready_at() for server in self._servers) - now
            self._closed.wait(min(max(wait, 0.02), 1.0))
        raise EngineError("closed")

    def _note_failure(self, server: _Server, error: _Again) -> None:
        now = time.monotonic()
        with self._state:
            if server.ready_at() <= now:  # else many calls fell with it, and it was counted
                server.failures += 1
            if error.rest is not None:
                server.told_until = max(server.told_until, now + error.rest)
            else:
                # Full jitter (Brooker 2015): callers that failed together do not come back together.
                rest = random.uniform(0.25, 0.5 * 2 ** min(server.failures, 6))
                server.rests_until = max(server.rests_until, now + min(rest, _LONGEST_REST))
            silent = now - self._last_answer
        # Being told to wait is an answer; but not for ever.
        if silent > self.patience * (5 if error.told else 1):
            raise EngineError(
                f"no server has answered for {progress.duration(silent)}; the last said: {server.url}: {error}. "
                "What was drawn is saved: run the same command again when it is back."
            )

    def _send(self, url: str, body: dict[str, Any] | None, *, timeout: float) -> tuple[bytes, limits.Headers]:
        request = urllib.request.Request(url, json.dumps(body).encode() if body is not None else None)
        request.add_header("Content-Type", "application/json")
        name = _key_for(url)
        if key := os.environ.get(name):
            # Not sent on to wherever a redirect points.
            request.add_unredirected_header("Authorization", f"Bearer {key}")
        try:
            with _opener(url).open(request, timeout=timeout) as response:
                return bytes(response.read()), response.headers
        except urllib.error.HTTPError as error:
            with error:
                self._raise_for(error, url, body)
        except TimeoutError:
            raise _Again(f"no answer within {timeout:.0f} s") from None
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            reason = getattr(error, "reason", None) or error
            said = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
            raise _Again(str(said)) from None
        raise AssertionError("unreachable")

    def _raise_for(self, error: urllib.error.HTTPError, url: str, body: dict[str, Any] | None) -> None:
        said = _said(error)
        if error.code in (401, 403):
            name = _key_for(url)
            unsent = f" ({KEY} is not sent over plain http)" if name == OWN_KEY and os.environ.get(KEY) else ""
            hint = f"the key in {name} was refused" if os.environ.get(name) else f"it wants a key: set {name}{unsent}"
            raise EngineError(f"{url.rsplit('/', 1)[0]} answered {error.code}: {hint}.") from None
        if error.code == 429:
            if "insufficient_quota" in said:
                raise EngineError(f"{url.rsplit('/', 1)[0]}: the account's quota is used up (429).") from None
            raise _Again("429, too many requests", rest=limits.refused(error.headers), told=True) from None
        if error.code in _RETRY:
            raise _Again(
                f"{error.code} {said}".strip(), rest=limits.refused(error.headers), ours=error.code == 500
            ) from None
        if error.code == 404 and body is not None and "model" in said:
            raise EngineError(f"{url.rsplit('/', 2)[0]} does not serve {self.model!r}: {said}") from None
        if error.code == 400 and "max_completion_tokens" in said and self._limit_name == "max_tokens":
            self._limit_name = "max_completion_tokens"  # OpenAI's reasoning models
            raise _Again(said, rest=0.0, told=True) from None
        raise _Wrong(f"{error.code} {said}".strip()) from None

    def close(self) -> None:
        """Stop asking. Calls in the air are abandoned."""
        self._closed.set()
        for _ in self._threads:
            self._tasks.put(None)


_END = object()


def base_url(url: str) -> str:
    """A server's address as users give it, brought to '…/v1'.

    Raises:
        UsageError: it is no http address, or holds a password, which messages would show.
    """
    if "@" in url:
        place = url.rpartition("@")[2]
        raise UsageError(
            f"a server's address takes no user and password (what is before '@{place}'): set {KEY} instead, "
            f"or {OWN_KEY} for a server of your own."
        )
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{url!r} is no address of a server: write it like http://localhost:8000.")
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}"


def _key_for(url: str) -> str:
    """The name of the variable whose key a server may see."""
    parts = urlsplit(url)
    if parts.hostname == urlsplit(PUBLIC).hostname and parts.scheme == "https":
        return KEY
    return KEY if not os.environ.get(OWN_KEY) and (parts.scheme == "https" or _is_here(url)) else OWN_KEY


def _is_here(url: str) -> bool:
    """Whether a server is on this machine. `127.0.0.1.example.org` is not."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _opener(url: str) -> urllib.request.OpenerDirector:
    if _is_here(url):
        return urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener()


def _together(first: Request, other: Request) -> bool:
    same = first.prompt == other.prompt and first.id == other.id
    return same and first.sampling == other.sampling


def _said(error: urllib.error.HTTPError) -> str:
    """A server's error message as one short line; the key is no part of it."""
    try:
        raw = error.read(20_000)
    except (OSError, http.client.HTTPException):
        return ""
    try:
        told = json.loads(raw)
        told = told.get("error", told) if isinstance(told, dict) else told
        if isinstance(told, dict):
            told = " ".join(str(told[name]) for name in ("message", "code", "detail") if told.get(name))
    except ValueError:
        told = raw.decode("utf-8", "replace")
    return " ".join(str(told).split())[:300]


def _messages(request: Request, read_image: ReadImage) -> list[dict[str, Any]]:
    if not request.images:
        return flat_messages(request.messages)
    limits = (request.sampling.min_pixels, request.sampling.max_pixels)

    def part(given: dict[str, Any]) -> dict[str, Any]:
        if given["type"] != "image":
            return given
        url = data_url(read_image(request.images[given["image"]]), *limits)
        return {"type": "image_url", "image_url": {"url": url}}

    return [
        message
        if isinstance(message["content"], str)
        else {**message, "content": [part(given) for given in message["content"]]}
        for message in request.messages
    ]


def data_url(data: bytes, min_pixels: int, max_pixels: int) -> str:
    """An image as a data URL, brought within the pixel limits here: a server's own limits are not known."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        kind = image.format or "PNG"
        width, height = image.size
        if not min_pixels <= width * height <= max_pixels:
            resized = image.resize(fitted(width, height, min_pixels, max_pixels), Image.Resampling.BICUBIC)
            out = io.BytesIO()
            resized.save(out, kind, **({"quality": 95} if kind == "JPEG" else {}))
            data = out.getvalue()
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode()}"


def fitted(width: int, height: int, min_pixels: int, max_pixels: int, step: int = 28) -> tuple[int, int]:
    """Qwen2-VL's size for an image: multiples of `step` within the limits, about the same ratio."""
    w, h = max(step, round(width / step) * step), max(step, round(height / step) * step)
    if w * h > max_pixels:
        scale = math.sqrt(width * height / max_pixels)
        return max(step, int(width / scale / step) * step), max(step, int(height / scale / step) * step)
    if w * h < min_pixels:
        scale = math.sqrt(min_pixels / (width * height))
        return math.ceil(width * scale / step) * step, math.ceil(height * scale / step) * step
    return w, h


def _samples(group: list[Request], raw: bytes) -> list[Sample]:
    """The samples of one response, for the first requests of the group.

    Raises:
        _Again: it is no chat completion, or has no choices.
    """
    try:
        answer = json.loads(raw)
        choices = answer["choices"][: len(group)]
        said = [choice["message"] for choice in choices]
        texts = [_clean(message.get("content") or "") for message in said]
        thoughts = [_clean(message.get("reasoning_content") or message.get("reasoning") or "") for message in said]
        usage = answer.get("usage") or {}
        prompt_tokens, total = (
            max(0, min(int(usage.get(name) or 0), _MOST_TOKENS)) for name in ("prompt_tokens", "completion_tokens")
        )
        finishes = [str(choice.get("finish_reason") or "stop") for choice in choices]
        stopped_by = [choice.get("stop_reason") for choice in choices]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        raise _Again("the answer is no chat completion", ours=True) from None
    if not choices:
        raise _Again("the answer has no choices", ours=True)
    sampling = group[0].sampling
    lengths = [len(text) + len(thought) for text, thought in zip(texts, thoughts, strict=True)]
    counts = shared_out(total, lengths, [finish == "length" for finish in finishes], sampling.max_tokens)
    last = len(choices) - 1
    return [
        Sample(
            request.id, request.index, _closed(text, finish, by, sampling.stop), thought, finish, prompt_tokens, count,
            siblings=last - at,
        )
        for at, (request, text, thought, finish, by, count) in enumerate(
            zip(group, texts, thoughts, finishes, stopped_by, counts, strict=False)
        )
    ]  # fmt: skip


def shared_out(total: int, lengths: Sequence[int], cut: Sequence[bool], limit: int) -> list[int]:
    """Tokens of each choice, where a server tells their sum only: the limit for those cut, the rest by length of text.

    >>> shared_out(130, [40, 40, 160], [True, False, False], 80)
    [80, 10, 40]
    """
    if not total:
        return [
            limit if is_cut else min(limit, max(1, length // 4)) for length, is_cut in zip(lengths, cut, strict=True)
        ]
    if len(lengths) == 1:
        return [min(limit, total)]
    rest = max(0, total - limit * sum(cut))
    weight = sum(length for length, is_cut in zip(lengths, cut, strict=True) if not is_cut) or 1
    return [
        limit if is_cut else min(limit, max(1, round(rest * length / weight)))
        for length, is_cut in zip(lengths, cut, strict=True)
    ]


def _clean(text: Any) -> str:
    """Text without lone surrogates, which JSON can carry and UTF-8 cannot."""
    return str(text).encode("utf-8", "replace").decode()


def _closed(text: str, finish: str, by: Any, stop: Sequence[str]) -> str:
    """Servers swallow the stop string; a sample keeps it."""
    if finish != "stop":
        return text
    if by in stop:
        return text + str(by)
    if by is None and "</answer>" in stop and text.rfind("<answer>") > text.rfind("</answer>"):
        return text + "</answer>"
    return text
