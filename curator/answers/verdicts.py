"""Verdicts: a response that judges every option, and calls exactly one of them right."""

from __future__ import annotations

import re

from curator.answers.choices import NOTHING, SEVERAL, Choices, Reading
from curator.answers.hearsay import RIGHT_SIGNS, WRONG_SIGNS
from curator.answers.prose import option_lines

_JUDGED = re.compile(
    r"\b(?P<bad>incorrect|wrong|false|not (?:correct|true|accurate|the|a|likely|consistent)|unlikely|less likely|ruled out|"
    r"inaccurate)\b|\b(?P<good>correct|true|right|accurate|most likely)\b|(?P<no>不正确|不对|不符合|错误|错)|(?P<yes>正确|符合)",
    re.I,
)
_JUDGED_HERE = re.compile(
    r"(?<![A-Za-z])(?P<letters>[A-Z](?:\s*[、,/和与及]\s*[A-Z](?![A-Za-z])){0,8})\s?(?:选?项)?\s?[).:、,]{0,3}(?:均|都|皆|是|为|说法){0,3}\s?"
    r"(?:(?P<no>不正确|不对|不符合|错误|错)|(?P<yes>正确|符合))"
)


# "A? No. D? Yes.", "A: no. B: yes."
_ASKED = re.compile(
    r"(?<![A-Za-z0-9_'])(?P<hedged>(?:could|might|may) it be )?(?:option )?[(\[]?(?P<letter>[A-Z])[)\]\"'.]{0,2}\s?(?P<sign>[?:–—-])[\"')\s]{0,3}(?:(?P<yes>yes)|no)\b",
    re.I,
)


# What stands before an option in a table or in a list with signs.
_SIGN = re.compile(f"[{RIGHT_SIGNS}{WRONG_SIGNS}]")
_SIGNED = re.compile(rf"(?<![A-Za-z])([A-Z])[)\].:、]?\s?[(:]?([{RIGHT_SIGNS}{WRONG_SIGNS}])")
_BEFORE_OPTION = " \t|•-+>" + RIGHT_SIGNS + WRONG_SIGNS
_CELL = re.compile(r"\|\s*(?:(?P<good>yes|true)|(?P<bad>no|false)|(?P<yes>是|对)|(?P<no>否|不是))\s*(?:\||$)", re.I)


def verdicts(text: str, known: Choices, truncated: bool) -> Reading:
    """Every option is judged, and exactly one is judged right ("A: incorrect. B: correct. …")."""
    if len(text) < 12:
        return NOTHING
    named = "\n" in text and all(own in text for own in known.texts)
    if not named and not all(label in text for label in known.labels):
        return _asked(text[-2000:], known)
    good: set[str] = set()
    bad: set[str] = set()
    signed: set[str] = set()
    blocks: list[tuple[str, list[str]]] = []
    drawn = "|" in text or (not text.isascii() and bool(_SIGN.search(text)))
    lines = text[-6000:].split("\n")
    shown = [line.lstrip(_BEFORE_OPTION) for line in lines] if drawn else lines
    for line, rest, m in zip(lines, shown, option_lines(shown, known), strict=True):
        if m and not rest[m.end(1) : m.end(1) + 2].isspace():
            blocks.append((m[1], [line[: len(line) - len(rest)] + m[2]]))
        elif named and (label := known.heads(line.lstrip(_BEFORE_OPTION))):
            blocks.append((label, [line]))
        elif blocks and line.strip():
            blocks[-1][1].append(line)
    for letter, block in blocks[-40:] if len(lines) > 1 else ():
        said = " ".join(block[:2])
        signs = {sign in RIGHT_SIGNS for sign in _SIGN.findall(said)} if drawn else set()
        if signs:
            signed.add(letter)
            good.update(letter if True in signs else "")
            bad.update(letter if False in signs else "")
        elif judged := (_CELL.search(block[0]) if drawn else None) or _JUDGED.search(
            known.restated(said, letter)[1][:300]
        ):
            (good if judged["good"] or judged["yes"] else bad).add(letter)
    for judged in _JUDGED_HERE.finditer(text[-2000:]) if not text.isascii() else ():
        (good if judged["yes"] else bad).update(set(judged["letters"]) & set(known.labels))
    for letter, sign in _SIGNED.findall(text[-2000:]) if drawn and len(lines) == 1 else ():
        (good if sign in RIGHT_SIGNS else bad).update({letter} & set(known.labels))
    # One option of a whole list may bear the only sign.
    if good <= signed and not bad and {letter for letter, _ in blocks} == set(known.labels):
        bad = set(known.labels) - good
    if len(good) == 1 and not good & bad and good | bad == set(known.labels):
        return Reading(good.pop())
    return _asked(text[-2000:], known)


def _asked(text: str, known: Choices) -> Reading:
    """Options asked for in turn, of which exactly one is affirmed."""
    if known.polar or "yes" not in text.lower():
        return NOTHING
    asked = [(m["letter"].upper(), m) for m in _ASKED.finditer(text)]
    asked = [(letter, m) for letter, m in asked if letter in known.labels and m["letter"].isupper()]
    good = {letter for letter, m in asked if m["yes"]}
    if not good or any(m["hedged"] for _, m in asked) or (asked[0][1]["sign"] != "?" and len(asked) < 2):
        return NOTHING
    return SEVERAL if len(good) > 1 or good & {letter for letter, m in asked if not m["yes"]} else Reading(good.pop())
