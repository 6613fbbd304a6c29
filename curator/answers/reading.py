"""Reading the answer out of a response: the rules in their order.

    >>> extract("<think>Lobar consolidation.</think> <answer>B</answer>", ["Effusion", "Pneumonia"])
    Answer(label='B', how='tag', why=None)

Only what follows the thinking counts, and only the first turn. Then, in this order: answer tag, boxed, JSON field,
explicit statements, a bare option, a verdict on each option, a conclusion. The first rule that finds something decides:
a rule that finds several answers ends the search with none. The key is never seen, so one response is paid under one key at most.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from curator.answers.bare import bare
from curator.answers.choices import CONTRADICTION, NOTHING, SEVERAL, Choices, Reading, choices
from curator.answers.conclusions import conclusion, refuses
from curator.answers.denial import after_denial
from curator.answers.hearsay import doubted, goes_on, mentioned, retraction
from curator.answers.prose import OPTION_LINE, Found, corrects, settle, statement
from curator.answers.text import last_turn, plain, split_thought, turns, without_opening
from curator.answers.verdicts import verdicts
from curator.answers.wording import AND_ALSO, SAYS, is_negated


@dataclass(frozen=True, slots=True)
class Answer:
    """The label a response commits to, or None and why.

    how: tag, boxed, json, statement, bare, verdicts, conclusion; "" when no rule found anything.
    why: None when there is a label, else empty, refusal, several, contradiction (letter against text), out_of_range,
    rejected (only says what it is not), unmatched (marked, but no option), truncated, malformed (strict only), open
    (the question has no options) or none.
    """

    label: str | None
    how: str
    why: str | None


_NAME = r"(?:final[_ ]?)?ans(?:wer)?"
_TAG = re.compile(rf"<(?=[\sfa/])\s*(?:/\s*)?{_NAME}(?:\s[^<>]{{0,80}})?>", re.I)
_ATTRIBUTE = re.compile(r"=\s*[\"']?([A-Za-z])\b(?![^\s\"'/>])")
# Other names of such a tag; these hold an answer only where they hold an option and nothing else.
_LIKE_TAG = re.compile(
    r"<(solution|choice|response|result|output|conclusion|option|final|answer_letter)>\s*([^<>]{1,200})</\1>", re.I
)
# "within <answer> </answer> tags" is an instruction repeated, not an empty answer.
_EMPTY = r"<answer>\s*+(?:(?:\.{3}|and|your answer(?: here)?)\s*)?</answer>"
_TAG_EMPTY = re.compile(_EMPTY, re.I)
_TAG_MENTION = re.compile(rf"\b(?:within|inside|in|between|using|the)\s+{_EMPTY}", re.I)
_BOXED = re.compile(r"\\?boxed\s*\{([^{}]*+(?:\{[^{}]*+\}[^{}]*+)*)\}|\[\[([^\[\]\n]{1,80})\]\]")
_JSON = re.compile(
    r"[\"'](?=\w)(?P<kind>[A-Za-z]{1,16}[_ ]?)??(?:answer|choice|option|label|prediction|alternative|答案)"
    r"(?:[_ ]?(?:choice|option|letter|label|text|key|\d))?[\"']\s*:\s*"
    r"(?:\"([^\"\n]{0,400})\"|'([^'\n]{0,400})'|\[([^\[\]]{0,400})\]|\{([^{}]{0,400})\}|([^\s,}\"'\[{][^,}\n]{0,80}))",
    re.I,
)
# Fields whose kind is none of these are about an answer and do not give it.
_GIVEN = ("", "final", "correct", "predicted", "best", "my", "selected", "chosen", "the")
_OTHER = ("second", "third", "alternative", "another", "backup", "other", "also")
# Recent marked answers that are compared with one another; more than this is a machine gun, not an answer.
_RECENT = 16


def extract(response: str, options: Sequence[str], *, strict: bool = False, truncated: bool = False) -> Answer:
    """Read the answer that a response commits to.

    `options` are the texts in the order shown. `strict` (training rewards) accepts one thing only: thinking, closed,
    then one well-formed answer tag and nothing else. `truncated` says that the response was cut at the token limit:
    what touches the cut, or would need the end of the text, is not believed.
    """
    if not options:
        return Answer(None, "", "open")
    known = choices(options)
    if strict:
        return _strict(response, known)
    if not response or response.isspace():
        return Answer(None, "", "empty")
    thinking, rest, left_open = split_thought(response)
    if _ENDED.match(rest):
        return Answer(None, "", "empty")
    text = known.literal(without_opening(plain(last_turn(rest))))
    if not text.strip():
        return Answer(None, "", "truncated" if truncated or (thinking and left_open) else "empty")
    if left_open:
        return Answer(None, "", "truncated")  # what it said before is what it went on to think about
    found = _first_turn(text, known, truncated)
    if found.why == "none":
        why = "truncated" if truncated else "refusal" if refuses(text[:4000]) else "none"
        return Answer(None, "", why)
    return found


# The response's own turn is over before it began.
_ENDED = re.compile(r"\s*<\|(?:im_end|eot_id|endoftext|end)\|>\s*<\|")
_STRICT = re.compile(
    r"(?:<think>)?(?P<thinking>[^<]*(?:<(?!/?think>|/?answer>)[^<]*)*)</think>\s*<answer>(?P<answer>[^<>]*)</answer>\s*"
    r"(?:<\|im_end\|>|<\|endoftext\|>|<\|eot_id\|>|</s>)?"
)


def _strict(response: str, known: Choices) -> Answer:
    form = _STRICT.fullmatch(response.strip())
    if not form:
        return Answer(None, "", "malformed" if response.strip() else "empty")
    content = form["answer"].strip()
    label = content if len(content) == 1 and content in known.labels else None
    if label is None:
        reading = known.read(plain(content), closed=True)
        if not reading.label:
            return Answer(None, "tag", reading.why)
        # A letter, an option's text, or both: an essay inside the tag is no well-formed answer.
        if not known.is_option(plain(content), reading.label):
            return Answer(None, "tag", "malformed")
        label = reading.label
    return Answer(label, "tag", None)


def _first_turn(text: str, known: Choices, truncated: bool) -> Answer:
    """Answer from the first turn; later turns are invented, unless they only echo the question."""
    parts = turns(text)
    while parts and _another(parts[0], known):
        del parts[0]
    seen = ""
    for i, part in enumerate(parts):
        # A list of options alone opens no turn: before it, the response has answered or it has not.
        if i and not _OPTIONS_HERE.match(part) and not _echo(part, known):
            break
        seen += part
        found = _rules(seen, known, truncated and i == len(parts) - 1)
        if found.why != "none":
            return Answer(None, found.how, "contradiction") if _taken_back(seen, found, known) else found
    return Answer(None, "", "none")


def _taken_back(text: str, found: Answer, known: Choices) -> bool:
    """Is the answer followed by words that take it back, and these by no other?"""
    if not found.label:
        return False
    rest = after_denial(text, found.label, known)
    if rest is not None:
        again = _rules(rest[-_LATER:], known, False)
        return again.label != found.label or (
            again.how in ("bare", "conclusion") and not _AGAIN.search(rest[-_LATER:].lower())
        )
    if not (said := retraction(text)):
        return False
    head = text[: said[0] + (text[said[0]] in "})]>")]  # the bracket that closes the answer is still its own
    before = _rules(head.rstrip(" ,;") + ".", known, False)
    return before.label == found.label and _rules(text[said[1] :], known, False).label is None


# So much of what follows a denial is read again, and what an answer without a mark needs there to be one.
_LATER = 4000
_AGAIN = re.compile(
    r"\n|\b(?:therefore|thus|hence|so|most|best|correct|right|answer|conclu\w+|must|only)\b|因此|所以|故|综上|答案|正确"
)

_OPTIONS_HERE = re.compile(r"\s*(?:options|answer choices|choices)\b", re.I)


# What opens a question, at the beginning of the text.
_ASKS = re.compile(
    r"\s*+(?:(?:here(?:'s| is) an? )?(?:next |new |another |similar |practice |sample )*(?:question|q|problem|exercise|example|passage)|题目?|问题|例题?)[ \t]{0,3}\d{0,3}[ \t]{0,3}[:.)]",
    re.I,
)
_LISTED = re.compile(r"[\s(]A[).:] ?[^\n]{1,200}[\s(]B[).:] ?\S")


def _another(part: str, known: Choices) -> bool:
    """Is this another question, with other options ("Question: …\nA. Liver\nB. Spleen\nAnswer: A")?"""
    if not _ASKS.match(part):
        return False
    listed = "".join(m[1] for line in part[:6000].split("\n") if (m := OPTION_LINE.match(line)) and m[2].strip())
    return ("AB" in listed or bool(_LISTED.search(part, 0, 2000))) and not _echo(part, known)


def _echo(part: str, known: Choices) -> bool:
    """Is this part the question itself, repeated with its options?"""
    return known.said_in(part[:6000]) > 50


def _rules(text: str, known: Choices, truncated: bool) -> Answer:
    for how, rule in _ORDER:
        reading = rule(text, known, truncated)
        if reading.why != "none":
            return Answer(reading.label, how, reading.why)
    return Answer(None, "", "none")


def _tag(text: str, known: Choices, truncated: bool) -> Reading:
    """Answer tags, in any case, over several lines; the last may lack its closing (a stop string took it)."""
    if "<" not in text or ">" not in text:
        return NOTHING
    if _TAG_EMPTY.search(text):
        text = _TAG_MENTION.sub(" ", text)
    tags = list(_TAG.finditer(text))
    if not tags:
        like = [(m, known.read(m[2], closed=True)) for m in list(_LIKE_TAG.finditer(text))[-_RECENT:]]
        options = [(m, said) for m, said in like if said.label and known.is_option(m[2], said.label)]
        return _marked(text, [Found(m.start(), m.end(), said) for m, said in options], known)
    openings = [i for i, tag in enumerate(tags) if "/" not in tag[0]]
    found: list[Found] = []
    for i in openings[-_RECENT:]:
        closing = tags[i + 1] if i + 1 < len(tags) else None
        if closing is None and truncated:
            return Reading(None, "truncated")
        start, end = tags[i].end(), closing.start() if closing else len(text)
        reading = _content(text[start:end], known)
        if (
            "=" in tags[i][0]
            and (other := _ATTRIBUTE.search(tags[i][0]))
            and reading.label != other[1].upper() in known.labels
        ):
            reading = CONTRADICTION  # <answer option="A">B</answer>
        found.append(Found(tags[i].start(), end, reading))
    return _marked(text, found, known)


def _content(marked: str, known: Choices) -> Reading:
    """What a tag, box or field holds: an option, or running text that is read as outside of it."""
    reading = known.read(marked, closed=True)
    if len(marked) < 12 or not reading.label or known.letter(marked) or known.exact(marked.strip()):
        return reading
    if refuses(marked.lower()):
        return Reading(None, "refusal")
    said = next((found for _, rule in _PROSE if (found := rule(marked, known, False)).why != "none"), NOTHING)
    passing = known.texts[known.labels.index(reading.label)].isdecimal()
    return reading if said == NOTHING and len(marked) < (24 if passing else 120) else said


def _boxed(text: str, known: Choices, truncated: bool) -> Reading:
    if ("{" not in text or "boxed" not in text) and "[[" not in text:
        return NOTHING
    return _values(text, _BOXED, known)


def _json(text: str, known: Choices, truncated: bool) -> Reading:
    if "{" not in text:
        return NOTHING
    return _values(text, _JSON, known)


def _values(text: str, pattern: re.Pattern[str], known: Choices) -> Reading:
    """Marked values (boxes, fields) that are about the options; a box around a side result is not."""
    found = []
    given = False
    for m in list(pattern.finditer(text))[-_RECENT:]:
        kind = (m.groupdict().get("kind") or "").strip(" _").lower()
        kind = "alternative" if m[0][1:].lower().startswith("alternative") else kind
        if kind and kind not in (*_GIVEN, *_OTHER):
            continue
        value = next(
            group for i, group in enumerate(m.groups(), 1) if group is not None and i != m.re.groupindex.get("kind")
        )
        reading = _content(value.replace("\\n", "\n").strip(" \"'"), known)
        if reading.why != "none":
            found.append(Found(m.start(), m.end(), reading))
            given = given or kind in _GIVEN
    return _marked(text, found, known) if given else NOTHING


def _marked(text: str, found: list[Found], known: Choices) -> Reading:
    """One reading from marked answers; a later sentence that answers otherwise takes it back."""
    if not found:
        return NOTHING
    found = [x for x in found if not mentioned(text[max(0, x.start - 90) : x.start])]
    if not found:
        return Reading(None, "unmatched")
    agreed = settle(text, found)
    if agreed.label is None:
        return Reading(None, "unmatched") if agreed.why == "none" else agreed
    rest = text[found[-1].end :]
    tail = rest[rest.find(">") + 1 :] if rest.lstrip()[:2] == "</" else rest
    if not corrects(tail) and doubted(tail):
        return CONTRADICTION
    later = statement(rest, known, False) if len(rest) > 12 else NOTHING
    if later.label not in (None, agreed.label):
        return later if corrects(tail) and not AND_ALSO.search("\n" + tail[:300]) else CONTRADICTION
    if doubted(tail) or not goes_on(tail, "", loose=True):
        return CONTRADICTION
    others = known.others(tail[:300], agreed.label)
    if others and (more := AND_ALSO.search("\n" + tail[:300])) and more["letter"] in others:
        return SEVERAL
    after = tail.lstrip(" \n,.;:。")
    if after and len(after) < 200:
        if hence := SAYS.match(after):
            after = after[hence.end() :]
        other = known.letter(after)
        if other and other[0] != agreed.label and other[0] in known.labels and known.is_option(after, other[0]):
            return CONTRADICTION
    for more in known.lone.finditer(after) if len(after) < 40 else ():
        article = more[0] in "AI" and after[more.end() : more.end() + 2].strip().islower()
        if more[0] != agreed.label and not article and not is_negated(after, more.start(), more.end()):
            return SEVERAL
    return agreed


_PROSE = (("statement", statement), ("verdicts", verdicts), ("bare", bare), ("conclusion", conclusion))
_ORDER = (("tag", _tag), ("boxed", _boxed), ("json", _json), *_PROSE)
