"""Processes killed at any instant, and two at a time, leave a cache that is right."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from cache_kit import TILED, assert_same, noise
from encoders_factory import Counting, write_encoder

from napari_sslmaps.cache.entry import part_path, read_part
from napari_sslmaps.cache.ome import read_planes
from napari_sslmaps.cache.store import Cache
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pipeline.planning import plan
from napari_sslmaps.sources.open import open_image

KILLS = 20
BATCH = 16
SCRIPT = Path(__file__).with_name("embed_and_die.py")


class World:
    """An image, its embedding without a cache, and a cache that others write into."""

    def __init__(self, folder):
        self.image = folder / "image.png"
        iio.imwrite(self.image, noise(250, 300, 3))
        weights = write_encoder(folder / "mae.safetensors", "mae")
        self.encoder = load_encoder(weights, device="cpu", precision="float32")
        self.cache = Cache(folder / "cache", 10**9)
        self.arguments = [str(self.image), str(weights), str(self.cache.folder)]
        self.reference = embed(self.image, self.encoder, tiling=TILED)
        self.tiles = plan(open_image(self.image), self.encoder.spec, tiling=TILED).tiles

    def check(self):
        """Assert that all that would be served is right; return how many tiles that is."""
        for path in self.cache.folder.glob("*.zarr"):
            np.testing.assert_array_equal(read_planes(path)["tokens"], self.reference.tokens)
            return len(self.tiles)
        count = 0
        for folder in self.cache.folder.glob("*.parts"):
            there = [tile for tile in self.tiles if part_path(folder, tile).exists()]
            for tile in there:
                kept = self.reference.tokens[tile.rows.kept, tile.cols.kept]
                np.testing.assert_array_equal(read_part(folder, tile)["tokens"], kept)
            count += len(there)
        return count


@contextmanager
def children(world):
    """Yield a function that gives a command to the process whose children embed."""
    command = [sys.executable, str(SCRIPT), *world.arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:

        def ask(line):
            parent.stdin.write(f"{line}\n")
            parent.stdin.flush()
            return parent.stdout.readline().strip()

        try:
            yield ask
        finally:
            parent.stdin.close()


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_killed_at_any_instant_it_loses_the_batch_in_flight_alone(world):
    rng, before, killed = np.random.default_rng(0), 0, 0
    with children(world) as ask:
        calls = int(ask("count"))
        for _ in range(KILLS):
            end = ask(f"kill {rng.integers(1, 2 * calls)}")
            assert end in ("killed", "done")
            killed += end == "killed"
            there = world.check()
            assert there >= before
            before = there
            if there == len(world.tiles):
                again = Counting(world.encoder)
                assert_same(embed(world.image, again, tiling=TILED, cache=world.cache), world.reference)
                assert again.tiles == 0
                world.cache.clear()
                before = 0
    assert killed > KILLS // 4
    last = Counting(world.encoder)
    assert_same(embed(world.image, last, tiling=TILED, cache=world.cache), world.reference)
    assert last.tiles <= len(world.tiles) - before + BATCH - 1


def test_two_processes_at_a_time_do_not_disturb_each_other(world):
    with children(world) as ask:
        for _ in range(2):
            assert ask("both") == "done"
            assert world.check() == len(world.tiles)
            assert [item.finished for item in world.cache.embeddings()] == [True]
            world.cache.clear()
