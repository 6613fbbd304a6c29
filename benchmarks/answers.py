"""How long reading an answer takes: usual answers, and text made to be slow.

    python benchmarks/answers.py

The marks: a usual answer in under 50 µs, any 16,000 characters in under 5 ms.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from curator.answers import extract

OPTIONS = ["Pneumonia", "Pulmonary embolism", "Pneumothorax", "Pleural effusion"]
REASONING = "The film shows a meniscus at the right base, and no lung edge is seen. " * 40
USUAL = {
    "tag after 2,800 characters of thinking": f"<think> {REASONING}</think>\n<answer> D </answer>",
    "tag with text": "<think> A meniscus. </think>\n<answer> D. Pleural effusion </answer>",
    "letter": "D",
    "letter and text": "D) Pleural effusion",
    "few-shot ending": " The film shows a meniscus, and no lung edge is seen. The answer is (D).",
    "Markdown ending": f"{REASONING[:600]}\n\n**Answer: D**",
    "Chinese ending": "【解析】胸片示肋膈角变钝。所以选D。<eoe>\n【答案】D<eoa>",
    "conclusion in words": f"{REASONING[:600]} Therefore, the most likely diagnosis is pleural effusion.",
}
REAL = Path(__file__).resolve().parents[2] / "shared" / "grading" / "dev.jsonl"
"""Responses of thirty models, where they are at hand."""
SIZE = 16_000
PIECES = {
    "letters": "A ", "words": "the answer is ", "statements": "The answer is A. ", "colons": "Answer: ", "spaces": " ",
    "newlines": "\n", "option lines": "A) Pneumonia\n", "opening tags": "<answer>", "closing tags": "</answer>",
    "full tags": "<answer>A</answer>", "thinks": "<think>", "closed thinks": "</think>", "boxes": "\\boxed{", "braces": "{",
    "json": '{"answer": "A", ', "quotes": '"', "stars": "*", "underscores": "_ _", "dollars": "$", "backslashes": "\\",
    "text wraps": "\\text{", "commas": "A, ", "ors": "A or ", "nots": "not ", "options": "Pneumonia, ", "dots": ". ",
    "questions": "\nQuestion: ", "Chinese": "答案是", "choices": "选", "corrects": "correct ", "option is": "option A is ",
    "right": "A is right ", "digits": "5", "decimals": "0.5 ", "hyphens": "-", "colonlines": "x:\n", "less than": "<", "angles": "<>", "tags of one letter": "<x>",
    "brackets": "[[", "of": "answer to " , "mid": "answer of the question of the ", "fill": "the answer is therefore ",
    "therefores": "therefore ", "not lists": "not A, ", "best": "most best ", "zero width": "\u200b", "accents": "é ",
    "emphasis": "**a** ", "hash": "# ", "parens": "(", "none": "none of the ", "one word": "a", "commas in digits": "1,", "LaTeX blanks": ", \\",
    "reported": "said the fool ", "asked": "A? No. ", "who says": "I think ", "clauses": "if A, then ", "Chinese clauses": "有人说选A,",
    "end tokens": "I </s>", "boxes of dots": "# A\nB.\n\n\\boxed{. ", "mixed": "x:\n\n<>", "both languages": "Pneumonia is 答案是",
}  # fmt: skip
# Openings before a run of one character: where a pattern could look for its end again and again.
OPENINGS = [
    "The answer is ",
    "答案是",
    "正确答案为",
    "选",
    "<answer>",
    "\\boxed{",
    '{"answer": ',
    "I choose ",
    "correct: ",
    "(A",
    "<!--",
    "~~",
]
RUNS = ["\n", " \n", " ", ".", ",", "?", "!", '"', "(", ")", "a", "A, ", "1,", "-", ":", "的", "<"]


def microseconds(call: Callable[[], object], seconds: float = 0.05) -> float:
    """Median processor time of a call, over as many as fit: a busy machine does not blur it."""
    call()
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.thread_time()
        call()
        times.append(time.thread_time() - start)
    return sorted(times)[len(times) // 2] * 1e6


def loop() -> int:
    """Plain Python without us, by whose time two days or machines compare."""
    total = 0
    for i in range(1000):
        total += i & 7
    return total


def main() -> None:
    print(f"a loop of 1,000 additions in Python: {microseconds(loop):.1f} µs")
    print("usual answers, µs each")
    for name, response in USUAL.items():
        print(f"  {microseconds(lambda r=response: extract(r, OPTIONS)):8.1f}  {name}")  # type: ignore[misc]
    if REAL.exists():
        rows = [json.loads(line) for line in REAL.read_text("utf-8").splitlines()]
        asked = [(row["response"], list(row["options"].values())) for row in rows]
        took = sorted(microseconds(lambda r=r, o=o: extract(r, o), 0.01) for r, o in asked)  # type: ignore[misc]
        length = sorted(len(response) for response, _ in asked)[len(asked) // 2]
        print(f"{len(took)} real responses, {length} characters in the middle, µs each")
        for share in (10, 50, 90, 99):
            print(f"  {took[share * (len(took) - 1) // 100]:8.1f}  {share} % take no longer")
    print(f"{SIZE:,} characters of one piece, ms each")
    slow = {}
    for name, piece in PIECES.items():
        for form, text in (("", piece * (SIZE // len(piece))), (" + x", piece * (SIZE // len(piece)) + " x.")):
            slow[name + form] = microseconds(lambda t=text: extract(t, OPTIONS), 0.01) / 1e3  # type: ignore[misc]
    for opening in OPENINGS:
        for run in RUNS:
            text = opening + run * (SIZE // len(run))
            slow[f"{opening!r} and {run!r}"] = microseconds(lambda t=text: extract(t, OPTIONS), 0.01) / 1e3  # type: ignore[misc]
    for name in sorted(slow, key=lambda n: -slow[n])[:12]:
        print(f"  {slow[name]:8.2f}  {name}")


if __name__ == "__main__":
    main()
