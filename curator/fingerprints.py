"""A benchmark, or a held-out split, as hashes: what `decontaminate.py` compares with.

    made = fingerprint("vqa-rad", rows, images, revision="…")
    made.save("vqa-rad.parquet")
    Fingerprint.load("vqa-rad.parquet").digest() == made.digest()

It holds row ids; 64-bit hashes of normalised questions, options, answers and word 5-grams; sha256 hashes of images, 256-bit
perceptual hashes, and 1,024 bits of their detail that confirm them. Hashes only, so it can be shared and published.
Whoever guesses a text can test whether it is in there: that is what it is for, and no secret is kept by it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curator import shingles
from curator.errors import UsageError
from curator.shingles import Digests
from curator.texts import I64, U8, U64, FrameCorpus

if TYPE_CHECKING:
    import polars as pl

FINGERPRINT_VERSION = 2
IMAGE_COLUMNS = ("sha256", "original_sha256", "pixel_sha256", "phash", "detail")
_KEY = b"curator.fingerprint"


@dataclass(frozen=True)
class Fingerprint:
    """A benchmark, or a held-out split, as hashes. See the module for what is in it."""

    name: str
    revision: str
    ids: list[str]
    digests: Digests
    pictures: U64
    """Of each row's set of images; 0 for text."""
    grams: U64
    """Word 5-grams of question + options of all rows, in order; row i has `offsets[i]:offsets[i + 1]`."""
    offsets: I64
    leading: I64
    """How many of a row's 5-grams lie in its question."""
    numeric: U8
    """How many words of each 5-gram are numbers or symbols."""
    row_images: list[list[str]]
    image_hashes: pl.DataFrame

    @property
    def rows(self) -> int:
        return len(self.ids)

    @property
    def images(self) -> int:
        return self.image_hashes.height

    def digest(self) -> str:
        """sha256 of the content: equal for equal fingerprints, whatever file they lie in."""
        state = hashlib.sha256(
            json.dumps([FINGERPRINT_VERSION, self.name, self.revision, self.ids, self.row_images]).encode()
        )
        columns = (*vars(self.digests).values(), self.pictures, self.grams, self.offsets, self.leading, self.numeric)
        for column in columns:
            state.update(np.ascontiguousarray(column).tobytes())
        for row in self.image_hashes.select(IMAGE_COLUMNS).iter_rows():
            state.update(repr(row).encode())
        return state.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write one Parquet file: a row per question, then a row per image. The same content gives the same bytes."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        from curator.workspace import atomic

        n, m = self.rows, self.images
        questions = {
            "kind": pa.array(["question"] * n, pa.string()),
            "id": pa.array(self.ids, pa.string()),
            "question": pa.array(self.digests.question),
            "options": pa.array(self.digests.options),
            "answer": pa.array(self.digests.answer),
            "words": pa.array(self.digests.words),
            "pictures": pa.array(self.pictures),
            "leading": pa.array(self.leading),
            "grams": pa.LargeListArray.from_arrays(pa.array(self.offsets), pa.array(self.grams)),
            "numeric": pa.LargeListArray.from_arrays(pa.array(self.offsets), pa.array(self.numeric)),
            "images": pa.array(self.row_images, pa.list_(pa.string())),
        }
        images = {"kind": pa.array(["image"] * m, pa.string())}
        for name in IMAGE_COLUMNS:
            kind = pa.binary() if name in ("phash", "detail") else pa.string()
            images[name] = pa.array(self.image_hashes[name].to_list(), kind)
        table = pa.concat_tables([pa.table(questions), pa.table(images)], promote_options="default")
        facts = {
            "schema_version": FINGERPRINT_VERSION,
            "name": self.name,
            "revision": self.revision,
            "rows": n,
            "images": m,
        }
        table = table.replace_schema_metadata({_KEY: json.dumps(facts, sort_keys=True).encode()})
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic(Path(path)) as temporary:
            pq.write_table(table, temporary, compression="zstd", use_dictionary=["kind", "id", "images"])

    @classmethod
    def load(cls, path: str | Path) -> Fingerprint:
        """Read a file that `save` wrote.

        Raises:
            UsageError: no such file, no fingerprint, or one of another schema version.
        """
        import polars as pl
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
        except FileNotFoundError:
            raise UsageError(f"no fingerprint at {path}; build an evaluation recipe to make one.") from None
        except (OSError, pa.ArrowInvalid) as error:
            raise UsageError(f"cannot read the fingerprint {path}: {' '.join(str(error).split())}") from None
        facts = json.loads((table.schema.metadata or {}).get(_KEY, b"{}"))
        if facts.get("schema_version") != FINGERPRINT_VERSION:
            found = facts.get("schema_version", "none")
            raise UsageError(
                f"{path} is no fingerprint of schema {FINGERPRINT_VERSION} (found: {found}); make it anew with an evaluation recipe."
            )
        n = facts["rows"]
        questions, images = table.slice(0, n), table.slice(n)

        def column(name: str, kind: Any) -> Any:
            return questions[name].to_numpy().astype(kind)

        grams, numeric = questions["grams"].combine_chunks(), questions["numeric"].combine_chunks()
        lengths = np.asarray(grams.value_lengths(), np.int64) if n else np.zeros(0, np.int64)
        frame = pl.from_arrow(images.select(IMAGE_COLUMNS))
        assert isinstance(frame, pl.DataFrame)
        return cls(
            facts["name"],
            facts["revision"],
            questions["id"].to_pylist(),
            Digests(
                column("question", np.uint64),
                column("options", np.uint64),
                column("answer", np.uint64),
                column("words", np.int64),
            ),
            column("pictures", np.uint64),
            np.asarray(grams.flatten(), np.uint64) if n else np.zeros(0, np.uint64),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            column("leading", np.int64),
            np.asarray(numeric.flatten(), np.uint8),
            questions["images"].to_pylist(),
            frame,
        )


def fingerprint(name: str, rows: pl.DataFrame, images: pl.DataFrame, revision: str = "") -> Fingerprint:
    """The fingerprint of `rows`.

    Args:
        name: how reports call the benchmark.
        rows: columns id, question, options, answer, images (content hashes).
        images: columns of `IMAGE_COLUMNS`, one row per content hash; those that `rows` do not use are left out.
    """
    import polars as pl

    batches = list(FrameCorpus(rows).batches())
    parts = [shingles.shingle(batch) for batch in batches]
    empty = np.zeros(0, np.uint64)
    digests = Digests(
        np.concatenate([empty, *(p.digests.question for p in parts)]),
        np.concatenate([empty, *(p.digests.options for p in parts)]),
        np.concatenate([empty, *(p.digests.answer for p in parts)]),
        np.concatenate([np.zeros(0, np.int64), *(p.digests.words for p in parts)]),
    )
    lengths = np.concatenate([np.zeros(0, np.int64), *(np.diff(p.offsets) for p in parts)])
    row_images = [list(hashes or []) for hashes in rows["images"].to_list()] if "images" in rows.columns else []
    used = pl.Series("sha256", sorted({sha for hashes in row_images for sha in hashes}), pl.String)
    return Fingerprint(
        name,
        revision,
        rows["id"].to_list(),
        digests,
        np.concatenate([empty, *(batch.pictures for batch in batches)]),
        np.concatenate([empty, *(p.hashes for p in parts)]),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([np.zeros(0, np.int64), *(p.leading for p in parts)]),
        np.concatenate([np.zeros(0, np.uint8), *(p.numeric for p in parts)]),
        row_images or [[] for _ in range(rows.height)],
        used.to_frame().join(images.select(IMAGE_COLUMNS), on="sha256", how="inner", maintain_order="left"),
    )
