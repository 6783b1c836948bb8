"""Token ↔ pixel ↔ world: the only home of the half-pixel rule.

Pixel *centres* sit at integers, so pixel i covers [i − ½, i + ½]. A token of stride s whose first
pixel is o covers [o − ½, o + s − ½] and has its centre at o + (s − 1)/2.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import InvalidAnchorError, RegionError
from napari_sslmaps.serialise import strict

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OverlayPlacement:
    """Scale and translate, (y, x) in world units, of a layer that holds a token grid."""

    scale_yx: tuple[float, float]
    translate_yx: tuple[float, float]


@strict
@dataclass(frozen=True, slots=True)
class TokenGrid:
    """Places of the tokens on the image.

    Parameters
    ----------
    rows, cols
        Number of tokens along each axis.
    stride_yx
        Pixels of level 0 per token.
    origin_yx
        First pixel of level 0 that the region covers, as an index.
    extent_yx
        Height and width of the region in pixels of level 0; at most `rows` (`cols`) strides, since the
        last token may reach into padding.
    """

    rows: int
    cols: int
    stride_yx: tuple[float, float]
    origin_yx: tuple[float, float]
    extent_yx: tuple[float, float]

    @classmethod
    def covering(
        cls,
        region: Region,
        stride: int,
        downsample_yx: tuple[float, float] = (1.0, 1.0),
        *,
        patch: int | None = None,
    ) -> Self:
        """Lay tokens of `stride` pixels of the region's level over `region`.

        Parameters
        ----------
        region
            The rectangle to cover, in pixels of its level.
        stride
            Pixels of that level per token.
        downsample_yx
            Pixels of level 0 per pixel of that level.
        patch
            Pixels of that level that a token is computed from, along each axis, where those are more than
            its stride: they are centred on it. Where the two differ by an odd number, that puts all tokens
            half a pixel towards the end.

        Raises
        ------
        RegionError
            If the region is smaller than one patch.
        """
        seen = patch or stride
        if min(region.shape_yx) < seen:
            raise RegionError(
                f"Expected a region of at least one patch ({seen} × {seen} px); got "
                f"{region.height} × {region.width} px. Choose a larger region or a finer level."
            )
        fy, fx = downsample_yx
        half = (seen - stride) % 2 / 2
        return cls(
            rows=-(-region.height // stride),
            cols=-(-region.width // stride),
            stride_yx=(stride * fy, stride * fx),
            origin_yx=((region.y + half) * fy, (region.x + half) * fx),
            extent_yx=(region.height * fy, region.width * fx),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.cols

    def token_to_pixel(self, token_yx: ArrayLike) -> Float:
        """Map token coordinates (…, 2) to the pixel coordinates of their centres."""
        stride = np.asarray(self.stride_yx)
        pixels: Float = np.asarray(token_yx, float) * stride + self._first_centre()
        return pixels

    def pixel_to_token(self, pixel_yx: ArrayLike) -> Float:
        """Map pixel coordinates (…, 2) to fractional token coordinates; token centres are integers."""
        offset = np.asarray(pixel_yx, float) - self._first_centre()
        tokens: Float = offset / np.asarray(self.stride_yx)
        return tokens

    @property
    def edges_yx(self) -> tuple[Float, Float]:
        """Pixel positions between rows and between columns, (rows + 1,) and (cols + 1,).

        The last one ends with the region, since what reaches into padding shows nothing of the image.
        """
        y, x = (
            np.minimum(np.arange(count + 1) * stride, extent) + origin - 0.5
            for count, stride, extent, origin in zip(
                self.shape, self.stride_yx, self.extent_yx, self.origin_yx, strict=True
            )
        )
        return y, x

    def coarser(self, level: int) -> Self:
        """Return the grid whose cells cover 2ᵏ × 2ᵏ tokens of this one, rounded up, at level k."""
        factor = 2**level
        return replace(
            self,
            rows=-(-self.rows // factor),
            cols=-(-self.cols // factor),
            stride_yx=(self.stride_yx[0] * factor, self.stride_yx[1] * factor),
        )

    def every(self, count: int, first_yx: tuple[int, int]) -> Self:
        """Return the grid of every `count`-th token along each axis, each as large as `count` of these.

        Parameters
        ----------
        count
            Tokens of this grid along each axis of one of the other, at least 1.
        first_yx
            Row and column of its first token, each below `count`; the centres stay where they are.
        """
        rows, cols = (-(-(size - first) // count) for size, first in zip(self.shape, first_yx, strict=True))
        stride = np.multiply(self.stride_yx, count)
        origin = self.token_to_pixel(first_yx) - (stride - 1) / 2
        return type(self)(
            rows=rows,
            cols=cols,
            stride_yx=(float(stride[0]), float(stride[1])),
            origin_yx=(float(origin[0]), float(origin[1])),
            extent_yx=(float(rows * stride[0]), float(cols * stride[1])),
        )

    def contains(self, pixel_yx: ArrayLike) -> bool:
        """Whether one pixel position lies on the region (edges at half pixels, upper edge excluded)."""
        offset = np.asarray(pixel_yx, float) - np.asarray(self.origin_yx) + 0.5
        return bool(np.all(offset >= 0) and np.all(offset < np.asarray(self.extent_yx)))

    def token_at(self, pixel_yx: ArrayLike) -> tuple[int, int]:
        """Return the token that covers one pixel position.

        Raises
        ------
        InvalidAnchorError
            If the position is not two finite numbers on the region.
        """
        position = np.asarray(pixel_yx, float)
        if position.shape != (2,) or not np.isfinite(position).all():
            raise InvalidAnchorError(
                f"Expected an anchor as two finite numbers (row, column); got {pixel_yx!r}."
            )
        if not self.contains(position):
            top, left = self.origin_yx
            height, width = self.extent_yx
            raise InvalidAnchorError(
                f"Expected an anchor on the region, rows {top:g}–{top + height - 1:g} and columns "
                f"{left:g}–{left + width - 1:g}; got ({position[0]:g}, {position[1]:g}). "
                "Choose a place inside the region."
            )
        token = np.floor(self.pixel_to_token(position) + 0.5).astype(int)
        # rounding may put an edge of the region just beyond it
        row, col = np.clip(token, 0, np.array(self.shape) - 1)
        return int(row), int(col)

    def tokens_in_disc(self, pixel_yx: ArrayLike, radius: float) -> NDArray[np.intp]:
        """Return (M, 2) tokens whose centres lie within `radius` pixels; at least the one at the centre."""
        centre = np.array(self.token_at(pixel_yx))
        reach = np.ceil(radius / np.asarray(self.stride_yx)).astype(int) + 1
        low, high = np.maximum(centre - reach, 0), np.minimum(centre + reach + 1, self.shape)
        tokens = np.argwhere(np.ones(high - low, bool)) + low
        distances = np.linalg.norm(self.token_to_pixel(tokens) - np.asarray(pixel_yx, float), axis=1)
        inside: NDArray[np.intp] = tokens[(distances <= radius) | (tokens == centre).all(axis=1)]
        return inside

    def place(
        self, scale_yx: ArrayLike, translate_yx: ArrayLike, linear: ArrayLike | None = None
    ) -> OverlayPlacement:
        """Place the grid over an image layer of pixels.

        Parameters
        ----------
        scale_yx, translate_yx
            The image layer's, in world units per pixel of level 0, and in world units.
        linear
            The image layer's rotation times shear, (2, 2); identity if omitted. The overlay keeps both.

        Returns
        -------
        OverlayPlacement
            Scale and translate with which token coordinates land where their pixels are, for world = linear ·
            diag(scale) · data + translate.
        """
        scale = np.asarray(scale_yx, float)
        turn = np.eye(2) if linear is None else np.asarray(linear, float)
        translate = np.asarray(translate_yx, float) + turn @ (scale * self._first_centre())
        cell = scale * np.asarray(self.stride_yx)
        return OverlayPlacement((float(cell[0]), float(cell[1])), (float(translate[0]), float(translate[1])))

    def _first_centre(self) -> Float:
        return np.asarray(self.origin_yx, float) + (np.asarray(self.stride_yx, float) - 1) / 2


def patch_shifts(stride: int, patch: int) -> tuple[int, ...]:
    """Return where patches begin, along one axis, that together leave one token every `stride` pixels.

    Parameters
    ----------
    stride
        Pixels per token; a divisor of `patch`.
    patch
        Pixels that a token is computed from.

    Returns
    -------
    tuple of int
        First pixel of the patches of each pass, counted from that of the region: ascending, from the pass
        that gives the first token. Below 0 a patch begins before the region.
    """
    before = (patch - stride) // 2
    return tuple(number * stride - before for number in range(patch // stride))


Points = tuple[tuple[float, float], ...]
