"""Is an answer denied later on: "B is not the answer.", "I no longer think it is B.", B不对?

Only plain sentences of the response's own about this very option count, wherever they stand. What others say, quotes,
concessions ("while B is not correct in children, …"), double denials and questions deny nothing; nor does calling the
option wrong where the wrong one was asked for ("The incorrect statement is B. B is false because …").
"""

from __future__ import annotations

import re
from functools import lru_cache

from curator.answers.choices import Choices
from curator.answers.hearsay import BREAK, reported
from curator.answers.wording import NAMES

# A text without any of these denies nothing.
_HINTS = (
    "not ", "n't ", "not(", "wrong", "ncorrect", "false", "mistake", "rror", "o longer", "either", "one of", "eject", "rule", "excluded",
    "eliminated", "不", "错", "有误", "非", "排除", "放弃",
)  # fmt: skip
# A text that names the option more often is no answer; only its end is read. So many places are looked at closely.
_NAMED_OFTEN, _END, _CLOSELY = 256, 4000, 16

_SURE = (
    r"(?:(?:definitely|certainly|clearly|actually|simply|also|therefore|thus|obviously|really|just|both|all|completely|totally|"
    r"plainly|however|now|quite|probably|likely) )*"
)
_RIGHT = (
    r"(?:the |an? |my |our )?(?:(?:correct|right|best|true|final|proper|actual|single|good|appropriate|real) )*"
    r"(?:correct|right|true|answers?|choices?|options?)\b"
)
_WRONG = (
    r"(?:(?:the |an? )?(?:wrong|incorrect|false|mistaken|untrue|invalid|mistake|error)\b|"
    r"(?:ruled out|excluded|eliminated|rejected|discarded|dismissed)(?=\s*[.,;!]|\s*$| because| since| as| here))"
)
# After the letter: its own predicate, or that of a list ("A, B and C are wrong").
_PREDICATE = re.compile(
    r"[)\]\"']*(?:(?:,? (?:and|or|nor)|,) [(\[]?[A-Z](?![A-Za-z0-9_'-])[)\]]?){0,8}"
    rf"(?:[.:]? \([^()\n]{{1,60}}\)|[.:,] [A-Z]\b,?)?(?:, (?:however|though|then|in fact),)? {_SURE}"
    rf"(?:(?:is|was|are|were|would be|must be|seems|appears) {_SURE}(?:not {_SURE}{_RIGHT}|{_WRONG})|(?:is|was|are|were)n't {_SURE}{_RIGHT}|"
    rf"(?:can ?not|can't|could not|couldn't) {_SURE}be {_SURE}(?:{_RIGHT}|it\b|what )|(?:should|must)(?: not|n't) be (?:chosen|selected|picked)\b|"
    r"(?:does not|doesn't) answer the question\b)"
    r"(?! (?:if|unless|when|only|until|merely|simply|i|you|we|one|most|many|some|to everything|(?:in|for|to) (?!this|the (?:question|case)))\b)|"
    r"[)\]\"'】」]*(?:选?项|选|答案)?(?:[、,和与及][A-Z]){0,8}(?:选?项)?,?(?:显然|明显|其实|实际上|并|也|就|都|均|皆|全|肯定|绝对|当然|应该?|却|才|还|是){0,4}"
    r"(?:(?:不是|非)(?:(?:正确|标准|最佳|最终|本题)的?)?(?:答案|选项)|不对(?![称症等劲应比照])|不正确|不成立|错误?(?![误率位综过觉构失开])|有误|"
    r"不(?:能|应?该|应|可)?选)(?!吗|么)"
)
# A predicate with one of these speaks of the answer; another may only say that the option is false.
_OF_THE_ANSWER = re.compile(r"answer|choice|chosen|selected|picked|答案|选$")
# Before it: what the answer is not, and what is not chosen or believed.
_PICK = r"(?:choose|pick|select|accept|recommend|answer with|answer|go with)"
_LEAD = re.compile(
    rf"(?:\b(?:answer|choice|option|it|this|that)(?:(?: is| was|'s| must be)? {_SURE}not|(?: is| was)n't| (?:cannot|can't|can not|could not|must not|should not)(?: possibly)? be)|"
    rf"\b(?:i|we)(?:(?: do| would| can| could)(?: not|n't)| no longer|'d not| cannot| can't| wouldn't) (?:\w+ly )?(?:{_PICK}|"
    r"(?:think|believe|say)(?: that)?(?: it is| it's| the (?:correct |right |best |final )?(?:answer|choice|option) is)?)|"
    rf"(?:^|[.!?,;\n]\s*|\bso |\bbut )(?:please )?(?:do not|don't|never) {_PICK}|\bi (?:reject|rule out|retract|withdraw)|"
    rf"\b(?:wrong|incorrect|a mistake|an error) to {_PICK}|(?:^|[.!?\n]\s*)(?:(?:no|wait),? )?not) (?:option |choice |answer )?[(\[\"']?$|"
    r"\bn(?:either|one of) (?:(?:options? |choices? )?[a-z](?:, (?:or |nor |and )?| or | nor | and )){0,8}$|"
    r"(?:(?:答案|应)该?(?:显然|并|绝|肯定|当然|应该?)?(?:不(?:应该?|会|能|可能)?[是选为]|并非)|(?:我|并|但|也|故|所以|因此|^|[,。;!\n])\s*"
    r"(?:不(?:能|应?该|应|可|要|会)?选择?|[别勿]选|排除|放弃))(?:选项|答案)?$"
)
_STANDS = re.compile(
    r"[)\]\"']*(?:\s*(?:[.,;:!。]|$|\n)|(?=[\u4e00-\u9fff])| (?:because|since|as|here|after all|either|any ?more|any longer|at all|(?:is|are) (?:the )?(?:correct|right|answer)\b)|"
    r"(?:(?:, | or | nor | and )+[A-Z](?![A-Za-z]))+ (?:is|are) (?:correct|right|the)\b)"
)
_MAY_LEAD = ("not", "n't", "no ", "never", "eject", "rule", "retract", "withdraw", "neither", "none", "wrong", "mistake", "error", "incorrect", "can't", "不", "非", "别", "勿", "排除", "放弃")  # fmt: skip
# Words that make a sentence no plain denial: a double one, a concession, a question, an exception.
_NOT_PLAIN = re.compile(
    r"\b(?:al?though|though|while|whereas|even if|if|whether|unless|why|how|not|never|cannot|no|nothing|wrong|false|incorrect|mistaken?|is)\b|n't\b|"
    r"\b(?:in|of|than|like|with|for|to|by|has|have) [(\[]?$|如果|假如|若|虽|尽管|为什么|为何|难道|是否|不是说|并非|不能说|[并绝可没素]$"
)
_EXCEPT = re.compile(
    r"(?:\b(?:unlike|except(?: for)?|besides|other than|apart from)\b|\b(?:all|every\w*|any\w*|each|none|options|choices|others?)\b[^.]{0,30}\bbut\b|除了?)"
    r"(?:(?!\b(?:is|are)\b).)*$"
)
_PARTS = re.compile(r"[,;:]|\b(?:and|but|so|because|since|as)\b")
_OPENS_QUOTE = re.compile(r"[\"“‘「『](?:the )?(?:option |choice )?[(\[]?$")
_QUOTES = tuple('"”’」』')
# What is wrong was asked for, by these words or where two others are called right: a wrong option is the answer.
_ASKED_WRONG = re.compile(
    r"\b(?:except(?:ion)?|(?<!at )least|NOT|EXCEPT|FALSE|INCORRECT)\b|\b(?:which|that) (?:is|are) (?:not|false|incorrect|untrue|wrong)\b|"
    r"\b(?:not (?:true|correct)|false|incorrect|untrue|wrong|inaccurate) (?:statement|one|pair|match|fact|combination)\b|"
    r"(?:错误|不正确|不对|不符合|不属于|不包括|有误)的(?:是|一项|选项|说法|叙述|描述|陈述)|(?:选|找)出?的?是?(?:错误|不正确|错的)|不属于|不包括"
)
_CALLED_RIGHT = re.compile(
    r"(?<![A-Za-z0-9_'-])([A-Z](?:[)\]]?(?:选?项)?(?:,? and |, ?|、|和|与)[(\[]?[A-Z])*)[)\]]?(?:选?项)?"
    r"(?: (?:is|are) (?:all |both |also |indeed )?(?:correct|true|right|accurate)\b|[:,]?\s?[都均皆]?是?正确)"
)


def after_denial(text: str, label: str, known: Choices) -> str | None:
    """What follows the last sentence that denies this option, or None where no sentence does."""
    if not any(hint in text for hint in _HINTS):
        return None
    text = _lettered(text, label, known)
    named = text.count(label)
    if named < 2:
        return None
    if named > _NAMED_OFTEN:
        text = text[-_END:]
    low = text.lower()
    leading = [word for word in _MAY_LEAD if word in low]
    closely = 0
    for letter in reversed([*_alone(label).finditer(text)][-_NAMED_OFTEN:]):
        at, end = letter.span()
        said = _PREDICATE.match(text, end)
        if not said and not any(low.find(word, max(0, at - 40), at) >= 0 for word in leading):
            continue
        closely += 1
        if closely > _CLOSELY:
            return None
        lead = BREAK.split(text[max(0, at - 90) : at])[-1]
        if said:
            end = said.end()
            denied = _plain(lead, text, at, end) and (
                bool(_OF_THE_ANSWER.search(said[0])) or not _wrong_wanted(text, label)
            )
        else:
            told = text[max(0, at - 60) : at].lower()
            begins = _LEAD.search(told) if _STANDS.match(text, end) else None
            denied = begins is not None and _plain(lead[: max(0, len(lead) - len(begins[0]))], text, at, end)
        if denied:
            return text[end:]
    return None


@lru_cache
def _alone(label: str) -> re.Pattern[str]:
    return re.compile(rf"{label}(?<![A-Za-z0-9_'-]{label})(?![A-Za-z0-9_])")


def _lettered(text: str, label: str, known: Choices) -> str:
    """The text with the option's letter in place of its text, where that may be what is denied."""
    own, low = known.texts[known.labels.index(label)].lower(), text.lower()
    if len(own) < 4 or not any(f"{own}{verb}" in low or f"{verb[1:]} {own}" in low for verb in _VERBS):
        return text
    longer = [other for other in map(str.lower, known.texts) if own in other and own != other]
    at = len(text)
    while (at := low.rfind(own, max(0, len(text) - _END), at)) >= 0:
        end = at + len(own)
        whole = not (own[0].isascii() and low[at - 1 : at].isalnum()) and not (
            own[-1].isascii() and low[end : end + 1].isalnum()
        )
        if whole and not any(low.find(other, max(0, end - len(other)), at + len(other)) >= 0 for other in longer):
            text = text[:at] + label + text[end:]
    return text


_VERBS = (
    " is",
    " isn't",
    " was",
    " can",
    " would",
    " must",
    " should",
    ", however",
    "不",
    "是",
    "错",
    "非",
    "选项",
    " not",
    " neither",
    " reject",
)


def _plain(lead: str, text: str, at: int, end: int) -> bool:
    """Is it the response's own plain word about the letter at `at` that follows this lead and ends at `end`?"""
    stop = BREAK.search(text, end, end + 60)
    if stop and stop[0] == "?":
        return False
    last = _PARTS.split(lead.lower())[-1]
    return not (
        _NOT_PLAIN.search(last)
        or (_OPENS_QUOTE.search(lead) and text[at + 1 : at + 2] not in _QUOTES)
        or NAMES.search(lead)
        or _EXCEPT.search(lead.lower())
        or reported(lead)
    )


def _wrong_wanted(text: str, label: str) -> bool:
    """Is the wrong option what the question asks for?"""
    called = {letter for m in _CALLED_RIGHT.finditer(text) for letter in m[1] if letter.isupper()} - {label}
    return len(called) > 1 or bool(_ASKED_WRONG.search(text))
