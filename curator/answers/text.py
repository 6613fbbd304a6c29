"""Before reading: bring a response to one plain form and find the part that can hold the answer.

Everything here is linear in the length of the text. `plain` keeps line ends (rules depend on them)
and the case of letters; it removes what only decorates: Unicode variants of ASCII, zero-width
characters, Markdown, LaTeX wrappers, HTML, chat tokens.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import accumulate, islice

from curator.answers.hearsay import TUTORS

# --- plain text -------------------------------------------------------------------------------

_INVISIBLE = dict.fromkeys([0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180E, 0x3164, 0xFEFF, 0xFFA0])
_INVISIBLE |= dict.fromkeys([*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070)])
_INVISIBLE |= dict.fromkeys(range(0xFE00, 0xFE10))
# İ is the one character whose lower case is longer than itself; offsets must survive lower().
_ONE_FOR_ONE: dict[int, str | None] = {
    **_INVISIBLE,
    0x130: "I",
    **dict.fromkeys([0x2018, 0x2019, 0x201A, 0x201B, 0x2032, 0x60], "'"),
    **dict.fromkeys([0x201C, 0x201D, 0x201E, 0x201F, 0x2033], '"'),
    **dict.fromkeys([0x2010, 0x2011, 0x2012, 0x2212], "-"),
    0x2234: "so ",
    **dict.fromkeys([0x1F449, 0x27A1, 0x27A4, 0x25B6], "→"),
    **dict.fromkeys([0x2028, 0x2029, 0x85, 0x0B, 0x0C], "\n"),
}
_ODD = re.compile(f"[{''.join(map(chr, _ONE_FOR_ONE))}]")
_LATEX_BOX = r"\\(?:text(?:bf|it|rm|sf|tt)?|math(?:bf|rm|it|sf|tt|bb|cal)|mbox|operatorname|emph)"
_LATEX_WRAP = re.compile(_LATEX_BOX + r"\s*\{([^{}\n]{0,400})\}")
_LATEX_NOISE = re.compile(r"\\(?:left|right|displaystyle|quad|qquad|[,;:!() \[\]])|\$|~")
# "\\frac{2}{3}" and "\\dfrac23" are 2/3.
_FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{([^{}+-]{1,40})\}\s*\{([^{}+-]{1,40})\}|(\d)\s?(\d))")
_HTML = re.compile(
    r"</?(?=[bcdehipsu])(?:b|i|u|p|em|strong|br|sup|sub|span|div|code|h[1-6])(?:\s[^<>]{0,99})?/?>", re.I
)
_END_TOKEN = re.compile(
    r"<(?=[|/beis])(?:\|?(?:im_end|eot_id|endoftext|end|eos|eoe|eoa|end_of_turn)\|?>|/s>|s>|bos>|\|assistant\|>|"
    r"\|im_start\|>assistant|\|start_header_id\|>assistant<\|end_header_id\|>|start_of_turn>model)"
)
_UNDERLINE = re.compile(r"~~+|_(?:(?<![^\W_]_)_*|_*(?![^\W_]))")
# Struck out or hidden. "<s>" before a blank opens a text of some chat templates.
_STRUCK = re.compile(
    r"<!--(?:[^-]|-(?!->))*(?:-->|\Z)|~~[^~\n]*~~|<del>[^<]*</del>|<s>(?=\S)[^<\n]*</s>|[^\W_]\u0336", re.I
)
_BLANK_LINES = re.compile(r"\n[ \t\n]*\n")
# Cyrillic and Greek capitals that look like labels; in a list beside a label they are read as what they look like.
_LOOK_ALIKE = str.maketrans("АВСЕНІКМОРТХΑΒΕΗΙΚΜΟΡΤΧ", "ABCEHIKMOPTXABEHIKMOPTX")
_JOINT = r"(?:[,;/&+、和或]|and\b|or\b)"
# The letter comes first in the pattern, so that the search skips all other characters.
_IN_LIST = re.compile(
    r"[АВСЕНІΑΒΕΗΙ](?:(?:(?<=[A-Z][,;/&+、和或].)|(?<=[A-Z][,;/&+、]\s.)|(?<=[A-Z]\s[/&+]\s.)|(?<=[A-Z]\sor\s.)|"
    rf"(?<=[A-Z]\sand\s.))(?!\w)|(?<!\w.)(?=\s?{_JOINT}\s?[(\[]?[A-Z](?!\w)))"
)
# "3. [Final Answer] B", over the answer or before it.
_ANNOUNCED = re.compile(
    r"^([ \t]*(?:\d{1,2}[.)][ \t]*)?)[\[【(][ \t]*((?:(?:the|my|final|correct|best)[ \t]+){0,2}answer)[ \t]*[\])】][ \t]*:?",
    re.I | re.M,
)
# The words that announce an answer in other languages than English and Chinese: 정답은 B입니다, 正解: B, La respuesta correcta es B.
_ELSEWHERE = re.compile(
    r"(?:최종 ?)?정?답(?:은|이|안은)?[ \t]*:?[ \t]*(?=[(\[]?[A-Z](?![A-Za-z]))|(?:正解|答え)(?:は|:)[ \t]*|"
    r"(?:\b(?:la|die|le) )?(?:bonne |mejor |richtige )?\b(?:respuesta|réponse|antwort)(?: (?:correcta|correcte|finale?))?[ \t]*(?:es|est|ist|lautet|:)(?: |:|(?=[(\[]))",
    re.I,
)
_FENCE = re.compile(r"^[ \t]*```[a-z]*[ \t]*$", re.M)
_LINE_MARK = re.compile(r"^[ \t]*(?:#{1,6}|>+)[ \t]*", re.M)


def plain(text: str) -> str:
    """The text without decoration: NFKC, and no zero-width characters, Markdown, LaTeX or HTML."""
    if not text.isascii():
        import unicodedata

        text = unicodedata.normalize("NFKC", text)
        if _ODD.search(text):
            text = text.translate(_ONE_FOR_ONE)
        text = _IN_LIST.sub(lambda m: m[0].translate(_LOOK_ALIKE), text)
        if "답" in text or "正解" in text or "答え" in text or "éponse" in text:
            text = _ELSEWHERE.sub("the answer is ", text)
    if "espuesta" in text or "ntwort" in text:
        text = _ELSEWHERE.sub("the answer is ", text)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    tags = "<" in text
    if "~" in text or "\u0336" in text or (tags and ("<!--" in text or "<del>" in text or "<s>" in text)):
        text = _STRUCK.sub("", text)
    if "\\" in text or "$" in text:
        # A displayed formula that never ends was cut.
        if (cut := text.rfind("\\[")) > text.rfind("\\]") and "boxed" not in text[cut:]:
            text = text[:cut]
        if "frac" in text:
            text = _FRACTION.sub(lambda m: f"{m[1] or m[3]}/{m[2] or m[4]}", text)
        text = _LATEX_NOISE.sub("", _LATEX_WRAP.sub(r"\1", text))
    if tags and ">" in text:
        text = _END_TOKEN.sub("\n", _HTML.sub("", text))
    if "#" in text or ">" in text:
        text = _LINE_MARK.sub("", text)
    if "```" in text:
        text = _FENCE.sub("", text)
    if "\n" in text and ("\n\n\n" in text or "\n \n" in text):
        text = _BLANK_LINES.sub("\n\n", text)
    text = text.replace("*", "").replace("`", "")
    if "nswer]" in text or "nswer)" in text or "nswer】" in text:
        text = _ANNOUNCED.sub(r"\1\2:", text)
    return _UNDERLINE.sub("", text) if "_" in text or "~" in text else text


# --- words: what option texts are compared by ---------------------------------------------------

# A word is a number (with its sign and decimals), a run of letters and digits, one CJK character,
# or one of the signs that change a meaning.
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(
    rf"((?:[Nn]on-(?=[a-z]))?[^\W\d_{_CJK}][^\W_{_CJK}]*(?:\.\d+|'s\b)?|(?:(?<![\w.)])[-+])?\d+(?:[.,]\d+)*|[{_CJK}]|[%°+<>=≥≤①-⑳])"
)
_ASCII_WORD = re.compile(
    r"((?:[Nn]on-(?=[a-z]))?[A-Za-z][A-Za-z0-9]*(?:\.\d+|'s\b)?|(?:(?<![\w.)])[-+])?\d+(?:[.,]\d+)*|[%+<>=])", re.A
)
_THOUSANDS = re.compile(r",(?<=\d,)(?=\d{3}(?!\d))")


# Articles say nothing; a capital A may be a name ("hepatitis A") and stays.
_ARTICLES = frozenset(("a", "an", "the", "An", "The"))


def split_words(text: str) -> list[str]:
    """Words and what stands between them, in turn: every second one is a word."""
    return (_ASCII_WORD if text.isascii() else _WORD).split(text)


@lru_cache(maxsize=64)  # several rules ask about one phrase, and a text that repeats itself asks about it again
def words(text: str) -> str:
    """Words in lower case without articles, one blank around each: whole-word search is plain `in`."""
    text = _THOUSANDS.sub("", text) if "," in text else text
    return _spelt(f" {' '.join([word for word in split_words(text)[1::2] if word not in _ARTICLES]).lower()} ")


def _spelt(said: str) -> str:
    """Words spelt one way: "Ewing's" as "ewing", "oesophageal tumours" as "esophageal tumors". No word comes or goes."""
    if "'" in said:
        said = said.replace("'s ", " ")
    return said.replace("non-", "non").replace("ae", "e").replace("oe", "e").replace("mour", "mor")


# Plural endings, where the word is long enough for the rest to be its singular.
_PLURAL = re.compile(r"s(?= )(?:(?<=[a-z]{3}[^\W\dsuai]s)|(?<=[a-z]{4}as))")


def singular(said: str) -> str:
    """`words` without plural endings."""
    return _PLURAL.sub("", said)


def spans(text: str) -> list[tuple[int, int]]:
    """Where each word of `words(text)` stands in the text."""
    parts = split_words(text)
    ends = list(accumulate(map(len, parts)))
    return [(ends[i - 1], ends[i]) for i in range(1, len(parts), 2) if parts[i] not in _ARTICLES]


def formula(text: str) -> str:
    """Every visible character in lower case: tells $(1,2)$ from $[1,2]$ and 3-i from 3+i."""
    return _SPACING.sub("", text.lower()).strip(".;。、，,")


_SPACING = re.compile(r"[\s{}]|\\(?:left|right|d?(?=frac))")


# --- the part that can hold the answer ----------------------------------------------------------

# A tag that opens or closes thinking. The usual ones begin with one character, which the search finds fast.
_ANGLED = r"<(?=[/|\sarst])(?:/?\s*(?:think(?:ing)?|thoughts?|reason(?:ing)?|scratchpad|analysis)\s*>|\|(?:begin|end)_of_thought\|>)"
_THOUGHT = re.compile(_ANGLED, re.I)
_THOUGHT_ANYHOW = re.compile(_ANGLED + r"|◁/?think▷|\[/?THINK\]", re.I)


def split_think(response: str) -> tuple[str, str]:
    """(thinking, rest): rest is what follows the last closing tag.

    A thinking part that was opened and never closed reaches to the end: then nothing, or what stood before it, is left.
    """
    return split_thought(response)[:2]


def split_thought(response: str) -> tuple[str, str, bool]:
    """`split_think`, and whether the thinking was left open: begun (again), and not ended."""
    if not ("<" in response and ">" in response) and "◁" not in response and "THINK]" not in response:
        return "", response, False
    first = closing = opening = None
    for tag in (_THOUGHT_ANYHOW if "◁" in response or "[" in response else _THOUGHT).finditer(response):
        first = first or tag
        if _closes(tag):
            closing, opening = tag, None
        else:
            opening = opening or tag
    before, after = (response[: closing.start()], closing.end()) if closing else ("", 0)
    if opening:
        return before + response[opening.end() :], response[after : opening.start()], True
    if first and not _closes(first) and not response[: first.start()].strip():
        before = before[first.end() :]
    return before, response[after:], False


def _closes(tag: re.Match[str]) -> bool:
    return tag[0][1] == "/" or tag[0][2:5].lower() == "end"


# A base model that has answered goes on to invent the next exercise; a chat model, the next turn.
_LINE = (
    r"\n[ \t]*(?=n?e[wx]|q|p[ar]|a[dn]|me|s[ait]|re|fo|hu|us|i[nm]|op|ch|[题问用])(?:(?:next |new |another |improved |revised |(?:medical|similar|practice|sample|additional|related|follow-?up) (?=q))?(?:question|q|problem|exercise|example|passage)"
    r"[ \t]{0,4}(?:no\.?[ \t]{0,4})?\d{0,4}[ \t]{0,4}(?::|\)|\n)|(?:human|user|student|patient)[ \t]{0,4}:"
    r"|(?:题目|问题)[ \t]{0,4}\d{0,4}[ \t]{0,4}:|用户:|(?:user|human)[ \t]*\n"
    r"|(?:instruction|input|options|answer choices|choices)[ \t]*:|instructions[ \t]*(?::|\n))"
)
_TURN = re.compile(_LINE, re.I)
_TURN_ANYHOW = re.compile(
    _LINE + r"|<(?=[|is])(?:\|?(?:im_start|start_header_id|start_of_turn)\|?>[ \t]*(?:user|human)|"
    r"\|(?:user|human|user_start)\|>)|\[INST\]",
    re.I,
)

_ROLE = r"(?:<\|im_start\|>|<\|start_header_id\|>|<start_of_turn>|<\|)\s{0,3}"
_USER_FIRST = re.compile(rf"\s*(?:{_ROLE}(?:user|human|system)\b|(?:user|human)[ \t]?:)", re.I)
_ASSISTANT = re.compile(
    rf"{_ROLE}(?:assistant|model)\b(?:<\|end_header_id\|>|\|>)?|\n[ \t]*(?:assistant|ai)[ \t]?:", re.I
)
_NOT_OURS = re.compile(
    r"\s*(?:(?:assistant|ai)\s?:|(?:example|sample)s?\s?\d{0,2}\s?[:.]\s?(?:q|question)\b.*?(?:\n[ \t]*\n|\Z))",
    re.I | re.S,
)


_ASKED = re.compile(r"\s*Q:[^\n]*(?:\n(?![ \t]*[A-Z][:.)])[^\n]*){0,12}\n[ \t]*(A):")


def last_turn(text: str) -> str:
    """The last turn of the assistant, where the text opens with somebody else's."""
    return _ASSISTANT.split(text)[-1] if _USER_FIRST.match(text) else text


def without_opening(text: str) -> str:
    """The text without a role before it, or an example with a question of its own; "Q: … A: …" as question and answer."""
    if asked := _ASKED.match(text):
        return f"{text[: asked.start(1)]}Answer{text[asked.end(1) :]}"
    opening = _NOT_OURS.match(text)
    return text[opening.end() :] if opening else text


# An invented lesson is one turn.
_TUTORED = re.compile(rf"^[ \t]*(?:{TUTORS})[ \t]?:", re.I | re.M)


def turns(text: str) -> list[str]:
    """The text cut before each line that opens another question or another speaker's turn."""
    begins = len(text) - len(text.lstrip())
    pattern = _TURN_ANYHOW if ("<" in text and ">" in text) or "[" in text else _TURN
    tutored = "tudent" in text and _TUTORED.search(text)
    cuts = [
        m.start()
        for m in islice(pattern.finditer(text, begins), 20)
        if m.start() > begins and not (tutored and m[0].lstrip()[:7].lower() == "student")
    ]
    if not cuts:
        return [text]
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
