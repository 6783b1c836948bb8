"""Results as frozen values: embeddings, maps and their provenance."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.moments import TokenMoments
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.tokens import token_chunks
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.serialise import load, strict

if TYPE_CHECKING:
    from torch import Tensor

Float32 = NDArray[np.float32]
AttentionKind = Literal["cls", "mean-query", "anchor", "rollout"]
PixelReader = Callable[[Region], NDArray[Any]]


def as_numpy(values: "ArrayLike | Tensor") -> NDArray[Any]:
    """Return an array or a torch tensor, on any device and of any precision, as a NumPy array."""
    detach = getattr(values, "detach", None)
    if detach is None:
        return np.asarray(values)
    tensor: Tensor = detach().cpu()
    array: NDArray[Any] = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    return array


@strict
@dataclass(frozen=True, slots=True)
class Provenance:
    """Everything that decided the numbers of a result.

    Parameters
    ----------
    encoder, method, weights_sha256, architecture
        Name, method, weights and shape of the network.
    image, image_sha256
        Name of the image and hash of the pixels that were read.
    region
        The rectangle, its level and frame.
    window, normalisation
        Intensities mapped to [0, 1], and the name of the normalisation preset.
    precision, device
        Number format and device of the forward pass.
    tile, overlap, stitching
        Tokens per tile side, shared tokens of neighbouring tiles, ``drop`` or ``blend``; `tile` is 0 for
        a single pass.
    package_version, torch_version
        Versions of napari-sslmaps and torch.
    overrides
        Corrections of the weight file, as keywords of `load_encoder`.
    mask_sha256
        Hash of the tokens that were wanted; empty if all were.
    image_notes
        Sentences on how the file was read: which of its images is shown, the profile that its colours went
        through.
    stride
        Pixels of the region's level per token, where passes over shifted patches were woven; 0 for one token
        per patch.
    spacing_um_yx
        Micrometres per pixel of level 0, where they are known.
    resolution
        Resolution that it was read at, as `str` of a `Resolution` says it; empty for a level as it is stored.
    scale
        Standard deviation, in pixels of level 0, of the Gaussian that tokens were averaged over; 0 for none.
    token_block
        The block or stage whose features the tokens are, as its encoder calls it; empty for the encoder's
        own, of a transformer the last.
    token_norm
        Whether tokens passed the encoder's final norm, where it has one.
    """

    encoder: str = ""
    method: str = ""
    weights_sha256: str = ""
    architecture: str = ""
    image: str = ""
    image_sha256: str = ""
    region: Region | None = None
    window: tuple[float, float] | None = None
    normalisation: str = ""
    precision: str = ""
    device: str = ""
    tile: int = 0
    overlap: int = 0
    stitching: str = "drop"
    package_version: str = ""
    torch_version: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    mask_sha256: str = ""
    image_notes: tuple[str, ...] = ()
    stride: int = 0
    spacing_um_yx: tuple[float, float] | None = None
    resolution: str = ""
    scale: float = 0.0
    token_block: str = ""
    token_norm: bool = True

    @property
    def depth(self) -> str:
        """Say whose tokens these are, where they are not the encoder's own: ``block 3, without norm``."""
        bare = "" if self.token_norm else "without norm"
        return ", ".join(part for part in (self.token_block, bare) if part)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description; `from_dict` reads it back.

        What earlier versions do not know is left out where it says nothing; the spacing where nothing follows
        from it.
        """
        described = asdict(self)
        plain = not (self.resolution or self.scale)
        if self.token_norm:
            del described["token_norm"]
        for name in ("image_notes", "stride", "spacing_um_yx", "resolution", "scale", "token_block"):
            if not described[name] or (plain and name == "spacing_um_yx"):
                del described[name]
        return described

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> Self:
        """Rebuild from `to_dict`'s description; what does not fit is refused."""
        return load(cls, description, "a provenance")


@dataclass(frozen=True, eq=False)
class Embedding:
    """Tokens of one region by one encoder.

    Parameters
    ----------
    tokens
        (rows, cols, dim) float32; NaN where not computed yet, or outside the mask. Of a large region a
        `HalfTokens`, which is not whole in memory and is read by slices: rows, or ``token_chunks(flat)``.
    grid
        Grid that the tokens lie on.
    provenance
        Everything that decided the numbers.
    attention
        (heads, rows, cols) float32 in [0, 1], not renormalised; None for a CNN.
    prefix_attention
        (heads,) float32, attention mass that fell on CLS and registers, averaged over tiles.
    attention_kind
        ``cls`` for the CLS query's row, ``mean-query`` for the mean over all queries.
    activation
        (rows, cols) float32, channel mean of rectified activations of a CNN; None for a transformer.
    foreground
        (rows, cols) bool, tokens whose pixels are not flat; None if unknown.
    pixels
        Function that reads a region of the image that it was made from, (H, W) or (H, W, 3) as stored; None
        if unknown.
    moments
        Mean and covariance of the tokens, taken while they were computed; None if they were not.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> tokens = np.random.default_rng(0).normal(size=(4, 6, 32))
    >>> embedding = ssl.Embedding.from_tokens(tokens, stride=16, name="mine")
    >>> embedding.tokens.dtype, embedding.grid.extent_yx, embedding.provenance.encoder
    (dtype('float32'), (64.0, 96.0), 'mine')
    """

    tokens: Float32
    grid: TokenGrid
    provenance: Provenance = field(default_factory=Provenance)
    attention: Float32 | None = None
    prefix_attention: Float32 | None = None
    attention_kind: AttentionKind | None = None
    activation: Float32 | None = None
    foreground: NDArray[np.bool_] | None = None
    pixels: PixelReader | None = None
    moments: TokenMoments | None = None

    def __post_init__(self) -> None:
        if self.tokens.ndim != 3 or 0 in self.tokens.shape:
            raise InvalidOptionError(f"Expected tokens of shape (rows, cols, dim); got {self.tokens.shape}.")
        for name in ("attention", "activation", "foreground"):
            array = getattr(self, name)
            if array is not None and array.shape[-2:] != self.grid.shape:
                raise InvalidOptionError(f"Expected {name} on the grid {self.grid.shape}; got {array.shape}.")
        if self.tokens.shape[:2] != self.grid.shape:
            raise InvalidOptionError(
                f"Expected tokens on the grid {self.grid.shape}; got {self.tokens.shape[:2]}."
            )

    @classmethod
    def from_tokens(cls, tokens: ArrayLike, stride: int = 16, *, name: str = "external") -> Self:
        """Wrap tokens computed elsewhere, so that every map works on them.

        Parameters
        ----------
        tokens
            (rows, cols, dim) array or torch tensor, on any device, of real numbers.
        stride
            Image pixels per token.
        name
            Encoder name to write into the provenance.
        """
        array = np.ascontiguousarray(as_numpy(tokens), dtype=np.float32)
        if array.ndim != 3 or 0 in array.shape:
            raise InvalidOptionError(
                f"Expected tokens of shape (rows, cols, dim), none of them 0; got {array.shape}."
            )
        if stride < 1:
            raise InvalidOptionError(f"Expected a stride of at least one pixel; got {stride}.")
        rows, cols, _ = array.shape
        region = Region(0, 0, rows * stride, cols * stride)
        grid = TokenGrid.covering(region, stride)
        return cls(array, grid, Provenance(encoder=name, region=region))

    @property
    def flat(self) -> Float32:
        """(rows · cols, dim) view of the tokens."""
        return self.tokens.reshape(-1, self.tokens.shape[-1])

    @cached_property
    def mean_token(self) -> Float32:
        """(dim,) mean of the tokens computed so far; NaN where there is none."""
        if self.moments is not None:
            return self.moments.mean.astype(np.float32)
        total, count = np.zeros(self.tokens.shape[-1]), 0
        for _, tokens in token_chunks(self.flat):
            there = tokens[np.isfinite(tokens[:, 0])]
            total += there.sum(axis=0, dtype=np.float64)
            count += len(there)
        return np.asarray(total / count if count else np.full_like(total, np.nan), np.float32)

    @cached_property
    def inverse_norms(self) -> Float32:
        """(rows · cols,) reciprocal lengths of the tokens; 0 for a zero token."""
        return _inverse_norms(self.flat)

    @cached_property
    def centred_inverse_norms(self) -> Float32:
        """(rows · cols,) reciprocal lengths of the tokens less their mean."""
        return _inverse_norms(self.flat, self.mean_token)


def _inverse_norms(tokens: Float32, shift: Float32 | None = None) -> Float32:
    norms = np.empty(len(tokens), np.float32)
    for place, part in token_chunks(tokens):
        norms[place] = np.linalg.norm(part if shift is None else part - shift, axis=1)
    return np.divide(1.0, norms, out=np.zeros_like(norms), where=norms != 0)


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenMap:
    """A map on the token grid.

    Parameters
    ----------
    values
        (rows, cols) or (rows, cols, 3) float32; NaN where not computed.
    grid
        Grid that the tokens lie on.
    provenance
        Provenance of the embedding the map was made from.
    """

    values: Float32
    grid: TokenGrid
    provenance: Provenance
