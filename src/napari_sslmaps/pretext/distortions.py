"""DiRA's distortions (after Models Genesis, arXiv 2004.07882): cut-out, outer cut-out, block shuffle.

All images are distorted together: rectangles become one mask, shuffled windows one index per image.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

_SHUFFLED, _CUT, _OUTER = 0.5, 0.9, 0.2
_INNER_SIDE, _OUTER_SIDE, _WINDOW_SIDE = (1 / 6, 1 / 3), (3 / 7, 4 / 7), (0.02, 0.1)
_INNER_MOST, _OUTER_MOST = 5, 4
_GREY = (0.299, 0.587, 0.114)


def to_grey(images: Tensor) -> Tensor:
    """Luma (ITU-R BT.601) of (B, 3, H, W) images, (B, 1, H, W): what an image is restored to."""
    weights = torch.tensor(_GREY, dtype=images.dtype, device=images.device)
    return torch.einsum("bchw,c->bhw", images, weights)[:, None]


def _boxes(draw: Tensor, side: int, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Top, left, height and width of rectangles with sides between two shares of the image's side.

    `draw` is (4, count, boxes) in [0, 1); `low` and `high` broadcast against (count, boxes).
    """
    height, width = (side * (low + (high - low) * draw[:2])).round().clamp(min=1).long()
    top, left = (draw[2] * (side - height + 1)).long(), (draw[3] * (side - width + 1)).long()
    return top, left, height, width


def _bars(start: Tensor, length: Tensor, side: int) -> Tensor:
    """Mark `length` places from `start` on, (count, boxes, side) bool."""
    place = torch.arange(side, device=start.device)
    return (place >= start[..., None]) & (place < (start + length)[..., None])


def cut_masks(outer: Tensor, side: int, generator: Generator) -> Tensor:
    """Draw which pixels are replaced by noise.

    A cut-out replaces one to five rectangles with sides of 1/6 to 1/3 of the image's; an outer cut-out keeps
    one to four with sides of 3/7 to 4/7 and replaces all around them. Draws: the number of rectangles of each
    image, then five rectangles each.

    Parameters
    ----------
    outer
        (n,) bool on the CPU: which images are cut around.
    side
        Side of the images in pixels.
    generator
        Source of randomness.

    Returns
    -------
    Tensor
        Masks (n, side, side) bool on the CPU.
    """
    low = torch.where(outer, _OUTER_SIDE[0], _INNER_SIDE[0])[:, None]
    high = torch.where(outer, _OUTER_SIDE[1], _INNER_SIDE[1])[:, None]
    most = torch.where(outer, _OUTER_MOST, _INNER_MOST)
    number = 1 + (torch.rand(len(outer), generator=generator) * most).long()
    draw = torch.rand(4, len(outer), _INNER_MOST, generator=generator)
    top, left, height, width = _boxes(draw, side, low, high)
    height = height * (torch.arange(_INNER_MOST) < number[:, None])
    rows, columns = _bars(top, height, side).float(), _bars(left, width, side).float()
    inside = torch.bmm(rows.mT, columns) > 0
    return inside ^ outer[:, None, None]


def shuffle_index(
    count: int, side: int, windows: int, generator: Generator, device: torch.device | None = None
) -> Tensor:
    """Draw where each pixel comes from when pixels are permuted within many small windows.

    Where windows overlap the later one has the pixels, so that an image keeps its histogram. Draws: the
    windows, then a number for each of their pixels.

    Returns
    -------
    Tensor
        Indices (count, side * side) int64, a permutation of the pixels of each image.
    """
    low, high = (torch.tensor(share) for share in _WINDOW_SIDE)
    boxes = _boxes(torch.rand(4, count, windows, generator=generator), side, low, high)
    top, left, height, width = (part[..., None].to(device) for part in boxes)
    longest = max(1, round(side * _WINDOW_SIDE[1]))
    chance = torch.rand(count, windows, longest * longest, generator=generator).to(device)
    inner = torch.arange(longest * longest, device=device)
    row, column = inner // longest, inner % longest
    held = (row < height) & (column < width)
    pixel = torch.where(held, (top + row) * side + left + column, side * side)
    number = torch.arange(windows, device=device)[:, None].expand_as(pixel)
    owner = torch.full((count, side * side + 1), -1, device=device)
    owner = owner.scatter_reduce(1, pixel.flatten(1), number.flatten(1), "amax")
    held = held & (owner.gather(1, pixel.flatten(1)).view_as(pixel) == number)
    # The k-th pixel that a window has takes its value from the k-th in a random order of the same pixels.
    order = torch.where(held, chance, 2.0).argsort(dim=-1)
    rank = (held.cumsum(dim=-1) - 1).clamp(min=0)
    source = pixel.gather(-1, order.gather(-1, rank))
    index = torch.arange(side * side + 1, device=device).repeat(count, 1)
    target = torch.where(held, pixel, side * side)
    return index.scatter(1, target.flatten(1), source.flatten(1))[:, :-1]


def distort(images: Tensor, generator: Generator, windows: int = 60) -> Tensor:
    """Distort images: shuffled half of the time, cut out or around nine times in ten.

    Draws: three numbers per image that decide, then what `shuffle_index` and `cut_masks` draw, then
    the noise of each replaced value, uniform in [0, 1).

    Parameters
    ----------
    images
        (B, 3, S, S) float32 in [0, 1].
    generator
        Source of randomness.
    windows
        Windows within which pixels are shuffled.

    Returns
    -------
    Tensor
        Images (B, 3, S, S) float32 in [0, 1].
    """
    side, device = images.shape[-1], images.device
    decide = torch.rand(3, len(images), generator=generator)
    chosen = (decide[0] < _SHUFFLED).nonzero()[:, 0]
    index = shuffle_index(len(chosen), side, windows, generator, device)
    pixels = images[chosen.to(device)].flatten(2)
    shuffled = pixels.gather(2, index[:, None].expand_as(pixels)).reshape(len(chosen), 3, side, side)
    images = images.index_copy(0, chosen.to(device), shuffled)
    replaced = cut_masks(decide[2] < _OUTER, side, generator) & (decide[1] < _CUT)[:, None, None]
    noise = torch.rand(3 * int(replaced.sum()), generator=generator)
    return images.masked_scatter(replaced[:, None].expand_as(images).to(device), noise.to(device))
