"""What an index costs and finds: ``python benchmarks/search.py [IMAGES]``, each of 64 × 64 tokens of 384.

Tokens are smooth mixtures in a space of 48 dimensions, with noise in all. Not in `run.py`: it takes minutes.
"""

import resource
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

from napari_sslmaps.batch.store import Output, begin_outputs, read_embedding, write_output
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding, Provenance
from napari_sslmaps.search.index import FOLDER, build_index
from napari_sslmaps.search.query import Like, TokenIndex

SIDE, DIM, LATENT, STRIDE = 64, 384, 48, 16
QUERIES, COUNT = 40, 50


def tokens_of(number: int) -> np.ndarray:
    """Draw the tokens of an image."""
    rng = np.random.default_rng(number)
    shared = np.random.default_rng(7)
    centres, onto = shared.normal(size=(200, LATENT)), shared.normal(size=(LATENT, DIM)) / LATENT**0.5
    kinds = rng.integers(0, 200, (SIDE // 8, SIDE // 8)).repeat(8, axis=0).repeat(8, axis=1)
    latent = centres[kinds] + 0.6 * rng.normal(size=(SIDE, SIDE, LATENT))
    return (latent @ onto + 0.2 * rng.normal(size=(SIDE, SIDE, DIM))).astype(np.float32)


def main() -> None:
    """Write a store, index it, search it, and compare with exact search."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory() as folder:
        store, unfinished = Path(folder) / "store", Path(folder) / "unfinished"
        begin_outputs(unfinished)
        region = Region(0, 0, SIDE * STRIDE, SIDE * STRIDE)
        grid = TokenGrid.covering(region, STRIDE)
        for number in range(count):
            embedding = Embedding(tokens_of(number), grid, Provenance(encoder="e", region=region))
            row = {"name": f"i{number}", "image": f"i{number}.png"}
            output = Output(embedding, {}, None, "float16", "k", row)
            write_output(store / "e" / f"i{number}.zarr", output, unfinished)
        start = perf_counter()
        report = build_index(store)
        built = perf_counter() - start
        start = perf_counter()
        for number in range(count):
            read_embedding(store / "e" / f"i{number}.zarr")
        read = perf_counter() - start
        size = sum(path.stat().st_size for path in (store / FOLDER).rglob("*") if path.is_file())
        start = perf_counter()
        opened = TokenIndex(store)
        cold = perf_counter() - start
        stored = (tokens_of(number).astype(np.float16).reshape(-1, DIM) for number in range(count))
        everything = np.concatenate([opened.manifest.prepared(tokens) for tokens in stored])
        rng, times, recalls = np.random.default_rng(0), [], []
        for _ in range(QUERIES):
            y, x = rng.integers(0, SIDE * STRIDE, 2).tolist()
            vector = opened.vector([Like(f"i{rng.integers(count)}", (y, x))])
            start = perf_counter()
            places = opened.search(vector, COUNT, apart=0.0, per_image=COUNT)
            times.append(perf_counter() - start)
            exact = set(np.argpartition(-(everything @ vector), COUNT)[:COUNT].tolist())
            found = {
                int(one.name[1:]) * SIDE**2 + int(one.y // STRIDE) * SIDE + int(one.x // STRIDE)
                for one in places
            }
            recalls.append(len(found & exact) / COUNT)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{report.tokens} tokens × {DIM}")
        rate = report.tokens / built / 1e3
        print(f"built in {built:.1f} s: {rate:.0f} k tokens/s, reading the store {read:.1f} s of it")
        print(f"{size / report.tokens:.0f} bytes a token, opened in {1e3 * cold:.0f} ms")
        first, later = 1e3 * times[0], 1e3 * np.median(times)
        print(f"top {COUNT}: {first:.0f} ms first, {later:.1f} ms then; recall {np.mean(recalls):.3f}")
        print(f"peak memory {peak:.2f} GB, exact search's tokens included")


if __name__ == "__main__":
    main()
