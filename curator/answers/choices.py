"""The options of one question, and how a short phrase names one of them.

A phrase names an option by letter ("B", "(b)", "option B."), by letter and text, by text alone, by
number, or by yes / no / maybe. It names none when it negates, lists several, contradicts itself
(a letter beside another option's text) or gives a letter that is not there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from curator.answers import wording
from curator.answers.hearsay import doubted, goes_on
from curator.answers.prompt import labels
from curator.answers.text import formula, plain, singular, spans, split_words, words
from curator.answers.wording import first_sentence, is_negated


class Reading(NamedTuple):
    """What a phrase says: a label, or None and why ("none": it says nothing about the options)."""

    label: str | None
    why: str | None = None


NOTHING = Reading(None, "none")
SEVERAL = Reading(None, "several")
CONTRADICTION = Reading(None, "contradiction")
OUT_OF_RANGE = Reading(None, "out_of_range")
REJECTED = Reading(None, "rejected")


class Mention(NamedTuple):
    """An option's text inside a sentence: offsets, whose it is, and whether the sentence denies it."""

    start: int
    end: int
    label: str
    negated: bool
    numeric: bool = False


class Choices:
    """One question's options, prepared once (`choices` caches them)."""

    def __init__(self, options: Sequence[str]):
        self.labels = labels(len(options))
        # A label that stands alone; without one, no rule about letters can find anything.
        self.lone = re.compile(rf"[{self.labels}](?<![A-Za-z0-9_].)(?![A-Za-z0-9_])")
        self.texts = [plain(text).strip() for text in options]
        # No phrase longer than this can be an option's text: the work per phrase is bounded by the options' lengths.
        self.reach = 2 * max((len(text) for text in self.texts), default=0) + 60
        keys = [_key(wording.ARTICLE.sub("", text)) for text in self.texts]
        self.counts = any(_A_COUNT.search(f" {key} ") for key in keys)
        keys = [wording.counts(f" {key} ").strip() for key in keys] if self.counts else keys
        # "Beta blocker" is also said as "beta blockers", unless the options differ in just that.
        single = [singular(f" {key} ").strip() for key in keys]
        self.plural = len(set(single)) == len(set(keys))
        keys = single if self.plural else keys
        forms = [formula(text) for text in self.texts]
        self.by_key = _unique(keys)
        # "Fetal hemoglobin (HgbF)" is also said without its bracket.
        short = [self._said(wording.BRACKET.sub(" ", text)).strip() for text in self.texts]
        for key, label in _unique(short).items():
            self.by_key.setdefault(key, label)
        # "Low ferritin, high TIBC" is also said with an "and".
        for text, label in zip(self.texts, self.labels, strict=True):
            if "," in text and " and " not in text:
                self.by_key.setdefault(self._said(" and ".join(text.rsplit(",", 1))).strip(), label)
        # "6 to 18 months" is also said as "6-18 months" and "between 6 and 18 months".
        for key, label in list(self.by_key.items()):
            if label and (ends := _FROM_TO.fullmatch(key)):
                for said in (
                    f"{ends[1]} {ends[2]}{ends[3]}",
                    f"between {ends[1]} and {ends[2]}{ends[3]}",
                    f"between {key}",
                ):
                    self.by_key.setdefault(said, label)
        # "Is transmitted by air" is also said as "being transmitted by air".
        for verb, form in (("is ", "being "), ("has ", "having ")):
            for key in [key for key in self.by_key if key.startswith(verb)]:
                self.by_key.setdefault(form + key.removeprefix(verb), self.by_key[key])
        # "Statement II only" is also said as "only statement II".
        for key in [key for key in self.by_key if key.endswith(" only")]:
            self.by_key.setdefault(f"only {key.removesuffix(' only')}", self.by_key[key])
        self.by_form = _unique(forms)
        # Case tells genotypes apart ("Aa", "AA").
        self.by_text = _unique(self.texts)
        numbers = [_number(text) for text in self.texts]
        self.by_number = _unique(numbers)
        # "1200" answers "1200 mL/min", where no other option has that value.
        for value, label in _unique([number.split(" ")[0] for number in numbers]).items():
            self.by_number.setdefault(value, label)
        # "I, II and III" is "I & II & III"; the numerals of the longest run count, not those inside it.
        sets = [_combined(text) for text in options]
        self.by_set: dict[frozenset[str], str] = {}
        combined = [x for x in sets if x]
        if "I" not in self.labels and any(len(x) > 1 for x in sets) and 1 < len(combined) == len(set(combined)):
            self.by_set = {x: label for x, label in zip(sets, self.labels, strict=True) if x}
        self.sets_only = len(self.by_set) == len(self.texts)
        # No phrase with fewer characters than this can be one.
        known = [key.replace(" ", "") for keys in (self.by_text, self.by_form, self.by_key) for key in keys if key]
        self.shortest = 0 if self.by_set else min(map(len, known), default=0)
        self.by_polar = _unique([wording.POLAR.get(_key(text), "") for text in self.texts])
        self.polar = sum(bool(label) for label in self.by_polar.values()) >= 2
        idioms = [phrase for word, phrase in wording.IDIOMS.items() if word in self.by_key]
        idioms += [wording.SURE] if any(self.by_number) else []
        self.idioms = re.compile("|".join(idioms), re.I | re.M) if idioms else None
        # Longest first, so that "diabetes" is not found inside "diabetes insipidus". Texts that are
        # a lone letter or a weak word are found only when they stand alone.
        self.searched = sorted(
            (
                (f" {key} ", self.labels.index(label))
                for key, label in self.by_key.items()
                if label and _searchable(key)
            ),
            key=lambda pair: -len(pair[0]),
        )

    def literal(self, text: str) -> str:
        """The text without phrases in which an option's word is used otherwise ("All right, …", "I am 50% sure")."""
        return self.idioms.sub(" ", text) if self.idioms else text

    def others(self, text: str, label: str) -> set[str]:
        """The labels other than this one that stand alone in `text`."""
        return set(self.lone.findall(text)) - {label}

    def exact(self, phrase: str) -> str | None:
        """The option whose whole text the phrase is, up to case, articles and punctuation."""
        if len(phrase) > self.reach or len(phrase.strip()) < self.shortest:
            return None
        if label := self.by_text.get(phrase.strip(" \t\n\"'()[]:.")):
            return label
        # "Statement I" alone is not yet "I only".
        if self.by_set and (said := _combined(phrase)) and (len(said) > 1 or "only" in phrase.lower()):
            return self.by_set.get(said)
        for text in dict.fromkeys((phrase, phrase.strip(" \t\n\"'()[]:"))):
            if label := self.by_form.get(formula(text)):
                return label
        for text in dict.fromkeys((phrase, wording.BOTH.sub("", phrase))):
            if label := self.by_key.get(self._said(text).strip()):
                break
        return label

    def _said(self, text: str) -> str:
        """`words(text)`, without plural endings where those tell no options apart."""
        said = wording.counts(words(text)) if self.counts else words(text)
        return singular(said) if self.plural else said

    def number(self, phrase: str) -> str | None:
        """The option whose number the phrase is."""
        return self.by_number.get(_number(phrase)) or None

    def said_in(self, text: str) -> int:
        """How many of the options' texts stand in `text`, in per cent."""
        said = self._said(text)
        return 100 * sum(key in said for key, _ in self.searched) // max(1, len(self.searched))

    def mentions(self, text: str) -> list[Mention]:
        """Options whose texts stand in `text`, as (start, end, label, negated), longest first kept."""
        if self.sets_only:
            runs = [m for m in wording.COMBINED.finditer(text) if m["lead"] or m["only"] or len(_numerals(m)) > 1][:64]
            said = [(m.start("run"), m.end(), self.by_set.get(_numerals(m))) for m in runs]
            return [Mention(a, b, label, is_negated(text, a, b)) for a, b, label in said if label]
        padded = self._said(text)
        here = [pair for pair in self.searched if pair[0] in padded]
        if not here:
            return []
        at_word = spans(text)
        taken: list[tuple[int, int]] = []
        found: list[Mention] = []
        for key, i in here:
            at = -1
            while (at := padded.find(key, at + 1)) >= 0:
                end = at + len(key) - 1
                if any(at < b and a < end for a, b in taken):
                    continue
                taken.append((at, end))
                first = padded.count(" ", 0, at)
                last = first + key.count(" ") - 2
                a, b = at_word[first][0], at_word[last][1]
                if key[1:-1].isdecimal() and text[a:b].isalpha():
                    continue  # "one of the two"
                found.append(
                    Mention(
                        a,
                        b,
                        self.labels[i],
                        _bounded(text, a, b) or is_negated(text, a, b),
                        text[a:b].strip("+-%").replace(".", "").replace(",", "").isdecimal(),
                    )
                )
                if len(found) >= 64:
                    return sorted(found)
        return sorted(found)

    def in_passing(self, sentence: str) -> bool:
        """Does the sentence name an option without answering: whom it belongs to, what is looked at or searched for, what is
        normal, one of a list of letters?"""
        if wording.DESCRIBED.match(sentence) or wording.LOOKS.search(sentence):
            return True
        if normal := wording.NORMAL.search(sentence):
            return not self.mentions(normal[0])
        listed = wording.LETTERS_LISTED.search(sentence)
        return listed is not None and any(
            x.start < listed.end() and listed.start() < x.end for x in self.mentions(sentence)
        )

    def letter(self, phrase: str) -> tuple[str, int] | None:
        """(letter, end) when the phrase opens with an option's letter, whether it exists or not."""
        # A letter stands near the beginning; looking no further keeps a wall of brackets cheap.
        m = wording.LETTER.match(phrase[:80])
        if m is None:
            return None
        letter, close, rest = m["letter"], m["close"].strip(), phrase[m.end("letter") :]
        if not rest.strip(" \t\n.,;:!?)]}\"'。"):
            return letter.upper(), m.end("letter")
        if letter.islower():
            enclosed = phrase[: m.start("letter")].rstrip(" \"'")[-1:] in ("(", "[", "{")
            quoted = phrase[: m.start("letter")][-1:] in ("'", '"') and close[:1] == phrase[m.start("letter") - 1]
            if not enclosed and not quoted and (not close or close[0] not in ")]}.:"):
                return None
        elif not close and not wording.NAMED.match(phrase):
            if wording.COMPOUND.match(rest):
                return None
            if (
                letter == "A"
                and rest[:1] == " "
                and rest[:2].isascii()
                and rest[1:2].isalnum()
                and not wording.AFTER_A.match(rest)
            ):
                return None
        if wording.ABBREVIATED.match(rest):
            return None
        if letter == "I" and not close and wording.AFTER_I.match(rest):
            return None
        return letter.upper(), m.end("letter")

    def read(self, phrase: str, *, closed: bool) -> Reading:
        """What a phrase names; `_read` with one more look for a second answer ("A. But also B.")."""
        reading = self._read(phrase, closed)
        if reading.label and (either := wording.EITHER.match(phrase)) and len(set(self.lone.findall(either[0]))) > 1:
            return SEVERAL
        if reading.label and any(word in phrase for word in wording.ALSO):
            others = {m[1] or m[2] or m[3] for m in wording.ALSO_RIGHT.finditer(phrase[:400])}
            if others - {reading.label}:
                return SEVERAL
        if not reading.label or not self.others(phrase, reading.label):
            return reading
        if more := wording.AND_ALSO.search(phrase[: max(600, self.reach)]):
            second, after = more["letter"], phrase[more.end() :]
            article = second == "A" and after[:1] == " " and after[1:2].islower()
            if second != reading.label and second in self.labels and not article and not wording.AFTER_NOT.match(after):
                return SEVERAL
        if any(m[1] in self.labels and m[1] != reading.label for m in wording.ALSO_BECAUSE.finditer(phrase)):
            return SEVERAL
        maybe = wording.PERHAPS.search(phrase if closed else first_sentence(phrase))
        return SEVERAL if maybe and maybe[1] in self.labels and maybe[1] != reading.label else reading

    def _read(self, phrase: str, closed: bool) -> Reading:
        """What a phrase names. `closed`: it is all of the answer (a tag's content, say), not the
        beginning of a running sentence."""
        phrase = phrase.strip()
        if not phrase.strip(" .,:;!?-\"'()[]{}<>。"):
            return Reading(None, "empty")
        if len(phrase) > max(600, self.reach):
            phrase = phrase[: max(600, self.reach)]
        if "boxed" in phrase and (box := wording.BOX.fullmatch(phrase)):
            phrase = box[1].strip()
        line = phrase if closed else first_sentence(phrase)
        bare = line.lstrip(" \t\n.,:;\"'()[]{}<>。").rstrip(" \t\n.,:;!\"'()[]{}<>。")
        if len(bare) == 1 and bare.isascii() and bare.isalpha() and (closed or line == phrase):
            label = bare.upper()
            return Reading(label) if label in self.labels else OUT_OF_RANGE
        opened = self.letter(phrase)
        if opened and opened[0] in self.labels and self.is_option(line, opened[0]):
            return SEVERAL if self._goes_on(phrase[len(line) :], opened[0]) else Reading(opened[0])
        # A lone letter is a label before it is a text ("blood group: A. O, B. A").
        if len(bare) != 1 or bare.upper() not in self.labels:
            # A text may have full stops and semicolons of its own.
            for text in (line,) if closed else dict.fromkeys((line, phrase.split("\n", 1)[0])):
                if exact := self.exact(text):
                    return SEVERAL if self._goes_on(phrase[len(text) :], exact) else Reading(exact)
        if negated := wording.NEGATED.match(line):
            but = None if negated[0].endswith("but") else wording.BUT.search(line)
            return self.read(line[but.end() :], closed=closed) if but else REJECTED
        if run := self._run(line):
            return run
        if opened and not self._is_text(phrase, opened[0]):
            return self._lettered(phrase, *opened, closed)
        if opened is None and phrase[:2] == "A " and "A" in self.labels:
            # "A pneumothorax": an article, or label A before another option's text? Only the own text is safe.
            said, after = self.restated(phrase[1:], "A")
            if said and not self._singled(phrase[2:], said):
                own = SEVERAL if self._texts_go_on(after, "A") else Reading("A")
                return own if said == "A" else CONTRADICTION
        return self._text(line, closed)

    def heads(self, line: str) -> str | None:
        """The option whose text stands at the head of a line, before a mark ("1. Metformin: …", "Metformin | …")."""
        line = wording.ITEM.sub("", line[: self.reach + 8])
        low = line.lower()
        for text, label in zip(self.texts, self.labels, strict=True):
            if low.startswith(text.lower()) and wording.AFTER_HEAD.match(line, len(text)):
                return label
        return None

    def _singled(self, phrase: str, label: str) -> bool:
        """Is a plural option said in the singular ("A macrophage" of "Macrophages")? Then the A is an article."""
        own = self.texts[self.labels.index(label)].lower()
        return own.endswith("s") and phrase[:1].islower() and not phrase.lower().startswith(own)

    def _goes_on(self, rest: str, label: str) -> bool:
        """Is the next line, or what follows a full stop, another option and nothing else?"""
        following = first_sentence(rest.lstrip(" \t\n.!?;。)")) if rest else ""
        if not following.strip():
            return False
        if other := self.exact(following):
            return other != label
        opened = self.letter(following)
        return bool(opened and opened[0] != label and opened[0] in self.labels and self.is_option(following, opened[0]))

    def within(self, inner: str, outer: str) -> bool:
        """Is one option's text part of another's ("AV block" in "AV block, type II")?"""
        a, b = (self._said(self.texts[self.labels.index(label)]) for label in (inner, outer))
        return a in b

    def _is_text(self, phrase: str, letter: str) -> bool:
        """Does the phrase open with an option's text that itself begins with this letter ("B cell lymphoma")?"""
        opens = [key for key, _ in self.searched if key.startswith(f" {letter.lower()} ")]
        said = self._said(phrase[: self.reach]) if opens else ""
        return any(said.startswith(key) for key in opens)

    def _run(self, line: str) -> Reading | None:
        """ABCD, "A B C D", "both A and B", "A? B?", BBB: letters and nothing else."""
        said = [word for word in split_words(line)[1::2] if word.lower() not in wording.JOINS]
        letters = "".join(said)
        if len(letters) < 2 or not letters.isascii() or not letters.isalpha():
            return None
        if max(map(len, said)) > 1 and not (len(said) == 1 and (letters.isupper() or letters == letters.lower())):
            return None
        distinct = set(letters.upper())
        if len(said) == 1 and not distinct <= set(self.labels):
            return None
        if (
            len(said) == 1
            and letters.islower()
            and (len(distinct) < len(letters) or letters not in self.labels.lower())
        ):
            return None
        if len(distinct) > 1:
            return SEVERAL
        label = distinct.pop()
        return Reading(label) if label in self.labels else OUT_OF_RANGE

    def _lettered(self, phrase: str, label: str, end: int, closed: bool) -> Reading:
        """A phrase that opens with a letter: is it alone, and does its text agree?"""
        if label not in self.labels:
            return OUT_OF_RANGE
        rest = phrase[end:]
        tail = rest.lstrip(" \t)]}>\"'.:,;、。=-–—")
        restated, after = self.restated(rest, label)
        if restated is not None and restated != label:
            return CONTRADICTION
        if restated == label:
            tail = after
        if label == "A" and rest[:1] == ":" and restated is None and self._another(tail, label):
            return CONTRADICTION  # "A: The compliance is 0.2 L/cm.": an answer, not the label
        if label == "A" and rest[:1] == ":" and wording.DECLINES.match(tail):
            return REJECTED
        if restated is None and (aside := wording.ASIDE.match(rest)) and self._another(aside[1], label):
            return CONTRADICTION  # "A (blood group AB)"
        if wording.AFTER_NOT.match(after if restated else rest) or wording.LIST_DENIED.match(rest):
            return REJECTED
        if doubted(after if restated else rest) or not goes_on(rest, self.texts[self.labels.index(label)], loose=True):
            return REJECTED
        if self._listed(rest, label) or (restated and self._listed(after, label)):
            return SEVERAL
        if self.lone.search(tail) and (second := self._second(tail, label, closed)):
            return second
        return SEVERAL if restated and self._texts_go_on(after, label) else Reading(label)

    def _another(self, tail: str, label: str) -> bool:
        """Does the sentence end with the text of another option?"""
        said = first_sentence(tail)
        return any(x.label != label and not x.negated and len(said) - x.end < 3 for x in self.mentions(said))

    def _texts_go_on(self, after: str, label: str) -> bool:
        """Does what follows an option's text list another's ("A. Pneumonia, Pneumothorax")?"""
        head = _AND_TEXT.match(after)
        more = self.mentions(after[head.end() : head.end() + 300]) if head else []
        return bool(more) and more[0].start <= 6 and more[0].label != label and not more[0].negated

    def _second(self, tail: str, label: str, closed: bool) -> Reading | None:
        """Does what follows a letter and its text name another letter?"""
        sentence = tail if closed else wording.AGAIN.split(first_sentence(tail), maxsplit=1)[0]
        for m in wording.PERHAPS.finditer(sentence):
            if m[1] in self.labels and m[1] != label:
                return SEVERAL
        reason = wording.BECAUSE.search(sentence)
        scope = sentence[: reason.start()] if reason else sentence
        # "D. Incorrect: A, D": right and wrong.
        if reason and reason[0].endswith(":") and label in split_words(sentence[reason.end() :])[1::2]:
            return CONTRADICTION
        for other in islice(wording.ANY_LETTER.finditer(scope), 12):
            letter = other[1]
            marked = other[0][0] in "([" or scope[other.end() : other.end() + 1] in (")", ".", ":")
            if letter == label or letter not in self.labels or (letter in "AI" and not marked):
                continue
            lead = scope[max(0, other.start() - 40) : other.start()]
            named = (marked or closed or wording.ELSE.search(lead)) and not wording.NAMES.search(lead)
            if named and not is_negated(scope, other.start(), other.end()):
                return SEVERAL
        return None

    def _listed(self, rest: str, label: str) -> bool:
        """Does the text after a letter go on to another letter ("A, B", "A or C", "A to D")?"""
        if wording.OR_ELSE.match(rest) or ((each := wording.EACH_FOR.match(rest)) and each[2] != label):
            return True
        m = wording.AND.match(rest)
        if m and m["letter"] != label:
            after = rest[m.end() :]
            if m["letter"] in "AI" and (
                wording.AFTER_I.match(after) if m["letter"] == "I" else after[:1] == " " and after[1:2].islower()
            ):
                return False
            return not wording.AFTER_NOT.match(after) and not wording.NEW_CLAUSE.match(after)
        space = re.match(r"[\s).\]]*\s[(\[]?([A-Z])(?:[)\].:,]|\s*$|\s[A-Z]\b)", rest)
        if not space or space[1] == label or space[1] not in self.labels:
            return False
        after = rest[space.end(1) :]
        return not wording.LIST_DENIED.match(after) and not wording.AFTER_NOT.match(after)

    def restated(self, rest: str, label: str) -> tuple[str | None, str]:
        """The option whose text follows the letter as a whole phrase, and what comes after it."""
        shift = len(rest) - len(rest.lstrip(" \t\n)]}>\"'.:,;、。=-–—("))
        window = rest[shift : shift + self.reach]
        if not window:
            return None, ""
        said = self._said(window)
        opens = next(((key, i) for key, i in self.searched if said.startswith(key)), None)
        own = self.texts[self.labels.index(label)]
        if own and window.lower().startswith(own.lower()) and (opens is None or len(opens[0]) - 2 <= len(own)):
            return label, window[len(own) :]
        if opens is None:
            other = self.exact(window.split("\n")[0])
            return (other, "") if other else (None, window)
        after = window[spans(window)[opens[0].count(" ") - 2][1] :]
        found = self.labels[opens[1]]
        if found != label and self.within(found, label):
            return None, window
        # Another option's words open many explanations ("A. Pneumothorax can be excluded"); they
        # contradict the letter only where the phrase ends with them.
        if found != label and not re.match(r"[\s\"')\]]*(?:[.,;:!?。、)]|\n|$)", after):
            return None, window
        return found, after

    def _text(self, line: str, closed: bool) -> Reading:
        """A phrase without a letter: a number, yes or no, or the text of exactly one option."""
        if m := wording.SAYS.match(line):
            rest = line[m.end() :]
            opened = self.letter(rest)
            if opened and opened[0] in self.labels and self.is_option(rest, opened[0]):
                return Reading(opened[0])
            if label := self.exact(rest):
                return Reading(label)
        number = _number(line)
        if number and (label := self.by_number.get(number)):
            return Reading(label)
        if self.polar and (label := self.polarity(line)):
            return Reading(label)
        if wording.asks_back(line):
            return NOTHING  # "Please upload the MRI."
        found = self.mentions(line)
        said = {x.label for x in found if not x.negated}
        if len(said) > 1:
            reason = wording.BECAUSE.search(line)
            if reason and found[0][0] < reason.start():
                said = {x[2] for x in found if not x[3] and x[0] < reason.start()}
        if len(said) == 1:
            label = said.pop()
            own = [x for x in found if x.label == label]
            if all(_AND_BEFORE.search(line, 0, x.start) for x in own):
                return NOTHING  # "saliva and germs", of which only germs are an option
            beside = wording.BESIDE.match(line, own[0].end)
            return CONTRADICTION if beside and beside[1] in self.labels and beside[1] != label else Reading(label)
        if said:
            return SEVERAL
        if found:
            return REJECTED
        return NOTHING

    def polarity(self, line: str) -> str | None:
        """The label of the yes, no or maybe that opens a line."""
        first = wording.OPENS_POLAR.match(line)
        opened = wording.POLAR.get((first[1] or first[2]).lower()) if first else wording.POLAR.get(words(line).strip())
        label = self.by_polar.get(opened or "")
        if not label or wording.ASKS_BACK.search(line[:300]):
            return None
        rest = words(line[first.end() :] if first else "")
        others = {w for w in ("yes", "no", "maybe") if f" {w} " in rest and wording.POLAR[w] != opened} - {"no"}
        return None if others or (opened != "no" and _BUT_NO.search(rest)) else label

    def is_option(self, phrase: str, label: str) -> bool:
        """Is the phrase no more than this option: its letter, its text, or both?"""
        opened = self.letter(phrase)
        if opened and opened[0] == label:
            rest = phrase[opened[1] :].strip(" \t\n)]}>\"'.:,;、。=-")
            return not rest or self.exact(rest) == label
        return self.exact(phrase) == label or self.by_number.get(_number(phrase)) == label


def _bounded(text: str, start: int, end: int) -> bool:
    """Is the option at text[start:end] a bound or the end of a range ("at least 4", "5-10 mg", "Stage II-III")?"""
    lead = text[max(0, start - 16) : start]
    return bool(
        wording.BOUND_AFTER.match(text, end)
        or wording.BOUND_BEFORE.search(lead)
        or (text[start].isdigit() and wording.RANGE.search(lead))
    )


# "Yes for women but no for men": both.
_BUT_NO = re.compile(r" (?:but|and|or) (?:it is |also )?no(?: (?:for|in|to|when|if))? ")


@lru_cache(maxsize=4096)
def _prepared(options: tuple[str, ...]) -> Choices:
    return Choices(options)


def choices(options: Sequence[str]) -> Choices:
    """The prepared options; the samples of one question share them."""
    return _prepared(tuple(options))


def _key(text: str) -> str:
    return words(text).strip()


def _searchable(key: str) -> bool:
    return (
        key not in wording.WEAK
        and f"{key}s" not in wording.WEAK
        and key not in wording.POLAR
        and not (len(key) == 1 and key.isascii() and key.isalpha())
    )


def _unique(keys: Sequence[str]) -> dict[str, str]:
    """key -> label, or "" where two options share the key: such a key names neither."""
    out: dict[str, str] = {}
    for key, label in zip(keys, labels(len(keys)), strict=True):
        out[key] = "" if key in out else label
    out[""] = ""
    return out


_FROM_TO = re.compile(r"(\d[\d.]*) (?:to |and )?(\d[\d.]*)((?: .{1,30})?)")
_AND_BEFORE = re.compile(r"^[\w' -]{2,40} (?:and|&) (?:the |an? )?$")
_AND_TEXT = re.compile(r"[\s,;/&+、]*(?:(?:and|or|also|as well as)\b|[,;/&+、和或与])\s*")
_A_COUNT = re.compile(rf"\d|{wording.COUNTED.pattern}")


def _numerals(run: re.Match[str]) -> frozenset[str]:
    return frozenset(wording.NUMERAL.findall(run["run"]))


def _combined(text: str) -> frozenset[str]:
    """The statements that a phrase combines ("I and II only", "①③"), and nothing else; empty if it is no such phrase."""
    if len(text) > 80:
        return frozenset()
    if "\u2460" <= text[:1] <= "\u2468":
        text = ",".join(plain(text))
    m = wording.COMBINED.fullmatch(text.strip(" \t\n\"'()[].。"))
    return _numerals(m) if m else frozenset()


def _number(text: str) -> str:
    """The value and unit of a phrase that is one number: "15.0 mg/dL" -> "15 mgdl"; else ""."""
    text = text.strip()
    m = wording.ONE_NUMBER.fullmatch(text) if len(text) < 60 else None
    if not m:
        return ""
    unit = "".join(split_words((m[2] or "").lower())[1::2])
    return f"{float(m[1].replace(',', '')):.10g} {unit}".strip()
