"""Bare options: the response, its first or its last line is an option and nothing else says what it is."""

from __future__ import annotations

import re

from curator.answers.choices import CONTRADICTION, NOTHING, SEVERAL, Choices, Reading
from curator.answers.hearsay import doubted, goes_on
from curator.answers.prose import option_lines
from curator.answers.wording import AND_ALSO, BETWEEN

# "Option A would be correct if …" begins with a letter and is not that letter.
_PREDICATE = re.compile(
    r"[\s)\]]*\s(?:would|could|might|may|is|are|was|can|should|has|had|used|does|seems)\b|[\s)\],\"']*\s(?:is|was) (?:what|how)\b",
    re.I,
)
# "Answer B" is a statement; where it was not read as one, it is none.
_STATED = re.compile(r"answer|答案|选(?!项)")
# "C) … is a true statement": a word on one of the options.
_IS_TRUE = re.compile(r"\W*is (?:a |an )?(?:true|false|correct|incorrect) (?:statement|option|fact)\b")
_DENIES = re.compile(r"\b(?:not|incorrect|wrong|false|unlikely|but|however)\b|\?\s*no\b|n't\b|不|错")
# What announces a list of the options rather than an answer.
_LISTS = re.compile(
    r"\b(?:each|options|choices|statements|evaluate|analy[sz]e|consider|step by step|following)\b.*:\s*$|(?:选项|解析).*$"
)

# A heading over the answer.
_HEADING = re.compile(
    r"\W*(?:(?:step \d{1,2}|the|my|our|so)\W+)*(?:(?:final|correct|best|selected|chosen|most likely|right)\s+)*"
    r"(?:answer|decision|choice|verdict|conclusion|selection|option|pick|diagnosis|response)\W*|\W*(?:最终|正确|最佳)?(?:的?(?:答案|选择|结论|决定|选项))\W*",
    re.I,
)
# "A)" at the very end: a list of the options that was cut.
_OPENS_LIST = re.compile(r"\(?A[).]")


def bare(text: str, known: Choices, truncated: bool) -> Reading:
    """The response is an option: "B", "B) text", or the text; perhaps with an explanation before or after."""
    if truncated:
        return NOTHING
    stripped = text.strip()
    lines = stripped.split("\n")
    if len(lines) > 120:
        lines = [*lines[:60], *lines[-60:]]
    if len(lines) == 1 and len(stripped) <= 300:
        if stripped[-1:] == "?" and not known.letter(stripped):
            return NOTHING
        reading = _one_line(stripped, known)
        if reading != NOTHING:
            return reading
    reading = _lettered_line(lines, known)
    if reading.label and (others := known.others(stripped[:600], reading.label)):
        # "C\nOr D"
        more = AND_ALSO.search(stripped[:600])
        return SEVERAL if more and more["letter"] in others else reading
    return reading if reading != NOTHING else _text_line(lines, known)


def _one_line(line: str, known: Choices) -> Reading:
    line = BETWEEN.sub("", line).strip()
    opened = known.letter(line)
    if line.startswith('{"'):
        return NOTHING  # a field of JSON
    if opened and (_PREDICATE.match(line, opened[1]) or _STATED.search(line[: opened[1]].lower())):
        return NOTHING
    if opened and opened[0] in known.labels:
        tail = line[opened[1] :]
        own, after = known.restated(tail, opened[0])
        if not goes_on(tail, known.texts[known.labels.index(opened[0])]) or (own and _PREDICATE.match(after)):
            return NOTHING
    reading = known.read(line, closed=True)
    alone = opened or known.exact(line) or len(line) <= (26 if line.isascii() else 12)
    if not opened and not known.exact(line) and known.in_passing(line):
        return NOTHING
    if reading.label:
        return reading if alone or known.polar else NOTHING
    said = alone and reading.why in ("several", "contradiction", "out_of_range", "empty")
    computes = "=" in line and line[0].isdigit()
    return reading if said and not computes and not _DENIES.search(line.lower()) else NOTHING


def _lettered_line(lines: list[str], known: Choices) -> Reading:
    """A first or last line "B) text" that is not part of a list that goes through the options."""
    marks = option_lines(lines, known)
    options, first, last = [m for m in marks if m], marks[0], marks[-1]
    before = next((line for line in reversed(lines[:-1]) if line.strip()), "").rstrip()
    announced = before.endswith(":") and not _LISTS.search(before.lower())
    if last and announced and not last[2].strip() and len(lines) > 1 and not lines[-2].strip():
        return Reading(last[1])
    if last and len(lines) > 1 and known.is_option(lines[-1], last[1]):
        # Under a heading, or once more after all have been gone through.
        again = [m[1] for m in options[:-1]] == list(known.labels) and not lines[-2].strip()
        if (again and (before == options[-2][0] or before[-1:] in (".", "!", "。"))) or (
            len(before) < 40 and _HEADING.fullmatch(before)
        ):
            return Reading(last[1])
    if len({m[1] for m in options}) == 1:
        complete = len(lines) > 1 or len(lines[0]) < 120 or not lines[0][-1].isalnum()
        said, after = known.restated(first[2], first[1]) if first and first[2].strip() else (None, "")
        if first and complete and (not first[2].strip() or said == first[1]):
            if _IS_TRUE.match(after):
                return NOTHING
            if doubted("\n".join(lines[1:4])):
                return CONTRADICTION
            return known.read(first[0], closed=False)
        if last and _OPENS_LIST.fullmatch(lines[-1].strip()) and not before.endswith(":"):
            return NOTHING
        # A text that begins with its own letter ("B cell lymphoma") is a text among texts.
        as_text = last and known.exact(lines[-1])
        if last and not as_text and known.is_option(lines[-1], last[1]) and not _LISTS.search(before.lower()):
            return Reading(last[1])
    if (
        first
        and len(lines) == 1
        and first[1] != "A"
        and first[2][:1].isupper()
        and not known.others(lines[0], first[1])
    ):
        return known.read(first[0], closed=False)  # a letter and a long explanation
    if len(lines) < 2 or lines[1].strip():
        return NOTHING
    # The answer in a paragraph of its own, then a word on each option: its letter comes again, or is not the one a list
    # begins with.
    opened = known.letter(lines[0])
    if not opened or opened[0] not in known.labels or not known.is_option(lines[0], opened[0]):
        return NOTHING
    if doubted("\n".join(lines[1:4])):
        return CONTRADICTION
    later = [m[1] for m in options][1 if first else 0 :]
    begins_list = opened[0] == "A" and later and "A" not in later
    return NOTHING if begins_list or later[:1] == [opened[0]] else Reading(opened[0])


def _text_line(lines: list[str], known: Choices) -> Reading:
    """The text of one option on a line of its own, first or last, and of no other option."""
    said = [known.exact(line) for line in lines]
    found = {label for label in said if label}
    if said[0] or said[-1]:
        return Reading(found.pop()) if len(found) == 1 else SEVERAL
    if known.polar and (opened := known.polarity(lines[0])):
        return Reading(opened)
    return NOTHING
