"""Whose statement it is, and whether it stands: what surrounds an answer must be of a known kind.

An answer counts when the response itself gives it, now and without conditions. Before it nobody else may be the one who
says so ("my friend thinks …"), and what is called the answer takes known words only ("the tempting answer is B" gives
none). After it the text goes on in a known way: the clause ends, a reason follows, or the option's own text.
All of it looks at lower-case text, within a sentence or a few words of the next.
"""

from __future__ import annotations

import re


def word_set(text: str) -> frozenset[str]:
    """The words of a line as a set."""
    return frozenset(text.split())


# The words of a lower-case text, one Chinese character each: what `Worded` goes by.
split_letters = re.compile(r"[a-z]+|[\u3400-\u9fff]").findall


class Worded:
    """A pattern for lower-case text every match of which holds one of some words.

    Where none of them stands, which is the rule, it is not searched for: this is several times as fast.
    """

    def __init__(self, words: str, pattern: str, flags: int = 0):
        self.words = word_set(words)
        self.pattern = re.compile(pattern, flags)

    def search(self, low: str, said: list[str] | None = None) -> re.Match[str] | None:
        """The first match in `low`, whose words are `said`."""
        return None if self.words.isdisjoint(said or split_letters(low)) else self.pattern.search(low)


# --- before: who says it ----------------------------------------------------------------------------------------------

_SAY = (
    r"(?:says?|said(?! to\b)|saying|thinks?|(?<!first )(?<!second )thought(?! to\b)|believes?|believed(?! to\b)|claim(?:s|ed|ing)?|argue[sd]?|"
    r"guess(?:es|ed)|insist(?:s|ed)?|assert(?:s|ed)?|told|heard|wrote|writes|replie[sd]|answered|reckon(?:s|ed)?|quoth|"
    r"declare[sd]?|swears?|swore|joke[sd]|whisper(?:s|ed)?|pretend(?:s|ed)?|imagine[sd]?|rumou?r|legend)"
)
_PEOPLE = (
    r"(?:fools?|friends?|colleagues?|classmates?|students?|readers?|candidates?|examinees?|teachers?|professors?|"
    r"tutors?|neighbou?rs?|uncle|aunt|brother|sister|mother|father|users?|guy|bots?|chatbots?|experts?|critics?|doctors?|"
    r"strangers?)"
)
_PERSON = (
    r"(?:some(?:one|body)?|others|many|most(?: of (?:them|us))?|few|people|every(?:one|body)|any(?:one|body)|nobody|"
    rf"no one|they|them|he|him|she|her|{_PEOPLE})"
)
_CHOOSES = r"(?:choos(?:e|es|ing)|chose|select(?:s|ed)?|pick(?:s|ed)?|go(?:es)? (?:with|for)|went (?:with|for)|vote[sd]?|opt(?:s|ed)?|g[ai]ves?|mark(?:s|ed)?|conclude[sd]?)"
_SAYING = re.compile(rf"\b{_SAY}\b")
# "I would say", "let me say", "it is safe to say"; what I heard or once thought is another matter.
_SELF = re.compile(
    r"\b(?:(?:i|we|let me|let us|let's)(?:'d|'ll|'m)?(?: (?!was\b|were\b|been\b|had\b|no\b|used\b|once\b)[\w']+){0,3}|(?:my|our)|"
    r"\b(?:i|we) (?:[\w']+ ){2,7}and|"
    r"(?:safe|fair|reasonable|have|need|right|inclined|logical) to) $"
)
_NOT_OWN = word_set("said thought believed claimed guessed told heard pretend pretended imagine imagined")
_ASCRIBED = re.compile(
    rf"\baccording to (?:(?:[\w'-]+ ){{0,3}}?{_PERSON}|an?|some|one|(?:unreliable|anonymous) [\w-]+)\b|\bin the (?:opinion|view|eyes) of\b|"
    rf"\b(?:in|to) (?:his|her|their|your|[\w-]+'s) (?:opinion|view|dreams)\b|"
    rf"\b{_PERSON} (?:[\w']+ ){{0,3}}?{_CHOOSES}\b|\b(?:given|made|chosen|picked|considered|regarded|seen|taken|viewed) by (?:[\w'-]+ ){{0,3}}?{_PERSON}\b|"
    rf"\b{_PERSON}(?:'d|'ll| would| will| might)? tells? (?:you|me|us)\b|"
    r"\b(?:previous|last|earlier|next|other|preceding) (?:question|item|problem|exercise)\b|\bquestion (?:[2-9]|\d\d)\b|"
    r"\b(?:myth|misconception|mistake|error|lie|rumou?r|idea|notion|suggestion|assumption|belief|view|argument|theory|opinion) that\b"
)
# "The answer of my friend", "the answer I gave last time".
BY_OTHERS = re.compile(rf"\b(?:from|of|by) (?:(?:the|my|your|an?|some) )?{_PEOPLE}\b|\blast time\b")
TUTORS = "professor|teacher|tutor"
_TUTOR = re.compile(rf"(?:the |our |my )?(?:{TUTORS})")
_SPEAKER = re.compile(rf"(?:(?:my|an?|the|your|one|some|another) )?{_PEOPLE}(?: (?:\d|[a-e]))?")
# A tutor's word in an invented lesson is the response's own.
_SPEAKS = re.compile(rf"\W*(?!{_TUTOR.pattern}){_SPEAKER.pattern}\s?:")
_EXAMPLE = re.compile(
    r"\b(?:for (?:example|instance)|e\.g|(?<!this )(?<!the )(?<!our )(?:examples?|sample|phrase|sentence)|format|template|looks? like|"
    r"such as|at first (?:glance|sight))\b"
    r"[^.;]{0,16}$"
)
# "You should reply like this", "Respond with something like".
_TOLD = re.compile(
    r"(?:^\W*(?:please |then |now |and |just )*|\byou (?:should|must|can|could|may|might|need to|have to|are to) (?:answer\b|\w+ly )?)"
    r"(?:reply|respond|write|say|output|state|phrase|(?<=answer))\b(?: \w+){0,4}? (?:like|as follows|way|form|format|with|words?|exactly)\b[^.;]{0,16}$|"
    # "Write: the answer is", "Reply "Answer:".
    r"(?:^|[,:;]\s)\W*(?:please |then |simply |just |always )*(?:(?:write|say|reply|respond|state|type|print)(?: with| only| exactly)?|(?:end|finish) with)(?:: ?\W*| ?\")(?:the )?$|"
    r"(?<!in the )\b(?:required|expected|desired) (?:format|output|form|response|reply|answer) (?:is|should be|looks)\b[^.;]{0,16}$"
)
BREAK = re.compile(r"[.!?。\n]")
_CLAUSE = re.compile(r"[,:;(\"]")
# "It is not the case that", "I would never say", "it would be wrong to conclude".
_UNSAID = re.compile(
    r"(?:\b(?:not|never|cannot|hardly|scarcely|wrong|false|mistaken|unlikely|(?<!no )(?<!not )(?<!a )(?<!little )(?<!reason to )doubt|deny|refuse|untrue|incorrect)\b|n't\b)"
    r"(?: (?!be\b)[\w']+){0,2}? (?:that|say|think|believe|claim|conclude|mean|imply|agree|accept|infer|assume)\b"
)
# "Under no circumstances would I say", "there is little to suggest that".
_NEVER = re.compile(
    r"\b(?:under no|in no (?:case|way|event)|on no account|by no means|at no (?:point|time))\b|"
    r"\b(?:little|nothing|scant|(?:no|hardly any|little) (?:\w+ )?(?:evidence|reason|basis|ground|grounds|argument|indication|sign))\b"
    r" (?:(?!doubt\b)[\w']+ ){0,3}?(?:suggests?|suggesting|indicat(?:es?|ing)|supports?|supporting|shows?|showing|proves?|think|believe|say|conclude|that)\b"
)
# "Were she diabetic, the answer would be", "for a patient with rickets the answer would be …, but this one".
_INVERTED = re.compile(
    r"\W*(?:and |but |so )?(?:(?:were|should|had) (?:the|this|that|these|there|he|she|it|they|we|his|her|an?)\b|"
    r"if (?!(?:we|you|i|one|someone|asked|forced|anything)\b))"
)
_WOULD_BE = re.compile(r"\bwould (?:\w+ )?be\b")
_THEREFORE = re.compile(r"\bwould (?:therefore|thus|hence)\b|,\s*(?:and )?(?:so|therefore|thus|hence)\b")
_BUT_HERE = re.compile(
    r"[^.!?\n]{0,60}?[,;–—-]\s{0,2}(?:but|however|yet)\b(?! (?:not|only)\b)|"
    r"[^.!?\n]{0,60}[.!?\n]\s{0,2}(?:(?:but|however|yet|unfortunately),? (?:this|here|the|that|we|i|he|she|his|her|it)|(?:we|i) (?:do not|don't|are not|cannot|can't))\b"
)
# "It requires me to end with …": the form that was asked for.
_ASKED_FORM = re.compile(
    r"\b(?:requir(?:es?|ed)|asks?|asked|wants?|wanted|told|instruct(?:s|ed)|expects?|expected|supposed|needs?|demands?|prescribe[sd]?)"
    r" (?:me|us|you|one|that|the|an?|my|to|for)\b[^,;.!?\n]{0,60}\b(?:with|as|form|format|like|say|write|of|style|shape|phrase|words)\b(?::\s?[\"'])?[ \"'(\\]{0,4}(?:(?:the|my) )?(?:(?:final|correct) )?$",
)
# "If the D-dimer is raised, the answer is B"; "if we look closely, …" sets no condition, nor does a step of an argument.
_CONDITIONAL = re.compile(
    r"\W*(?:and |but |so |then )?(?:\bif (?!(?:we|you|i|one|someone|asked|forced|anything)\b)|in case |provided |supposing |(?:were|should|had) (?:the|this|that|these|there|he|she|it|they|we|his|her|an?)\b|如果|假如|假设|倘若|要是|若(?!干|要))"
)
_OTHERWISE = re.compile(r"\W*(?:otherwise|or else|else|failing that|if not)\b")
_STEP = re.compile(r" ?(?:and |so|therefore|thus|hence|which|we |因此|所以|故|因而|可知|可得)")
_ROLES = word_set("user human system student question example hint")
# 有人说, 很多学生会选, 他认为, 误选; not 其他, 他汀, 病人.
_REN = (
    r"(?:有的?人|有些人?|人们|[别他某]人|很多人|许多人|多数人|不少人|(?<!其)他们?(?!汀)|她|大家|学生|同学们?|考生|老师|"
    r"朋友|网友|网上|专家|谁|小[明红刚华李王张])"
)
_ZH_BEFORE = re.compile(
    rf"{_REN}[^,。;]{{0,6}}?(?:说|讲|认为|觉得|以为|猜|声称|主张|答|的)[^,。;]{{0,8}}$|{_REN}[^,。;]{{0,5}}$|"
    r"[据听]说[^。;]{0,6}$|(?:以前|过去|曾经?|原来|原先|示例|格式|样例|模板)[^。;]{0,8}$|只有[^。;]{0,20}才[选是]?$|第[2-9二三四五]\d?[题问][^。;]{0,8}$|(?:(?<!错)误|错(?!误的?(?:选项|一项|说法|叙述|描述|陈述|判断)?[是为])|乱|假设|假如|如果|倘若|是否|难道|否则|不然|例如|比如)[^,。;]{0,6}$|(?:[请须]|应该?|可以?|要|必须)(?:这样|这么|如下|像这样|按此)(?:回答|作答|回复|写|说|填)[^。;]{0,4}$"
)


# Before a marked answer: an example of the form, or an instruction to use it.
_MENTION = re.compile(
    r"(?:e\.\s?g\.?|\bfor (?:example|instance)\b|\bexamples?\b|\blooks? like\b|\bsuch as\b|\b(?:not|never|n't|without) (?:to )?(?:write|writing|put|use|using|say|output|answer)\b"
    r"|(?:^|[.!?:]\s+)(?:(?:please|always|then|you (?:must|should))\s+)?(?:use|write|put|give|provide|place|enclose|follow|wrap|format)\b[^.!?]*\b(?:your|this|the|following) (?:\w+ ){0,2}(?:answer|format|tags?|letter|box))"
    r"(?:[^.!?]|\.(?=\s?[\da-z])){0,60}$|比如|例如|格式",
    re.I,
)


def mentioned(lead: str) -> bool:
    """Does this lead announce an example of the form of an answer ("e.g. <answer>B</answer>")?"""
    low = lead.lower()
    return bool(_MENTION.search(lead) or _ASKED_FORM.search(low) or _TOLD.search(BREAK.split(low)[-1]))


def supposed(lead: str, said: str, tail: str) -> bool:
    """Is what `said` states ("answer would be") true of another case: under a condition, or "…, but not in this one"?"""
    if not _WOULD_BE.search(said) or _THEREFORE.search(lead + said[:24]):
        return False
    return bool(_INVERTED.match(lead) or _BUT_HERE.match(tail))


_RETRACTED = re.compile(
    r"(?:^|[.!?;:,>})\]\n–—-]\s{0,3}|\b(?:please|and|so|no|but|actually|wait|well|hereby|i)\s)(?:"
    r"(?:scratch|strike|scrap) (?:that|this|it|my answer|the above)\b|"
    r"(?:disregard|ignore|forget|discard) (?:(?:all|everything|any) (?:of )?)?(?:this|that|it|the (?:above|foregoing|answer)|what i|my (?:\w+ )?(?:answer|response|reply|choice))"
    r"(?=\s*(?:[.!;,\n]|$)|(?<=what i)| (?:answer|response|reply|and|above)\b)|"
    r"please (?:disregard|ignore)(?=\s*(?:[.!;,]|$))|(?:i was|i'm|i am) (?:looking at|reading|thinking of|answering) the (?:wrong|other)\b|"
    r"(?:(?:that|this|it) (?:is|was) (?:for|about) )?(?:(?:another|the (?:other|previous)) question|(?:the )?wrong (?:question|image|film))(?=\s*(?:[.!;]|$))|"
    r"(?:i (?:hereby |must |have to |want to )?)?(?:withdraw|retract|revoke|take back) (?:it|that|this|my|the (?:answer|above))\b|"
    r"i take (?:it|that|this|my \w+) back\b|"
    r"(?:on|upon) (?:\w+ )?(?:reflection|second thoughts?|consideration),? (?:this|that|it|the (?:above|answer)|i|my answer)(?: is|'s| was|'m| am) (?:not (?:right|correct)|wrong|incorrect|mistaken|false)|"
    r"(?:(?:no|wait|hmm|oh|but|actually|hold on)[, ]{1,2}){1,3}(?:that|this|it) (?:cannot|can't|can not|is not|isn't) (?:be )?(?:right|correct)\b|"
    r"(?:the|my|that|this) (?:(?:above|previous|earlier) )?(?:answer|response|choice|tag|box|letter) (?:above )?(?:is|was|to be)? ?(?:withdrawn|retracted|void|wrong|a mistake|an error|a slip)\b|"
    r"(?:(?:honestly|in truth|really|frankly),? )?i (?:(?:really|simply|just|honestly|actually|still) )?(?:don't|do not) (?:(?:really|actually) )?"
    r"(?:know(?=\s*(?:[.!;]|$)| the (?:correct |right )?answer| which| what the)|have an(?:y)? answer(?! key))|"
    r"(?:i )?(?:do not|don't) have an answer(?! key)|(?:i )?(?:can )?(?:give|have|offer) no (?:final )?answer\b|"
    r"(?:that|this|it|the (?:above|answer)) (?:is|was) (?:only |just |merely )?(?:a placeholder|(?<=only )an example|(?<=just )an example)|"
    r"i (?:won't|will not|refuse to|would rather not) (?:guess|answer|choose)\b|i(?:'m| am) (?:no longer (?:sure|certain|confident)|stuck|torn|undecided)\b|i (?:cannot|can't|can not|could not) (?:decide|make up my mind)\b|"
    r"i (?:strongly |respectfully )?(?:disagree|(?:don't|do not) agree)(?: with (?:this|that|it|the above))?(?=\s*(?:[.!;]|$))|"
    r"i have no (?:idea|clue|answer|better (?:suggestion|answer|idea))\b(?! (?:why|how|about|of)\b)"
    r")|\bi (?:hereby )?(?:take (?:(?:it|that|this) )?back|withdraw|retract)(?=\s{0,3}(?:[.!;]|$))|以上作废|(?:以上|上述|上面的?|这个|该|此)(?:判断|答案|回答|结论|选择|分析)(?:是|有)?(?:错|误|不对|不正确)|[我]?(?:撤回|收回)(?:以上|上述|这个|我的)?(?:答案|回答)|请?忽略(?:以上|上述|上面)|我(?:也|其实|真的)?不知道|我(?:也|还是|其实|真的)(?:不确定|拿不准|不清楚)",
)


# Every alternative of _RETRACTED holds one of these.
_RETRACTED_HINTS = (
    "another question", "other question", "previous question", "scratch", "strike", "scrap", "a slip", "不对", "不正确", "错", "有误", "disregard", "ignore", "forget", "discard", "withdraw", "retract", "revoke", " back", "reflection",
    "thought", "consideration", "cannot", "can't", "can not", "is not", "isn't", "void", "wrong", "mistake", "error", "don't",
    "do not", "no answer", "no final answer", "no longer", "have no", "i am ", "i'm ", "agree", "placeholder", "ly an example", "just an example", "won't", "will not", "refuse to", "以上", "撤回", "收回", "忽略", "不知道", "不确定", "拿不准", "不清楚",
)  # fmt: skip


def retraction(text: str) -> tuple[int, int] | None:
    """Where the last words stand that take an answer back or say that there is none ("Scratch that.", "I have no idea")."""
    start = max(0, len(text) - 1500)
    end = text[start:].lower()
    hints = [hint for hint in _RETRACTED_HINTS if hint in end]
    if not hints:
        return None
    near: list[list[int]] = []
    for at in sorted(m.start() for hint in hints for m in re.finditer(re.escape(hint), end)):
        if near and at - _RETRACTED_REACH <= near[-1][1]:
            near[-1][1] = at + _RETRACTED_REACH
        else:
            near.append([max(0, at - _RETRACTED_REACH), at + _RETRACTED_REACH])
    for begin, stop in reversed(near):
        *_, last = [None, *_RETRACTED.finditer(end, begin, stop)]
        if last:
            return start + last.start(), start + last.end()
    return None


# No such words reach further than this from the hint that they hold.
_RETRACTED_REACH = 130


# Every match of `_SAYING` and of `_ASCRIBED` holds one of these words, …
_SPEAKING = word_set(
    "say says said saying think thinks thought believe believes believed claim claims claimed claiming argue argues argued "
    "guesses guessed insist insists insisted assert asserts asserted told heard wrote writes replies replied answered "
    "reckon reckons reckoned quoth declare declares declared swear swears swore jokes joked whisper whispers whispered "
    "pretend pretends pretended imagine imagines imagined rumor rumour legend according opinion view eyes dreams choose "
    "chooses choosing chose select selects selected pick picks picked go goes went vote votes voted opt opts opted give "
    "gives gave gaves mark marks marked conclude concludes concluded by question item problem exercise myth misconception "
    "tell tells mistake error lie idea notion suggestion assumption belief argument theory"
)
# … and every other lead that `reported` knows one of these.
LEADING = (
    _SPEAKING
    | _ROLES
    | word_set(
        "not never cannot hardly scarcely wrong false mistaken unlikely doubt deny refuse untrue incorrect t no little nothing "
        "scant example examples instance e sample phrase sentence format template look looks such first otherwise else "
        "failing requires require required ask asks asked want wants wanted instruct instructs instructed expect expects "
        "expected supposed need needs demand demands prescribe prescribes prescribed if case provided supposing were should "
        "fool friend colleague classmate student candidate teacher professor tutor neighbor neighbour uncle aunt brother sister mother "
        "father user guy bot chatbot expert critic doctor stranger had oh yeah you reply respond write output state phrase type print end finish desired "
        "如 假 倘 要 人 他 她 家 生 学 师 友 网 专 谁 小 说 误 错 乱 设 若 否 难 例 前 去 曾 来 先 示 格 样 模 只 第 这 此 然"
    )
)


def others_say(clause: str) -> bool:
    """Does this clause say what somebody else says, thinks or chooses?"""
    if _SPEAKING.isdisjoint(split_letters(clause)):
        return False
    for m in _SAYING.finditer(clause):
        if m[0] in _NOT_OWN or not _SELF.search(clause, max(0, m.start() - 40), m.start()):
            return True
    return bool(_ASCRIBED.search(clause))


def reported(lead: str) -> bool:
    """Does this lead, the sentence up to an answer, put it into another mouth or into an example?

    The clause next to the answer counts, and a parenthesis ("the answer, says the fool, is B", "he said: …").
    """
    low = lead.lower()
    if LEADING.isdisjoint(split_letters(low)):
        return False
    if not lead.isascii() and _ZH_BEFORE.search(lead):
        return True
    *clauses, last = _CLAUSE.split(low)
    if (
        others_say(last)
        or _UNSAID.search(last)
        or _NEVER.search(last)
        or _EXAMPLE.search(lead)
        or _TOLD.search(low)
        or _OTHERWISE.match(last)
    ):
        return True
    if _ASKED_FORM.search(low) or _NEVER.match(clauses[-1].strip() if clauses else ""):
        return True
    clauses = [clause for clause in clauses if clause.strip()]
    if not clauses:
        return False
    if _CONDITIONAL.match(clauses[0]) and not any(_STEP.match(clause) for clause in [*clauses[1:], last]):
        return True
    if ";" in low and _CONDITIONAL.match(low.rpartition(";")[2]) and not _STEP.match(last):
        return True
    before = clauses[-1].strip()
    if (
        before in _ROLES
        or (_SPEAKER.fullmatch(before) and not _TUTOR.fullmatch(before))
        or _SPEAKS.match(low)
        or before in ("oh sure", "yeah right")
        or (before.startswith("for ") and _ASCRIBED.search(before))
    ):
        return True
    said = [m.span() for m in _SAYING.finditer(before)]
    aside = bool(said) and (said[0][0] == 0 or before[said[-1][1] :] in ("", " so", " that", " this"))
    return (aside or last.startswith(" that ") or before.startswith("according to")) and others_say(before)


# Words that may stand before "answer" and between "I" and "choose". Any other makes it somebody's, or some kind of, answer.
_KINDS = word_set(
    "correct right best most likely probable appropriate accurate suitable plausible reasonable logical consistent "
    "fitting improved final only single overall closest nearest better true proper actual ideal optimal preferred clear obvious "
    "remaining definitive ultimate predicted suggested proposed selected chosen recommended multiple choice question question's "
    "questions exam short letter model standard corrected revised updated new my own and or next strongest safest valid "
    "precise exact complete required simple direct sensible supported relevant medically clinically scientifically "
    "mathematically very certain treatment therapy drug medication antibiotic agent diagnostic diagnosis management imaging "
    "screening empirical surgical medical therapeutic pharmacological resulting answer option good key specific general simplest comprehensive straightforward concise"
)
# "Eliminate this answer", "unlike the answer": not the one that is given.
_NOT_THIS = word_set("of than like near from unlike not never eliminate exclude reject discard dismiss")
# What an answer that takes the place of another is called.
_REVISED = word_set("improved better revised corrected updated")
_LINKS = word_set(
    "so therefore thus hence then consequently accordingly finally overall ultimately and but is that conclude means "
    "now here conclusion summary because since as it's that's here's explanation solution response step output result "
    "assistant ai final yes no ok okay sure well believe think feel"
)
_CHOOSERS = _LINKS | word_set(
    "i we us let me let's would will i'd we'd i'll we'll i'm must should have has to need am are going can you had "
    "forced likely probably definitely still my best it please decide decided correctly confidently "
    "do choose chose having been the answer inclined just simply only ll d m if asked guess"
)
_AT_FIRST = re.compile(r"\W*(?:initially|at first|originally|previously|once)\b")
_WORDS = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")


def is_given(lead: str) -> bool:
    """Is the "answer" that follows this lead one that the response gives ("the correct", "so my final")?"""
    said = _WORDS.findall(_CLAUSE.split(lead.lower())[-1])
    kind = said[-1:]
    while said and said[-1] in _KINDS:
        said.pop()
    if not said or not said[-1].isascii() or (said[-1] in ("a", "an") and _REVISED.issuperset(kind)):
        return True
    if said[-1] in ("the", "our", "this", "that", "these"):
        return len(said) < 2 or said[-2] not in _NOT_THIS
    return said[-1] in _LINKS


def chooses(lead: str) -> bool:
    """Is the choice that follows this lead the response's own ("so I would", "I have to"), and made?"""
    if _AT_FIRST.match(lead.lower()):
        return False
    return _CHOOSERS.issuperset(_WORDS.findall(_CLAUSE.split(lead.lower())[-1]))


# --- after: how it goes on --------------------------------------------------------------------------------------------

_CLOSERS = " \t\n)]}\"'>»」》】"
_GOES_ON = word_set(
    "because since as for due which while whereas with where though although even despite but and or not rather instead "
    "over from in on by of per after considering thanks according owing so hence therefore thus here indeed only alone "
    "again now i we option choice explanation reason reasoning it to through plus also based given at definitely "
    "obviously clearly certainly then"
)
_CONDITION = re.compile(r"(?:only )?(?:if|unless|until|provided|when|whenever)\b", re.I)
# What a letter may be said to be.
RIGHT = (
    r"(?:(?:fits|matches|explains|satisfies|meets|agrees with|accounts for)\b|"
    r"(?:is|are|would be|must be|should be|will be|seems|appears|remains)\b\s*"
    r"(?:(?:to be|therefore|thus|also|clearly|indeed|probably|hence|then|definitely|certainly|by far|the|a|an|our|my|very|"
    r"single)\s+)*(?:correct|right|best|better(?! than [A-Za-z]\b)|(?:most|more) (?!popular|common|tempting)|likely|answer|"
    r"consistent|closest|only|one (?:that|which|[iI]|we)|true|accurate|appropriate|supported|favou?red|preferred|indicated|"
    r"characteristic|typical|diagnostic|suggested|what (?:(?:[iI]|we) (?:would|choose|pick|think|believe|conclude|are)|the)\b))"
)
_RIGHT = re.compile(RIGHT)
_FINITE = re.compile(
    r"(?:is|was|are|were|would|could|might|may|can|will|should|must|has|had|have|used|seems|appears|remains|said|says|describes|refers|stands|mentions|means)\b"
)
_UNDONE = re.compile(
    r"[\s)\]\"'.,;!*–—-]*(?:(?:but|or|and|well|actually|however|no|yet|wait|hmm|oops)[\s,.]+)*"
    r"(?:(?:that|this|which|it)(?: answer| choice)?(?:'s| is| was|)(?: (?:definitely|clearly|obviously|certainly|a|an|the))*"
    r"(?:(?: not|n't)(?: (?:right|correct|true|it|so|really|the case|(?:the|my) answer))?\s*(?:[.,;!]|$)| (?:wrong|false|incorrect|untrue|lie|joke|mistake|trap|trick|nonsense)\b)"
    r"|(?:just |only )?(?:kidding|joking)\b|not really\b|not\s*[.!]|not\s*$|i(?:'m| am| was)? (?:lied|lying|joking|kidding|wrong|take (?:it|that) back|made (?:it|that) up|doubt (?:it|that)|don't (?:think|believe) so)\b"
    r"|said no one\b|(?:ha ?ha|lol)\b|(?:i |let me )?(?:retract|withdraw|take (?:it|that|this) back|scratch that|forget (?:it|that|what)|disregard|ignore that)\b)"
)
# Signs of a review; the first of a line speaks of what follows it.
RIGHT_SIGNS = "✅✔✓☑√🟢👍"
WRONG_SIGNS = "❌✗✘✖✕×🚫🔴👎"
# A verdict on what stands before it: "B (wrong)", "B: no", "B ✗".
_VERDICT = re.compile(
    rf"[^\S\n]*[)\]\"',:=(\[–—-]*[^\S\n]*(?!×)[{WRONG_SIGNS}]|"
    r"[\s)\]\"',:=(\[–—-]*(?:(?:wrong|incorrect|false|untrue|excluded|eliminated|ruled out|dismissed|rejected|improbable|doubtful)\b|"
    r"no\s*(?:[.,;)\]!]|$)|(?:is|are) (?:only (?:correct|right|true)|(?:correct|right|true) (?:only|except|if|unless))\b)"
)
_SAYS_AFTER = re.compile(
    r"[\s)\].,\"'*–—(:;-]*(?:at least[,]? )?(?:or )?(?:"
    r"(?:that's|(?:(?:that|this|it|so) )?(?:is|was|would be)) (?:what|how) (?!i\b|we\b)(?P<what>[^.!?\n]{0,80})|so (?!i\b|we\b)(?P<so>[^.,;!?\n]{{2,40}}))"
)
_ASIDE = re.compile(r"[)\]]?(?:[\"']?\s*(?P<comma>[,(–—-]+)|\.[\"'])[\s\"']*(?:as )?(?P<aside>[^.;!?\n()]{3,80})")
_VERB_FIRST = re.compile(rf"(?:{_SAY}|[a-z]+ed) (?:(?:the|an?|my|your|his|her|their|some|no|many|most)\b|[a-z]+ *$)")
_REASONS = (
    "because",
    "since",
    "given",
    "but",
    "while",
    "whereas",
    "not",
    "so ",
    "and ",
    "rather",
    "which",
    "due",
    "based",
)
_ZH_AFTER = re.compile(
    rf"[\s)\]】」》\"'选项]*(?:\??\s*[吗么]|[,\s]*(?:才怪|就怪)|的(?:格式|形式|样式|字样|人|同学|学生|考生|说法|观点|看法|想法)|(?:是|为)(?:一种|一个)?(?:大?多数|很多|许多|不少|常见|错|{_REN})|"
    rf"[,(—-]+\s*(?:{_REN}[^。;]{{0,8}}?(?:说|讲|认为|觉得|以为|想)|[据听]说)|[。,;!\s]+(?:哦|啊|等等)?,?\s*(?:不对|我?[收撤]回|算了|错了)|"
    r"[,。;\s]*(?:但是?|不过|然而|可是?)[^。;,A-Z]{0,8}?(?:答案|它|这个?|其)[^。;,A-Z]{0,4}(?:有误|错|不对|不正确|有问题))"
)


def doubted(tail: str) -> bool:
    """Is the answer before this tail asked, ascribed to others or taken back ("?", ", said the fool", "Just kidding.")?"""
    head = tail[:140].lower()
    closed = head.lstrip(_CLOSERS)
    if not closed.strip(".。"):
        return False
    if (
        closed[0] == "?"
        or _UNDONE.match(head)
        or _VERDICT.match(head)
        or (not head.isascii() and _ZH_AFTER.match(head))
    ):
        return True
    if said := _SAYS_AFTER.match(head):
        return bool(said["so"] or others_say(said["what"]) or _SAYING.search(said["what"]))
    if aside := _ASIDE.match(head):
        words = aside["aside"]
        if not words.startswith(_REASONS) or head.lstrip(" ,").startswith("as "):
            return (
                others_say(words)
                or ("(" not in (aside["comma"] or "") and bool(_VERB_FIRST.match(words)))  # "CT (computed tomography)"
                or (bool(aside["comma"]) and words.startswith(("if ", "unless ", "until ", "when ")))
            )
    return bool(_ASCRIBED.match(closed) or _VERB_FIRST.match(closed))


def goes_on(tail: str, own: str, *, loose: bool = False) -> bool:
    """Does a letter stand before this tail as an answer does: at its end, before a reason, or the option's `own` text?

    `loose`, after a mark ("Answer: B"): other words may follow, as long as they are no predicate that says otherwise.
    """
    closed = tail.lstrip(_CLOSERS)
    word = _WORDS.match(closed)
    if (
        not word
        or "\n" in tail[: len(tail) - len(closed)]
        or not word[0].isascii()
        or (own and closed.startswith(own.rstrip(".")))
    ):
        return True
    low = word[0].lower()
    if _CONDITION.match(closed):
        return False
    if low in _GOES_ON:
        return True
    if _FINITE.match(closed):
        return loose and bool(_RIGHT.match(closed))
    return loose or word[0][0].isupper() or low in own.lower()
