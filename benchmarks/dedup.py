"""Near-duplicates of a million questions: curator beside rensa and datasketch, judged by an exact oracle.

    python benchmarks/dedup.py                      # 10k, 100k, 1M; some 15 minutes of CPU
    python benchmarks/dedup.py --sizes 100000 --rounds 1
    python benchmarks/dedup.py --millions 10        # memory only

Jaccard .8 of word 5-grams. Every tool reads the same Parquet file in a process of its own, imports included, and says which
rows it keeps. rensa runs as its README does (`RMinHashDeduplicator(threshold=0.8, num_perm=128, use_lsh=True)`, `add_pairs`)
on word 5-grams of the normal form (NFKC, lower case, words by `\\w+`), datasketch with `MinHashLSH(threshold=0.8,
num_perm=128)`, query then insert, on the same. rensa-split leaves the normalising out, which this corpus happens not to need;
rensa-words is the README to the letter, single words by `split()`: another similarity. curator and curator-frame know which
words are options (a file, a frame in memory), and so need not read questions whose options nobody shares; curator-text is
given the whole text as an open question, as the peers are, and must read all. Recall: share of the oracle's
pairs of which not both are kept. Precision: share of removals that have a kept row at .8 or more.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import sys
import tempfile
import unicodedata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np

THRESHOLD = 0.8


def normal_words(text: str) -> list[str]:
    return re.findall(r"\w+", unicodedata.normalize("NFKC", text).lower())


def grams(words: list[str]) -> list[str]:
    return [" ".join(words[i : i + 5]) for i in range(max(1, len(words) - 4))]


def texts(path: str) -> list[str]:
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=["text"])["text"].to_pylist()


def keep_curator_frame(path: str) -> np.ndarray:
    import polars as pl

    from curator import dedup

    rows = pl.read_parquet(path, columns=["id", "question", "options", "answer"])
    return dedup.find(rows, threshold=THRESHOLD).keep


def keep_curator_file(path: str) -> np.ndarray:
    from curator import dedup

    return dedup.find(path, threshold=THRESHOLD).keep


def keep_curator_text(path: str) -> np.ndarray:
    import polars as pl

    from curator import dedup

    rows = pl.read_parquet(path, columns=["id", "text"]).rename({"text": "question"})
    return dedup.find(rows, threshold=THRESHOLD).keep


def keep_rensa(path: str) -> list[bool]:
    from rensa import RMinHashDeduplicator

    found = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=128, use_lsh=True)
    return list(found.add_pairs((str(i), grams(normal_words(text))) for i, text in enumerate(texts(path))))


def keep_rensa_split(path: str) -> list[bool]:
    from rensa import RMinHashDeduplicator

    found = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=128, use_lsh=True)
    return list(found.add_pairs((str(i), grams(text.split())) for i, text in enumerate(texts(path))))


def keep_rensa_words(path: str) -> list[bool]:
    from rensa import RMinHashDeduplicator

    found = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=128, use_lsh=True)
    return list(found.add_pairs((str(i), text.split()) for i, text in enumerate(texts(path))))


def keep_datasketch(path: str) -> list[bool]:
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=THRESHOLD, num_perm=128)
    keep = []
    for i, text in enumerate(texts(path)):
        signature = MinHash(num_perm=128)
        signature.update_batch([gram.encode() for gram in grams(normal_words(text))])
        fresh = not index.query(signature)
        if fresh:
            index.insert(i, signature)
        keep.append(fresh)
    return keep


SLOW = ("datasketch",)
"""At 1M these run in the first round only."""
TOOLS = {
    "curator": keep_curator_file,
    "curator-frame": keep_curator_frame,
    "curator-text": keep_curator_text,
    "rensa": keep_rensa,
    "rensa-split": keep_rensa_split,
    "rensa-words": keep_rensa_words,
    "datasketch": keep_datasketch,
}


def oracle(path: Path) -> np.ndarray:
    """All pairs at .8 or more, (n, 2): an exact join by prefix filter, sharing no code with curator; kept beside the corpus."""
    saved = path.with_suffix(".pairs.npy")
    if saved.exists():
        return np.load(saved)
    import numba
    import xxhash

    rows, hashes = [], []
    for text in texts(str(path)):
        found = {xxhash.xxh3_64_intdigest(gram.encode()) for gram in grams(text.split())}
        hashes.append(np.fromiter(found, np.uint64, len(found)))
        rows.append(len(found))
    sizes = np.array(rows, np.int64)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    _, place, count = np.unique(np.concatenate(hashes), return_inverse=True, return_counts=True)
    del hashes
    rank = np.empty(len(count), np.int64)
    rank[np.argsort(count, kind="stable")] = np.arange(len(count))
    tokens = (
        np.sort((np.repeat(np.arange(len(sizes)), sizes) << 32) | rank[place]) & 0xFFFFFFFF
    )  # rare first in each row
    within = np.arange(len(tokens)) - np.repeat(offsets[:-1], sizes)
    prefix = np.flatnonzero(within < np.repeat(sizes - np.ceil(THRESHOLD * sizes - 1e-9).astype(np.int64) + 1, sizes))
    owner = np.searchsorted(offsets, prefix, side="right") - 1
    order = np.argsort(tokens[prefix], kind="stable")
    token, owner = tokens[prefix][order], owner[order]

    @numba.njit
    def join(token, owner, tokens, offsets, out):  # type: ignore[no-untyped-def]
        used = 0
        start = 0
        while start < len(token):
            end = start + 1
            while end < len(token) and token[end] == token[start]:
                end += 1
            for a in range(start, end):
                for b in range(a + 1, end):
                    x, y = owner[a], owner[b]
                    i, j = offsets[x], offsets[y]
                    m, n = offsets[x + 1], offsets[y + 1]
                    size = m - i + n - j
                    if min(m - i, n - j) < 0.8 * max(m - i, n - j) - 1e-9:
                        continue
                    shared = 0
                    first = -1
                    while i < m and j < n:
                        if tokens[i] == tokens[j]:
                            if shared == 0:
                                first = tokens[i]
                            shared += 1
                            i += 1
                            j += 1
                        elif tokens[i] < tokens[j]:
                            i += 1
                        else:
                            j += 1
                    # a pair is met once per shared prefix token: count it at the first one
                    if first == token[start] and shared >= 0.8 * (size - shared) - 1e-9:
                        if used < len(out):
                            out[used, 0], out[used, 1] = min(x, y), max(x, y)
                        used += 1
            start = end
        return used

    pairs = np.empty((1, 2), np.int64)
    used = join(token, owner, tokens, offsets, pairs)
    pairs = np.empty((used, 2), np.int64)
    join(token, owner, tokens, offsets, pairs)
    np.save(saved, pairs)
    return pairs


def judge(pairs: np.ndarray, keep: np.ndarray) -> tuple[float, float]:
    both = keep[pairs[:, 0]] & keep[pairs[:, 1]]
    justified = np.zeros(len(keep), bool)
    for a, b in ((0, 1), (1, 0)):
        justified[pairs[keep[pairs[:, a]], b]] = True
    removed = ~keep
    return 1 - both.mean(), float(justified[removed].mean()) if removed.any() else 1.0


def main() -> None:
    from corpus import SEED, large, questions
    from peers import measure, versions

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tools", nargs="+", default=list(TOOLS))
    parser.add_argument("--tool", choices=[*TOOLS, "curator-oracle"])
    parser.add_argument("--millions", type=int, help="only stream so many million records and say the peak of memory")
    parser.add_argument("file", nargs="?")
    parser.add_argument("out", nargs="?")
    arguments = parser.parse_args()
    if arguments.tool == "curator-oracle":
        oracle(Path(arguments.file))
        return
    if arguments.millions:
        with tempfile.TemporaryDirectory() as folder:
            run = measure(
                "curator", str(Path(__file__).resolve()), str(large(arguments.millions)), f"{folder}/keep.npy"
            )
            keep = np.load(f"{folder}/keep.npy")
        print(f"{len(keep):,} records streamed from one Parquet file: {(~keep).sum():,} removed, {run.cpu:.0f} CPU s, "
              f"{run.wall:.0f} s wall, peak {run.rss:.2f} GB")  # fmt: skip
        return
    if arguments.tool:
        np.save(arguments.out, np.array(TOOLS[arguments.tool](arguments.file), bool))
        return
    print(
        f"Near-duplicates at Jaccard {THRESHOLD} of word 5-grams; seed {SEED}; medians of {arguments.rounds} rounds, each tool once"
    )
    print(f"a round (at 1M datasketch in the first only), one process each. {platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python "
          f"{platform.python_version()}; {versions(['rensa', 'datasketch'])}.\n")  # fmt: skip
    print("| records | tool | CPU s | wall s | peak GB | recall | precision | CPU / curator's |")
    print("|---|---|---|---|---|---|---|---|")
    script = str(Path(__file__).resolve())
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/keep.npy"
        cold = None
        for size in arguments.sizes:
            path = questions(size)
            measure("curator-oracle", script, str(path))  # apart, or its memory would count as the tools'
            pairs = oracle(path)
            runs: dict[str, list] = {tool: [] for tool in arguments.tools}
            quality = {}
            if size >= 100_000:
                if cold is None:
                    cold = measure("curator", script, str(path), out, NUMBA_CACHE_DIR=f"{folder}/cold")
                    print(
                        f"| {size:,} | curator, compiling (cold) | {cold.cpu:.1f} | {cold.wall:.1f} | {cold.rss:.2f} | | | |"
                    )
                measure("curator", script, str(path), out)  # so that the cache is warm
            for number in range(arguments.rounds):
                for tool in arguments.tools:
                    if number and tool in SLOW and size >= 1_000_000:
                        continue
                    runs[tool].append(measure(tool, script, str(path), out))
                    quality[tool] = judge(pairs, np.load(out))
                    print(size, number, tool, runs[tool][-1], *quality[tool], file=sys.stderr, flush=True)
            for tool in arguments.tools:
                cpu = statistics.median(run.cpu for run in runs[tool])
                ratio = statistics.median(a.cpu / b.cpu for a, b in zip(runs[tool], runs["curator"], strict=False))
                wall = statistics.median(run.wall for run in runs[tool])
                recall, precision = quality[tool]
                print(f"| {size:,} | {tool} | {cpu:.2f} | {wall:.1f} | {max(r.rss for r in runs[tool]):.2f} | {recall:.6f} | "
                      f"{precision:.4f} | {ratio:.1f} |", flush=True)  # fmt: skip
        print(f"\ncurator reads a Parquet file and streams it; curator-frame is given a polars frame in memory, as a build does. "
              f"The oracle knows {len(pairs):,} pairs among {size:,} records.")  # fmt: skip


if __name__ == "__main__":
    main()
