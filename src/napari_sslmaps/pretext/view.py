"""One door to the pretext views of all methods."""

from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import torch
from numpy.typing import ArrayLike

from napari_sslmaps.core.pretext_views import Crop, PretextView, TokenBlock
from napari_sslmaps.core.resolution import Resolution
from napari_sslmaps.encoders.encoder import Encoder, exact_arithmetic
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.registry import loaded
from napari_sslmaps.errors import DeviceMemoryError, MapUnavailableError
from napari_sslmaps.pipeline.planning import RegionLike
from napari_sslmaps.pretext.input import read_input
from napari_sslmaps.pretext.options import MethodOptions


def pretext_view(  # noqa: PLR0913  # each keyword is part of the public contract
    image: Any,
    encoder: Encoder | str | Path,
    mask: ArrayLike | None = None,
    *,
    region: RegionLike | None = None,
    fit: str = "crop",
    seed: int = 0,
    ratio: float | None = None,
    targets: Sequence[TokenBlock | Sequence[float]] | None = None,
    crops: Sequence[Crop] | None = None,
    distortion: str = "trained",
    norm_pix: bool | None = None,
    decoder_heads: int | None = None,
    window: tuple[float, float] | None = None,
    resolution: Resolution | float | str = "trained",
) -> PretextView:
    """Show an encoder's own pretext task on an image: what is hidden or changed, and what comes back.

    Options that do not concern the encoder's method are left alone, so that one set serves several encoders.
    What is not given is drawn as in training, from `seed`.

    Parameters
    ----------
    image
        Image in any form that `embed` takes, or an `Embedding`, whose image, region and window are meant
        then.
    encoder
        Encoder from `load_encoder`, or a name or path for it.
    mask
        MAE, DINOv2, DINOv3: what is hidden, (rows, cols) bool on the view's token grid, or pixels of the
        region, of which any hides its token.
    region
        ``(y, x, height, width)``, two slices or a `Region`; the whole image if omitted.
    fit
        ``crop``: the middle of the region, no larger than what the encoder was trained on. ``resize``: the
        largest square in the middle of the region, resampled to that size. ``whole``: the region in one
        pass, with positions computed or interpolated for it. Sides are cut to whole tokens.
    seed
        Seed of what is drawn: equal seeds give equal views.
    ratio
        MAE, DINOv2, DINOv3: share of the patches that a drawn mask hides; as in training if omitted.
    targets
        I-JEPA: `TokenBlock` of the view, or rectangles ``(y, x, height, width)`` in pixels of the region's
        level. All other tokens are the context.
    crops
        DINO, DINOv2, DINOv3: at least two `Crop`s of the part that is shown, in pixels of the region's level
        or of the view's; drawn as in training if omitted.
    distortion
        DiRA: ``trained`` mixes them as in training; ``cutout``, ``outer-cutout``, ``shuffle``, ``none``.
    norm_pix
        MAE: whether the decoder predicts the pixels of each patch normalised by their mean and variance.
        Corrects a file that says it wrongly or not at all.
    decoder_heads
        MAE: heads of the decoder's blocks; what the file says, else what its weights speak for, if omitted.
    window
        Intensities that become 0 and 1, as in `embed`.
    resolution
        Resolution that the region is read at, as in `embed`; an embedding keeps its own.

    Returns
    -------
    PretextView
        `ReconstructionView` (MAE), `PredictionView` (I-JEPA), `ViewsView` (DINO, DINOv2, DINOv3) or
        `RestorationView` (DiRA). Computed in float32.

    Raises
    ------
    MapUnavailableError
        If the encoder's file does not hold what the task needs.
    RegionError, UnsupportedImageError, InvalidOptionError
        If region, image or an option cannot be used.
    DeviceMemoryError
        If the region is too large for the device.

    Notes
    -----
    MAE, arXiv 2111.06377; I-JEPA, arXiv 2301.08243; DINOv3, arXiv 2508.10104, with iBOT's masks, arXiv
    2111.07832; DiRA, arXiv 2204.10437. DiRA's public training code mirrors the distorted input at random but
    not the image that the restoration is compared to. An encoder trained by it may restore images mirrored or
    blurred with their own mirror image; the view measures which fits better and says so in its notes.

    Examples
    --------
    >>> from skimage.data import immunohistochemistry
    >>> import napari_sslmaps as ssl
    >>> encoder = ssl.load_encoder("mae-histology", device="cpu", precision="float32")
    >>> view = ssl.pretext_view(immunohistochemistry()[:64, :64], encoder, ratio=0.75, seed=1)
    >>> int(view.mask.sum()), view.mask.shape
    (48, (8, 8))
    """
    encoder = loaded(encoder, precision="float32")
    method = METHODS[encoder.spec.method]
    if not method.pretext:
        raise MapUnavailableError(
            f"Expected an encoder of a method whose task can be shown; {encoder.spec.name} is of "
            f"{method.title}, whose task cannot be shown: {method.unshown}."
        )
    input_ = read_input(image, encoder, region=region, fit=fit, window=window, resolution=resolution)
    method_options = MethodOptions(mask, seed, ratio, targets, crops, distortion, norm_pix, decoder_heads)
    try:
        with torch.inference_mode(), exact_arithmetic():
            view: PretextView = resolve_name(method.pretext)(input_, encoder, method_options)
            return view
    except torch.OutOfMemoryError as error:
        height, width = input_.picture.shape[:2]
        raise DeviceMemoryError(
            f"A view of {height} × {width} px does not fit into the memory "
            f"of {encoder.device}. Choose a smaller region, fit='crop' or the CPU."
        ) from error
