"""Images: the whole stage and the hash beside Pillow + imagehash, and the leakage thresholds on real radiographs.

    python benchmarks/images.py                     # everything, some 10 minutes; writes results/images.md
    python benchmarks/images.py --only speed --rounds 3

Speed: every round runs each tool in a process of its own, one after the other, over the same files in memory; the ratio
is the median of the rounds' own ratios. The peer does the same work as a careful user of Pillow and imagehash would: decode,
turn upright, colour, bounds, sha256 of file and pixels, imagehash's `phash(hash_size=16)`, a high-pass picture; where an
image has metadata it has to be coded again, since Pillow cannot take it off. Its environment (imagehash, and Pillow of the
version that curator runs on) is made in the cache folder on first use.

Thresholds: VQA-RAD's 315 images, from ../shared/data; copies of each against it, and all pairs of different patients with
the same organ against each other.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from PIL import Image, ImageEnhance, ImageFilter, ImageOps  # noqa: E402

SEED = 20_261_121
VQA_RAD = Path(__file__).parent.parent.parent / "shared" / "data" / "vqa_rad"
RESULTS = Path(__file__).parent / "results" / "images.md"


# -- the tools, each in a process of its own ---------------------------------------------------------------------------


def peer_row(data: bytes) -> tuple[object, ...]:
    """What `curator.images.process` does for one image, with Pillow and imagehash."""
    import imagehash

    original = hashlib.sha256(data).hexdigest()
    image = Image.open(io.BytesIO(data))
    image.load()
    kind = "JPEG" if image.format == "JPEG" else "PNG"
    changed = image.format != kind or bool(
        set(image.info) & {"exif", "xmp", "comment", "icc_profile", "photoshop", "dpi"}
    )
    changed = changed or bool(getattr(image, "text", None))
    upright = ImageOps.exif_transpose(image)
    if upright.mode not in ("L", "RGB"):
        layer = upright.convert("RGBA")
        upright = Image.new("RGB", layer.size, "white")
        upright.paste(layer, mask=layer.getchannel("A"))
    long, short = max(upright.size), min(upright.size)
    scale = min(max(28 / short, 1.0), 1024 / long)
    if scale != 1:
        size = (round(upright.width * scale), round(upright.height * scale))
        upright = upright.resize(size, Image.Resampling.HAMMING, reducing_gap=3.0)
    if changed or upright.size != image.size:
        out = io.BytesIO()
        upright.info = {}
        upright.save(out, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {"compress_level": 6}))
        data = out.getvalue()
        if kind == "JPEG":
            upright = Image.open(io.BytesIO(data))
    stored = hashlib.sha256(data).hexdigest()
    pixels = hashlib.sha256(b"%dx%d\n" % upright.size + upright.convert("RGB").tobytes()).hexdigest()
    phash = imagehash.phash(upright, hash_size=16)
    gray = upright.convert("L").resize((24, 24), Image.Resampling.LANCZOS)
    blurred = gray.filter(ImageFilter.GaussianBlur(3)).tobytes()
    detail = bytes((a - b) & 255 for a, b in zip(gray.tobytes(), blurred, strict=True))
    return original, stored, data, upright.size, pixels, phash, detail


def peer_hash(data: bytes) -> object:
    import imagehash

    return imagehash.phash(Image.open(io.BytesIO(data)), hash_size=16)


def peer_draft_hash(data: bytes) -> object:
    import imagehash

    image = Image.open(io.BytesIO(data))
    image.draft("L", (64, 64))
    return imagehash.phash(image, hash_size=16)


def curator_hash(data: bytes) -> object:
    import simplejpeg

    from curator.images import Normalised, fingerprint

    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    return fingerprint(Normalised(data, "JPEG", width, height))


def run_tool(tool: str, folder: str) -> None:
    """Print CPU and wall seconds of one pass over the files of a folder, as JSON."""
    files = [path.read_bytes() for path in sorted(Path(folder).iterdir())]

    def over(one: Callable[[bytes], object]) -> Callable[[list[bytes]], object]:
        return lambda some: [one(data) for data in some]

    def stage(workers: int | None) -> Callable[[list[bytes]], object]:
        from curator import image_fast, recipe
        from curator.images import process

        image_fast.COMPILED_FROM = 0  # as after the first seconds of a large set

        return lambda some: [
            row.sha256 for row in process(((str(n), d) for n, d in enumerate(some)), recipe.Images(), workers)
        ]

    tools: dict[str, Callable[[], Callable[[list[bytes]], object]]] = {
        "peer": lambda: over(peer_row), "peer-hash": lambda: over(peer_hash), "peer-draft-hash": lambda: over(peer_draft_hash),
        "curator": lambda: stage(1), "curator-cores": lambda: stage(None), "curator-hash": lambda: over(curator_hash),
    }  # fmt: skip
    work = tools[tool]()
    work(files[:10])
    cpu, wall = time.process_time(), time.perf_counter()
    work(files)
    print(json.dumps({"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "images": len(files)}))


def peer_python() -> tuple[str, str]:
    """The peer's interpreter, and what is installed there."""
    from corpus import cache

    wanted = ["imagehash==4.3.2", f"pillow=={Image.__version__}"]
    folder = cache() / "images-env"
    if not (folder / "done").is_file() or (folder / "done").read_text() != " ".join(wanted):
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "-q", *wanted], check=True)
        (folder / "done").write_text(" ".join(wanted))
    return str(folder / "bin" / "python"), ", ".join(wanted).replace("==", " ")


def measure(tool: str, folder: Path, python: str) -> dict[str, float]:
    interpreter = sys.executable if tool.startswith("curator") else python
    command = [interpreter, __file__, "--tool", tool, "--folder", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found: dict[str, float] = json.loads(done.stdout)
    return found


# -- corpora -----------------------------------------------------------------------------------------------------------


def photo(rng: random.Random, width: int, height: int, gray: bool) -> Image.Image:
    """A picture with the spectrum of a photograph: noise of several scales, smooth colour, sharp edges."""
    layers = Image.effect_noise((max(4, width // 32), max(4, height // 32)), 90).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    fine = Image.effect_noise((width // 2, height // 2), 30).resize((width, height), Image.Resampling.BILINEAR)
    base = Image.blend(layers, fine, 0.35)
    if gray:
        return base
    tint = Image.linear_gradient("L").resize((width, height)).rotate(rng.choice([0, 90, 180]))
    return Image.merge(
        "RGB", (base, Image.blend(base, tint.resize(base.size), 0.4), ImageOps.invert(tint.resize(base.size)))
    )


KINDS = {"jpeg": 120, "gray jpeg": 120, "jpeg with exif": 120, "png": 60, "jpeg beyond 1,024 px": 40}
"""Generated files by kind: 300-900 px, those beyond the bound 1,100-1,800; JPEG quality 75-95."""


def write_kind(folder: Path, kind: str, count: int) -> None:
    rng = random.Random(f"{SEED} {kind}")
    exif = Image.Exif()
    exif[0x010F], exif[0x0132] = "Maker", "2020:01:01 00:00:00"
    for n in range(count):
        side = rng.randrange(1100, 1800) if "beyond" in kind else rng.randrange(300, 900)
        image = photo(rng, side, round(side * rng.uniform(0.6, 1.0)), kind == "gray jpeg")
        if kind == "png":
            image.save(folder / f"{n:05}.png", "PNG")
            continue
        exif[0x0112] = 6 if n % 5 == 0 else 1  # one photograph in five was taken upright
        options = {"exif": exif.tobytes()} if kind == "jpeg with exif" else {}
        image.save(folder / f"{n:05}.jpg", "JPEG", quality=rng.randrange(75, 96), **options)


def describe(folder: Path) -> str:
    sizes = [Image.open(path).size for path in folder.iterdir()]
    pixels = statistics.mean(w * h for w, h in sizes) / 1e6
    large = sum(max(size) > 1024 for size in sizes) / len(sizes)
    return f"{len(sizes)}, {pixels:.2f} Mpx" + (f", {large:.0%} beyond 1,024 px" if 0 < large < 1 else "")


def speed(rounds: int) -> Iterator[str]:
    python, installed = peer_python()
    import numpy
    import simplejpeg

    yield "## Speed\n"
    yield (
        f"Peer: {installed}. curator: Pillow {Image.__version__}, simplejpeg {simplejpeg.__version__}, numpy {numpy.__version__}. "
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}. {rounds} paired rounds, seed {SEED}. "
        "Milliseconds an image, medians; ratios are medians (least-most) of the rounds' own ratios. CPU compares one thread "
        "with one thread, compiled code loaded; wall compares the stage with a thread per core with the peer's loop, other work "
        f"on the machine included (load {os.getloadavg()[0]:.1f} at the start).\n"
    )
    with tempfile.TemporaryDirectory() as temporary:
        corpora = []
        real = VQA_RAD / "VQA_RAD Image Folder"
        if real.is_dir():
            corpora.append(("**VQA-RAD, real**", real))
        for kind, count in KINDS.items():
            folder = Path(temporary) / kind
            folder.mkdir()
            write_kind(folder, kind, count)
            corpora.append((kind, folder))
        yield "| whole stage | images | peer, CPU ms | curator, CPU ms | CPU, times less | wall, times less |"
        yield "|---|---|---|---|---|---|"
        for name, folder in corpora:
            runs = _runs(folder, python, rounds, ["peer", "curator", "curator-cores"])
            yield (
                f"| {name} | {describe(folder)} | {_median(runs, 'peer')} | {_median(runs, 'curator')} | "
                f"{_ratio(runs, 'peer', 'curator', 'cpu')} | {_ratio(runs, 'peer', 'curator-cores', 'wall')} |"
            )
        yield ""
        yield "| hash of a JPEG file | imagehash, CPU ms | imagehash after `draft` | curator | times less | times less than with `draft` |"
        yield "|---|---|---|---|---|---|"
        for name, folder in corpora:
            if name == "png":
                continue
            runs = _runs(folder, python, rounds, ["peer-hash", "peer-draft-hash", "curator-hash"])
            yield (
                f"| {name} | {_median(runs, 'peer-hash')} | {_median(runs, 'peer-draft-hash')} | {_median(runs, 'curator-hash')} | "
                f"{_ratio(runs, 'peer-hash', 'curator-hash', 'cpu')} | {_ratio(runs, 'peer-draft-hash', 'curator-hash', 'cpu')} |"
            )
        yield (
            "\nimagehash: `phash(image, hash_size=16)`. `draft` is Pillow's way to decode a JPEG small, which imagehash's README "
            "does not mention; curator's hash comes with its detail.\n"
        )


Runs = dict[str, list[dict[str, float]]]


def _runs(folder: Path, python: str, rounds: int, tools: list[str]) -> Runs:
    runs: Runs = {tool: [] for tool in tools}
    for _ in range(rounds):
        for tool in tools:
            runs[tool].append(measure(tool, folder, python))
    return runs


def _median(runs: Runs, tool: str) -> str:
    return f"{statistics.median(run['cpu'] / run['images'] for run in runs[tool]) * 1e3:.2f}"


def _ratio(runs: Runs, above: str, below: str, key: str) -> str:
    ratios = [a[key] / b[key] for a, b in zip(runs[above], runs[below], strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


# -- thresholds --------------------------------------------------------------------------------------------------------


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)  # type: ignore[arg-type]
    return out.getvalue()


def copies(image: Image.Image) -> Iterator[tuple[str, bytes]]:
    """Changed copies of an image, named."""
    width, height = image.size
    for scale in (0.25, 0.5, 1.5):
        yield (
            f"resized to {scale:g}",
            encode(image.resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)),
        )
    yield "resized to .75, quality 85", encode(image.resize((width * 3 // 4, height * 3 // 4)), "JPEG", quality=85)
    yield "squeezed to 224 x 224", encode(image.resize((224, 224), Image.Resampling.BILINEAR), "JPEG", quality=85)
    for quality in (90, 50, 20):
        yield f"JPEG quality {quality}", encode(image, "JPEG", quality=quality)
    yield "WebP quality 50", encode(image, "WEBP", quality=50)
    for factor in (1.15, 0.8):
        yield f"brightness x {factor:g}", encode(ImageEnhance.Brightness(image).enhance(factor), "JPEG", quality=90)
    yield "contrast x 1.2", encode(ImageEnhance.Contrast(image).enhance(1.2), "JPEG", quality=90)
    yield "gamma .8", encode(image.point([round(255 * (v / 255) ** 0.8) for v in range(256)] * 3), "JPEG", quality=90)
    for share in (0.01, 0.02, 0.03, 0.05):
        dx, dy = round(width * share), round(height * share)
        yield (
            f"cropped by {share:.0%} a side",
            encode(image.crop((dx, dy, width - dx, height - dy)), "JPEG", quality=90),
        )


def thresholds() -> Iterator[str]:
    import numpy as np

    from curator import recipe
    from curator.image_hash import correlation
    from curator.image_match import MAX_BITS, MIN_CORRELATION
    from curator.images import process

    def hashes(files: list[bytes]) -> tuple[np.ndarray, list[bytes]]:
        rows = list(process(((str(n), data) for n, data in enumerate(files)), recipe.Images()))
        bits = np.stack([np.unpackbits(np.frombuffer(row.phash, np.uint8)) for row in rows])
        return bits, [row.detail for row in rows]

    yield "## Thresholds on VQA-RAD\n"
    if not VQA_RAD.is_dir():
        yield "VQA-RAD is not at hand (../shared/data); nothing measured.\n"
        return
    questions = json.loads((VQA_RAD / "VQA_RAD Dataset Public.json").read_text("utf-8"))
    about = {row["image_name"]: (row["image_organ"], row["image_case_url"]) for row in questions}
    names = sorted(about)
    files = [(VQA_RAD / "VQA_RAD Image Folder" / name).read_bytes() for name in names]
    bits, details = hashes(files)
    distance = (bits[:, None] != bits[None]).sum(-1)
    pairs = np.array([
        (i, j) for i in range(len(names)) for j in range(i)
        if about[names[i]][0] == about[names[j]][0] and about[names[i]][1] != about[names[j]][1]
    ])  # fmt: skip
    far = distance[pairs[:, 0], pairs[:, 1]]
    alike = np.array([correlation(details[i], details[j]) for i, j in pairs])
    flagged = int((far <= MAX_BITS).sum())
    yield (
        f"A near match: at most {MAX_BITS} of 256 bits ({MAX_BITS / 256:.0%}) and a correlation of at least {MIN_CORRELATION}. "
        f"{len(names)} images, {len(pairs):,} pairs of different cases with the same organ.\n"
    )
    yield "| unrelated pairs, same organ | |"
    yield "|---|---|"
    yield f"| flagged by bits, before confirmation | {flagged} of {len(pairs):,} ({flagged / len(pairs):.4%}) |"
    yield f"| differing bits: least, .1 %, median | {far.min()}, {np.percentile(far, 0.1):.0f}, {np.median(far):.0f} |"
    yield f"| correlation: most, 99.9 %, median | {alike.max():.3f}, {np.percentile(alike, 99.9):.3f}, {np.median(alike):.3f} |"
    for i, j in pairs[np.argsort(far)[:3]]:
        yield f"| nearest: {names[i]}, {names[j]} ({about[names[i]][0].lower()}) | {distance[i, j]} bits, {correlation(details[i], details[j]):.2f} |"
    yield ""
    made: dict[str, list[bytes]] = {}
    for data in files:
        for kind, copy in copies(Image.open(io.BytesIO(data)).convert("RGB")):
            made.setdefault(kind, []).append(copy)
    yield "| copy against its original | bits: median, 99 %, most | correlation: least | found |"
    yield "|---|---|---|---|"
    for kind, some in made.items():
        theirs, fine = hashes(some)
        far, alike = (theirs != bits).sum(1), np.array(list(map(correlation, fine, details)))
        found = ((far <= MAX_BITS) & (alike >= MIN_CORRELATION)).mean()
        yield f"| {kind} | {np.median(far):.0f}, {np.percentile(far, 99):.0f}, {far.max()} | {alike.min():.3f} | {found:.1%} |"
    yield ""
    yield from slices(hashes, MAX_BITS, MIN_CORRELATION)


def slices(hashes: Callable[..., object], max_bits: int, min_correlation: float) -> Iterator[str]:
    """How neighbouring slices of one scan fare: VQA-RAD has one image a case, so it cannot say."""
    try:
        import nibabel
    except ImportError:
        yield "Slices of one scan: nibabel is not installed; nothing measured.\n"
        return
    import numpy as np

    from curator.image_hash import correlation

    yield "| slices of one scan (nibabel's samples) | apart | bits: least, median | correlation: median, most | taken for the same |"
    yield "|---|---|---|---|---|"
    folder = Path(nibabel.__file__).parent / "tests" / "data"
    for name in ("example4d.nii.gz", "anatomical.nii"):
        volume = np.asarray(nibabel.load(folder / name).dataobj).astype(float)
        volume = volume[..., 0] if volume.ndim == 4 else volume
        spacing = float(nibabel.load(folder / name).header.get_zooms()[2])
        scaled = (volume / np.percentile(volume, 99.5) * 255).clip(0, 255).astype(np.uint8)
        inside = [z for z in range(scaled.shape[2]) if scaled[..., z].std() > 10]
        bits, details = hashes([encode(Image.fromarray(np.ascontiguousarray(scaled[..., z]))) for z in inside])  # type: ignore[misc]
        for step in (1, 2):
            far = (bits[step:] != bits[:-step]).sum(1)
            alike = np.array(list(map(correlation, details[step:], details[:-step])))
            same = ((far <= max_bits) & (alike >= min_correlation)).mean()
            yield (
                f"| {name}, {scaled.shape[0]} x {scaled.shape[1]} | {spacing * step:.1f} mm | {far.min()}, {np.median(far):.0f} | "
                f"{np.median(alike):.2f}, {alike.max():.2f} | {same:.0%} |"
            )
    yield ""


# -- matching at size --------------------------------------------------------------------------------------------------


def matching() -> Iterator[str]:
    import numpy as np
    import polars as pl

    from curator.image_match import match

    rng = np.random.default_rng(SEED)

    def frame(name: str, size: int) -> pl.DataFrame:
        sha = [f"{name}{n:063x}" for n in range(size)]
        phash = [row.tobytes() for row in rng.integers(0, 256, (size, 32), dtype=np.uint8)]
        detail = [row.tobytes() for row in rng.integers(0, 256, (size, 128), dtype=np.uint8)]
        return pl.DataFrame(
            {"sha256": sha, "original_sha256": sha, "pixel_sha256": sha, "phash": phash, "detail": detail}
        )

    theirs, ours = frame("b", 20_000), frame("a", 200_000)
    planted = 2_000
    hashes, details = ours["phash"].to_list(), ours["detail"].to_list()
    for n in range(planted):
        hash_ = np.unpackbits(np.frombuffer(theirs["phash"][n], np.uint8))
        hash_[rng.choice(256, int(rng.integers(1, 40)), replace=False)] ^= 1
        hashes[n], details[n] = np.packbits(hash_).tobytes(), theirs["detail"][n]
    ours = ours.with_columns(pl.Series("phash", hashes), pl.Series("detail", details))
    match(ours.head(20_000), theirs)  # compiled, or loaded from the cache
    cpu, wall = time.process_time(), time.perf_counter()
    found = match(ours, theirs)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    right = sum(int(a[1:], 16) == int(b[1:], 16) for a, b in found.select("candidate", "reference").iter_rows())
    yield "## Matching at size\n"
    yield (
        f"200,000 images against 20,000 (random hashes, {planted:,} planted copies with 1-39 bits flipped): "
        f"{cpu:.1f} CPU-s, {wall:.1f} s, compiled code cached; {right:,} of {planted:,} found, {found.height - right} others.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["speed", "thresholds", "matching"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tool", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.tool:
        run_tool(args.tool, args.folder)
        return
    parts = {"speed": lambda: speed(args.rounds), "thresholds": thresholds, "matching": matching}
    lines = ["# Images: speed, thresholds, matching\n", "Printed by `python benchmarks/images.py`.\n"]
    print("\n".join(lines), flush=True)
    for name, part in parts.items():
        if args.only in (None, name):
            for line in part():
                print(line, flush=True)
                lines.append(line)
    if args.only is None:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text("\n".join(lines).rstrip() + "\n", "utf-8")


if __name__ == "__main__":
    main()
