"""Arrays in memory, lazy ones that can be sliced, and images of one colour."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.preprocess import check_finite
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.axes import AxisPlan, plan_axes
from napari_sslmaps.sources.base import (
    ImageLayout,
    SourceBase,
    SpacingYX,
    check_dtype,
    decoding,
    levels_from_shapes,
)
from napari_sslmaps.sources.channels import ChannelChoice
from napari_sslmaps.sources.protocol import ImageSource


class ArraySource(SourceBase):
    """An image that is an array, or a list of arrays from the finest level to the coarsest.

    Parameters
    ----------
    array
        (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), alpha dropped; bool, integers or real floats. With
        `frames`, one axis more in front. NumPy arrays and tensors are checked at once, others (dask,
        zarr, memory maps) when a region is read.
    name
        Short name for titles.
    spacing_um_yx
        Micrometres per pixel of level 0, if known.
    frames
        Whether the first axis is time or z.
    channel
        Channels that are wanted of any number, the last axis: a number, or up to three.

    Raises
    ------
    UnsupportedImageError
        If shape, dtype or values cannot be used.
    """

    def __init__(
        self,
        array: Any,
        name: str = "array",
        spacing_um_yx: SpacingYX = None,
        *,
        frames: bool = False,
        channel: ChannelChoice = None,
    ) -> None:
        stored = array if isinstance(array, list | tuple) else [array]
        if not stored:
            raise UnsupportedImageError("Expected at least one level; got an empty list.")
        arrays = [_as_sliceable(level) for level in stored]
        for level in arrays:
            check_dtype(level.dtype, name)
        plans = [_plan(level, name, frames=frames, channel=channel) for level in arrays]
        if len({(plan.channels, plan.frames) for plan in plans}) > 1:
            raise UnsupportedImageError(
                f"Expected levels of the same channels and frames in {name}; got shapes "
                f"{', '.join(str(tuple(level.shape)) for level in arrays)}."
            )
        for level in arrays:
            if type(level) is np.ndarray:
                check_finite(level)
        shapes = [plan.shape_yx(level.shape) for plan, level in zip(plans, arrays, strict=True)]
        self._arrays: list[Any] = arrays
        self._plan: AxisPlan = plans[0]
        layout = ImageLayout(
            levels=levels_from_shapes(shapes),
            channels=self._plan.channels,
            dtype=np.dtype(arrays[0].dtype),
            frames=self._plan.frames,
            spacing_um_yx=spacing_um_yx,
            contents=self._plan.contents,
        )
        super().__init__(name, layout)

    def _decode(self, region: Region) -> NDArray[Any]:
        with decoding(self.name, "a readable array", OSError, EOFError):
            return self._plan.cut(self._arrays[region.level], region)

    def _release(self) -> None:
        self._arrays = []


def _as_sliceable(value: Any) -> Any:
    if hasattr(value, "detach") and hasattr(value, "cpu"):  # a torch tensor, without importing torch
        tensor = value.detach().cpu()
        return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
    if isinstance(value, np.ma.MaskedArray):
        return _without_mask(value)
    if isinstance(getattr(value, "_meta", None), np.ma.MaskedArray):  # dask's, each chunk as it is read
        pixels = np.empty((0,) * value.ndim, value.dtype)
        return value.map_blocks(_without_mask, "dask.array.ma", dtype=value.dtype, meta=pixels)
    if all(hasattr(value, needed) for needed in ("shape", "dtype", "__getitem__")):
        return value
    raise UnsupportedImageError(
        "Expected an image as a path, a NumPy array, a tensor or an ImageSource; got "
        f"{type(value).__name__}. Convert it with numpy.asarray(image)."
    )


def _without_mask(value: Any, functions: str = "numpy.ma") -> NDArray[Any]:
    """Return the pixels of a masked array in which none is masked; `functions` names the module for it."""
    masked = int(np.count_nonzero(np.ma.getmaskarray(value)))
    if masked:
        raise UnsupportedImageError(
            f"Expected an image whose pixels are all there; {masked} of this masked array are masked. Pass "
            f"{functions}.filled(image, 0), and mask=~{functions}.getmaskarray(image), which says which "
            "tokens are wanted."
        )
    pixels: NDArray[Any] = np.ma.getdata(value)
    return pixels


def _plan(array: Any, name: str, *, frames: bool, channel: ChannelChoice) -> AxisPlan:
    shape = tuple(array.shape)
    if 0 in shape:
        raise UnsupportedImageError(
            f"Expected at least one pixel in {name}; got an empty array of shape {shape}."
        )
    spatial = shape[1:] if frames else shape
    if len(spatial) == 2:
        axes = "YX"
    elif len(spatial) == 3 and (looks_channel_last(spatial) or channel is not None):
        axes = "YXS"
    else:
        raise UnsupportedImageError(_sentence(shape, frames, name))
    return plan_axes(("T" if frames else "") + axes, shape, name, np.dtype(array.dtype), channel=channel)


def looks_channel_last(shape: Sequence[int]) -> bool:
    """Whether the last axis is as long as that of grey, RGB or RGBA."""
    return shape[-1] in (1, 3, 4)


def _sentence(shape: tuple[int, ...], frames: bool, name: str) -> str:
    wanted = "(frames, height, width[, 3])" if frames else "(height, width) or (height, width, 3)"
    start = f"Expected {name} of shape {wanted}; got {shape}"
    if len(shape) == 3 and not frames:
        if shape[0] in (1, 3, 4):
            return (
                f"{start}, which looks channel-first. Move the channels last with "
                "numpy.moveaxis(image, 0, -1), or tensor.permute(1, 2, 0)."
            )
        if shape[-1] == 2:
            return f"{start}: two channels. Choose one of them with channel=0 or channel=1."
        return f"{start}, which looks like a stack. Choose one slice, image[0], or pass frames=True."
    if len(shape) == 4 and not frames and looks_channel_last(shape):
        return f"{start}, which looks like a stack. Choose one slice, image[0], or pass frames=True."
    if len(shape) < 2:
        return f"{start}. Give a two-dimensional image."
    return f"{start}, {len(shape)} dimensions. Choose one plane, for example image[0]."


class UniformSource(SourceBase):
    """An image of one colour with the levels, channels, dtype and spacing of another.

    Parameters
    ----------
    like
        The other image; it is not read.
    colour
        A value per channel, rounded where the dtype holds whole numbers.
    """

    def __init__(self, like: ImageSource, colour: Sequence[float] | NDArray[np.floating]) -> None:
        layout = ImageLayout(like.levels, like.channels, like.dtype, like.frames, like.spacing_um_yx)
        super().__init__(like.name, layout)
        value = np.asarray(colour, np.float64).reshape(like.channels)
        self._colour = (value if self.dtype.kind == "f" else np.rint(value)).astype(self.dtype)

    def _decode(self, region: Region) -> NDArray[Any]:
        if self.channels == 1:
            return np.full(region.shape_yx, self._colour[0])
        return np.tile(self._colour, (*region.shape_yx, 1))
