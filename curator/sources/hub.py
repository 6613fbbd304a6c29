"""Any data set of the Hub as a source: `hub:ORG/NAME`, with `columns` in the recipe where its names are not the usual ones.

    sources: [{name: "hub:me/my-vqa", columns: {question: Stem, options: [A, B, C, D], answer: Key, images: image}}]

Splits are found by file names (`data/train-00000-of-00001.parquet`, `train.jsonl`, `CONFIG/test-….parquet`); option `config`
picks a folder. Option `keys` says what numbers that are keys count from, where a file does not prove it: `zero-based` or
`one-based`. The licence is that of its card unless option `license` says another.
"""

from curator.errors import UsageError
from curator.sources import Source
from curator.sources.columns import KEYS, open_hub


def hub_source(name: str) -> Source:
    """The source of `hub:ORG/NAME`."""
    repo = name.removeprefix("hub:")
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise UsageError(f"{name!r} names no data set of the Hub: write hub:ORG/NAME.")
    return Source(
        name=name,
        title=f"the Hub's {repo}",
        repo=repo,
        homepage=f"https://huggingface.co/datasets/{repo}",
        license="unknown",
        redistributable=None,
        modality="image+text",
        options={"license": (), "language": (), "keys": KEYS, "config": ()},
        opener=open_hub,
    )
