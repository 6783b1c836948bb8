"""DINO's, DINOv2's and DINOv3's task: crops of an image agree, and hidden patches are told from the rest.

Crops are matched by their CLS tokens (arXiv 2104.14294), hidden patches by the tokens that come out where the
mask token stood (arXiv 2111.07832). Both are compared as the backbone gives them; heads, in whose terms the
losses are written, are rarely published. Where a file has them, notes say what they make of the same tokens.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_sslmaps.core.pretext_views import Bool, Crop, ViewsView, upsampled, window_of
from napari_sslmaps.core.region import Region
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.pretext_heads.dinov3 import read_projection
from napari_sslmaps.encoders.pretext_heads.reading import pretext_heads_of
from napari_sslmaps.encoders.pretext_heads.sequence import encode, summarise
from napari_sslmaps.encoders.recognition import PretextHeads
from napari_sslmaps.pretext.input import PretextInput, as_batch, recorded, resample, transformer
from napari_sslmaps.pretext.masks import block_masks
from napari_sslmaps.pretext.options import MethodOptions
from napari_sslmaps.pretext.selection import crops_inside, mask_on_grid

_LOCALS = 6
_GLOBAL_SHARE, _LOCAL_SHARE = (0.55, 0.8), (0.25, 0.5)
_LOCAL_SIDE = 96 / 224
_USUAL_RATIO = 0.3
_CROPS_ALONE = "The file has no mask token: hidden patches cannot be predicted, crops alone are compared."


def views_view(input_: PretextInput, encoder: Encoder, method_options: MethodOptions) -> ViewsView:
    """Compare the CLS tokens of crops, and what comes out where patches were hidden with what was there."""
    network, _ = transformer(encoder)
    generator = torch.Generator().manual_seed(method_options.seed)
    drawn = _draw_crops(input_, generator)
    crops = drawn if method_options.crops is None else crops_inside(method_options.crops, input_)
    pretext_heads = PretextHeads() if encoder.spec.path is None else pretext_heads_of(encoder)
    cls = torch.cat([_cls(network, input_, crop, encoder, pretext_heads) for crop in crops])
    view = ViewsView(
        method=encoder.spec.method,
        region=input_.region,
        grid=input_.grid,
        picture=input_.picture,
        notes=(*_crops_in_heads(pretext_heads, cls, crops), _CROPS_ALONE),
        provenance=input_.provenance,
        crops=crops,
        agreement=_cosines(cls, cls).cpu().numpy(),
    )
    token = pretext_heads.state.get("mask_token")
    if token is None or not encoder.spec.architecture.attention_blocks:
        return view
    mask = (
        _draw_mask(input_, method_options, generator)
        if method_options.mask is None
        else mask_on_grid(method_options.mask, input_)
    )
    guess, actual = _hide(network, input_, encoder, mask, token)
    agreement = np.full(mask.shape, np.nan, np.float32)
    agreement[mask] = _cosines(guess, actual).diagonal().cpu().numpy()
    return replace(
        view,
        notes=(*view.notes[:-1], *_patches_in_words(pretext_heads, guess, actual)),
        mask=mask,
        masked=np.where(
            upsampled(mask[..., None], input_.picture.shape[:2]), np.float32(0.5), input_.picture
        ),
        patch_agreement=agreement,
    )


def _cosines(first: Tensor, second: Tensor) -> Tensor:
    """(n, m) cosines of (n, D) and (m, D) tokens."""
    return (functional.normalize(first, dim=-1) @ functional.normalize(second, dim=-1).T).clamp(-1, 1)


def _crops_in_heads(pretext_heads: PretextHeads, cls: Tensor, crops: Sequence[Crop]) -> tuple[str, ...]:
    head = read_projection(pretext_heads, "dino_head.")
    large = [index for index, crop in enumerate(crops) if crop.kind == "global"]
    small = [index for index, crop in enumerate(crops) if crop.kind == "local"]
    if head is None or not large or not small:
        return ()
    raw, seen = (
        float(_cosines(tokens[small], tokens[large]).mean()) for tokens in (cls, head.to(cls.device)(cls))
    )
    compared = f"{raw:.2f} of their CLS tokens; {seen:.2f} through the head that they were matched by"
    return (f"Mean cosine of local and global crops: {compared} in training.",)


def _patches_in_words(pretext_heads: PretextHeads, guess: Tensor, actual: Tensor) -> tuple[str, ...]:
    """Say how hidden patches agree with what was there, and with what was elsewhere: that takes no place."""
    head = read_projection(pretext_heads, "ibot_head.")
    sentences = [f"Mean cosine of hidden patches with what was there: {_own_and_other(guess, actual)}."]
    if head is not None:
        head = head.to(guess.device)
        similarities = _own_and_other(head(guess), head(actual))
        sentences.append(f"Through the head that hidden patches were matched by in training: {similarities}.")
    return tuple(sentences)


def _own_and_other(guess: Tensor, actual: Tensor) -> str:
    cosines, count = _cosines(guess, actual), len(guess)
    own = cosines.diagonal().sum()
    if count == 1:
        return f"{own:.2f}"
    other = (cosines.sum() - own) / (count * (count - 1))
    return f"{own / count:.2f}; with what was at the other hidden places: {other:.2f}"


def _cls(
    network: Any, input_: PretextInput, crop: Crop, encoder: Encoder, pretext_heads: PretextHeads
) -> Tensor:
    """CLS token (1, D) of a crop, or what a CNN has for it, of the side that such crops had in training."""
    side = input_.side if crop.kind == "global" else _local_side(input_, encoder)
    window = window_of(crop.region, input_.region, input_.picture.shape[:2])
    pixels = as_batch(resample(input_.picture[window], (side, side)), encoder)
    if not encoder.spec.architecture.attention_blocks:
        with torch.inference_mode():
            summary: Tensor = network.summarise(pixels)
        return summary
    return summarise(network, pixels, pretext_heads.state)


def _local_side(input_: PretextInput, encoder: Encoder) -> int:
    """Side of a local crop: as trained where the file says it, else in DINO's proportion to the global's."""
    recipe = recorded(encoder.spec).get("recipe", {})
    side = float(recipe.get("options", {}).get("local_size", input_.side * _LOCAL_SIDE))
    multiple = encoder.spec.constraint.size_multiple
    return max(1, round(side / multiple)) * multiple


def _draw_crops(input_: PretextInput, generator: torch.Generator) -> tuple[Crop, ...]:
    """Draw two global crops, the largest square in the middle and one more, and local ones."""
    height, width = input_.region.shape_yx
    short = min(height, width)
    middle = input_.region.part((height - short) // 2, (width - short) // 2, short, short)
    shares = [_GLOBAL_SHARE, *[_LOCAL_SHARE] * _LOCALS]
    draws = torch.rand(len(shares), 3, generator=generator).tolist()
    places = [
        _place(input_.region, low + (high - low) * draw[0], draw[1:])
        for (low, high), draw in zip(shares, draws, strict=True)
    ]
    kinds = ["global", *["local"] * _LOCALS]
    others = (Crop(place, kind) for place, kind in zip(places, kinds, strict=True))  # type: ignore[arg-type]  # the literals above
    return Crop(middle, "global"), *others


def _place(region: Region, share: float, draw: Sequence[float]) -> Region:
    height, width = region.shape_yx
    side = max(1, round(share * min(height, width)))
    return region.part(int(draw[0] * (height - side + 1)), int(draw[1] * (width - side + 1)), side, side)


def _draw_mask(input_: PretextInput, method_options: MethodOptions, generator: torch.Generator) -> Bool:
    """Rectangles of patches, as iBOT hides them."""
    ratio = _USUAL_RATIO if method_options.ratio is None else method_options.ratio
    masks = block_masks(1, input_.grid.shape, generator, share=1.0, ratio=(ratio, ratio))
    return mask_on_grid(masks[0].reshape(input_.grid.shape).numpy(), input_)


def _hide(
    network: Any, input_: PretextInput, encoder: Encoder, mask: Bool, token: Tensor
) -> tuple[Tensor, Tensor]:
    """Tokens (M, D) of the patches of a mask: with the mask token in their place, and with nothing hidden."""
    images = as_batch(input_.picture, encoder)
    hidden = torch.from_numpy(mask.reshape(1, -1)).to(encoder.device)
    stand_in = token.reshape(1, -1).float().to(encoder.device)
    first = network.num_prefix_tokens
    guess = encode(network, images, masked=hidden, mask_token=stand_in)
    return guess[0, first:][hidden[0]], encode(network, images)[0, first:][hidden[0]]
