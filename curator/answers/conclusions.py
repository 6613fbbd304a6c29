"""Conclusions: the sentence that draws the conclusion."""

from __future__ import annotations

import re
from itertools import islice

from curator.answers.choices import NOTHING, SEVERAL, Choices, Reading
from curator.answers.hearsay import (
    BY_OTHERS,
    RIGHT,
    Worded,
    doubted,
    goes_on,
    is_given,
    reported,
    split_letters,
    supposed,
)
from curator.answers.prose import option_lines
from curator.answers.wording import AND_ALSO, BETWEEN, BRACKET, PROMPTS, asks_back, is_negated

# How strongly a sentence claims to conclude. 3: it says so; 2: a superlative; 1: it weighs the evidence.
_CUE = Worded(
    "therefore thus so hence conclusion summary conclude overall consequently accordingly short ultimately leaves left based "
    "因 所 故 综 由 可 总",
    r"\b(?:therefore|thus|so|hence|in conclusion|in summary|to conclude|(?<!\w )overall|overall(?=,)|consequently|accordingly|conclusion|"
    r"in short|ultimately|leaves|left with|based on (?:this|these|that|the above))\b|因此|所以|故|综上|由此|可见|总之",
)
_CUE_HERE = re.compile(_CUE.pattern.pattern, re.I)
_SUPERLATIVE = Worded(
    "most best closest next correct first choice greatest highest one only what false incorrect wrong untrue exception odd 最",
    r"\b(?:most (?:likely|probable|appropriate|suitable|consistent|accurate|concerning|important|effective|useful|"
    r"reasonable|plausible|fitting|relevant|correct|logical)|best(?! (?:heard|seen|viewed|known|described|visuali[sz]ed|appreciated|felt)\b)|closest|next step|correct|first[- ]line|of choice|(?:greatest|highest) risk (?:of|for)|"
    r"the (?:false|incorrect|wrong|untrue) (?:statement|option|answer|one)|the exception|the odd one|the (?:only )?one (?:that|which|to(?: be)?))\b|\A\W*the only [^.,;]{2,60} (?:is|are)\b|\A\W*what (?:he|she|they|we|it|this|the)\b[^.;?,]{1,80}? (?:is|are)\b|最",
)
_WEIGHS = re.compile(
    r"\b(?:most|likely|consistent with|suggest(?:s|ive|ing)?|indicat(?:es?|ive|ing)|characteristic|diagnosis|defin(?:es|ing)|calls for|points? to(?:wards?)?|"
    r"should be|(?<!there )would be|must be|initial|diagnostic (?:of|for)|pathognomonic|hallmark)\b|符合|提示|考虑|诊断"
)
# "… is not the most likely", "A, C and D are unlikely": a superlative turned down.
_TURNED_DOWN = Worded(
    "second third not less never unlikely isn aren cannot",
    r"\b(?:second|third)[- ](?:best|most)\b|\b(?:not|less|never|unlikely|isn't|aren't|cannot)\b[^.;]{0,40}\b(?:most|best|next|correct|first)\b",
)
_UNLIKELY = re.compile(
    r"\b(?:are|is|be)\s+(?:all |both |also |therefore |much |more )*(?:not|unlikely|incorrect|wrong|false|ruled|excluded|"
    r"less|eliminated|inappropriate)\b|不正确|错误|不符合|并?不能|不是|均不|都不|排除"
)
_BUT_ALSO = re.compile(
    r"[.;:]|,(?!\s*but (?:is|are|was|were|does|do|would|can|cannot|not|unlikely|less)\b)|"
    r"\b(?:because|since|while|whereas|although|that|which)\b|因为|而"
)
_LEAD_IN = re.compile(
    r"^\s*(?:(?:therefore|thus|so|hence|overall|in conclusion|however|but)\b,?\s*)?(?:although|though|while|given|despite|"
    r"between|unlike|since|because|among|compared|whereas|even|if|of|as|considering|虽然|尽管)\b[^,]*,",
    re.I,
)
_REASON = re.compile(
    r"\b(?:because|since|due to|rather than|instead of|over|unlike|while|whereas|although|than|as)\b|"
    r"[,;](?:而(?!是)|其次|在?西方)|[,;][^,;。]{1,16}次之"
)
_MARKED = re.compile(
    r"(?<![A-Za-z0-9_'])(?:(?:[Oo]ption|[Cc]hoice|选项)\s*[(\[]?([A-Z])(?![A-Za-z0-9_']|-\w)|[(\[]([A-Z])[)\]]|(?<!\band\s)(?<!\bor\s)(?<!°)([A-Z])\))"
    r"|(?:^\W*|\b(?:is|be)(?::\s*|\s+))([A-Z])(?=\.\s+\w|:\s)"
)
# A lone capital counts only where a label is expected, and where no marked letter stands.
_LONE = re.compile(
    r"\b(?:is|be|it's|say|leaves|leaves us with|left with|[Oo]nly|except|[Tt]herefore|[Ss]o|[Hh]ence|[Tt]hus),?\s+([A-Z])(?=\s*[.;!)]|\s*$|\s+(?:it is|as)\b|,\s+(?!or\b|and\b|[A-Z]\b))"
    r"|\b[Oo]nly\s+([A-Z])(?=\s+(?:c(?:an|ould)|would|will|does|is|has|\w{2,}s)\b(?![^.!]*\?))"
    r"|^\W*(?:[Ss]o\s+)?([A-Z])(?=\s+it is\W*$)|(?:^|(?<![A-Z]),|\bbut)\s*([A-Z])(?=\s+"
    + RIGHT
    + r")|\bmak(?:es|ing)\s+([A-Z])(?=\s+the\b)|(?:因此|所以|故|选|应该是|应当是|应是|应为|的(?:选项|一项|说法|叙述|描述|陈述|判断)?[是为]|不对,是|觉得是|认为是|判断是)[,:]?\s*([A-Z])(?![A-Za-z(=']|点)"
    r"|([A-Z])(?=\s*(?:选?项)?最?(?:符合|正确))"
    r"|(?:(?<![A-Z]),|→|->|=>)\s+([A-Z])[\s.!]*$"
    r"|(?i:\b(?:answer|solution|guess|choice|diagnosis|conclusion|verdict|decision|result|therefore|thus|so|hence|summary|overall|pick|"
    r"final|is|are|be|response|best|correct)\b)[^:–—]{0,60}[:–—]\s+([A-Z])[\s.!]*$"
)
_PREDICATED = re.compile(r"\b(?:is|be)\s+([A-Z])(?=\s*[.;!)]|\s*$)")
_OR_ELSE = re.compile(
    r"(?<![A-Za-z0-9_'])([A-Z])[)\]]?\s*(?:,?\s*\b(?:or|and)\b|,(?=\s?[(\[]?[A-Z][)\]]?,?\s?(?:,|\bor\b|\band\b))|[、/&和或与及])\s*"
    r"(?:(?:could|might|may|maybe|perhaps|even|it|is|be|option|choice|选项)\b\s*)*[(\[]?([A-Z])(?![A-Za-z0-9_'])|[A-Z]\s?(?:选?项)?(也)(?!不)"
)
# "…, so this option is incorrect": the whole sentence turns down what it names.
_WRONG_AFTER_ALL = Worded(
    "incorrect wrong false not no 错 不 排",
    r"\bso no\W*$|(?:错误|不正确|不对|不符合(?:题意)?|排除)的?\s*[.。;,]?\s*$|"
    r"\b(?:this|that|it|which|and)(?: option| statement| choice| answer)? is (?:therefore |thus |also )?(?:incorrect|wrong|false|not correct)\W*$",
)
_IF = Worded(
    "if suppose assuming were whether unless 如 若",
    r"\A(?:\s*(?:(?:if(?! (?:you|someone|somebody|one|people|a person|i (?:had|have|were) to)\b)|suppose|assuming|were|whether|unless)\b|如果|若)|.{0,200}\bwould\b.{0,200}\bif\b|[^.]{0,80}:\W{0,8}if\b)",
)
_HEDGED = Worded("could might may possible possibly perhaps 可", r"\b(?:could|might|may|possibl[ey]|perhaps)\b|可能")
# No sentence ends with these.
_MIDWAY = re.compile(
    r"\b(?:the|an?|and|or|but|of|to|with|before|after|because|is|are|was|were|that|which|by|for|from|as|at|such|due|"
    r"while|when|would|could|should|will|might|this patient's|the patient's|her|his|their|its)\s*$|[,(是的为和与或及在从有]\s*$",
    re.I,
)
_LAST_MARK = re.compile(r"(?<![A-Za-z])[(\[]?[A-Z][).\]:] ?(?=\w)")
_ENDS = ".!?。;)]}\"'>】》」…"
# The response declines to answer: what it says in passing is no answer.
_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable|not able|not sure|afraid)|i (?:cannot|can't|don't know|do not know|apologi[sz]e)|"
    r"i (?:do not|don't) have|as an ai|unable to|not (?:possible|enough information)|insufficient information|"
    r"another matter\b|it (?:all |really )?depends\b|(?:cannot|can't) (?:be )?(?:assigned|established|inferred|known|decided|told|determine|provide|answer|view|see|assist|help)|"
    r"none of the (?:options|above|choices)|no correct (?:answer|option))|"
    r"无法|不能(?:确定|回答|提供)|没有正确|无正确|抱歉|对不起"
)
# Every match of `_REFUSAL` holds one of these.
_REFUSING = (
    "sorry", "unable", "not ", "afraid", "cannot", "can't", "don't", "apolog", "as an ai", "insufficient", "another matter", "depends",
    "none of", "no correct", "无法", "不能", "没有正确", "无正确", "抱歉", "对不起",
)  # fmt: skip


def refuses(text: str) -> bool:
    """Does the response decline to answer?"""
    low = text.lower()
    return any(word in low for word in _REFUSING) and bool(_REFUSAL.search(low))


_STOP = re.compile(
    r"[.!?。;\n](?!(?<=[Nn]o\.)\s?\d)(?:(?<!\.)|(?<![\s(.][A-Za-z].)(?<!^[A-Za-z].)(?<!\bvs.)(?=[\s\"')\]]|$))"
)


# "=> B", "∴ B", "So: 140 - 116 = 24 mEq/L", "= 24 mEq/L": a last line that draws the conclusion and no more.
_DRAWN = re.compile(
    r"(?:.*[.;] )?\W*?(?:[=-]>|[→⇒]|\b(?:so|thus|therefore|hence)\b)[\s:,]*(?:[^=]*=)*\s*(?P<drawn>[^=]{1,120})$|\s*=\s*(?P<value>[^=]{1,40})$",
    re.I,
)
_OTHER_HEAD = re.compile(
    r"\b(?:second|other|another|alternatives?|runner|wrong|incorrect|excluded?|ruled|rejected|eliminated?|not|less|least|possible|differential|distractors?|"
    r"options?|choices?|question|example|if|maybe|perhaps)\b"
)
# The first steps of a calculation come to no answer.
_ON_THE_WAY = re.compile(
    r"\W*(?:first|step [1-9]|next|we need|initially|let)\b|.*[.;] (?:first|next|step [1-9])\b", re.I
)


def _whole(text: str, known: Choices) -> bool:
    """Does the text end with an option's letter and whole text ("… is: D) Papillary carcinoma")?"""
    line = text[text.rfind("\n") + 1 :]
    closing = line[max((m.start() for m in _LAST_MARK.finditer(line)), default=0) :]
    opened = known.letter(closing)
    return opened is not None and len(closing) > opened[1] + 2 and known.is_option(closing, opened[0])


def _drawn(line: str, known: Choices) -> str | None:
    """The option that a line comes to, as its letter, text or number and no more."""
    head, colon, tail = line.rpartition(":")
    if colon and len(head) < 40 and (opened := known.letter(tail)) and not _OTHER_HEAD.search(head.lower()):
        own = known.restated(tail[opened[1] :], opened[0]) if opened[0] in known.labels else ("", "")
        if own[0] == opened[0] and not own[1].strip(" .)"):
            return opened[0]  # "Drug to avoid: C - Enalapril"
    drawn = _DRAWN.fullmatch(line)
    said = (drawn["drawn"] or drawn["value"]).strip(" .()[]\"'") if drawn else ""
    return (
        said if len(said) == 1 and said in known.labels else known.exact(said) or known.number(said) if said else None
    )


# "0.86 x 100 = 86%": the value that a calculation ends with.
_COMPUTED = re.compile(
    r"\d\s?[a-zA-Z%]{0,5}\s?(?:[x×*/÷+-]|\\(?:times|div|cdot)\b)\s?\d[^=\n]{0,40}=\s*([-+$]?\d[\d.,]*\d?\s?[^\s\d,;:=()^*/+{}\\]{0,12})\s*\.?$"
)


def conclusion(text: str, known: Choices, truncated: bool) -> Reading:
    """The sentence that concludes ("therefore", "the most likely … is") names exactly one option.

    Of the sentences that name an option, the strongest kind of claim counts, and there the last one that concludes, or
    all of them together. Without any claim, only a response of a sentence or two is believed. A text that breaks off
    has no conclusion, unless it drew one in so many words before.
    """
    if truncated:
        return NOTHING
    text = text.rstrip()
    long = len(text) > (120 if text.isascii() else 40)
    broken_off = text[-1:] not in _ENDS and (long or bool(_MIDWAY.search(text[-40:]))) and not _whole(text, known)
    sentences = _sentences(text[-2400:], known)[-40:]
    if broken_off:
        sentences = sentences[:-1]
    claims: dict[int, list[tuple[int, Reading]]] = {3: [], 2: [], 1: []}
    for i, sentence in enumerate(reversed(sentences)):
        if sentence.rstrip().endswith(("?", ":")) or _FOR_EXAMPLE.match(sentence) or _AFFIRMS.match(sentence):
            continue
        low = sentence.lower()
        words = split_letters(low)
        strength, superlative = _strength(low, words)
        if not strength or _unreal(low, words):
            continue
        if _STOPPED.search(low, words) and _STARTED.search("".join(sentences[len(sentences) - i :]).lower()):
            continue
        if not superlative and _HEDGED.search(low, words):
            strength = 1
        reading = NOTHING if _WRONG_AFTER_ALL.search(low[-40:], words) else _names(sentence, known, strength)
        if reading.why == "none":
            if i < 2 and superlative and not (claims[2] or _HEADS.match(low)):
                return NOTHING  # it concludes, but with something that is no option
            continue
        if (reading.label is None and _UNLIKELY.search(low)) or doubted(
            ". " + "".join(sentences[len(sentences) - i :][:1])
        ):
            continue
        if strength == 3 and not superlative and claims[2]:
            return claims[2][0][1]  # "…, so it causes X. The exception is Y."
        if strength == 3 and (superlative or not broken_off):
            said = " ".join(sentences[len(sentences) - i - 1 :])
            others = known.others(said, reading.label) if reading.label else ()
            more = AND_ALSO.search("." + said) if others else None
            return SEVERAL if more and more["letter"] in others else reading
        claims[strength].append((i, reading))
    last = text[max(text.rfind("\n") + 1, len(text) - 160) :]
    if (
        "=" in last
        and (value := _COMPUTED.search(last))
        and not _ON_THE_WAY.match(last)
        and (label := known.number(value[1]))
        and not refuses(text)
    ):
        return Reading(label)
    if (label := _drawn(last, known)) and not refuses(text):
        return Reading(label)
    if broken_off:
        return NOTHING
    refused = refuses(text)
    for strength in (2,) if refused else (2, 1):
        if found := claims[strength]:
            if len({reading for _, reading in found}) == 1 or (strength == 2 and found[0][0] < 2):
                return found[0][1]
            return SEVERAL
    if len(sentences) > 3 or len(text) > 400 or refused:
        return NOTHING
    ends = [None if known.in_passing(sentence) else _complement(sentence, known) for sentence in sentences]
    if ends and ends[-1] and (len(set(ends) - {None}) == 1 or _CUE.search(sentences[-1].lower())):
        return ends[-1]
    # "The … is IgG. IgM is too large": a definition, and what the others are.
    defined = ends and set(ends[1:]) == {None} and sentences[0].lstrip()[:4] == "The " and not _BUT.search(text)
    if defined and ends[0] and len({x.label for x in known.mentions(" ".join(sentences[1:]))} - {ends[0].label}) > 1:
        return ends[0]
    if sentences and _CUE.search(sentences[-1].lower()):
        return NOTHING  # it concludes, but with something that is no option
    counted = _COUNTED.match(sentences[-1]) if sentences and not _DIGIT.search("".join(sentences[:-1])) else None
    if counted and (label := known.exact(counted[1])):
        return Reading(label)
    named = {
        NOTHING
        if _unreal(sentence.lower()) or known.in_passing(sentence) or doubted(". " + then)
        else _names(sentence, known, 0)
        for sentence, then in zip(sentences, [*sentences, ""][1:], strict=True)
    } - {NOTHING}
    return named.pop() if len(named) == 1 else NOTHING


# "There are 2 lesions in the liver."
_DIGIT = re.compile(r"\d")
_COUNTED = re.compile(
    r"\W*(?:there (?:is|are)|(?:i|we)(?: can)? (?:see|count)|the (?:image|picture|figure|scan|film) (?:shows|contains|has)) (?:exactly |only )?"
    r"(\d{1,3}|one|two|three|four|five|six|seven|eight|nine|ten)\b(?![.,-]?\d| (?:of|or|and|to|option|answer|choice|possib|reason|type|kind)| more\b)[^.,;?]*\W*$",
    re.I,
)
# "… on lisinopril, so it should be stopped. She should be started on losartan."
_STOPPED = Worded(
    "stopped discontinued withdrawn replaced avoided",
    r"\b(?:should|must|may|can|needs? to|has to) be (?:stopped|discontinued|withdrawn|replaced|avoided)\b",
)
_STARTED = re.compile(r"\b(?:start(?:ed)?|switch(?:ed)?|changed?|replaced?|put) (?:on|to|with|by)\b")
# "Step 4: Determine the most likely diagnosis"
_HEADS = re.compile(
    r"\W*(?:step \d{1,2}\W+)?(?:the \w+ step is to )?(?:determine|identify|find|choose|select|decide|evaluate|consider|compare)\b"
)
# "This option is the most appropriate because …": a word on the conclusion before it.
_AFFIRMS = re.compile(
    r"\W*(?:this|it)(?: (?:option|choice|answer|step|diagnosis|approach|treatment|test))? (?:is|would be) (?:therefore |thus |also )?(?!not\b)"
    r"(?:the |a )?(?:best|most|correct|right|closest|first[- ]line|immediate|initial|preferred|standard|definitive|(?:treatment|drug|test) of choice)\b",
    re.I,
)
_FOR_EXAMPLE = re.compile(r"\W*(?:for (?:example|instance)|e\.g)\b", re.I)
_LOOKS_AT = re.compile(
    r"\W*(?:let(?:'s| us| me)|consider|now|next|first|turning|moving|we|start|begin|try|read|look)\b[^:.]{0,40}\b(?:option|choice)\b",
    re.I,
)
# "A cyst is a …": what an option is.
_IS_A = re.compile(r" (?:is|are) an? (?!more|better|likely)")
_COPULA = re.compile(
    r"(?:\b(?:is|are|was|be|being)\b|[=-]>|[=≈:→])(?!.*(?:\b(?:is|are|was|be|being)\b|[=-]>|[=≈:→]))", re.S
)


_BUT = re.compile(r"(?i)\b(?:but|however|yet|or|also|other|maybe|could|might|may)\b|\?")
# "1/4, or 25%": one number said twice.
_OR_NUMBER = re.compile(r",?\s*(?:\bor\b|\bi\.e\.,?|\bwhich is\b)\s*")


def _complement(sentence: str, known: Choices) -> Reading | None:
    """The option that a sentence ends with and says something to be: "The probability is 1/2 = 0.5."."""
    copula = _COPULA.search(sentence)
    if (
        not copula
        or _ON_THE_WAY.match(sentence)
        or _ELSEWHERE.search(sentence)
        or _HEDGED.search(sentence.lower())
        or _unreal(sentence.lower())
        or _LOOKS_AT.match(sentence)
    ):
        return None
    if len(known.labels) > 2 and known.said_in(sentence) == 100:
        return None  # all options restated
    if "," in sentence[: copula.start()]:
        # "Acute disease is hepatitis A, chronic disease is hepatitis C."
        before = _complement(sentence[: copula.start()].rpartition(",")[0], known)
    else:
        before = None
    tail = sentence[copula.end() :]
    if is_negated(sentence, len(sentence) - len(tail.lstrip()), len(sentence)):
        return None
    aside = BRACKET.search(tail)
    label = known.exact(tail) or known.number(tail)
    if label is None and aside and not known.exact(aside[0]):
        label = known.exact(BRACKET.sub("", tail))
    if label is None and len(pieces := _OR_NUMBER.split(tail)) == 2 and all(x.strip()[:1].isdigit() for x in pieces):
        label = known.exact(pieces[1]) or known.number(pieces[1])
    return SEVERAL if label and before and before.label != label else Reading(label) if label else None


def _unreal(low: str, words: list[str] | None = None) -> bool:
    """Does the sentence speak of another case ("If …", "… would be B, but here")?"""
    head, would, rest = low.partition("would")
    return bool(_IF.search(low, words)) or (bool(would) and supposed(head, would + rest, rest))


def _strength(low: str, words: list[str]) -> tuple[int, bool]:
    """How strongly a sentence claims to conclude, and whether by a superlative that is not turned down."""
    best = _SUPERLATIVE.search(low, words)
    superlative = bool(best) and not _TURNED_DOWN.search(low, words)
    if _CUE.search(low, words):
        return 3, superlative
    if best:
        return 2 if superlative else 0, superlative
    return 1 if _WEIGHS.search(low) else 0, False


def _names(sentence: str, known: Choices, strength: int) -> Reading:
    """The one option that a sentence names, by a marked letter or by its text, and does not deny."""
    if _prompts(sentence) or _talks(sentence) or asks_back(sentence):
        return NOTHING
    if known.lone.search(sentence):
        sentence = BETWEEN.sub("So,", sentence)
    reading = _named(sentence, known, strength)
    if reading.why == "none":
        return reading
    if instead := _BUT_IS.search(sentence):
        return _named(sentence[instead.end() :], known, strength)
    if "in which case" in sentence or _ELSEWHERE.search(sentence):
        return SEVERAL
    if any(word in sentence for word in ("equally", "just as", "no less")) and _EQUALLY.search(sentence):
        return SEVERAL
    if reading.why in ("several", "contradiction"):
        # "Penicillin is out, so azithromycin is given": what follows, unless the reason makes a choice of its own.
        hence = _HENCE.search(sentence)
        if hence and not _STOPPED.search(sentence[hence.end() :]) and not _chosen(sentence[: hence.start()], known):
            follows = _named(sentence[hence.start() :].lstrip(",;: "), known, strength)
            if follows.label:
                return follows
        # "It could be a cyst, but the most likely cause is an abscess": the clause after "but" makes the claim.
        conceded, but, claimed = sentence.rpartition(", but ")
        if but and _SUPERLATIVE.search(claimed.lower()) and not _SUPERLATIVE.search(conceded.lower()):
            follows = _named(claimed, known, strength)
            if follows.label:
                return follows
        # "Although X is possible, Y fits": a leading clause concedes; "X, because unlike Y …": a trailing one explains.
        rest = _LEAD_IN.sub("", sentence, count=1)
        reason = None if len(_letters(_MARKED, rest, known)) > 1 else _REASON.search(rest)
        head = rest[: reason.start()] if reason else rest
        if head != sentence:
            narrowed = _named(head, known, strength)
            if narrowed.label:
                return narrowed
        # "The penetrance is complete, hence the risk is 50%": what the sentence ends by saying.
        if reading.why == "several" and (cue := _CUE_HERE.search(sentence)):
            return _complement(sentence[cue.end() :], known) or reading
    return reading


_HENCE = re.compile(
    r"[,;:] (?:and |but )?(?:therefore|thus|hence|so|consequently|accordingly)\b(?! (?:that|far|much|many|as)\b)|"
    r"\b(?:and|;) (?:therefore|thus|hence)\b|因此|所以|因而|从而|故(?=[选应宜首用考诊])"
)


def _chosen(reason: str, known: Choices) -> bool:
    """Does a clause of the reason call an option the best or the most likely?"""
    return any(_SUPERLATIVE.search(clause) and known.mentions(clause) for clause in reason.lower().split(","))


_NOUN = re.compile(
    r"\b(?:answer(?! (?:choice|option)s?\b)|option|choice)\b(?!(?<=of choice)(?: (?:for|in|here|of|to)\b[^.;,]{0,60})? (?:is|are|was|remains) )(?=[^.;]{0,60}(?:\b(?:is|are|was|be)\b|:))|答案"
)


def _talks(sentence: str) -> bool:
    """Is the sentence about an answer that is not the response's own ("The tempting answer is B")?"""
    low = sentence.lower()
    if not any(word in low for word in ("answer", "option", "choice", "答案")):
        return False
    return any(
        not is_given(low[: m.start()]) or reported(low[: m.start()]) or BY_OTHERS.search(low, m.end(), m.end() + 60)
        for m in islice(_NOUN.finditer(low), 6)
    )


def _prompts(sentence: str) -> bool:
    """Is the sentence an instruction with a letter after it ("Select the best answer: A")?"""
    head, colon, _ = sentence.rpartition(":")
    return bool(colon and PROMPTS.search(head.lower()))


# "The closest option is B, but the correct answer is actually 33 minutes."
_BUT_IS = re.compile(
    r"\bbut the (?:correct|actual|right|true) (?:answer|value|result) (?:is|would be|should be|must be)\b"
)
# "C, except in children, where it is A."
_ELSEWHERE = re.compile(r"\bexcept (?:in|for|when)\b[^.;]{1,60}, (?:where|when|then)\b")
# "It could be C, but A is equally plausible."
_EQUALLY = re.compile(
    r"(?<![A-Za-z0-9_'])[A-Z][)\]]?\s(?:[a-z]+\s){1,4}(?:equally|just as|no less) (?:plausible|likely|possible|probable|good|reasonable|well)\b"
)
# "Either an oral suction or an orogastric tube", of which only one is said as the option says it.
_EITHER = re.compile(r"\beither\b[^.;]{1,120}\bor\b", re.I)


def _named(sentence: str, known: Choices, strength: int) -> Reading:
    # "Conclusion: (B) no": an option whose text is a "no".
    last = sentence.rpartition(":")[2]
    if strength == 3 and last != sentence and (opened := known.letter(last)) and known.is_option(last, opened[0]):
        return Reading(opened[0]) if opened[0] in known.labels else NOTHING
    marks: set[str] = set()
    if known.lone.search(sentence):
        marks = _letters(_MARKED, sentence, known)
        marks |= _letters(_PREDICATED if marks else _LONE, sentence, known)
    if marks and any(m[3] or (marks & {m[1], m[2]} and m[1] != m[2]) for m in _OR_ELSE.finditer(sentence)):
        return SEVERAL
    found = known.mentions(sentence)
    # A number in passing is not the answer; with its unit, alone and at the end of a claim, it may be.
    passing = strength < 2 and not (
        strength and found and found[-1].end > len(sentence) - 3 and len({x.label for x in found}) == 1
    )
    found = [
        x
        for x in found
        if not (sentence[x.start].isdigit() and (passing or (strength < 2 and x.numeric)))
        and not (x.numeric and not _VALUE.match(sentence, x.end))
        and not _WITH_MORE.search(sentence, 0, x.start)
    ]
    if strength == 0:
        found = [x for x in found if x.start > 4 or not _IS_A.match(sentence, x.end)]
    said = {x.label for x in found if not x.negated and not _refused(sentence, x.end, known)}
    if len(marks) == 1:
        said = {label for label in said if not known.within(label, next(iter(marks)))}
        if not said or marks <= said:
            return Reading(marks.pop())
    if marks:
        return Reading(None, "several" if len(marks) > 1 else "contradiction")
    if len(said) > 1 or (said and "either" in sentence.lower() and _EITHER.search(sentence)):
        return SEVERAL
    if said:
        return Reading(said.pop())
    if known.polar and (judged := _JUDGES.match(sentence)) and (label := known.polarity(sentence[judged.end() :])):
        return Reading(label)
    if known.polar and (label := known.polarity(_CUE_HERE.sub("", sentence, count=1).lstrip(" ,:"))):
        return Reading(label)
    if known.polar and (cue := _CUE_HERE.search(sentence)) and (label := known.exact(sentence[cue.end() :])):
        return Reading(label)
    return NOTHING


_JUDGES = re.compile(
    r"\W*(?:the|this) (?:statement|claim|assertion|proposition) is |"
    r"[^,。;]{0,20}(?:说法|陈述|观点|话|结论|命题|论述|判断|表述)(?:显然|完全)?(?:是|为)?(?=不?[对正]|错)",
    re.I,
)
# "The answer is saliva and germs", of which only germs are an option.
_WITH_MORE = re.compile(r"\banswers?\b[^.]{0,30}?(?:\bis\b|\bare\b|:)\s*[\w' -]{2,40} (?:and|&) (?:the |an? )?$")
# A number in passing is a number; in a conclusion the last one may be the answer, unless it is part of a formula.
_VALUE = re.compile(r"(?!\s?[\^*/+(=_×])[^\d=]*$")


def _letters(pattern: re.Pattern[str], sentence: str, known: Choices) -> set[str]:
    found = [
        (next(group for group in m.groups() if group), m.start(m.lastindex or 0), m.end())
        for m in islice(pattern.finditer(sentence), 16)
    ]
    found = [(x, start, end) for x, start, end in found if x in known.labels]
    if pattern is _MARKED and " only " not in f" {sentence.lower()}":
        own = [known.texts[known.labels.index(x)] for x, _, _ in found]
        found = [x for x, text in zip(found, own, strict=True) if goes_on(sentence[x[2] :], text, loose=True)]
    denied = {x for x, start, end in found if is_negated(sentence, start, end) or _refused(sentence, end, known)}
    return {x for x, _, _ in found} - denied


_OWN_LETTER = re.compile(r"^\s?\([A-Z]\)")


def _refused(sentence: str, end: int, known: Choices) -> bool:
    """Does the predicate of what stands before `end` turn it down ("Option A, a cyst, is not …")?"""
    predicate = _OWN_LETTER.sub("", sentence[end : end + 160])
    turned = _UNLIKELY.search(predicate.lower())
    if not turned or _BUT_ALSO.search(predicate[: turned.end()].lower()):
        return False
    between = predicate[: turned.start()]
    return not _MARKED.search(between) and len({x.label for x in known.mentions(between)}) < 2


def _sentences(text: str, known: Choices) -> list[str]:
    """Sentences, without the lines of a list that goes through the options."""
    lines = text.split("\n")
    marks = option_lines(lines, known)
    # "The most likely diagnosis is:" and one option, which is no list.
    for before in [i for i, line in enumerate(lines) if line.endswith(":") and not marks[i]] if any(marks) else ():
        at = next((i for i in range(before + 1, len(lines)) if lines[i].strip()), before)
        after = next((i for i in range(at + 1, len(lines)) if lines[i].strip()), at)
        low = lines[before].lower()
        if marks[at] and (after == at or not marks[after]) and (_SUPERLATIVE.search(low) or " least " in low):
            lines[at], lines[before], marks[at] = f"{lines[before]} {lines[at]}", "", None
    letters = {m[1] for m in marks if m and len(m[0]) > 1}
    if len(letters) > 1 or any(m and m[1] == "A" and m.string[m.end(1) :][:1] in tuple(").:") for m in marks):
        # What announces the list ("Let's analyze each option:") announces no more than it.
        ahead = next((i for i, m in enumerate(marks) if m), 0) - 1
        while ahead > 0 and not lines[ahead].strip():
            ahead -= 1
        if ahead >= 0 and lines[ahead].rstrip().endswith(":"):
            lines[ahead] = f"{lines[ahead].rstrip()[:-1]}."
        lines = [line for line, m in zip(lines, marks, strict=True) if not m]
    text = _with_lists("\n".join(lines))
    ends = [stop.end() for stop in _STOP.finditer(text)]
    sentences = [text[a:b].rstrip("\n") for a, b in zip([0, *ends], [*ends, len(text)], strict=True)]
    return [s for s in sentences if s.strip(" .!?。")]


def _with_lists(text: str) -> str:
    """A line that ends with a colon takes in the lines up to the next blank one."""
    if ":" not in text or "\n" not in text:
        return text
    return re.sub(r":[ \t]*\n\s*([^\n]+(?:\n[ \t]*\S[^\n]*)*)", lambda m: ": " + m[1].replace("\n", ", "), text)
