"""m23k: 23,493 hard questions with DeepSeek-R1's traces, as m1 published them. Huang et al. 2025, arXiv 2504.00869.

UCSC-VLAA/m23k-tokenized on the Hub, Parquet. Questions of MedMCQA, MedQA, HEAD-QA and PubMedQA that Qwen2.5-7B and -32B got
wrong; options shuffled (seed 42) and printed at the end of `prompt`. `source` names the data set that a row is from: the row's
`source_id` begins with it, and its licence is what this package's own source of that name has, unknown for any other name.

{"prompt": "Which …?\\nA. …\\nB. …", "answer_idx": 2, "answer_letter": "C", "answer_string": "…", "reasoning": "Okay, …",
 "source": "openlifescienceai/medmcqa", "metadata": "{…}", "distilled_answer_string": "…", …}
"""

import hashlib
import re

from curator.records import LABELS, BadRow
from curator.sources import Raw, Record, Source
from curator.sources.head_qa import HEAD_QA
from curator.sources.medmcqa import MEDMCQA
from curator.sources.medqa import MEDQA
from curator.sources.pubmedqa import PUBMEDQA

M23K = Source(
    name="m23k",
    title="hard text questions with R1 traces, as m1 published them",
    repo="UCSC-VLAA/m23k-tokenized",
    homepage="https://github.com/UCSC-VLAA/m1",
    paper="arXiv 2504.00869",
    license="mit",
    redistributable=None,
    rows={"train": 23_493},
    files={"train": ("data/train-*.parquet", "train.jsonl")},
    columns=("prompt", "answer_letter", "answer_string"),
)
_ORIGINS = {source.name.replace("-", ""): source.license for source in (MEDMCQA, MEDQA, HEAD_QA, PUBMEDQA)}
_OPTION = re.compile(r"(?:^|\n)([A-Z])\. ")


@M23K.row
def record(raw: Raw) -> Record:
    prompt, origin = raw.text("prompt"), raw.text("source", "")
    question, options = taken_apart(prompt)
    digest = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Record(
        question=question,
        options=options,
        answer_label=raw.text("answer_letter"),
        answer=raw.text("answer_string"),
        reasoning=raw.text("reasoning", "") or None,
        reasoning_model="deepseek-ai/DeepSeek-R1" if raw.text("reasoning", "") else None,
        source_id=f"{origin}/{digest}" if origin else "",
        license=license_of(origin) if origin else "",
    )


def license_of(origin: str) -> str:
    """The licence of "openlifescienceai/medmcqa", "GBaker/MedQA-USMLE-4-options" …: of the set that the name begins with."""
    name = re.sub("[^a-z]", "", origin.rpartition("/")[2].lower())
    return next((license for known, license in _ORIGINS.items() if name.startswith(known)), "unknown")


def taken_apart(prompt: str) -> tuple[str, list[str]]:
    """The stem and the options of "stem\\nA. …\\nB. …": the longest run A, B, C … of lines that ends the prompt."""
    marks = list(_OPTION.finditer(prompt))
    starts = [i for i, mark in enumerate(marks) if mark[1] == "A"]
    for start in starts:
        run = marks[start:]
        if [mark[1] for mark in run] == list(LABELS[: len(run)]) and len(run) > 1:
            ends = [mark.start() for mark in run[1:]] + [len(prompt)]
            return prompt[: run[0].start()].strip(), [
                prompt[mark.end() : end].strip() for mark, end in zip(run, ends, strict=True)
            ]
    raise BadRow("option-count", options=0)
