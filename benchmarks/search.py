"""What an index costs and finds: ``python benchmarks/search.py FOLDER [--images N] [--store S]``.

Some images of the folder are embedded by three of our encoders, whose tokens side by side have 384 numbers.
An archive of N images of 64 × 64 tokens is mixed of them: four patches of two images each, turned, scaled and
shifted in all channels as another stain would, with noise. A store that is there is taken as it is. Not in
`run.py`: it takes minutes, and 3.2 MB for each image of the archive.
"""

import argparse
import os
import resource
import tempfile
from pathlib import Path
from shutil import rmtree
from time import perf_counter

import numpy as np

from napari_sslmaps import embed, load_encoder
from napari_sslmaps.batch.cluster import Workers
from napari_sslmaps.batch.store import (
    Output,
    begin_outputs,
    end_outputs,
    read_about,
    read_tokens,
    write_output,
)
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding, Provenance
from napari_sslmaps.errors import SSLMapsError
from napari_sslmaps.search.index import FOLDER, build_index
from napari_sslmaps.search.query import Like, TokenIndex

ENCODERS = ("mae-histology", "ijepa-histology", "dinov3-histology")
SIDE, STRIDE, PATCH, EMBEDDED = 64, 16, 32, 150
QUERIES, COUNT = 40, 50


def real_tokens(folder: Path) -> list[np.ndarray]:
    """Embed some images of a folder: (rows, cols, dim) each."""
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in (".png", ".jpg", ".tif")]
    np.random.default_rng(0).shuffle(files)
    encoders, found = [load_encoder(name, device="cpu") for name in ENCODERS], []
    for path in files[:EMBEDDED]:
        try:
            made = [embed(str(path), encoder).tokens for encoder in encoders]
        except SSLMapsError:  # a mask, say, among the images
            continue
        found.append(np.concatenate([tokens / tokens.std() for tokens in made], axis=-1).astype(np.float32))
    return found


def mixed(real: list[np.ndarray], number: int) -> np.ndarray:
    """Mix the tokens of one image of the archive."""
    rng, dim = np.random.default_rng(number), real[0].shape[-1]

    def patch() -> np.ndarray:
        tokens = real[rng.integers(len(real))]
        y, x = (rng.integers(0, max(1, side - PATCH)) for side in tokens.shape[:2])
        part = tokens[y : y + PATCH, x : x + PATCH]
        missing = [(0, PATCH - side) for side in part.shape[:2]]
        part = np.pad(part, (*missing, (0, 0)), mode="symmetric")
        return np.rot90(part, rng.integers(4))

    tokens = np.empty((SIDE, SIDE, dim), np.float32)
    for y in range(0, SIDE, PATCH):
        for x in range(0, SIDE, PATCH):
            share = rng.uniform(0.6, 1)
            tokens[y : y + PATCH, x : x + PATCH] = share * patch() + (1 - share) * patch()
    stain, noise = rng.normal(size=(2, dim)), rng.normal(size=tokens.shape)
    return (tokens * (1 + 0.05 * stain[0]) + 0.05 * stain[1] + 0.05 * noise).astype(np.float32)


def make_store(store: Path, images: Path, count: int) -> None:
    """Write an archive."""
    real, unfinished = real_tokens(images), store / ".unfinished" / "benchmark"
    begin_outputs(unfinished)
    region = Region(0, 0, SIDE * STRIDE, SIDE * STRIDE)
    grid = TokenGrid.covering(region, STRIDE)
    for number in range(count):
        embedding = Embedding(mixed(real, number), grid, Provenance(encoder="e", region=region))
        row = {"name": f"i{number:05d}", "image": f"i{number:05d}.png"}
        output = Output(embedding, {}, None, "float16", "k", row)
        write_output(store / "e" / f"i{number:05d}.zarr", output, unfinished)
    end_outputs(unfinished)


def spent() -> float:
    """Return the processor seconds of this process and of those that it started and that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def forget(folder: Path) -> None:
    """Let the system drop what it has of files in memory."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def nearest(index: TokenIndex, vectors: np.ndarray) -> list[set[int]]:
    """Return the numbers of the nearest tokens by comparing all."""
    best = np.full((len(vectors), COUNT), -2.0, np.float32)
    numbers = np.zeros((len(vectors), COUNT), np.int64)
    for image in index.manifest.images:
        output = index.store / image.output
        tokens = read_tokens(output, read_about(output)).reshape(image.count, -1)
        scores = vectors @ index.manifest.prepared(tokens).T
        for row, score in enumerate(scores):
            better = np.flatnonzero(score > best[row].min())
            both = np.concatenate([best[row], score[better]])
            names = np.concatenate([numbers[row], better + image.first])
            kept = np.argsort(-both)[:COUNT]
            best[row], numbers[row] = both[kept], names[kept]
    return [set(row.tolist()) for row in numbers]


def ask(index: TokenIndex, seed: int) -> tuple[np.ndarray, float, set[int]]:
    """Search for a place at random: its vector, the seconds, and the numbers of what was found."""
    rng, images = np.random.default_rng(seed), index.manifest.images
    place = Like(images[rng.integers(len(images))].name, tuple(rng.integers(0, SIDE * STRIDE, 2).tolist()))
    start = perf_counter()
    vector = index.vector([place])
    places = index.search(vector, COUNT, apart=0.0, per_image=10**6)
    seconds = perf_counter() - start
    firsts = {one.name: one.first for one in images}
    return (
        vector,
        seconds,
        {firsts[one.name] + int(one.y // STRIDE) * SIDE + int(one.x // STRIDE) for one in places},
    )


def show_searches(store: Path) -> None:
    """Search, with nothing of the store in memory and again, and compare with exact search."""
    forget(store)
    start = perf_counter()
    cold = TokenIndex(store)
    opened = perf_counter() - start
    times = [ask(cold, seed)[1] for seed in range(QUERIES)]
    start = perf_counter()
    index = TokenIndex(store)
    again = perf_counter() - start
    found = [ask(index, seed) for seed in range(QUERIES)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    exact = nearest(index, np.stack([vector for vector, *_ in found]))
    recall = np.mean([len(one[2] & wanted) / COUNT for one, wanted in zip(found, exact, strict=True)])
    warm = [seconds for _, seconds, _ in found]
    for what, opening, each in (("cold", opened, times), ("warm", again, warm)):
        print(f"{what}: opened in {1e3 * opening:.0f} ms, top {COUNT} in {1e3 * np.median(each):.0f} ms")
    print(f"recall {recall:.3f}, peak memory {peak:.2f} GB, load {os.getloadavg()[0]:.1f}")


def main() -> None:
    """Write an archive, index it, search it, and compare with exact search."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        store = asked.store or Path(temporary) / "store"
        if not store.exists():
            make_store(store, asked.folder, asked.images)
        rmtree(store / FOLDER, ignore_errors=True)
        learnt: list[float] = []

        def on_output(done: int, _: int) -> None:
            if done and not learnt:
                learnt.append(spent())

        start, used = perf_counter(), spent()
        one = Workers(asked.workers, None if asked.workers == 1 else 1)
        report = build_index(store, on_output=on_output, workers=one)
        end, all_used = perf_counter(), spent()
        size = sum(path.stat().st_size for path in (store / FOLDER).rglob("*") if path.is_file())
        tokens = report.tokens
        print(f"{tokens} tokens × {len(TokenIndex(store).manifest.mean)}, load {os.getloadavg()[0]:.1f}")
        print(
            f"built in {end - start:.0f} s by {asked.workers}, {all_used - used:.0f} s of a core: "
            f"{tokens / (end - start) / 1e3:.0f} k tokens/s, {tokens / (all_used - used) / 1e3:.0f} k/s/core"
        )
        print(f"{learnt[0] - used:.0f} s of a core until the first image was in, learning included")
        print(f"{size / tokens:.0f} bytes a token beside the store")
        show_searches(store)


if __name__ == "__main__":
    main()
