"""What a click costs over reading the tokens once, and what an import costs."""

import subprocess
import sys
from statistics import median

import numpy as np
import torch
from measure import Outcome, ratio, seconds

from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.similarity import similarity_map


def tokens(side: int, dim: int) -> Embedding:
    values = np.random.default_rng(0).standard_normal((side, side, dim), dtype=np.float32)
    return Embedding.from_tokens(values, stride=8)


def click(side: int, dim: int) -> Outcome:
    """A click's map over the time to read all tokens once, the memory-bandwidth floor."""
    embedding = tokens(side, dim)
    flat = torch.from_numpy(embedding.flat)
    middle = [(4.0 * side, 4.0 * side)]
    similarity_map(embedding, middle)  # lengths are computed once per embedding, before the first click
    found, ours, floor = ratio(lambda: similarity_map(embedding, middle), flat.sum, 15)
    rate = embedding.tokens.nbytes / floor / 1e9
    detail = f"{1e3 * ours:.1f} ms over {1e3 * floor:.1f} ms ({rate:.0f} GB/s), {side * side} × {dim} float32"
    return Outcome("click → map / bandwidth floor", found, "×", 1.3, detail)


def import_time() -> Outcome:
    """Importing the package over starting Python, without torch or napari."""
    loaded = "import sys, napari_sslmaps; assert not {'torch', 'timm', 'napari'} & set(sys.modules)"

    def start(code: str) -> float:
        return seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True))

    bare = median(start("pass") for _ in range(9))
    ours = median(start(loaded) for _ in range(9))
    return Outcome(
        "import napari_sslmaps", 1e3 * (ours - bare), "ms", 100, f"Python alone {1e3 * bare:.0f} ms"
    )


def outcomes() -> list[Outcome]:
    return [click(256, 768), click(512, 128), click(64, 384), import_time()]
