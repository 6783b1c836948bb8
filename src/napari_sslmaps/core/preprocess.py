"""Preprocessing of stored pixels for an encoder: shape, channels, intensity window, normalisation."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.errors import InvalidOptionError, UnsupportedImageError

if TYPE_CHECKING:
    from torch import Tensor

Window = tuple[float, float]
_PERCENTILES = (0.1, 99.9)
_FLAT = 0.02
FEW_BITS = 6
_LARGEST = float(np.finfo(np.float32).max) / 4
_WIDE = 4  # bytes; half precision cannot hold such
_RESOLVED, _SMALLEST = 16 * float(np.finfo(np.float32).eps), 1e-30


def check_finite(pixels: NDArray[Any]) -> None:
    """Raise `UnsupportedImageError` if any pixel is NaN, infinite, or beyond what single precision holds."""
    if not np.issubdtype(pixels.dtype, np.floating):
        return
    bad = int(pixels.size - np.count_nonzero(np.isfinite(pixels)))
    if bad:
        raise UnsupportedImageError(
            f"Expected finite pixel values; {bad} of {pixels.size} are NaN or infinite. Replace them, "
            "for example with numpy.nan_to_num, or choose a region without them."
        )
    if pixels.dtype.itemsize >= _WIDE and pixels.size:
        low, high = float(pixels.min()), float(pixels.max())
        if max(-low, high) > _LARGEST:
            raise UnsupportedImageError(
                f"Expected pixel values within ±{_LARGEST:.1e}, since encoders compute in single precision; "
                f"these reach from {low:.3g} to {high:.3g}. Divide them by their largest."
            )


def auto_window(sample: NDArray[Any], low: float, high: float) -> Window:
    """Choose the intensities that become 0 and 1.

    Parameters
    ----------
    sample
        Sample of the region's pixels, of its dtype.
    low, high
        Smallest and largest value of the whole region.

    Returns
    -------
    tuple of float
        (0, 255) for uint8, or the range of the bits that are used where these are at most six, as in labels
        and what was saved with few grey values; (0, 1) for bool and for floats that lie in [0, 1]; otherwise
        the 0.1st and 99.9th percentile, or `low` and `high` where these coincide.
    """
    if sample.dtype == np.uint8:
        return 0.0, float(2 ** max(1, int(high).bit_length()) - 1) if high < 2**FEW_BITS else 255.0
    floating = np.issubdtype(sample.dtype, np.floating)
    if sample.dtype == np.bool_ or (floating and low >= 0.0 and high <= 1.0):
        return 0.0, 1.0
    inner_low, inner_high = np.percentile(sample, _PERCENTILES)
    return (float(inner_low), float(inner_high)) if inner_low < inner_high else (low, high)


def check_window(window: Sequence[float], *, flat: bool = False) -> Window:
    """Return the window as two floats.

    Parameters
    ----------
    window
        Intensities that become 0 and 1.
    flat
        Whether it may have no width.

    Raises
    ------
    InvalidOptionError
        If they are no finite numbers, one above the other.
    UnsupportedImageError
        If single precision, in which encoders compute, cannot tell them apart.
    """
    try:
        low, high = map(float, () if isinstance(window, str) else window)
    except (TypeError, ValueError, OverflowError):
        low = high = np.nan
    if not np.isfinite((low, high)).all() or not (low < high or flat):
        raise InvalidOptionError(f"Expected an intensity window (low, high) with low < high; got {window!r}.")
    narrow = low < high and (high - low) < _RESOLVED * max(abs(low), abs(high), _SMALLEST)
    if narrow:
        raise UnsupportedImageError(
            f"Expected intensities that single precision tells apart; these lie from {low!r} to {high!r}. "
            "Subtract the smallest and divide by the range first."
        )
    return low, high


def scale_to_unit(pixels: NDArray[Any], window: Window) -> NDArray[np.float32]:
    """Map intensities linearly so that the window becomes [0, 1], and clip.

    Grey is repeated to three channels: summing the kernels of the first convolution instead
    would change the statistics of its input.

    Parameters
    ----------
    pixels
        (H, W) or (H, W, 3).
    window
        Intensities that become 0 and 1; a window without width gives zeros.

    Returns
    -------
    ndarray
        (H, W, 3) float32 in [0, 1].
    """
    low, high = window
    unit = pixels.astype(np.float32)
    unit -= np.float32(low)
    # divided, as other codes do with 255: a product differs in the last bit, which rounding can magnify
    if high > low:
        unit /= np.float32(high - low)
    else:
        unit[...] = 0.0
    np.clip(unit, 0.0, 1.0, out=unit)
    return unit if unit.ndim == 3 else np.repeat(unit[..., None], 3, axis=-1)


def stored_to_unit(stored: "Tensor", window: Window) -> "Tensor":
    """Do what `scale_to_unit` does to a batch that is on a device, to the bit.

    Parameters
    ----------
    stored
        (B, H, W) or (B, H, W, 3), of any type.
    window
        Intensities that become 0 and 1; a window without width gives zeros.

    Returns
    -------
    Tensor
        (B, H, W, 3) float32 in [0, 1].
    """
    low, high = window
    unit = stored.float() - float(np.float32(low))
    # by a tensor, which is made there: by a number, CUDA multiplies with the reciprocal
    width = unit.new_full((), float(np.float32(high - low)))
    unit = unit.div_(width).clamp_(0.0, 1.0) if high > low else unit.zero_()
    return unit if unit.ndim == 4 else unit[..., None].expand(-1, -1, -1, 3)


def pad_by_reflection(
    pixels: NDArray[Any], height: int, width: int, before_yx: tuple[int, int] = (0, 0)
) -> NDArray[Any]:
    """Extend (h, w[, C]) pixels to (height, width) by mirroring them: at the bottom and right, and before.

    The border pixel is not repeated, as in ``numpy.pad(mode="reflect")``, except along an axis of one pixel.
    """
    sides = [
        (before, wanted - before - there)
        for before, wanted, there in zip(before_yx, (height, width), pixels.shape[:2], strict=True)
    ]
    if sides == [(0, 0), (0, 0)]:
        return pixels
    return np.pad(pixels, [*sides, *[(0, 0)] * (pixels.ndim - 2)], mode="reflect")


def normalise(batch: "Tensor", mean: Sequence[float], std: Sequence[float]) -> "Tensor":
    """Subtract the mean of each channel and divide by its standard deviation.

    Parameters
    ----------
    batch
        (B, H, W, C) in [0, 1].
    mean, std
        Mean and standard deviation of each of the C channels.

    Returns
    -------
    Tensor
        (B, C, H, W), contiguous.
    """
    channels_first = batch.permute(0, 3, 1, 2).contiguous()
    return (channels_first - _on_device(mean, batch)).div_(_on_device(std, batch))


def _on_device(values: Sequence[float], like: "Tensor") -> "Tensor":
    """(C, 1, 1) numbers, made where `like` is: a copy there would wait for all that is still computed."""
    made = like.new_empty(len(values), 1, 1)
    for place, value in enumerate(values):
        made[place].fill_(value)
    return made


def flat_tokens(unit: NDArray[np.float32], stride: int) -> NDArray[np.bool_]:
    """Find tokens without structure: background of a slide, black around an ultrasound sector.

    Parameters
    ----------
    unit
        (H, W, 3) in [0, 1], sides multiples of `stride`.
    stride
        Pixels per token.

    Returns
    -------
    ndarray
        (H / stride, W / stride) bool, True where the grey values' standard deviation is below 0.02.
    """
    grey = unit @ np.full(3, 1 / 3, np.float32)
    rows, cols = grey.shape[0] // stride, grey.shape[1] // stride
    tokens = grey.reshape(rows, stride, cols, stride)
    mean = np.einsum("isjt->ij", tokens) / stride**2
    square = np.einsum("isjt,isjt->ij", tokens, tokens) / stride**2
    flat: NDArray[np.bool_] = square - mean**2 < _FLAT**2
    return flat


def flat_tokens_of(unit: "Tensor", stride: int) -> "Tensor":
    """Do what `flat_tokens` does to a batch that is on a device, up to rounding.

    Parameters
    ----------
    unit
        (B, H, W, 3) in [0, 1], sides multiples of `stride`.
    stride
        Pixels per token.

    Returns
    -------
    Tensor
        (B, H / stride, W / stride) bool.
    """
    grey = unit.mean(dim=-1)
    count, height, width = grey.shape
    tokens = grey.reshape(count, height // stride, stride, width // stride, stride)
    flat: Tensor = tokens.square().mean(dim=(2, 4)) - tokens.mean(dim=(2, 4)).square() < _FLAT**2
    return flat
