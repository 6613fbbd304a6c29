"""One good raw row of every source in its documented layout, what can be wrong with it, and how to put rows on a disk."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

MISSING = object()
PICTURE = b"a picture, as far as ingest is concerned"
IMAGE = {"bytes": PICTURE, "path": "x.jpg"}


@dataclass
class Shape:
    """A source's good row, where it goes, and the changes that must each become a verdict with this reason."""

    source: str
    file: str
    split: str
    good: dict[str, Any]
    required: str
    """A column that every row must have."""
    bad: dict[str, tuple[dict[str, Any], str]]
    pictures: tuple[str, ...] = ()
    header: bool = True
    options: dict[str, str] = field(default_factory=dict)


def changed(row: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    out = {**row, **changes}
    return {name: value for name, value in out.items() if value is not MISSING}


def write(folder: Path, shape: Shape, rows: list[dict[str, Any]]) -> Path:
    """The rows in the shape's layout; each Parquet row in a file of its own, so that each may have its own types."""
    path = folder / shape.file
    path.parent.mkdir(parents=True, exist_ok=True)
    for picture in shape.pictures:
        (folder / picture).parent.mkdir(parents=True, exist_ok=True)
        (folder / picture).write_bytes(PICTURE)
    if shape.source == "pubmedqa":
        path.with_name("test_ground_truth.json").write_text('{"21645374": "yes"}', "utf-8")
    if path.suffix == ".parquet":
        for number, row in enumerate(rows):
            pq.write_table(pa.Table.from_pylist([row]), path.with_name(f"{path.stem}-{number:05}.parquet"))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(nested(shape.source, rows)), "utf-8")
    elif path.suffix == ".txt":
        path.write_text("".join("|".join(str(cell) for cell in row.values()) + "\n" for row in rows), "utf-8")
    else:
        names = list(dict.fromkeys(name for row in rows for name in row))
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            if shape.header:
                writer.writeheader()
            writer.writerows(rows)
    return folder


def nested(source: str, rows: list[dict[str, Any]]) -> Any:
    if source == "head-qa":
        return {"exams": {"Cuaderno": {"category": "biology", "year": "2013", "data": rows}}}
    if source == "pubmedqa":
        return {str(number): row for number, row in enumerate(rows)}
    return rows


_FOUR = {"A": "heart", "B": "lung", "C": "liver", "D": "spleen"}
_PMC = {f"Choice {letter}": f" {letter}:{text} " for letter, text in _FOUR.items()}
_HEAD = [{"aid": n, "atext": text} for n, text in enumerate(_FOUR.values(), 1)]

SHAPES = [
    Shape(
        "vqa-rad", "VQA_RAD Dataset Public.json", "train",
        {"qid": "0", "phrase_type": "freeform", "image_name": "a.jpg", "question": "Is it cystic or solid?",
         "answer": "solid", "answer_type": "CLOSED "}, "image_name",
        {"missing field": ({"question": MISSING}, "missing-field"),
         "wrong type": ({"answer": ["solid"]}, "wrong-type"),
         "unknown kind": ({"answer_type": "HALF"}, "wrong-type"),
         "duplicate options": ({"question": "Is it solid or solid?"}, "options-undecided"),
         "empty stem": ({"question": " ", "answer_type": "OPEN"}, "empty-question"),
         "not among options": ({"answer": "gaseous"}, "options-undecided"),
         "no answer": ({"answer": " "}, "no-answer"),
         "missing image": ({"image_name": "b.jpg"}, "missing-image"),
         "escaping image": ({"image_name": "../../etc/passwd"}, "unsafe-image-path")},
        ("VQA_RAD Image Folder/a.jpg",),
    ),
    Shape(
        "pmc-vqa", "train.csv", "train",
        {"Figure_path": "PMC1_F1.jpg", "Question": "Which organ?", "Answer": "lung", **_PMC, "Answer_label": "B"},
        "Answer_label",
        {"unknown key letter": ({"Answer_label": "E"}, "unknown-label"),
         "quote as key": ({"Answer_label": "'"}, "unknown-label"),
         "no key": ({"Answer_label": ""}, "unknown-label"),
         "duplicate options": ({"Choice C": " C:lung "}, "duplicate-options"),
         "empty option": ({"Choice C": " C: "}, "empty-option"),
         "empty stem": ({"Question": "  "}, "empty-question"),
         "key and text differ": ({"Answer": "liver"}, "label-contradicts-answer"),
         "prefix of another": ({"Choice C": " B:liver "}, "option-prefix-mismatch"),
         "missing image": ({"Figure_path": "PMC2_F1.jpg"}, "missing-image")},
        ("images/PMC1_F1.jpg",),
    ),
    Shape(
        "pmc-vqa", "train_2.csv", "train_2",
        {"index": "35", "Figure_path": "PMC1_F1_2.jpg", "Caption": "c", "Question": "Which organ?", **_PMC, "Answer": "B",
         "split": "train"}, "Choice D",
        {"unknown key letter": ({"Answer": "F"}, "unknown-label"),
         "duplicate options": ({"Choice D": " D:lung "}, "duplicate-options"),
         "empty stem": ({"Question": ""}, "empty-question"),
         "missing image": ({"Figure_path": "PMC2_F1_2.jpg"}, "missing-image")},
        ("figures/PMC1_F1_2.jpg",), options={"version": "2"},
    ),
    Shape(
        "slake", "train.json", "train",
        {"img_name": "xmlab1/source.jpg", "question": "Which is bigger, heart or lung?", "answer": "Lung", "q_lang": "en",
         "modality": "CT", "answer_type": "CLOSED", "qid": 1}, "img_name",
        {"missing field": ({"q_lang": MISSING}, "missing-field"),
         "wrong type": ({"question": {"text": "x"}}, "wrong-type"),
         "unknown kind": ({"answer_type": "?"}, "wrong-type"),
         "duplicate options": ({"question": "Which is bigger, lung or lung?"}, "options-undecided"),
         "empty stem": ({"question": "", "answer_type": "OPEN"}, "empty-question"),
         "no alternatives": ({"question": "Which organ is it?"}, "options-undecided"),
         "no answer": ({"answer": ""}, "no-answer"),
         "missing image": ({"img_name": "xmlab2/source.jpg"}, "missing-image")},
        ("imgs/xmlab1/source.jpg",),
    ),
    Shape(
        "path-vqa", "data/train.parquet", "train", {"image": IMAGE, "question": "is it benign?", "answer": "no"}, "answer",
        {"missing field": ({"question": None}, "missing-field"),
         "wrong type": ({"answer": [1]}, "wrong-type"),
         "empty stem": ({"question": ""}, "empty-question"),
         "no answer": ({"answer": ""}, "no-answer"),
         "missing image": ({"image": None}, "missing-image")},
    ),
    Shape(
        "mmmu-medical", "Pharmacy/validation.parquet", "validation",
        {"id": "validation_Pharmacy_1", "question": "<image 1> Which?", "options": "['a', 'b', 'c']", "image_1": IMAGE,
         "image_2": IMAGE, "img_type": "['MRI']", "answer": "B", "question_type": "multiple-choice"}, "question_type",
        {"missing field": ({"question": None}, "missing-field"),
         "wrong type": ({"options": "a, b"}, "wrong-type"),
         "unknown key letter": ({"answer": "D"}, "unknown-label"),
         "hidden answer": ({"answer": "?"}, "no-answer"),
         "duplicate options": ({"options": "['a', 'A']"}, "duplicate-options"),
         "empty stem": ({"question": " "}, "empty-question"),
         "missing image": ({"image_1": None, "image_2": None}, "missing-image")},
    ),
    Shape(
        "medxpertqa-mm", "MM/test.jsonl", "test",
        {"id": "MM-0", "question": "Which?\nAnswer Choices: (A) heart (B) lung", "options": _FOUR, "label": "B",
         "images": ["MM-0-a.jpeg"]}, "label",
        {"missing field": ({"label": MISSING}, "missing-field"),
         "wrong type": ({"options": "heart, lung"}, "wrong-type"),
         "unknown key letter": ({"label": "E"}, "unknown-label"),
         "letters with a gap": ({"options": {"A": "x", "C": "y"}}, "unknown-label"),
         "duplicate options": ({"options": {"A": "x", "B": "x"}}, "duplicate-options"),
         "empty stem": ({"question": "\nAnswer Choices: (A) heart"}, "empty-question"),
         "no image": ({"images": []}, "missing-image"),
         "missing image": ({"images": ["MM-9-a.jpeg"]}, "missing-image")},
        ("images/MM-0-a.jpeg",),
    ),
    Shape(
        "medxpertqa-text", "Text/test.jsonl", "test",
        {"id": "Text-0", "question": "Which?\nAnswer Choices: (A) heart", "options": _FOUR, "label": "B"}, "label",
        {"missing field": ({"options": MISSING}, "missing-field"),
         "wrong type": ({"question": 1.5}, ""),
         "unknown key letter": ({"label": "K"}, "unknown-label"),
         "duplicate options": ({"options": {"A": "x", "B": "X "}}, "duplicate-options"),
         "empty stem": ({"question": " "}, "empty-question")},
    ),
    Shape(
        "omnimedvqa", "QA_information/Open-access/CT.json", "open_access",
        {"dataset": "CT", "question_id": "CT_0", "question": "Which?", "gt_answer": "lung", "image_path": "Images/CT/0 (6).png",
         "modality_type": "MR (Mag-netic Resonance Imaging)", "option_A": "heart", "option_B": "lung"}, "gt_answer",
        {"missing field": ({"question": MISSING}, "missing-field"),
         "wrong type": ({"gt_answer": ["lung"]}, "wrong-type"),
         "duplicate options": ({"option_A": "lung"}, "duplicate-options"),
         "empty stem": ({"question": ""}, "empty-question"),
         "one option": ({"option_B": MISSING}, "option-count"),
         "not among options": ({"gt_answer": "spleen"}, "answer-not-among-options"),
         "missing image": ({"image_path": "Images/CT/1.png"}, "missing-image")},
        ("Images/CT/0 (6).png",),
    ),
    Shape(
        "kvasir-vqa", "data/raw.parquet", "raw",
        {"image": IMAGE, "source": "HyperKvasir", "question": "Is there text?", "answer": "no", "img_id": "x"}, "answer",
        {"missing field": ({"answer": None}, "missing-field"),
         "wrong type": ({"question": {"a": 1}}, "wrong-type"),
         "empty stem": ({"question": ""}, "empty-question"),
         "no answer": ({"answer": " "}, "no-answer"),
         "missing image": ({"image": None}, "missing-image")},
    ),
    Shape(
        "vqa-med-2019", "ImageClef-2019-VQA-Med-Training/All_QA_Pairs_train.txt", "train",
        {"image": "synpic1", "question": "is this a ct or an mri?", "answer": "ct"}, "",
        {"no answer": ({"answer": " "}, "no-answer"),
         "empty stem": ({"question": ""}, "empty-question"),
         "too many cells": ({"x": "1", "y": "2"}, "ragged-row"),
         "missing image": ({"image": "synpic2"}, "missing-image")},
        ("ImageClef-2019-VQA-Med-Training/Train_images/synpic1.jpg",),
    ),
    Shape(
        "medqa", "phrases_no_exclude_train.jsonl", "train",
        {"question": "Which?", "answer": "lung", "options": _FOUR, "meta_info": "step1", "answer_idx": "B"}, "answer_idx",
        {"missing field": ({"options": MISSING}, "missing-field"),
         "wrong type": ({"options": ["heart", 3]}, "wrong-type"),
         "unknown key letter": ({"answer_idx": "F"}, "unknown-label"),
         "duplicate options": ({"options": {**_FOUR, "D": "lung"}}, "duplicate-options"),
         "empty stem": ({"question": "\u00a0"}, "empty-question"),
         "not among options": ({"answer": "colon"}, "label-contradicts-answer")},
    ),
    Shape(
        "medmcqa", "data/train.jsonl", "train",
        {"id": "a-1", "question": "Which?", "opa": "heart", "opb": "lung", "opc": "liver", "opd": "spleen", "cop": 1}, "cop",
        {"missing field": ({"opd": None}, "missing-field"),
         "wrong type": ({"cop": "b"}, "wrong-type"),
         "unknown key": ({"cop": 4}, "unknown-label"),
         "hidden answer": ({"cop": -1}, "no-answer"),
         "duplicate options": ({"opc": "Lung"}, "duplicate-options"),
         "empty option": ({"opc": ""}, "empty-option"),
         "empty stem": ({"question": ""}, "empty-question")},
    ),
    Shape(
        "head-qa", "HEAD_EN/train_HEAD_EN.json", "train",
        {"qid": "1", "qtext": "Which?", "ra": "2", "answers": _HEAD, "image": ""}, "qtext",
        {"missing field": ({"answers": MISSING}, "missing-field"),
         "wrong type": ({"ra": "second"}, "wrong-type"),
         "unknown key": ({"ra": "5"}, "unknown-label"),
         "zero is no answer": ({"ra": "0"}, "unknown-label"),
         "duplicate options": ({"answers": [*_HEAD[:3], {"aid": 4, "atext": "heart"}]}, "duplicate-options"),
         "empty stem": ({"qtext": ""}, "empty-question"),
         "needs a picture": ({"image": "./data/MIR/x.png"}, "needs-image")},
    ),
    Shape(
        "pubmedqa", "data/ori_pqal.json", "train",
        {"QUESTION": "Does it?", "CONTEXTS": ["It did."], "final_decision": "yes"}, "CONTEXTS",
        {"missing field": ({"final_decision": MISSING}, "missing-field"),
         "wrong type": ({"CONTEXTS": [1]}, "wrong-type"),
         "empty stem": ({"QUESTION": ""}, "empty-question"),
         "not among options": ({"final_decision": "perhaps"}, "answer-not-among-options")},
    ),
    Shape(
        "mmlu-medical", "data/test/anatomy_test.csv", "test", {"q": "Which?", **_FOUR, "answer": "B"}, "",
        {"unknown key letter": ({"answer": "E"}, "unknown-label"),
         "duplicate options": ({"A": "lung"}, "duplicate-options"),
         "empty stem": ({"q": ""}, "empty-question")},
        header=False,
    ),
    Shape(
        "mmlu-medical", "anatomy/test.parquet", "test",
        {"question": "Which?", "subject": "anatomy", "choices": list(_FOUR.values()), "answer": 1}, "choices",
        {"missing field": ({"question": None}, "missing-field"),
         "wrong type": ({"answer": "B"}, "wrong-type"),
         "unknown key": ({"answer": 4}, "unknown-label"),
         "duplicate options": ({"choices": ["x", "x"]}, "duplicate-options"),
         "empty stem": ({"question": ""}, "empty-question")},
    ),
    Shape(
        "mmlu-pro-health", "data/test.parquet", "test",
        {"question_id": 1, "question": "Which?", "options": [*_FOUR.values(), "N/A"], "answer": "B", "category": "health"},
        "options",
        {"missing field": ({"answer": None}, "missing-field"),
         "wrong type": ({"options": [1, 2]}, "wrong-type"),
         "unknown key letter": ({"answer": "E"}, "unknown-label"),
         "duplicate options": ({"options": ["x", "x"]}, "duplicate-options"),
         "empty stem": ({"question": ""}, "empty-question")},
    ),
    Shape(
        "m23k", "train.jsonl", "train",
        {"prompt": "Which?\nA. heart\nB. lung", "answer_letter": "B", "answer_string": "lung", "reasoning": "Okay …",
         "source": "openlifescienceai/medmcqa"},
        "answer_letter",
        {"missing field": ({"prompt": MISSING}, "missing-field"),
         "wrong type": ({"prompt": ["Which?"]}, "wrong-type"),
         "origin of a wrong type": ({"source": ["medmcqa"]}, "wrong-type"),
         "no options": ({"prompt": "Which?"}, "option-count"),
         "unknown key letter": ({"answer_letter": "C"}, "unknown-label"),
         "duplicate options": ({"prompt": "Which?\nA. lung\nB. lung"}, "duplicate-options"),
         "empty stem": ({"prompt": "\nA. heart\nB. lung"}, "empty-question"),
         "not among options": ({"answer_string": "colon"}, "label-contradicts-answer")},
    ),
    Shape(
        "folder", "train.jsonl", "train",
        {"id": "1", "question": "Which?", "options": list(_FOUR.values()), "answer": "B", "image": "x/1.png"}, "",
        {"no question": ({"question": MISSING}, "empty-question"),
         "wrong type": ({"question": ["Which?"]}, "wrong-type"),
         "unknown key letter": ({"answer": "Z"}, "unknown-label"),
         "duplicate options": ({"options": ["x", "x"]}, "duplicate-options"),
         "not among options": ({"answer": "colon"}, "answer-not-among-options"),
         "no answer": ({"answer": MISSING}, "no-answer"),
         "missing image": ({"image": "x/2.png"}, "missing-image"),
         "escaping image": ({"image": "../secret.png"}, "unsafe-image-path"),
         "absolute image": ({"image": "/etc/passwd"}, "unsafe-image-path")},
        ("x/1.png",),
    ),
]  # fmt: skip
