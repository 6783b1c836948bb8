"""A small store of a batch with images of noise, and a searcher whose places are known."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from napari_sslmaps.batch.store import Output, begin_outputs, end_outputs, remove_if_empty, write_output
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding, Provenance
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.pipeline.masks import mask_hash
from napari_sslmaps.search.index import IndexState, OnOutput
from napari_sslmaps.search.query import Place
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.scan import scan_region
from napari_sslmaps.viewer.search.jobs import Archive, Found, Pixels, Question

DIM, STRIDE = 24, 8
ENCODER = "mae-histology"


def tokens_of(seed, rows=12, cols=16):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(6, DIM))
    smooth = rng.integers(0, 6, (rows // 4, cols // 4)).repeat(4, axis=0).repeat(4, axis=1)
    return (3 + centres[smooth] + 0.4 * rng.normal(size=(rows, cols, DIM))).astype(np.float32)


def put(store, name, seed, key="k", masked=False, block="", encoder=ENCODER):
    tokens = tokens_of(seed)
    if masked:
        tokens[:4] = np.nan
    rows, cols, _ = tokens.shape
    region = Region(0, 0, rows * STRIDE, cols * STRIDE)
    path = store.parent / "images" / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*region.shape_yx, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    sha = mask_hash(np.isfinite(tokens[..., 0]))
    with open_image(path) as source:
        seen = scan_region(source, region).sha256
    provenance = Provenance(
        encoder=encoder, image_sha256=seen, region=region, mask_sha256=sha, token_block=block
    )
    embedding = Embedding(tokens, TokenGrid.covering(region, STRIDE), provenance)
    put_embedding(store, path, embedding, key)
    return tokens


def put_embedding(store, path, embedding, key="k"):
    """Put an embedding into a store, as a batch writes it."""
    name, encoder = path.stem, embedding.provenance.encoder
    row = {"name": name, "image": path.name}
    unfinished = store / ".unfinished" / "x"
    begin_outputs(unfinished)
    write_output(
        store / encoder / f"{name}.zarr", Output(embedding, {}, None, "float16", key, row), unfinished
    )
    end_outputs(unfinished)
    remove_if_empty(unfinished)


class KnownSearcher:
    """Three images of 64 × 80 px by ``mae-demo``, and a place in each of the first two; the third is lost.

    Tokens tell the left half of an image from the right.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.indexed = 0
        self.asked: list[tuple[Archive, Question]] = []
        self.used: list[tuple[object, ...]] = []
        self.places = tuple(
            Place(f"case{at}", f"case{at}.png", y, x, 0.9 - at / 10, (8.0, 8.0))
            for at, (y, x) in enumerate(((20.0, 12.0), (44.0, 60.0), (4.0, 4.0)))
        )
        for place in self.places[:2]:
            pixels = np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8)
            Image.fromarray(pixels).save(folder / place.image)

    def state(self, store: Path, encoder: str) -> IndexState:
        if not store.exists():
            raise InvalidOptionError(f"Expected a folder that napari-sslmaps batch wrote; got {store}.")
        encoders = ("mae-demo", "other")
        known = encoders[:1] if self.indexed else ()
        found = 0 if encoder == "other" else self.indexed
        return IndexState(encoder or encoders[0], encoders, known, found, 80 * found, 3 - found)

    def build(self, store: Path, encoder: str, on_output: OnOutput) -> None:
        self.used.append((store, encoder))
        on_output(0, 3)
        for number in (1, 2, 3):
            on_output(number, 3)
            self.indexed = number

    def find(self, archive: Archive, question: Question) -> Found:
        self.asked.append((archive, question))
        return Found(self.places[: question.count])

    def pictures(self, archive: Archive, places: Sequence[Place]) -> Iterator[tuple[int, Pixels]]:
        self.used.append((archive.roots,))
        for number, _ in enumerate(places[:2]):
            yield number, np.full((40, 30, 3), (200, 50 * number, 0), np.uint8)

    def file(self, archive: Archive, place: Place) -> Path:
        self.used.append((archive.roots, place.name))
        path = self.folder / place.image
        if not path.exists():
            raise InvalidOptionError(f"Expected {place.image} in {self.folder}; it is not there.")
        return path

    def tokens(self, archive: Archive, place: Place) -> Embedding:
        self.used.append((archive.encoder, place.name))
        region = Region(0, 0, 64, 80)
        tokens = np.zeros((8, 10, 4), np.float32)
        tokens[:, :5, 0] = tokens[:, 5:, 1] = 1
        return Embedding(
            tokens, TokenGrid.covering(region, 8), Provenance(encoder="mae-demo", method="mae", region=region)
        )
