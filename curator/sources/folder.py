"""Your own questions and pictures: a folder with a CSV, TSV, JSON, JSON lines or Parquet file, and images beside it.

    curator build --source folder --data-dir my-set

Each question file is a split by its name (train.csv, test.jsonl; any other name is train). Columns are found by their usual
names, or given in the recipe: `columns: {question: Stem, options: [A, B, C, D], answer: Key, images: Picture}`; `answer` may be
a letter, a number, a text or both (`options: {keys: one-based}` or `zero-based` where a file does not prove what its numbers count
from). Image paths are relative to the folder. The licence is yours to say: `options: {license: cc-by-4.0}`.

{"question": "Is there a fracture?", "options": ["Yes", "No"], "answer": "No", "image": "xray/0001.jpg"}
"""

from curator.sources import Source
from curator.sources.columns import KEYS, open_folder

FOLDER = Source(
    name="folder",
    title="your own questions and images",
    homepage="your disk",
    license="unknown",
    redistributable=None,
    modality="image+text",
    options={"license": (), "language": (), "keys": KEYS},
    note="columns are found by their usual names, or given as `columns` in a recipe",
    opener=open_folder,
)
