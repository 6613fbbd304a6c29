"""The wording of answers: what opens, joins, denies, explains or corrects a short phrase, in English and Chinese.

Patterns only, for `choices`. None repeats a group that can match the same text in two ways, so none backtracks over
long runs. Some begin with a character and then look back from it: a search skips all other characters quickly.
"""

from __future__ import annotations

import re
from functools import lru_cache

from curator.answers.hearsay import (
    BREAK,
    LEADING,
    RIGHT_SIGNS,
    WRONG_SIGNS,
    Worded,
    doubted,
    reported,
    split_letters,
    word_set,
)

# Words that say too little to be searched for inside a sentence; alone they still match exactly.
WEAK = {"all", "none", "both", "some", "any", "it", "this", "that", "not", "is", "are", "be", "or"}
WEAK |= {"yes", "no", "maybe", "true", "false", "other", "always", "never", "correct", "incorrect"}
ARTICLE = re.compile(r"^\s*(?:A\s+(?=[a-z])|both\b|only\b)", re.A)
BRACKET = re.compile(r"\s*\([^()]*\)")
BOTH = re.compile(r"^\s*(?:both|only)\b", re.I)
SAYS = re.compile(
    r"(?:(?:it is|it's|is|this is|that is|would be|namely|i\.e\.|i (?:think|believe|choose|pick|guess|would say)|i'd say|probably|"
    r"likely|most likely|definitely|clearly|certainly|therefore|thus|hence|so)\b[\s,:]*|:\s*)+",
    re.I,
)

# Yes, no, maybe in the words of PubMedQA, VQA sets and their Chinese kin.
POLAR = {
    "yes": "yes", "true": "yes", "correct": "yes", "是": "yes", "是的": "yes", "是 的": "yes", "对": "yes",
    "有": "yes", "正 确": "yes", "no": "no", "false": "no", "incorrect": "no", "否": "no",
    "不是": "no", "没有": "no", "不对": "no", "不 是": "no", "没 有": "no", "无": "no", "不 对": "no",
    "错 误": "no", "错": "no", "正确": "yes", "正确的": "yes", "对的": "yes", "错误": "no", "错误的": "no", "错的": "no",
    "不正确": "no", "不正确的": "no", "不对的": "no",
    "maybe": "maybe", "uncertain": "maybe", "unclear": "maybe", "可 能": "maybe", "不 确 定": "maybe",
}  # fmt: skip

# "No image was given": a "no" beside a noun says nothing; these words begin a clause of their own.
OPENS_POLAR = re.compile(
    r"[\s\"'(]*(?:(yes|no|maybe|true|false)\b(?!\s*(?:(?:or|and)\b|[/?])|(?<=no)\.?\s?\d|(?<=maybe),?\s(?:maybe\s)?not\b)"
    r"(?!(?<=no)[ \t]+(?!(?:because|since|as|the|it|its|they|there|this|that|these|those|he|she|we|i|you|an?|in|for|not|but|while|"
    r"although|according|based|due|given|both|only|however|so|if|when)\b|(?-i:(?<=no )[A-Z][a-z]{2}))[a-z])|(是的?|否|不是|没有|不?对的?|错误?的?|不?正确的?)(?=[,.:;!。\s]|$))",
    re.I,
)
# "Yes, that's a great question!"
_POLITE = (
    r"(?:(?:that's|that is|this is) an? (?:[\w-]+ ){0,3}(?:question|image|picture|case)\b|(?:great|good|interesting|excellent) question\b|"
    r"let me (?:look|see|check|think|examine)\b|but the question\b|this (?:topic|subject|question) )"
)
# A "yes" that offers help, a "maybe" that asks for the image.
ASKS_BACK = re.compile(
    r"\b(?:please|could you|can you|would you|kindly)\s+(?:\w+\s+){0,2}?(?:share|provide|upload|send|attach|paste|give|include|supply|"
    r"post|add|show|describe|clarify)\b|\bi(?:'d|'ll|'m| can| will| would| am) (?:be )?(?:happy|glad|help|assist|try|pleased)\b|\bmaybe (?:later|(?:next|another|some other) time)\b|^\W*(?:yes|no)[,.]? (?:please\W*$|thanks\b|thank you\b|go ahead\b|sure\b|sorry\b|"
    r"i (?:am unable|(?:can ?not|can't|could not|couldn't) (?:answer|determine|help|tell|say|assess|provide|(?:see|view|access|open) (?:the|your|any|this) (?:image|picture|figure|photo|file|attachment|scan|x-ray|abstract)))|"
    r"i can (?:see|view|read) (?:the|your|this)|it (?:isn't|is not) possible to (?:say|tell|answer|determine|know))|"
    rf"^\W*(?:yes|no|true|false)[,!]? (?:(?:only )?(?:if|unless|in (?:some|certain)|sometimes|depending)\b|of course\b|i (?:do not |don't )?understand\b|{_POLITE})|"
    r"^\W*(?:yes|no|true|false) for\b|\bi need (?:the|an?|more|your)\b|\bif you (?:\w+ )?(?:provide|share|send|upload|attach|give|paste)\b|"
    r"\bmaybe\s+(?:you|we|i|try|if you|send|upload|share|the (?:image|figure|picture|photo|abstract|context|attachment|file|link|text)s?)\b|"
    r"请[您你]?(?:先|再)?(?:上传|提供|发送|发|给出|附上|补充)",
    re.I,
)

# A letter that opens a phrase: "B", "(B)", "B.", "option B:", "[B]", "选项B", "B项".
LETTER = re.compile(
    rf"[\s\"'({{\[<《「【:=>→⇒{RIGHT_SIGNS}-]*"
    r"(?:(?i:the)\s+)?(?:(?i:answers?|option|choice|letter|item|statement)\s*"
    r"(?i:is|choice|option|letter|:)?\s*|选项|选择|选|答案(?:是|为|选)?\s*:?\s*)?"
    r"[\s\"'({\[<「【:]*(?P<letter>[A-Za-z])(?P<close>[\s]*[)}\]>.:,;、。」》】=]|[\"'](?!\w)|\s*[-–—]\s|(?![A-Za-z0-9_À-ɏ'-]))"
)
NAMED = re.compile(r"[\s\"'({\[<]*(?:the\s+)?(?:option|choice|letter|选项|答案)", re.I)
# "A small bulb", "I think": a capital that is a word. Letters before these words are labels.
AFTER_A = re.compile(
    r"\s+(?:is|was|because|as|since|for|and|or|but|by|due|which|with|that|not|rather|given|based|"
    r"from|would|to|if|in|on|at|are|who|also|seems|appears|best|correct|being|so|the|it|per|instead|over|only|alone|then|unless|else|otherwise|when)\b"
)
AFTER_I = re.compile(
    r"'|\s+(?!(?:is|was|because|as|since|for|and|or|but|by|due|which|given|based|not|rather|instead|over|seems|appears|with|only)\b)[a-z]"
)
COMPOUND = re.compile(
    r"\s+(?:cells?|lymphocytes?|coli|difficile|dimers?|peptides?|waves?|fibers?|fibres?|virus|"
    r"antigens?|antibod\w+|section|sections|type|chromosome|linked|bacilli|pylori)\b",
    re.I,
)
# "B/c", "E&OE": no label.
ABBREVIATED = re.compile(r"/[csw]\b|&[A-Z]")
# What continues a list after its first letter or text.
AND = re.compile(
    r"(?:[)\]]?\s?(?:\([^()]{0,20}\)|[:=]?\s?\d{1,3}\s?%))?[\s)\]}\"'.]*(?:(?:,|;|/|&|\+|=|、|\||-|~|to\b|through\b|and(?:/or)?\b|or\b|also\b|as well as\b|"
    r"plus\b|with\b|和|或者?|与|及|以及|还有)\s*)+(?:(?:either|also|maybe|possibly|perhaps|both|even|"
    r"and|or|options?|choices?|answers?|选项?)\s*)*[\s\"'({\[]*(?P<letter>[A-Z])(?![A-Za-z0-9_À-ɏ']|-\w)"
)
# "A for children and B for adults".
EACH_FOR = re.compile(
    r"[)\]]?\s+(for|in|on|with|when|at|by)\b[^.;]{1,50}?(?:,|\band\b|\bor\b|\bbut\b)\s*[(\[]?([A-Z])[)\]]?\s+\1\b"
)
# "Options A, B and C are incorrect": the predicate of a list denies all of it.
LIST_DENIED = re.compile(
    r"(?:[\s)\]]*(?:,|/|&|and\b|or\b|、|和|与|及)+\s*(?:and\s+|or\s+)?[(\[]?[A-Z](?![A-Za-z0-9_']))+[)\]\s,]*"
    r"(?:(?:are|were|can|could|should|do)\s*(?:all |both |also |therefore |thus |be |clearly |much |more )*"
    r"(?:not\b|n't\b|incorrect|wrong|false|unlikely|excluded|ruled|eliminated|less|never|inappropriate)|"
    r"选?项?(?:均|都|皆)?(?:不|错))"
)
# "B, A is for adults": a comma and a verb begin another sentence.
NEW_CLAUSE = re.compile(
    r"[\s)\]]*\s(?:is|was|would|can|has|does|causes|refers|describes|shows)\b(?!\s+(?:also|correct|right|true|possible))"
)
# Words that may stand between the letters of a list and add nothing.
JOINS = word_set(
    "and or both either also to through plus maybe possibly perhaps is are of option options choice choices answer answers "
    "all one any among between then first 和 或 与 及 者 以 选 项 答 案 都 是"
)
RANGE = re.compile(r"\d\s?%?\s?(?:[-–—~]|to)\s?$")
# Phrases in which the word of an option is none, by that word: "All right, …", "left unanswered", "normal to feel".
IDIOMS = {
    "right": r"\ball right(?=\s*(?:[,.!;:]|$)| (?:let|so|then|now|i|we)\b)|\bright[,.!]? (?:so|now|then|let(?:'s| me| us))\b|\bthat(?:'s| is) right(?=\s*(?:[,.!;]|$))|"
    r"\b(?:get|got|getting|do) (?:this|that|it) right\b|\bright (?=(?:answer|approach|choice|option|way|question|thing|word|image|file|away)\b)",
    "left": r"\bleft (?:unanswered|blank|out|open|unclear|alone|behind|to (?:you|the reader))\b|\b(?:he|she|they|patient) left (?:the|for|his|her)\b",
    "normal": r"\b(?:it is|it's) (?:perfectly |quite |only )?normal (?:to|for)\b",
}
# What a number says of the answer, not what it answers.
SURE = (
    r"\b(?:confidence|certainty|probability of being (?:correct|right))(?: (?:level|score))?(?: is)?\s?[:=]?\s?\d[\d./]{0,8}\s?%?|"
    r"\b(?:i am|i'm) (?:about |roughly )?\d[\d./]{0,8}\s?%? (?:sure|confident|certain)\b|"
    r"^[ \t]*(?:question|page|slice|step) \d{1,4}(?:/\d{1,4}| of \d{1,4})?[.:]?[ \t]*$"
)
# "A (blood group AB)": what stands in brackets beside a letter.
ASIDE = re.compile(r"[)\]\s]{0,3}\(([^()\n]{1,80})\)")
# "A, because of the ptosis. B, because of …": each letter with a reason of its own.
ALSO_BECAUSE = re.compile(r"(?:[.;\n]\s{0,3}|\band )[(\[]?([A-Z])[)\]]?,? (?:because|since|due to)\b")
# "Stage II-III", "Stage III or above", "at least 4": a range or a bound.
BOUND_BEFORE = re.compile(r"\b(?:at (?:least|most)|up to|(?:more|less|fewer|greater|higher|lower) than)\s+$", re.I)
BOUND_AFTER = re.compile(
    r"\s?(?:or|and) (?:above|more|higher|greater|over|below|less|lower|fewer|later|earlier|beyond|older|younger|worse)\b|"
    r"\s?[-–/]\s?(?:[IVX]{1,4}\b|\d)|\sto (?:[IVX]{2,4}\b|[VX]\b|\d)|"
    r"(?:(?<=[a-z] [IVX])|(?<=[a-z] [IVX]{2})|(?<=[a-z] [IVX]{3}))\sor [IVX]{1,4}\b"
)
# "A: I'm sorry, …": the answer declines.
DECLINES = re.compile(
    r"\W*(?:i(?:'m| am) (?:sorry|afraid|unable|not (?:able|sure))|i (?:cannot|can't|do not know|don't know)|sorry\b|unable to|"
    r"(?:the|this) [\w ]{1,30} (?:is|was) not (?:given|provided|stated|clear|shown))",
    re.I,
)
# "Either A) a cyst or B) an abscess".
EITHER = re.compile(r"\W*either\b[^.;\n]*?\b(?:or|and)\b[^.;,\n]{0,20}", re.I)
# "1. Metformin: …": the number of an item, and what ends its head.
ITEM = re.compile(r"^\d{1,2}[.)]\s*")
AFTER_HEAD = re.compile(rf"\s*(?:[:|({RIGHT_SIGNS}{WRONG_SIGNS}]|[-–—]\s|$)")
# "Statements I, II and III", "1 and 3 only": what options that combine statements are made of.
_NUMERAL = r"(?:VI{1,3}|I[VX]|I{1,3}|V|X|[1-9])"
NUMERAL = re.compile(_NUMERAL)
COMBINED = re.compile(
    rf"(?P<lead>\b(?:(?:[Ss]tatements?|[Ii]tems?|[Oo]nly|[Bb]oth|just|all of)\s+)*)\(?(?<![\w.-])(?P<run>{_NUMERAL}\)?"
    rf"(?:\s{{0,2}}(?:,\s{{0,2}}and\b|and\b|[,&、和及与/+])\s{{0,2}}\(?{_NUMERAL}\)?)*)(?![\w%])"
    r"(?P<only>\s+(?:only|alone)\b(?! (?:have|had|see|saw|know|can|could|need|want|think|get|got|read|look)\b))?"
)
# Numbers in words, in what `words` makes of a text.
_COUNTS = {
    "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
    "ten": "10", "eleven": "11", "twelve": "12",
    "两": "2", "二": "2", "三": "3", "四": "4", "五": "5", "六": "6", "七": "7", "八": "8", "九": "9",
}  # fmt: skip
COUNTED = re.compile(
    rf"(?<= )(?:{'|'.join(word for word in _COUNTS if word.isascii() and word != 'one')}|one(?= (?:second|minute|hour|day|week|month|year|dose|time)s? )"
    r"|(?<!十 )[两二三四五六七八九](?= [个天周年月次岁种小分] ))(?= )"
)


# Units after a number, by the beginning that their spellings share ("5 min", "5 mins", "5 minutes").
_UNITS = {
    "min": "minutes?|mins?", "sec": "seconds?|secs?", "h": "hours?|hrs?|h", "wk": "weeks?|wks?", "mo": "months?|mos?",
    "yr": "years?|yrs?", "mg": "milligrams?|mg", "mcg": "micrograms?|mcg|μg", "kg": "kilograms?|kgs?", "g": "grams?|g",
    "ml": "millilit(?:er|re)s?|ml", "l": "lit(?:er|re)s?|l", "%": "percent|%",
}  # fmt: skip
_UNIT = re.compile(r"(?<=\d )(?:" + "|".join(f"({spelt})" for spelt in _UNITS.values()) + r")(?= )")
_SHORT = list(_UNITS)


def counts(said: str) -> str:
    """Words of number as digits, units in short: " six months " as " 6 mo "."""
    return _UNIT.sub(lambda m: _SHORT[(m.lastindex or 1) - 1], COUNTED.sub(lambda m: _COUNTS[m[0]], said))


# Names that end in a letter: "vitamin C", "panel B".
NAMES = re.compile(
    r"(?:vitamin|hepatitis|group|type|class|stage|grade|factor|protein|influenza|figure|panel|graph|image|point|region|"
    r"structure|distribution|apolipoprotein|toxin|immunoglobulin|cyclosporin|amphotericin|polymyxin|strain|arrow)s?\s*$",
    re.I,
)
BOX = re.compile(r"\\?boxed\s*\{(.*)\}", re.S)
# Words that bring a second answer ("or", "wait, maybe", "backup answer:", "failing that", 等等,又好像是), and its letter.
_SECOND = (
    r"(?:(?:my |the |an? )?(?:alternative|back-?up|fallback|second|other|another)(?: (?:best|possible|likely))? (?:answer|choice|option|guess)|"
    r"alternative|back-?up|fallback)(?= ?[:=]| (?:is|would be) | [(\[]?[a-z]\b)"
)
_PERHAPS = r"(?:it |this |that |the answer )?(?:could|might|may)(?: also| well| instead)? be|maybe|perhaps|possibly|alternatively"
AND_ALSO = re.compile(
    r"(?:[.!?;\n(]\s{0,4}(?:(?:but|and|wait|hmm+|hold on|actually|oh|well|no)[\s,.!]+)?"
    rf"(?:also|and|or|plus|{_PERHAPS}|{_SECOND})\b(?: (?:is|would be))?|"
    r"[,;]备选(?:答案)?(?:是|为)?|[.!?;\n。]\s{0,4}(?:(?:等等|等一下|不过|但是?|嗯),?)?(?:(?:又|也|还)?(?:好像|似乎|可能|也许|或许)(?:应该)?是?|(?:备选|另一个?|第二个?|其他)答案(?:是|为)?|或者?是?)|"
    r"\b(?:failing that|in which case|if not(?: [A-Z]\b)?|otherwise|else|unless|if (?:that|this|it)(?: is|'s) (?:wrong|incorrect|not))\b)[\s,:]*(?:then\s+)?"
    r"(?:(?:it |this )?(?:could|might|may|should) be |it is |it's |maybe |option |choice |the answer is )?[(\[]?(?-i:(?P<letter>[A-Z]))(?![A-Za-z0-9'])",
    re.I,
)
BECAUSE = re.compile(
    r"\b(?:because|since|as|due|which|while|whereas|although|though|unlike|given|so|rather|"
    r"instead|not|than|who|where|when|making|based|compared)\b|"
    r"(?:^|(?<=[.;,\n] ))(?:[Tt]he )?(?:[Ii]ncorrect|[Ww]rong|[Ff]alse)\b(?: \w+)?:|因为|由于|而不|而非|不是"
)
# After these words an answer is in doubt; a marked letter that follows them is another answer.
WAIT = re.compile(
    r"\b(?:wait|scratch that|oops|correction|on second thou?ghts?|let me correct|i was wrong|no,)\b|更正|纠正|等等|不对",
    re.I,
)
AGAIN = re.compile(WAIT.pattern + r"|\b(?:no|actually),", re.I)
ELSE = re.compile(r"\b(?:also|could|might|maybe|perhaps|possibly|alternatively|equally|either|or)\b|也")
OR_ELSE = re.compile(
    r"[\s)\].,(\"']*\bor\s+(?:which\w*|the (?:key|correct|right)|whatever|something|anything|another|else|not|any|some|the other|one of)\b",
    re.I,
)
PERHAPS = re.compile(r"\b(?:maybe|perhaps|possibly|alternatively)[\s,]*[(\[]?([A-Z])(?![A-Za-z0-9_']|\s[a-z])")
# "B is also correct": a second answer, whatever the first was.
ALSO = ("also", "equally", "just as", "so is", "as is", " more ", "better", "也")
ALSO_RIGHT = re.compile(
    r"(?<![A-Za-z0-9_'])[(\[]?([A-Z])[)\]]?\s+(?:(?:is|are|would|could|may|might|can)(?: be)?\s+"
    r"(?:also|equally|just as(?: well)?|(?:even )?more)\s+(?:be\s+)?(?:the\s+|a\s+|an\s+)?(?:correct|right|accept\w+|valid|answer|good|considered|argued|chosen|fit|work)\b|"
    r"(?:is|would be) "
    r"(?:even |an? (?:even )?)?better(?: (?:answer|choice|option))?(?=\s*[.!]|\s*$))|\b(?:so|as) (?:is|are) ([A-Z])\b|([A-Z])(?:选?项)?也(?:是)?(?:正确|对)"
)
ANY_LETTER = re.compile(r"(?<![A-Za-z0-9_À-ɏ'-])[(\[]?([A-Z])(?![A-Za-z0-9_À-ɏ']|-\w)")
NEGATED = re.compile(
    rf"\s*(?:[!¬]|(?!×)[{WRONG_SIGNS}])|"
    r"\s*(?:is|are|be|was|it's|it is)?\s*(?:definitely |certainly |clearly |probably |obviously )?"
    r"(?:not\b|n't\b|never\b|neither\b|nor\b|none of\b|anything but\b|no longer\b|unlikely\b|不是|不选|不为|"
    r"并非|非\b|除了|except\b|excluding\b|other than\b|wrong\b|incorrect\b)",
    re.I,
)
# "History of pneumonia": the option is not what the sentence is about.
TOPIC = re.compile(
    r"\b(?:history|(?<!greatest )(?<!highest )risks?|risk factors?|treatment|management|complications?|prevention) (?:of|for)(?: an?| the)? $"
)
BUT = re.compile(r"\b(?:but|rather|instead|however)\b[\s,:]*(?:it is|it's|is|rather|instead)?|而是|应为|应选|而应")
BESIDE = re.compile(r"[\s,]*(?:[(\[](?:option |choice |选项)?|, (?:option|choice) )([A-Z])(?![A-Za-z0-9'])")
BEFORE_NOT = re.compile(
    r"\b(?:used to|unless|even if|whether|wonder|not|no|never|neither|nor|without|cannot|doubt|second[- ](?:best|most)|false that|refus(?:e|ed|ing)|unlike|except|excluding|excludes?|excluded|"
    r"rather than|instead of|other than|less likely than|as opposed to|than|rules? out|"
    r"ruling out|ruled out|(?:can|we|i|and|then|also) eliminate|eliminat(?:ed|ing)|unlikely|against|"
    r"incorrect|wrong|absence of|absent)\b|n't\b|\bover(?: the| option| choice)?[ (\[]*$|"
    r"不是|不属于|[别勿]选|别$|勿$|并非|排除|没有|而非|不选|不|无|非"
)
_NO_PART = r"no (?:\w+ )?(?:role|part|place|purpose|use|effect|benefit|sense|value|indication|bearing)"
AFTER_NOT = re.compile(
    r"[)\]]?,?\s(?:which|that) (?:i|we) (?:had )?(?:initially|first|originally|previously)\b|"
    r"[\s)\]}\"',]*(?:\([A-Z]\)\s*)?(?:(?!(?:al)?though\b|but\b|while\b|whereas\b|because\b|since\b|as\b)[\w-]+\s+){0,2}?(?:(?:is|are|was|were|would be|would|can be|can|"
    r"could be|could|may be|may|has been|have been|seems|does|do|did|should|will|has|have)\s*"
    r"(?:\w+ly |also |therefore |thus |much |most |more |all |both |be )*"
    r"(?:(?:the |an? )(?:wrong|incorrect) (?:answer|option|choice)|not|n't|unlikely|less|incorrect|wrong|false|excluded|ruled|never|eliminated|inappropriate|"
    r"contraindicated|unrelated|irrelevant|least|improbable|doubtful|dismissed|discarded|rejected|useless|ineffective|unnecessary|a distractor|"
    rf"of no (?:use|benefit|help|value)|{_NO_PART})\b|(?:isn|aren|doesn|don|wasn|can|won|couldn|wouldn)'?t\b|"
    rf"(?:plays?|makes?|serves?) {_NO_PART}\b|[-–—:]?\s?(?:[Ww]e|[Ii]) (?:can |may |should |must |would )?(?:eliminate|exclude|reject|discard|rule out|dismiss)\b|"
    r"cannot\b|(?:选?项)?(?:显然|明显|肯定|当然|其实|似乎|可能|可以?|应该?|应当|是|就|也|都|均|并){0,3}(?:不(?!过)|错|排除|无关)|"
    r"(?:也许|或许|可能|大概|未必|看似|貌似|看起来|似乎)(?:是|为)?(?:对|正确)|是(?:干扰|陷阱|错|常见)|"
    r"(?:은|는|이|가)? ?(?:정?답이 )?(?:아니|아닌|아닙|틀[리렸린립])|(?:で)?は(?:ない|ありません)|じゃない)"
)
# Questions that ask for the exception: "the statement that is not true is X", "all are true except X".
SINGLED_OUT = re.compile(
    r"(?:\b(?:that|which|who)\s+(?:is|are|was|were|does|do|did|would|can|will)(?:n't| not| never| least)\b[^,;]*\b"
    r"|\b(?:incorrect|wrong|false|untrue|inaccurate|not (?:true|correct))\s+(?:statement|pair|match|fact|combination|one)\b"
    r"[^,;]*\b)(?:is|are|was|would be)\s*(?:that\b|:|option\b|choice\b|statement\b|the\b|an?\b|[\s\"'(])*$"
    r"|(?:不属于|不是|不包括|不符合|错误|不正确|不对|有误)[^,。;]{0,20}的(?:一项|选项|说法|叙述)?(?:是|为)[:\s\"'(]*$"
    r"|\ball\b[^,;]*\b(?:except|other than|but)\s*(?:for\b|option\b|choice\b|statement\b|the\b|[\s\"'(:])*$"
)
# "Between A and D, D": a question that the rest may answer.
BETWEEN = re.compile(
    r"^[^.;,?]{0,60}\b(?:[Bb]etween|[Oo]f)\s+(?:options?\s+)?[(\[]?[A-Z][)\]]?\s+(?:and|or)\s+(?:option\s+)?[(\[]?[A-Z][)\]]?\s*[.;,:]"
)
SENTENCE = re.compile(r"[.!?。;；\n](?:(?<!\.)|(?<![\s(.][A-Za-z].)(?<!^[A-Za-z].)(?<!\..)(?=[\s\"')\]]|$))")
STOPS = re.compile(r"[.;:!?\n。；→]|[-=]>")
CONTRAST = re.compile(r"\bbut\b|\bhowever\b|而是")
COMMA = re.compile(r",(?!\s*(?:or|nor|and)\b)")
ONE_NUMBER = re.compile(r"\D{0,3}?([-+]?\d+(?:,\d{3})*(?:\.\d+)?)\s*([^\d\s.][^\d]{0,18})?\.?", re.A)


# "Select the best answer: A" repeats the prompt; it says nothing. In lower case.
PROMPTS = Worded(
    "select choose pick provide give state identify indicate write enter mark find circle output report return submit name "
    "tick 请",
    r"(?:^|[.!?:\n])[ \t\"'(]{0,9}(?:(?:please|now|then|and|you (?:must|should))\s+)*"
    r"(?:select|choose|pick|provide|give|state|identify|indicate|write|enter|mark|find|circle|output|report|return|submit|name|tick)\s+"
    r"(?:only\s+|just\s+)?(?:the|your|one|a|an|which)\b[^.!?:\n]{0,60}\b(?:answer|option|choice|letter|response|statement|one)s?\b[^.!?:\n]{0,60}:?\s*$"
    r"|请[^。,\n]{0,30}$",
)
# "A patient with pneumonia": whom or what the option belongs to, not the option.
DESCRIBED = re.compile(
    r"[\s\"'(]*(?:(?:An?|The|This)\s+(?:(?!(?:is|was|are|has|had|shows?|presents|most|best)\b)[\w-]+\s+){1,4}?(?:with|who|having|suffering)\b"
    r"|An?\s+(?:(?!(?:is|was|are|has|had|shows?|presents|most|best)\b)[\w-]+\s+){1,4}?of\b)",
    re.I,
)
# A question, a look at an option, a search: no claim that it is the answer.
LOOKS = re.compile(
    r"\?\s*$|^\W*(?:let(?:'s| us)|what|consider|possible|next|now|then|(?:the )?differential|(?:we )?(?:start|begin) with|moving on|(?:first )?look at|"
    r"action(?: input)?:(?! ?finish)|query:|search:|observation:)(?!\w)(?! diagnosis is)|"
    r"\b(?:query|search|input|q)\"?\s?[:=(\[]|\b(?:might|may|could)\b.*\bcannot be (?:excluded|ruled out)\b|\bor (?:an? )?(?:mixed|combined|other|another|different)\b|"
    r"\bsee (?:the )?[\w ]{1,40} below\b|^\W*i have (?:been|worked)\b|\byears of (?:experience|research|practice)\b|"
    r"\b(?:all|none|both) of the above (?:information|text|data|factors|options|choices|statements)\b(?! (?:are|is) (?:correct|true|right|valid))",
    re.I,
)
# "The left side is clear."
NORMAL = re.compile(
    r"\b(?:is|are|appears?|looks?|remains?) (?:\w+ly )?(?:clear|(?:of )?normal(?: (?:in|size|for)\b[\w ,]*)?|unremarkable|intact|spared|sharp|uninvolved|unaffected|"
    r"preserved|fine|within normal limits|homogeneous|well (?:visuali[sz]ed|distended|seen)|free of [\w ]+)\W*$",
    re.I,
)
# "Vitamins: A, D, E, K".
LETTERS_LISTED = re.compile(r"\b[A-Z][A-Z\d]?, ?[A-Z][A-Z\d]?,? (?:and |or )?[A-Z][A-Z\d]?\b")


def asks_back(sentence: str) -> bool:
    """Does the sentence ask for something ("Please upload the MRI.", "I need the CT")?"""
    low = sentence.lower()
    return any(word in low for word in ("please", " you", "need", "请")) and bool(ASKS_BACK.search(sentence))


def first_sentence(phrase: str) -> str:
    """The first sentence of a phrase, not ended by the dot of "B." or of a number."""
    phrase = phrase.lstrip()
    end = SENTENCE.search(phrase)
    return phrase[: end.start()] if end else phrase


# Every match of `TOPIC` and of `BEFORE_NOT` holds one of these, and so does whatever is reported.
_DENYING = LEADING | word_set(
    "even history risk risks treatment management complication complications prevention used unless whether wonder neither nor "
    "without second refuse refused refusing unlike except excluding exclude excludes excluded rather instead over other less as "
    "than rule rules ruling ruled eliminate eliminated eliminating against absence absent 不 别 勿 并 排 没 而 无 非"
)


def is_negated(text: str, start: int, end: int) -> bool:
    """Is what stands at text[start:end] denied, by its own clause before it or by the verb after it, or others' word?"""
    return _is_negated(text[max(0, start - 60) : start], text[end : end + 140])


@lru_cache(maxsize=1024)  # a text that repeats itself without end asks the same again and again
def _is_negated(lead: str, tail: str) -> bool:
    if AFTER_NOT.match(tail[:60].lower()) or doubted(tail):
        return True
    lead = lead.lower()
    if _DENYING.isdisjoint(split_letters(lead)):
        return False
    clause = CONTRAST.split(STOPS.split(lead)[-1])[-1]
    clause = COMMA.split(clause)[-1] if "," in clause else clause
    if TOPIC.search(clause):
        return True
    if BEFORE_NOT.search(clause):
        return not SINGLED_OUT.search(clause)
    return reported(BREAK.split(lead)[-1])
