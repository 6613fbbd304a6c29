"""The same with pictures of a usual size: making them ready in line beside making them ready ahead.

python3 scripts/vllm_env.py --only-make && .venv-vllm/bin/python benchmarks/scoring_pictures.py

The phantom's pictures are small, and decoding them costs nothing. Here they are blown up to the size of VQA-RAD's before
anybody starts; what the model is shown of them stays within the same number of pixels. Some four minutes on two free cores.
"""

from __future__ import annotations

import argparse
import io
import os
from pathlib import Path

from scoring import SAMPLES, Work, against, interleaved, lengths, table

SIZE = (930, 700)
"""Pixels of a picture: VQA-RAD's have .65 million on average."""


def enlarged(data: bytes) -> bytes:
    """A picture blown up, as JPEG."""
    from PIL import Image

    out = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").resize(SIZE, Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
    return out.getvalue()


def main() -> None:
    """Measure, print and store the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=30)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    work = Work(chosen.questions, chosen.slots)
    work.images = {name: enlarged(data) for name, data in work.images.items()}
    ours = "our stream into the store"
    with lengths(work):
        figures = interleaved(
            work,
            {
                "LLM.generate, everything at once": lambda: work.at_once(()),
                "the seed's loop, 32 questions a batch": lambda: work.seed_loop((), 32),
                ours: lambda: work.stored(()),
            },
            chosen.rounds,
        )
    import vllm

    page = [
        "# Pictures of a usual size",
        "",
        f"vLLM {vllm.__version__} on {os.cpu_count()} cores, one computing thread; {chosen.questions} questions x {SAMPLES} samples with the heavy-tailed",
        f"lengths of `scoring.py`, pictures of {SIZE[0]} x {SIZE[1]} pixels as JPEG; median of {chosen.rounds} interleaved rounds.",
        "",
        *table(figures, "LLM.generate, everything at once"),
        "",
        *against(figures, ours),
        "",
    ]
    text = "\n".join(page)
    print(text)
    (Path(__file__).parent / "results" / "scoring_pictures.md").write_text(text, "utf-8")
    work.engine.close()


if __name__ == "__main__":
    main()
