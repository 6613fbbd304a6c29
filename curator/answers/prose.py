"""Answers in running text: explicit statements.

A statement says that something is the answer ("the answer is B", "故选B", "I choose (B)", "(B) is the best choice").
Statements must agree; where they differ, the last one stands only after words of correction, or when it is in a final
form ("Answer: B" on its line, "final answer", 【答案】) and no other final form says otherwise.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from curator.answers.choices import NOTHING, SEVERAL, Choices, Reading
from curator.answers.hearsay import BY_OTHERS, chooses, doubted, goes_on, is_given, others_say, reported, supposed
from curator.answers.wording import ALSO, ALSO_RIGHT, PROMPTS, WAIT, first_sentence


class Found(NamedTuple):
    """One place that answers: offsets in the text, what it says, and whether its form is final."""

    start: int
    end: int
    reading: Reading
    final: bool = False


_CORRECTION = re.compile(
    r"\b(?:wait|actually|correct(?:ion|ing|ed)?\s*(?::|this|that|myself|my)|sorry|apolog\w+|mistake\w*|re-?check\w*|"
    r"re-?consider\w*|re-?evaluat\w*|re-?examin\w*|re-?think\w*|re-?assess\w*|on second thou?ghts?|oops|scratch that|"
    r"upon (?:further|closer)|revis(?:e|ed|ing)|improved|(?:better|updated) answer|changed? my|i was wrong|hold on|hmm|misread|let me correct|"
    r"double-?check\w*)|\bno,|更正|纠正|重新|不对|等等|修正|抱歉|错了|应该改|改为|再想"
)


def corrects(text: str) -> bool:
    """Does the text open with words of correction ("Hold on, …", "Sorry, I made a mistake: …")?"""
    said = _CORRECTION.search(text[:80].lower())
    return said is not None and said[0] != "actually"


def settle(text: str, found: list[Found]) -> Reading:
    """One reading from several in order: all the same, or the last if the text corrects the others."""
    last = found[-1].reading
    first = len(found) - 1
    while first and found[first - 1].reading == last:
        first -= 1
    earlier = {x.reading for x in found[:first] if x.reading.why != "empty"} - {last}
    if not earlier:
        return last
    if len(earlier) <= 2 and _CORRECTION.search(text[found[first - 1].end : found[first].start + 12].lower()):
        return last
    if earlier == {SEVERAL} and found[first].end < found[-1].start:
        return last  # "(D) or (I). … I will choose (D). The answer is (D)."
    finals = [x.reading for x in found if x.final]
    if found[-1].final and len(set(finals)) == 1:
        return last
    return SEVERAL


# --- explicit statements --------------------------------------------------------------------------------------------

# Words around which statements are looked for, by what they share; `find` skips over text much faster than a pattern does.
_ANCHORS = {
    "ans": ("answer", "ans"), "答案": ("答案",), "opt": ("option", "opt"), "cho": ("choice", "choos", "chose"), "select": ("select",),
    "pick": ("pick",), " with": ("go with", "going with", "went with"), "going for": ("going for",), "lean": ("lean",), "prefer": ("prefer",), "选": ("选",),
    "正确": ("正确",), "correct": ("correct",), "right": ("right",), "best": ("best",),
}  # fmt: skip
_CHOOSING = frozenset(
    ("choos", "chose", "select", "pick", "go with", "going with", "went with", "going for", "opt", "lean", "prefer")
)
_RECENT = 16
# The letter of "option B is correct" stands no further than this before such a word, or behind where it begins.
_BEFORE, _BEHIND = 170, 16
_BREAK = re.compile(r"[.!?。\n]")
# What turns an anchor into something else than an answer given: conditions, denials, other people's answers.
_DENIED = re.compile(
    r"(?:\b(?:if|whether|suppose|assum\w+|unless|were|wrong|incorrect|not|no(?!,)|false|what|which|possible|potential|"
    r"plausible|another|other|second|third|cannot|refuse to|alternative|partial\w*|neither|nor|previous|expected|each|every|likely to)\b"
    r"[\s\w,'-]{0,12}|n't\b[\s\w,'-]{0,12}|不(?:能|可能|可以?|应该?|会|要|宜|该)?|不(?:认为|觉得|相信)|怀疑|[别勿莫]|备选?|另一个?|第[二三]个?|其[他它]|非|错误的?|错|无|没有?)$"
)
_IS = (
    r"(?:\bis\b|\bwas\b|\bare\b|\bwould (?:likely |most likely |then |therefore |have to )?be\b|\bshould be\b|"
    r"\bto be\b|\bmust be\b|\bwill be\b|\bhas to be\b|\bseems to be\b|\bappears to be\b|\bremains\b|=|->|→|=>)"
)
_FILL = (
    r"(?:(?:indeed|therefore|thus|then|clearly|likely|most likely|probably|simply|definitely|actually|hence|also|"
    r"none other than|nothing but|no other than|best represented by|given by|as follows|the following)\b[\s,:]*)*"
)
_OF = (
    r"(?:\s*,[^.:;=\n?!]{1,60},|\s+(?:to|for|of|in|here|among|from|that|given|which|about|on|based|choice|option|letter|key|with|i)\b"
    r"[^.:;=\n?!]{0,90}?)?"
)
_NOTE = r"(?:\s*\([^()\n]{0,30}\))?"
_ANSWER_IS = re.compile(
    rf"answers?\b{_NOTE}(?:{_OF}\s*{_IS}(?:\s*{_IS})*\s*:?"
    r"|(?:\s+(?:choice|option|letter|key|to (?:the |this )?question|for (?:the |this )?question))?"
    rf"(?:\s*\d{{1,3}})?{_NOTE}\s*[:=]|\s*[-–—]\s)\s*{_FILL}"
)
_ANSWER_WITH = re.compile(r"(?i:answer)\s+(?:with\s+|option\s+)?(?=\(?[A-Z]\)?(?:\s*[.,\n]|\s*$))")
_ANS = re.compile(rf"ans\b\.?\s*(?:{_IS}|[:=.-])?\s*")
_TITLED = re.compile(
    r"(?:correct|right|best)\s+(?:answer\s+)?(?:option|choice|statement|one|response|letter)"
    rf"(?:\s+(?:here|is|among|from|of|to|for|that|in)\b[^.:;=\n?!]{{0,60}}?)??\s*(?:{_IS}(?:\s*{_IS})*\s*:?|:)\s*{_FILL}"
    r"|(?:correct|option|choice|right|best)(?: option| choice| answer| chosen| selected)?\s*:\s*"
)
_MY_CHOICE = re.compile(rf"(?:option|choice)\s*(?:{_IS}|:)\s*:?\s*{_FILL}")
_MINE = re.compile(r"\b(?:my|our|final|the|remaining|only)\s+$")
_CHOOSE = re.compile(
    r"(?:cho(?:ose|osing|se|sen)|select(?:ed|ing|ion)?|pick(?:ed|ing)?|(?:go|going|went) (?:with|for)|opt(?:ed|ing)?|lean(?:ing)?|prefer(?:red)?)\b\s*"
    r"(?:(?:for|towards?|to)\s+)?(?:as\s+)?(?:the\s+)?"
    r"(?:correct\s+|final\s+)?(?:answer|option|choice|letter)?\s*(?:is\s*)?:?\s*"
)
_DAAN = re.compile(
    r"答案(?:应该|应当|应|选项|选择|就|只能|显然)*\s*[\]】]?\s*(?:(?:是|为|选择?|:)(?!\s*(?:[。.!,;\n]|$)))*\s*[:\s]*(?:选项|选)?\s*"
)
_ZHENGQUE = re.compile(r"正确的?(?:选项|答案|说法)?(?:应该|应当)?(?:是|为|:)[\s:]*(?:选项)?\s*")
_XUAN = re.compile(r"选(?:择|取|出)?(?:答案|选项|的是|为|是|:|\s)*")
# What stands before a final form on its line.
_FINAL = re.compile(
    r"\W*(?:(?:so|therefore|thus|hence)\b,?\s+)?(?:the\s+|my\s+)?(?:final\s+|correct\s+)?$|.*(?:\bfinal\s+|[【\[]\s*)$"
)
_FORMS = {
    "answer": _ANSWER_IS,
    "ans": _ANS,
    "答案": _DAAN,
    "选": _XUAN,
    "正确": _ZHENGQUE,
    **dict.fromkeys(_CHOOSING, _CHOOSE),
}
# "The answer must be one of the following": the options again.
_ONE_OF = re.compile(r"(?:one|any|among) of\b")
_NO_ANSWER = re.compile(
    r"[\s:\"'(]*(?:that )?(?:none\b|there is no (?:correct|right)\b|neither\b|all (?:of|the|options)\b|unknown\b|unclear\b|"
    r"not (?:given|listed|provided|among|clear|known)|cannot be|can't be|indeterminate|无正确|没有|以上都|以上皆|均不|都不|无法|无$|不确定|未知)"
)


_REPLACES = re.compile(r"\b(?:improved|revised|corrected|updated)\s+$")
# "… would be A in a child, but in this adult it is C".
_BUT_HERE_IS = re.compile(
    r"[^.!?\n]{0,60}?[,;–—-]\s{0,2}(?:but|however|yet)\b,?(?: [\w-]+){0,5}? (?:it|this|that|the (?:correct |best )?(?:answer|choice)) (?:is|must be|should be) "
)


def statement(text: str, known: Choices, truncated: bool) -> Reading:
    """The last explicit statement, if the others agree with it."""
    low = text.lower()
    strong: list[Found] = []
    weak: list[Found] = []
    lone = -len(text) - _BEFORE  # where the next letter stands alone
    for at, word in _anchors(low):
        if lone < at - _BEFORE:
            letter = known.lone.search(text, max(0, at - _BEFORE))
            lone = letter.start() if letter else len(text) + _BEHIND
        said = _said(text, low, at, word, known, lone < at + _BEHIND)
        if said is None:
            continue
        found, is_strong = said
        if found.end + 1 >= len(text.rstrip()) and (truncated or text.rstrip()[-1] == ","):
            continue
        if found.reading.why not in ("none", "empty", "rejected"):
            (strong if is_strong else weak).append(found)
    found_here = strong or weak
    if not found_here:
        return NOTHING
    if found_here[-1].reading.label:
        # "The best option is to stay in bed and enjoy a film. The answer is D) stay in bed."
        found_here = [x for x in found_here if x.reading != SEVERAL or known.lone.search(text, x.start, x.end)]
    agreed = settle(text, found_here)
    if agreed.label and _shared(text[found_here[-1].start : found_here[-1].end + 300], agreed.label, known):
        return SEVERAL
    return _corrected(text[found_here[-1].end :], agreed, known)


def _anchors(low: str) -> list[tuple[int, str]]:
    """The last places where words stand that statements are made of."""
    found = []
    for word in [word for shared, group in _ANCHORS.items() if shared in low for word in group]:
        at = low.rfind(word)
        for _ in range(_RECENT):
            if at < 0:
                break
            if word not in ("ans", "opt") or not low[at + 3 : at + 4].isalpha():
                found.append((at, word))
            at = low.rfind(word, 0, at)
    return sorted(found)[-_RECENT:]


def _shared(said: str, given: str, known: Choices) -> bool:
    """Is another letter called right as well ("The answer is A. B is also correct.")?"""
    if not any(word in said for word in ALSO):
        return False
    others = {m[1] or m[2] or m[3] for m in ALSO_RIGHT.finditer(said)} & set(known.labels)
    return bool(others - {given})


_AFTER_WAIT = re.compile(
    r"(?:\b(?:so|it is|it's|it should be|should be|is|be|option|therefore|thus)\b|应为|应是|应选|改为)[\s,:]*[(\[]?([A-Z])(?![A-Za-z0-9_']|-\w)[)\].,:]?"
)
# "Actually, C.", "Edit: C": the correction and no more.
_MENDED = re.compile(
    r"\W{0,4}(?:(?:no|so|but|oh)\b,? )?(?:wait|actually|edit|update|correction|on second thou?ghts?|on reflection|hold on|sorry|no|oops|scratch that|更正|修正|改为)"
    r"[\s,:.!]{1,4}(?:(?i:it is|it's|option|make (?:it|that)|rather)\s)?[(\[]?([A-Z])[)\]]?(?=\s*(?:[.!,;。]|\n|$))",
    re.I,
)


def _corrected(rest: str, given: Reading, known: Choices) -> Reading:
    """The answer that was given, or the one other letter that a word of correction and no more than a sentence put for it."""
    if given.label and (mended := _MENDED.match(rest)) and mended[1] in known.labels:
        return Reading(mended[1])
    wait = WAIT.search(rest[:2000]) if given.label else None
    if not wait:
        return given
    said = rest[wait.end() : wait.end() + 600]
    later = {m[1] for m in _AFTER_WAIT.finditer(said)} & set(known.labels)
    if not later - {given.label} or given.label in later:
        return given
    return Reading(later.pop()) if len(later) == 1 and len(rest) < 120 else Reading(None, "contradiction")


def _said(text: str, low: str, at: int, word: str, known: Choices, lettered: bool) -> tuple[Found, bool] | None:
    """The statement around one anchor word, and whether it is about the answer (strong) or about truth (weak).

    `lettered`: an option's letter stands alone near the word.
    """
    before = low[at - 1 : at]
    if word.isascii() and before.isascii() and before.isalpha() and word != "correct":
        return None
    value = _FORMS.get(word, _TITLED).match(low, at, at + (190 if word == "answer" else 150))
    if word == "answer":
        value = value or _ANSWER_WITH.match(text, at, at + 150)
        if low.startswith(("answer choice is", "answer option is"), at) and low[at - 5 : at] == "this ":
            return None  # a word on one of them
    elif word in ("option", "choice"):
        if not value and _MINE.search(low, max(0, at - 10), at):
            value = _MY_CHOICE.match(low, at, at + 150)
    elif word == "选" and low[at : at + 2] == "选项":
        value = None
    if value is None and not lettered:
        return None
    lead = _BREAK.split(low[max(0, at - 80) : at])[-1]
    if _DENIED.search(lead) or low[at - 2 : at] == "in" or "e.g." in low[max(0, at - 9) : at] or reported(lead):
        return None
    if value is None:
        return _is_the_answer(text, low, at, known)
    if not (chooses(lead) if word in _CHOOSING else is_given(lead) or (word == "answer" and chooses(lead))):
        return None
    begin = value.end()
    said = low[at:begin]
    if PROMPTS.search(low[max(0, at - 48) : at].rpartition("\n")[2] + said):
        return None
    phrase = text[begin : begin + known.reach + 120]
    opened = known.letter(phrase)
    if not opened and (word in _CHOOSING or word in ("选", "ans")):
        return None
    if word in _CHOOSING and text[begin : begin + 1] == "a":
        return None  # "selecting a": an article
    if _enumerates(text[begin : begin + 1200], known):
        # Under a heading ("Answer choices:") a list of the options says nothing; on the line itself it says all of them.
        heading = said.rstrip(" ").endswith("\n")
        return None if heading else (Found(at, begin + 1, SEVERAL), True)
    reading = known.read(phrase, closed=False)
    if reading.why == "several" and (here := _BUT_HERE_IS.search(phrase)) and "would" in low[at:begin]:
        reading = known.read(phrase[here.end() :], closed=False)
        return (Found(at, begin + here.end() + 1, reading), True) if reading.label else None
    if reading.why in ("none", "rejected") and _NO_ANSWER.match(phrase.lower()):
        reading = Reading(None, "several" if phrase.lower().lstrip(" :\"'(").startswith("all") else "refusal")
    if reading.why == "none" and word == "answer" and _REPLACES.search(lead):
        reading = Reading(None, "unmatched")  # "Improved answer: none of these": the first one stands no more
    end = begin + (opened[1] if opened else len(phrase) - len(phrase.lstrip()) + len(first_sentence(phrase)))
    if others_say(said) or BY_OTHERS.search(low, at, begin) or _ONE_OF.match(low, begin):
        return None
    marked = ":" in said or "】" in said or lead.endswith("final ")
    if reading.label:
        own, rest = known.texts[known.labels.index(reading.label)], text[end:]
        restated, after = known.restated(rest[: known.reach], reading.label) if opened else (None, rest)
        after = after if restated else rest
        stop = _BREAK.search(text, end)
        asked = bool(stop and stop[0] == "?")
        if "would" in said:
            clause = _BREAK.split(low[max(0, at - 200) : at])[-1]
            if supposed(clause, said, low[end : end + 120]):
                return None
        if asked or doubted(after) or (opened and not goes_on(rest, own, loose=marked)):
            return None
    final = (
        marked and word in ("answer", "ans", "答案") and bool(_FINAL.match(_BREAK.split(low[max(0, at - 40) : at])[-1]))
    )
    return Found(at, end, reading, final), True


_ONLY_IF = re.compile(
    r"\s*(?:answer|option|choice|diagnosis)?,?\s*(?:(?:only )?(?:if|unless|when)|only (?:in|for)|except|right\?|isn't it)"
)
_UNREAL = re.compile(
    r"^\W*(?:if|suppose|assuming|were|whether|unless|(?:had|should) (?:the|this|there|he|she|it|they|his|her|an?))\b|如果|假如"
)
_UNSURE = re.compile(
    r"\b(?:not|deny|denies|unlikely|false|wrong|if|whether|possible|unclear|unsure|claim\w*|who|those|some)\b|n't\b|(?<!no )(?<!a )\bdoubt"
)
_SUBJECT = re.compile(
    r"[\s\"'(\[,-]*(?:(?:therefore|thus|so|hence|then|overall|in conclusion|finally|based on [^,]{0,60}|"
    r"因此|所以|故|综上所述|综上|只有|i(?:'d| would)? (?:think|believe|say|feel|conclude)(?: that)?|and\b|but\b|while\b)[\s,]*)?(?:(?:only|the|option|choice|answer|letter|statement|in|选项)\s*){0,3}[(\[]?(?-i:([A-Z]))(?![A-Za-z0-9_]|['-]\w)",
    re.I,
)
_IS_CORRECT = re.compile(
    r"\s*[)\].:\"']*\s*(?:[^.;\n]{0,120}?\s)??(?:is|would be|must be|should be|seems|appears to be|appears|as|being)\s+"
    r"(?:therefore |thus |also |clearly |indeed |likely |probably |hence )?(?P<deny>not |in)?(?:the |a |an )?"
    r"(?:single |(?<=the )only |most |one |better |(?<=the )more (?:likely|probable|appropriate|suitable|accurate) )?(?P<word>correct|right|best|answer|better (?:choice|option|answer)|most \w+|accurate|appropriate|true|likely|"
    r"valid)\b|\s*[)\]:.]?\s*(?:选?项)?\s*(?:是|为)?(?P<deny2>不)?最?(?P<word2>正确)"
)
# "Option C is also not a finding that is likely."
_NOT_SO = re.compile(r"\b(?:is|are|was|would be) (?:\w+ )?(?:not|never)\b[^,]*$")
_IS_VERB = re.compile(r"\b(?:is|are|was|would be|seems)\b")
_VERB = re.compile(r"\)|[)\]\s]*\s(?:is|would be|must be|should be|seems|appears)\b|[)\]\s]*选?项?(?:是|正确)")
# "While A is tempting, option D is correct": the predicate is another letter's.
_ANOTHER = re.compile(r",\s*(?:(?:but|and|the|option|choice)\s+){0,3}[(\[]?[A-Z][)\]]?\s+(?:is|would be|must be)\b")
_THE_BEST = re.compile(r".{0,140}\bthe (?:single |only |most )?(?:correct|right|best|most|answer)", re.S)
_JOINED = re.compile(r"[)\].\s]*(?:,\s*(?:and\b|or\b)?|/|&|and\b|or\b|、|和|或|与|及)\s*[(\[]?[A-Z]\b")
_TWO_BEFORE = re.compile(r"(?<![A-Za-z])[A-Z],\s?[A-Z],$")
_CLAUSE = re.compile(r"\n|(?<![\s(.][a-z])[.!?](?=\s)|[。;]")


def _is_the_answer(text: str, low: str, at: int, known: Choices) -> tuple[Found, bool] | None:
    """ "Option B is correct", "(B) is the best answer", "B项正确": the letter stands before the anchor word."""
    lead = _CLAUSE.split(low[max(0, at - _BEFORE) : at])[-1]
    if _UNREAL.search(lead):
        return None
    begin = at - len(lead)
    subject = _SUBJECT.match(text[begin : at + _BEHIND])
    that = lead.rfind(" that ")
    if that >= 0 and _UNSURE.search(lead[:that]):
        return None
    # "B is right and C is right": another clause, where the first has its verb.
    conj = max(lead.rfind(" and "), lead.rfind(" but ")) + 4
    conj = conj if conj > 4 and _IS_VERB.search(lead[:conj]) else 0
    if "," in lead or that >= 0 or conj:
        # "由此可知,B项正确", "A is wrong, B is correct": the clause next to the anchor, where it has a subject.
        last = begin + max(lead.rfind(",") + 1, that + 6 if that >= 0 else 0, conj)
        nearest = _SUBJECT.match(text[last : at + _BEHIND])
        own = nearest and (_VERB.match(low, last + nearest.end()) or not (subject and subject[1] in known.labels))
        if _TWO_BEFORE.search(text[max(begin, last - 8) : last]):
            return None  # "A, B, C is the answer"
        if nearest and own:
            begin, subject = last, nearest
    if not subject or subject[1] not in known.labels:
        return None
    stop = begin + subject.end()
    said = _IS_CORRECT.match(low[stop : at + 60])
    if said and _ONLY_IF.match(low, stop + said.end()):
        return None
    if said and _ANOTHER.search(text, stop, stop + said.end()):
        return None
    if (
        not said
        or said["deny"]
        or said["deny2"]
        or _NOT_SO.search(low, stop, stop + said.end())
        or _JOINED.match(text[stop:at])
    ):
        return None
    if reported(text[max(0, begin - 60) : begin].rpartition("\n")[2] + text[begin : stop - 1]) or doubted(
        text[stop + said.end() :]
    ):
        return None
    if (
        subject[1] in "AI"
        and text[stop : stop + 2].isascii()
        and text[stop : stop + 2].strip().isalpha()
        and not low[stop : stop + 9].startswith((" is", " would be", " must be"))
    ):
        return None  # "A biopsy is the best test", "I can see that …"
    strong = said["word"] == "answer" or bool(_THE_BEST.match(low[stop : stop + said.end()]))
    return Found(begin, stop + said.end(), Reading(subject[1])), strong


OPTION_LINE = re.compile(
    r"[ \t•]{0,12}(?:\d{1,2}\.\s)?[ \t(\[\"'-]{0,8}(?:(?:[Oo]ption|[Cc]hoice|选项)\s*\(?)?([A-Z])(?:选?项(?=:))?(?:[)\].:、,]+[ \t)]*|[ \t]+|$)(.*)"
)


def _enumerates(value: str, known: Choices) -> bool:
    """Does a list of the options begin here ("Answer choices:\\nA) …\\nB) …")?"""
    lines = [line for line in value.split("\n", 6) if line.strip()][:2] if "\n" in value else []
    marks = [m for m in map(OPTION_LINE.match, lines) if m]
    return [m[1] for m in marks] == ["A", "B"] and all(
        m[2].strip() and known.exact(m[2]) in (m[1], None) and len(m[2]) < 300 for m in marks
    )


def option_lines(lines: list[str], known: Choices) -> list[re.Match[str] | None]:
    """For each line, how it begins with an option's letter ("B) text"), or None."""
    return [m if m and m[1] in known.labels else None for m in map(OPTION_LINE.match, lines)]
