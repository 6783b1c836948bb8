"""Views of a method's pretext task on one image: what was hidden or changed, and what came back."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Float32, Provenance

_NOTHING = "Nothing is hidden yet: paint over what is to be hidden."
Bool = NDArray[np.bool_]
PanelKind = Literal["picture", "colours", "scalar"]


@dataclass(frozen=True, slots=True)
class TokenBlock:
    """A rectangle of tokens: first row and column, height and width, all in tokens."""

    row: int
    col: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Crop:
    """A view of the image.

    Parameters
    ----------
    region
        Region of the crop in pixels of the view's level.
    kind
        Kind of crop: ``global`` or ``local``.
    """

    region: Region
    kind: Literal["global", "local"]


@dataclass(frozen=True, eq=False, slots=True)
class Panel:
    """One picture of a pretext view, for a layer or a figure.

    Parameters
    ----------
    name
        Name of the picture, for example ``masked input``.
    kind
        ``picture`` (grey or colour in [0, 1]), ``colours`` (joint PCA in [0, 1]) or ``scalar``.
    values
        (h, w) or (h, w, 3) float32; NaN where there is nothing to show.
    stride
        Pixels of the view's picture per value: 1 for pixels, the token stride for tokens.
    limits
        Values at the two ends of a scalar's colours; None for pictures and colours.
    """

    name: str
    kind: PanelKind
    values: Float32
    stride: float
    limits: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class PretextView(ABC):
    """A pretext task on one region.

    Parameters
    ----------
    method
        Method: ``mae``, ``ijepa``, ``dino``, ``dinov2``, ``dinov3`` or ``dira``.
    region
        Region that the view is of, in pixels of its level.
    grid
        Grid that its tokens lie on.
    picture
        (H, W, 3) float32 in [0, 1]: what the encoder was given, before anything was hidden or changed; the
        region's pixels, or a resampling of them.
    notes
        Sentences to show beside the view: what leaks, what was assumed, what the file does not hold.
    provenance
        Everything that decided the numbers.
    """

    method: str
    region: Region
    grid: TokenGrid
    picture: Float32
    notes: tuple[str, ...]
    provenance: Provenance

    @property
    @abstractmethod
    def panels(self) -> tuple[Panel, ...]:
        """Pictures of the view, in the order in which they are read."""

    def placed(self, panel: Panel) -> TokenGrid:
        """Return where the values of a panel lie on the image, tokens on the view's own grid."""
        rows, cols = panel.values.shape[:2]
        if (rows, cols) == self.grid.shape:
            return self.grid
        height, width = self.grid.extent_yx
        return replace(self.grid, rows=rows, cols=cols, stride_yx=(height / rows, width / cols))


@dataclass(frozen=True, eq=False, kw_only=True)
class ReconstructionView(PretextView):
    """MAE: hidden patches and the pixels that the decoder puts in their place (arXiv 2111.06377).

    Parameters
    ----------
    mask
        (rows, cols) bool, True where hidden.
    masked
        (H, W, 3) float32 in [0, 1], hidden patches mid-grey.
    reconstruction
        (H, W, 3) float32 in [0, 1]: predicted where hidden, the picture elsewhere.
    error
        (H, W) float32, absolute difference of reconstruction and picture, mean over channels.
    """

    mask: Bool
    masked: Float32
    reconstruction: Float32
    error: Float32

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Masked input, reconstruction, error."""
        return (
            Panel("masked input", "picture", self.masked, 1),
            Panel("reconstruction", "picture", self.reconstruction, 1),
            Panel("error", "scalar", self.error, 1, (0.0, 0.5)),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class PredictionView(PretextView):
    """I-JEPA: target blocks and how well their representations are predicted (arXiv 2301.08243).

    Parameters
    ----------
    targets
        The blocks that were predicted.
    context
        (rows, cols) bool, True for tokens that the context encoder saw.
    agreement
        (rows, cols) float32 in [−1, 1]: cosine of predicted and actual target token, NaN outside the
        targets; the mean where blocks overlap.
    predicted, actual
        (rows, cols, 3) float32 in [0, 1], NaN outside the targets: both in one joint PCA.
    centred
        Cosine as in `agreement`, with the mean token of the picture taken from both first: tokens share much
        that is the same everywhere, and agree in that without any prediction. None if it was not computed.
    """

    targets: tuple[TokenBlock, ...]
    context: Bool
    agreement: Float32
    predicted: Float32
    actual: Float32
    centred: Float32 | None = None

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Context, predicted and actual tokens, agreement; centred agreement where there is one."""
        stride = self.picture.shape[0] / self.context.shape[0]
        seen = np.repeat(self.context[..., None], 3, axis=-1)
        shown = np.where(upsampled(seen, self.picture.shape[:2]), self.picture, np.float32(0.5))
        panels = [
            Panel("context", "picture", shown, 1),
            Panel("predicted", "colours", self.predicted, stride),
            Panel("actual", "colours", self.actual, stride),
            Panel("agreement", "scalar", self.agreement, stride, (-1.0, 1.0)),
        ]
        if self.centred is not None:
            panels.append(Panel("centred agreement", "scalar", self.centred, stride, (-1.0, 1.0)))
        return tuple(panels)


@dataclass(frozen=True, eq=False, kw_only=True)
class ViewsView(PretextView):
    """DINO, DINOv2, DINOv3: crops and how their CLS tokens agree; hidden patches and their prediction.

    Parameters
    ----------
    crops
        Crops of the image, the global ones first.
    agreement
        (n, n) float32 in [−1, 1]: cosine of the CLS tokens of the crops.
    mask
        (rows, cols) bool, True where the mask token stood; None if the file has no mask token.
    masked
        (H, W, 3) float32 in [0, 1], hidden patches mid-grey; None without a mask token.
    patch_agreement
        (rows, cols) float32 in [−1, 1]: cosine of each hidden patch's output token with the token of the
        unmasked image, NaN elsewhere (arXiv 2111.07832); None without a mask token.
    """

    crops: tuple[Crop, ...]
    agreement: Float32
    mask: Bool | None = None
    masked: Float32 | None = None
    patch_agreement: Float32 | None = None

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Agreement of the CLS tokens painted into the crops; the masked input and its prediction."""
        painted = Panel("view agreement", "scalar", self.crop_map, 1, (-1.0, 1.0))
        if self.masked is None or self.patch_agreement is None:
            return (painted,)
        stride = self.picture.shape[0] / self.patch_agreement.shape[0]
        return (
            painted,
            Panel("masked input", "picture", self.masked, 1),
            Panel("patch agreement", "scalar", self.patch_agreement, stride, (-1.0, 1.0)),
        )

    @property
    def crop_map(self) -> Float32:
        """(H, W) mean agreement of each local crop with the global ones, painted where it lies; else NaN."""
        total = np.zeros(self.picture.shape[:2], np.float32)
        count = np.zeros_like(total)
        large = [index for index, crop in enumerate(self.crops) if crop.kind == "global"]
        for index, crop in enumerate(self.crops):
            if crop.kind == "local" and large:
                window = window_of(crop.region, self.region, self.picture.shape[:2])
                total[window] += float(self.agreement[index, large].mean())
                count[window] += 1
        return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


@dataclass(frozen=True, eq=False, kw_only=True)
class RestorationView(PretextView):
    """DiRA: a distorted image and what the U-Net restores (arXiv 2204.10437).

    Parameters
    ----------
    distorted
        (H, W, 3) float32 in [0, 1].
    restoration
        (H, W) float32 in [0, 1], grey.
    error
        (H, W) float32, absolute difference of restoration and grey picture.
    scores
        (h, w) float32, the discriminator's opinion of the restoration, 1 for real and 0 for restored
        (LSGAN); None if the file has no discriminator.
    score_stride
        Pixels per score.
    """

    distorted: Float32
    restoration: Float32
    error: Float32
    scores: Float32 | None = None
    score_stride: float = 0.0

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Distorted input, restoration, error; scores where there are any."""
        shown = [
            Panel("distorted input", "picture", self.distorted, 1),
            Panel("restoration", "picture", self.restoration, 1),
            Panel("error", "scalar", self.error, 1, (0.0, 0.5)),
        ]
        if self.scores is not None:
            shown.append(Panel("discriminator", "scalar", self.scores, self.score_stride, (0.0, 1.0)))
        return tuple(shown)


def window_of(part: Region, whole: Region, shape_yx: tuple[int, int]) -> tuple[slice, slice]:
    """Return where `part` of `whole` lies in a picture of `whole`, of `shape_yx` pixels; at least one."""
    firsts = (part.y - whole.y, part.x - whole.x)
    rows, cols = (
        slice(first * pixels // extent, -(-(first + size) * pixels // extent))
        for first, size, pixels, extent in zip(firsts, part.shape_yx, shape_yx, whole.shape_yx, strict=True)
    )
    return rows, cols


def upsampled(values: NDArray[np.generic], shape_yx: tuple[int, int]) -> NDArray[np.generic]:
    """Repeat (rows, cols, …) values so that they cover `shape_yx` pixels, cut to that shape."""
    factors = [-(-size // count) for size, count in zip(shape_yx, values.shape[:2], strict=True)]
    large = values.repeat(factors[0], axis=0).repeat(factors[1], axis=1)
    return large[: shape_yx[0], : shape_yx[1]]


def uncovered(view: PretextView) -> PretextView:
    """Return a view in which nothing is hidden yet, and so nothing is predicted; others as they are."""
    if isinstance(view, ReconstructionView):
        return replace(
            view,
            notes=(_NOTHING,),
            mask=np.zeros_like(view.mask),
            masked=view.picture,
            reconstruction=view.picture,
            error=np.zeros_like(view.error),
        )
    if isinstance(view, ViewsView) and view.mask is not None:
        return replace(
            view,
            notes=(_NOTHING,),
            mask=np.zeros_like(view.mask),
            masked=view.picture,
            patch_agreement=np.full(view.mask.shape, np.nan, np.float32),
        )
    return view
