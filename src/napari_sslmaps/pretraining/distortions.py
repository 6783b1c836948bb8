"""DiRA's distortions (after Models Genesis, arXiv 2004.07882): cut-out, outer cut-out, block shuffle."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def _rectangle(side: int, low: float, high: float, generator: Generator) -> tuple[slice, slice]:
    """Draw a rectangle with sides between two shares of the image's side."""
    draw = torch.rand(4, generator=generator).tolist()
    height, width = (max(1, round(side * (low + (high - low) * value))) for value in draw[:2])
    top, left = int(draw[2] * (side - height + 1)), int(draw[3] * (side - width + 1))
    return slice(top, top + height), slice(left, left + width)


def _noise(image: Tensor, generator: Generator) -> Tensor:
    return torch.rand(image.shape, generator=generator)


def cut_out(image: Tensor, generator: Generator) -> Tensor:
    """Replace up to five rectangles of a (3, S, S) image by uniform noise."""
    image = image.clone()
    for _ in range(int(torch.randint(1, 6, (), generator=generator))):
        rows, columns = _rectangle(image.shape[-1], 1 / 6, 1 / 3, generator)
        patch = image[:, rows, columns]
        image[:, rows, columns] = _noise(patch, generator)
    return image


def outer_cut_out(image: Tensor, generator: Generator) -> Tensor:
    """Keep up to four rectangles of a (3, S, S) image and replace everything around them by uniform noise."""
    outside = torch.ones(image.shape[-2:], dtype=torch.bool)
    for _ in range(int(torch.randint(1, 5, (), generator=generator))):
        rows, columns = _rectangle(image.shape[-1], 3 / 7, 4 / 7, generator)
        outside[rows, columns] = False
    return torch.where(outside, _noise(image, generator), image)


def shuffle_blocks(image: Tensor, generator: Generator, blocks: int = 60) -> Tensor:
    """Permute the pixels within many small windows of a (3, S, S) image."""
    source, image = image, image.clone()
    for _ in range(blocks):
        rows, columns = _rectangle(image.shape[-1], 0.02, 0.1, generator)
        window = source[:, rows, columns]
        order = torch.randperm(window[0].numel(), generator=generator)
        image[:, rows, columns] = window.flatten(1)[:, order].reshape(window.shape)
    return image


def distort(images: Tensor, generator: Generator, windows: int = 60) -> Tensor:
    """Distort each of (B, 3, S, S) images: shuffled half of the time, cut out or around nine times in ten."""
    distorted = []
    for image in images:
        shuffle, cut, outer = torch.rand(3, generator=generator).tolist()
        changed = shuffle_blocks(image, generator, windows) if shuffle < 0.5 else image
        if cut < 0.9:
            changed = outer_cut_out(changed, generator) if outer < 0.2 else cut_out(changed, generator)
        distorted.append(changed)
    return torch.stack(distorted)
