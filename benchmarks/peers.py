"""What the same work costs with what people use otherwise, in one run and on the same random weights.

``python benchmarks/peers.py``: a ViT-S/14 by plain timm over tiles of 518 px without overlap, by
transformers that keeps every attention, and a click as cosine similarities in torch and numpy. Ratios are
ours over theirs.
"""

import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from embedding import write_random
from measure import Outcome, ratio

import napari_sslmaps as ssl
from napari_sslmaps.core.preprocess import normalise
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.spec import get_normalisation
from napari_sslmaps.pipeline.embedding import embed

SMALL_14 = ViTArchitecture(
    patch=14, dim=384, depth=12, heads=6, grid=(37, 37), mlp_hidden=1536, class_token=True
)
SIDES = {518: 1.05, 1036: 1.4, 2048: 1.55}
"""Pixels across, and the budget of ours over timm by hand: tiles that overlap compute so many tokens more."""
TILE = 518


def by_hand(encoder: Encoder, image: np.ndarray) -> Callable[[], np.ndarray]:
    """Return what a user writes with timm: tiles side by side, the last ones padded, tokens put together."""
    network, preset = encoder.extractor.network, get_normalisation("imagenet")
    count = -(-image.shape[0] // TILE)
    gap = count * TILE - image.shape[0]
    padded = np.pad(image, ((0, gap), (0, gap), (0, 0)), mode="reflect" if gap else "constant")

    def run() -> np.ndarray:
        rows = []
        with torch.inference_mode():
            for y in range(count):
                tiles = padded[y * TILE : (y + 1) * TILE].reshape(TILE, count, TILE, 3).swapaxes(0, 1)
                found = []
                for tile in tiles:  # one at a time is fastest on a CPU
                    pixels = normalise(torch.from_numpy(tile[None]).float() / 255, preset.mean, preset.std)
                    found.append(network.forward_features(pixels.to(encoder.device))[:, 1:].cpu())
                side = TILE // SMALL_14.patch
                rows.append(torch.cat([part.reshape(side, side, -1) for part in found], dim=1))
        return torch.cat(rows).numpy()

    return run


def over_timm(encoder: Encoder, side: int) -> Outcome:
    """Embedding with attention and seams cared for, over timm without either."""
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    found, ours, theirs = ratio(lambda: embed(image, encoder), by_hand(encoder, image), repeats=2)
    detail = f"{ours:.2f} s over {theirs:.2f} s, float32"
    return Outcome(f"{side} px to tokens / timm by hand", found, "×", SIDES[side], detail)


def over_transformers(encoder: Encoder, side: int) -> Outcome:
    """Embedding with the last block's attention, over transformers that returns all attentions."""
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=SMALL_14.dim,
        num_hidden_layers=SMALL_14.depth,
        num_attention_heads=SMALL_14.heads,
        intermediate_size=SMALL_14.mlp_hidden,
        image_size=side,
        patch_size=SMALL_14.patch,
    )
    model = ViTModel(config, add_pooling_layer=False).eval()
    model.set_attn_implementation("eager")
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255

    def theirs() -> None:
        with torch.inference_mode():
            model(pixels, output_attentions=True)

    found, ours, other = ratio(lambda: embed(image, encoder), theirs, repeats=3)
    detail = f"{ours:.2f} s over {other:.2f} s, float32"
    return Outcome(f"{side} px with attention / transformers, eager", found, "×", 1.0, detail)


def clicks() -> list[Outcome]:
    """Compute a click's map over 256 × 256 tokens of width 768, over torch and numpy unprepared."""
    tokens = np.random.default_rng(0).standard_normal((256, 256, 768), dtype=np.float32)
    embedding = ssl.Embedding.from_tokens(tokens, stride=14)
    flat, anchor = tokens.reshape(-1, 768), (140 * 14, 90 * 14)
    index = 140 * 256 + 90
    tensor = torch.from_numpy(flat)

    def ours() -> None:
        ssl.similarity_map(embedding, [anchor])

    def by_torch() -> None:
        torch.nn.functional.cosine_similarity(tensor, tensor[index][None], dim=1)

    def by_numpy() -> None:
        length = np.linalg.norm(flat, axis=1)
        (flat @ flat[index]) / (length * length[index])

    found = []
    for name, theirs in (("torch's cosine_similarity", by_torch), ("numpy", by_numpy)):
        value, mine, other = ratio(ours, theirs)
        detail = f"{1000 * mine:.0f} ms over {1000 * other:.0f} ms"
        found.append(Outcome(f"click, 65 536 × 768 / {name}", value, "×", 1.0, detail))
    return found


def outcomes() -> list[Outcome]:
    with tempfile.TemporaryDirectory() as folder:
        path = write_random(Path(folder) / "peer.safetensors", "mae", SMALL_14)
        encoder = ssl.load_encoder(path, precision="float32")
    found = [over_timm(encoder, side) for side in SIDES]
    if find_spec("transformers"):
        found.append(over_transformers(encoder, TILE))
    return found + clicks()


if __name__ == "__main__":
    for outcome in outcomes():
        print(outcome, flush=True)
