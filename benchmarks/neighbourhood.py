"""What does a scale cost? Embedding as trained, a click, its lengths, and a drag at a million tokens."""

from time import process_time

import numpy as np
from measure import Outcome, ratio, seconds

from napari_sslmaps.core.neighbourhood import Neighbourhood, neighbourhood_of
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.maps.similarity import similarity_map
from napari_sslmaps.maps.similarity_pyramid import SimilarityPyramid
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.sources.array import ArraySource

SIDE, DIM, STRIDE = 1024, 384, 8
SIGMA = 24.0
FRAME_BYTES = 64_000_000


def outcomes() -> list[Outcome]:
    return [_as_trained(), *_clicks(_tokens(256), "65 536 tokens"), *_million()]


def _as_trained() -> Outcome:
    encoder = load_encoder("mae-ultrasound", device="cpu", precision="float32")
    image = ArraySource(np.random.default_rng(0).integers(0, 255, (512, 640), dtype=np.uint8))
    found, ours, floor = ratio(
        lambda: embed(image, encoder), lambda: embed(image, encoder, resolution="native"), repeats=5
    )
    detail = f"{1e3 * ours:.0f} ms over {1e3 * floor:.0f} ms, 512 × 640 px read with 192 px across"
    return Outcome("embedding at trained resolution over native", found, "×", 0.5, detail)


def _tokens(side: int) -> Embedding:
    rng, tokens = np.random.default_rng(0), np.empty((side, side, DIM), np.float32)
    for row in tokens:
        row[:] = rng.standard_normal(row.shape, np.float32)
    return Embedding.from_tokens(tokens, STRIDE)


def _clicks(embedding: Embedding, size: str) -> list[Outcome]:
    anchor = [(100.0, 100.0)]
    neighbourhood_of(embedding, SIGMA).centred_inverse_norms  # noqa: B018  # once per scale
    found, ours, floor = ratio(
        lambda: similarity_map(embedding, anchor, scale=SIGMA), lambda: similarity_map(embedding, anchor)
    )
    detail = f"{1e3 * ours:.1f} ms over {1e3 * floor:.1f} ms"
    return [Outcome(f"click with a scale over one without, {size}", found, "×", 1.5, detail)]


def _million() -> list[Outcome]:
    embedding = _tokens(SIDE)
    start = process_time()
    Neighbourhood(embedding, SIGMA).centred_inverse_norms  # noqa: B018  # made when asked for
    lengths = process_time() - start
    found = [
        Outcome(f"lengths of {SIDE}² averaged tokens, once per scale", lengths, "s", 10.0, "of the processor")
    ]
    found += _clicks(embedding, f"{SIDE}² tokens")
    pyramid = SimilarityPyramid(embedding, centred=True, scale=SIGMA)
    level = pyramid.level_for(FRAME_BYTES)
    pyramid.prepare(level)

    def frame() -> None:
        pyramid.values([(100.0, 100.0)], level=level)

    frame()
    best = min(seconds(frame) for _ in range(15))
    return [*found, Outcome(f"frame of a drag with a scale, {SIDE}² tokens", 1e3 * best, "ms", 16.0)]
