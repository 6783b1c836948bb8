"""What embedding costs over the bare network: time, and memory of attention."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from measure import Outcome, ratio
from safetensors.torch import save_file

from napari_sslmaps.core.preprocess import normalise
from napari_sslmaps.core.tiling import Tiling, split
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.families.registry import architecture_to_dict
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.families.vit_network import build_vit
from napari_sslmaps.encoders.header import HEADER_KEY
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.encoders.spec import get_normalisation
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pipeline.planning import plan
from napari_sslmaps.sources.open import open_image

SMALL = ViTArchitecture(
    patch=16, dim=384, depth=12, heads=6, grid=(14, 14), mlp_hidden=1536, class_token=True
)
METHODS = {
    "mae": SMALL,
    "ijepa": ViTArchitecture(
        patch=16, dim=384, depth=12, heads=6, grid=(14, 14), mlp_hidden=1536, class_token=False
    ),
}


def write_random(path: Path, method: str, architecture: ViTArchitecture | None = None) -> Path:
    """Write a ViT-S/16, or another, with random weights: only time and memory are looked at."""
    torch.manual_seed(0)
    architecture = architecture or METHODS[method]
    header = {
        "method": method,
        "architecture": architecture_to_dict(architecture),
        "normalisation": "imagenet",
        "licence": "none",
    }
    save_file(build_vit(architecture).state_dict(), path, metadata={HEADER_KEY: json.dumps(header)})
    return path


def time_over_forward(method: str, path: Path) -> Outcome:
    """Embedding a 1024 px region, attention included, over timm's forward on the same tiles."""
    encoder = load_encoder(path, precision="float32")
    image = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    tiling = Tiling(32, 0)
    tiles = plan(open_image(image), encoder.spec, tiling=tiling).tiles
    batch = _forward_input(encoder, image, tiles)

    def forward() -> None:
        with torch.inference_mode():
            encoder.extractor.network.forward_features(batch)

    found, ours, floor = ratio(lambda: embed(image, encoder, tiling=tiling), forward)
    detail = f"{ours:.2f} s over {floor:.2f} s, ViT-S/16, {len(tiles)} tiles of 512 px, {encoder.device}"
    return Outcome(f"embedding / raw timm forward, {method}", found, "×", 1.05, detail)


def _forward_input(encoder: Encoder, image: np.ndarray, tiles: tuple) -> torch.Tensor:
    """Stack the tiles' pixels, normalised, as the bare network reads them."""
    side = SMALL.patch
    blocks = image.reshape(1024 // side, side, 1024 // side, side, 3).swapaxes(1, 2)
    parts = [part.swapaxes(1, 2).reshape(512, 512, 3) for part in split(blocks, list(tiles))]
    preset = get_normalisation("imagenet")
    pixels = torch.from_numpy(np.stack(parts)).float() / 255
    return normalise(pixels, preset.mean, preset.std).to(encoder.device)


PEAK = """
import re, sys, torch
from pathlib import Path
from napari_sslmaps.encoders.registry import load_encoder

def resident(field):
    return int(re.search(rf"{field}:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

path, mode, device = sys.argv[1:]
encoder = load_encoder(path, precision="float32", device=device)
network, pixels = encoder.extractor.network, torch.zeros(1, 3, 1024, 1024, device=device)
work = encoder.extractor.extract if mode == "tap" else network.forward_features
before = 0.0 if device != "cpu" else resident("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
with torch.inference_mode():
    work(pixels)
print(torch.cuda.max_memory_allocated() / 2**20 if device != "cpu" else resident("VmHWM") - before)
"""


def peak_memory(method: str, path: Path) -> Outcome:
    """Extra peak memory of attention at N = 4096 tokens, each run in a process of its own (Linux)."""
    device = "cuda:0" if torch.cuda.is_available() else "cpu"

    def peak(mode: str) -> float:
        command = [sys.executable, "-c", PEAK, str(path), mode, device]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    tap, raw = (min(peak(mode) for _ in range(3)) for mode in ("tap", "raw"))
    detail = f"{tap:.0f} over {raw:.0f} MiB, N = 4096, {device}"
    return Outcome(f"extra peak memory of attention, {method}", tap - raw, "MiB", 10, detail)


def outcomes() -> list[Outcome]:
    with tempfile.TemporaryDirectory() as folder:
        paths = {method: write_random(Path(folder) / f"{method}.safetensors", method) for method in METHODS}
        return [time_over_forward(*item) for item in paths.items()] + [
            peak_memory(*item) for item in paths.items()
        ]
