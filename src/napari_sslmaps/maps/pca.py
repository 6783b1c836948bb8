"""Component maps: the first principal components of the tokens, alone or as colour.

The fit is exact and its memory does not grow with the number of tokens: it accumulates the Gram matrix
X'X and takes the top eigenvectors of the covariance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.moments import MomentAccumulator
from napari_sslmaps.core.regrid import common_grid, regrid
from napari_sslmaps.core.results import Embedding, Float32, TokenMap
from napari_sslmaps.core.tokens import token_chunks
from napari_sslmaps.errors import InvalidOptionError, MapUnavailableError
from napari_sslmaps.maps.map_type import Facts, MapInput, MapType, scale_facts, scale_words
from napari_sslmaps.serialise import Float64Array, strict

if TYPE_CHECKING:
    from napari_sslmaps.maps.registry import MapOptions

Mask = NDArray[np.bool_]
Foreground = Literal["auto", "first-component"] | Mask | Sequence[Mask] | None
COMPONENTS = 3
_PERCENTILES = (2, 98)
_HELD = 1024
Rendering = Literal["stretch", "whitened"]
BasisChoice = Literal["region", "joint", "kept"]


@strict
@dataclass(frozen=True, eq=False)
class ComponentBasis:
    """Principal components that can be kept and applied to other images of the same encoder.

    Parameters
    ----------
    mean
        Mean token, (dim,) float64.
    components
        (k, dim) float64, orthonormal; the loading of largest magnitude is positive. Of aligned colours:
        mixtures of whitened components, of variance 1.
    variance
        (k,) float64, of each component.
    low, high
        (k,) float64, 2nd and 98th percentile of the scores that the stretch maps to 0 and 1.
    encoder
        Name of the encoder it belongs to.
    weights_sha256, normalisation
        Hash of that encoder's weights, and its normalisation; empty where unknown.
    aligned_to
        Name of the encoder whose colours these were turned towards; empty for components as they are.
    """

    mean: Float64Array
    components: Float64Array
    variance: Float64Array
    low: Float64Array
    high: Float64Array
    encoder: str = ""
    weights_sha256: str = ""
    normalisation: str = ""
    aligned_to: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class ComponentMap(TokenMap):
    """First three principal components as RGB, (rows, cols, 3) in [0, 1].

    Parameters
    ----------
    basis
        The components; the same object in every map of a joint fit.
    rendering
        ``stretch`` (2–98 %) or ``whitened`` (sigmoid of twice the whitened score).
    scores
        (rows, cols, 3) float32 from which the colours were made; None if they were not kept.
    fitted_to
        Tokens that the components were fitted to: this ``region``, several images together (``joint``), or a
        basis that was ``kept``.
    """

    basis: ComponentBasis
    rendering: Rendering
    scores: Float32 | None = None
    fitted_to: BasisChoice = "region"

    @property
    def aligned_to(self) -> str:
        """Name of the encoder whose colours these were turned towards; empty if they were not."""
        return self.basis.aligned_to


@overload
def pca_map(
    embeddings: Embedding,
    *,
    rendering: Rendering = ...,
    foreground: Foreground = ...,
    basis: ComponentBasis | None = ...,
) -> ComponentMap: ...


@overload
def pca_map(
    embeddings: Sequence[Embedding],
    *,
    rendering: Rendering = ...,
    foreground: Foreground = ...,
    basis: ComponentBasis | None = ...,
) -> list[ComponentMap]: ...


def pca_map(
    embeddings: Embedding | Sequence[Embedding],
    *,
    rendering: Rendering = "stretch",
    foreground: Foreground = "auto",
    basis: ComponentBasis | None = None,
) -> ComponentMap | list[ComponentMap]:
    """Show the first three principal components of tokens as red, green and blue.

    Parameters
    ----------
    embeddings
        Embedding, or several of one encoder, which then share one basis: colours mean the same.
    rendering
        ``stretch`` maps the 2nd to 98th percentile of each component to [0, 1]; ``whitened`` is the
        sigmoid of twice the score over its standard deviation, as in DINOv3's PCA notebook.
    foreground
        Tokens that the fit sees; all are projected. None for all; ``auto`` for tokens whose pixels are not
        flat, or for all where every pixel is; ``first-component`` for those with a positive first score; or
        boolean mask(s) (rows, cols).
    basis
        An earlier map's basis, applied instead of a fit.

    Returns
    -------
    ComponentMap or list of ComponentMap
        Map of one embedding, or a list of maps for a list; values (rows, cols, 3) float32 in [0, 1].

    Raises
    ------
    InvalidOptionError
        If the list is empty, mixes encoders, or an option or mask does not fit.
    MapUnavailableError
        If tokens have fewer than three channels or no token is foreground.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> rng = np.random.default_rng(0)
    >>> frames = [ssl.Embedding.from_tokens(rng.normal(size=(8, 8, 16))) for _ in range(2)]
    >>> ssl.pca_map(frames[0], foreground=None).values.shape
    (8, 8, 3)
    >>> first, second = ssl.pca_map(frames, rendering="whitened", foreground=None)
    >>> bool(np.array_equal(first.basis.components, second.basis.components))
    True
    """
    several = [embeddings] if isinstance(embeddings, Embedding) else list(embeddings)
    _check(several, rendering, basis)
    if basis is None:
        basis, scores = _fit(several, foreground)
    else:
        scores = [_project(item, basis.mean, basis.components) for item in several]
    maps = [_coloured(*each, basis, rendering) for each in zip(several, scores, strict=True)]
    return maps[0] if isinstance(embeddings, Embedding) else maps


def _coloured(
    embedding: Embedding, scores: Float32, basis: ComponentBasis, rendering: Rendering
) -> ComponentMap:
    return ComponentMap(
        values=render_scores(scores, basis, rendering),
        grid=embedding.grid,
        provenance=embedding.provenance,
        basis=basis,
        rendering=rendering,
        scores=scores,
    )


def _check(embeddings: list[Embedding], rendering: str, basis: ComponentBasis | None) -> None:
    if rendering not in get_args(Rendering):
        raise InvalidOptionError(f"Expected the rendering 'stretch' or 'whitened'; got {rendering!r}.")
    if not embeddings:
        raise InvalidOptionError("Expected at least one embedding for PCA; got none.")
    encoders = {(item.provenance.encoder, item.provenance.weights_sha256) for item in embeddings}
    dims = {item.tokens.shape[-1] for item in embeddings}
    if len(encoders) > 1 or len(dims) > 1:
        names = ", ".join(sorted(name for name, _ in encoders))
        raise InvalidOptionError(
            f"Expected embeddings of one encoder for a joint PCA; got {names}. Components of different "
            "encoders cannot be compared: make one map each."
        )
    dim = dims.pop()
    if dim < COMPONENTS:
        raise MapUnavailableError(f"Expected tokens of at least three channels; got {dim}.")
    if basis is not None:
        _check_basis(basis, embeddings[0])


def _check_basis(basis: ComponentBasis, embedding: Embedding) -> None:
    dim, made = embedding.tokens.shape[-1], embedding.provenance
    if len(basis.mean) != dim:
        raise InvalidOptionError(
            f"Expected a basis for tokens of width {dim}; got one of width {len(basis.mean)}, of encoder "
            f"{basis.encoder!r}."
        )
    for what, of_basis, of_tokens in (
        ("weights", basis.weights_sha256, made.weights_sha256),
        ("normalisation", basis.normalisation, made.normalisation),
    ):
        if of_basis and of_tokens and of_basis != of_tokens:
            raise InvalidOptionError(
                f"Expected a basis fitted to tokens of {made.encoder!r}; got one of {basis.encoder!r} with "
                f"other {what}. Components belong to one encoder: fit a basis with this one."
            )


def _fit(embeddings: list[Embedding], foreground: Foreground) -> tuple[ComponentBasis, list[Float32]]:
    """Return the basis, and the scores of all tokens, (rows, cols, k) of each embedding."""
    if isinstance(foreground, str) and foreground == "first-component":
        _, everything = _fit(embeddings, None)
        foreground = [scores[..., 0] > 0 for scores in everything]
    masks = _masks(embeddings, foreground)
    accumulator = MomentAccumulator(embeddings[0].tokens.shape[-1])
    for item, mask in zip(embeddings, masks, strict=True):
        _take_up(accumulator, item, mask)
    moments = accumulator.moments()
    components, variance = moments.axes(COMPONENTS)
    scores = [_project(item, moments.mean, components) for item in embeddings]
    seen = [item if mask is None else item[mask] for item, mask in zip(scores, masks, strict=True)]
    low, high = _ends(np.concatenate([item.reshape(-1, COMPONENTS) for item in seen]))
    made = embeddings[0].provenance
    basis = ComponentBasis(
        moments.mean,
        components,
        variance,
        low,
        high,
        made.encoder,
        made.weights_sha256,
        made.normalisation,
    )
    return basis, scores


def _take_up(accumulator: MomentAccumulator, embedding: Embedding, mask: Mask | None) -> None:
    """Add the tokens of an embedding; all of them at once, if it knows their moments."""
    if mask is None and embedding.moments is not None:
        accumulator.merge(embedding.moments)
    elif mask is None:
        accumulator.update(embedding.flat)
    else:
        flat = mask.reshape(-1)
        for place, tokens in token_chunks(embedding.flat):
            accumulator.update(tokens[flat[place]])


def _ends(scores: Float32) -> NDArray[np.float64]:
    """Percentiles (2, k) of (N, k) scores, between which the stretch lies; NaN is left out."""
    by_component, known = scores.T, np.isfinite(scores[:, 0])
    there = by_component.copy() if known.all() else by_component[:, known]
    return np.asarray(np.percentile(there, _PERCENTILES, axis=1, overwrite_input=True), np.float64)


def _masks(embeddings: list[Embedding], foreground: Foreground) -> list[Mask | None]:
    """One mask per embedding, (rows, cols); None for all tokens."""
    if foreground is None:
        return [None] * len(embeddings)
    if isinstance(foreground, str):
        if foreground != "auto":
            raise InvalidOptionError(
                "Expected the foreground None, 'auto', 'first-component' or boolean masks; got "
                f"{foreground!r}."
            )
        found = [item.foreground for item in embeddings]
        anywhere = any(mask is None or mask.any() for mask in found)
        return found if anywhere else [None] * len(embeddings)
    masks = [foreground] if isinstance(foreground, np.ndarray) else list(foreground)
    shapes = [np.shape(mask) for mask in masks]
    if shapes != [item.grid.shape for item in embeddings]:
        raise InvalidOptionError(
            f"Expected one mask per embedding on its token grid, {[e.grid.shape for e in embeddings]}; "
            f"got shapes {shapes}."
        )
    return [np.asarray(mask, dtype=bool) for mask in masks]


def _project(
    embedding: Embedding, mean: NDArray[np.float64], components: NDArray[np.float64]
) -> NDArray[np.float32]:
    """(rows, cols, k) scores, projected in single precision.

    A dot per token and component, of as many tokens as a processor's own memory holds, takes half as long as
    a matrix product with so few columns.
    """
    flat, onto = embedding.flat, components.astype(np.float32)
    scores = np.empty((len(components), len(flat)), np.float32)
    for place, tokens in token_chunks(flat, _HELD):
        for component, along in zip(scores, onto, strict=True):
            np.vecdot(tokens, along, out=component[place])
    scores -= (components @ mean).astype(np.float32)[:, None]
    return scores.T.reshape(*embedding.grid.shape, len(components))


def whitened_scores(scores: Float32, basis: ComponentBasis) -> Float32:
    """Return (…, k) scores over the standard deviation of their component; of a constant one as they are."""
    spread = np.sqrt(basis.variance)
    return np.asarray(scores / np.where(spread > 0, spread, 1.0).astype(np.float32), np.float32)


def render_scores(scores: Float32, basis: ComponentBasis, rendering: Rendering) -> Float32:
    """Turn (…, k) scores into colours in [0, 1]; see `pca_map`."""
    if rendering == "whitened":
        return np.asarray(1.0 / (1.0 + np.exp(-2.0 * whitened_scores(scores, basis))), np.float32)
    span = basis.high - basis.low
    flat = span <= 0
    stretched = (scores - basis.low) / np.where(flat, 1.0, span)
    stretched[..., flat] = 0.5
    return np.clip(stretched, 0.0, 1.0).astype(np.float32)


def align_colours(maps: Sequence[ComponentMap], to: int = 0) -> list[ComponentMap]:
    """Turn the components of each map so that its colours come as near as they can to those of one map.

    Components of different encoders have no common axes: which is red is chance. Between the whitened scores
    of a map, X (N, 3), and those of the target, Y, on the common grid, the rotation or reflection R that
    minimises ‖X·R − Y‖ is the orthogonal Procrustes solution (Schönemann, doi 10.1007/BF02289451). No score
    is stretched: colours agree only as far as the encoders see the same.

    Parameters
    ----------
    maps
        Maps of one region, by any encoders.
    to
        Index of the map whose colours stay as they are.

    Returns
    -------
    list of ComponentMap
        Maps in the given order; the target unchanged. Of the others `aligned_to` names the target's encoder,
        and the basis gives these colours again on other images of the same encoder.

    Raises
    ------
    InvalidOptionError
        If there is no such map, or the renderings differ.
    MapUnavailableError
        If a map has no scores, or fewer than three tokens are known in both.
    RegionError
        If the maps are of different regions.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> tokens = np.random.default_rng(0).normal(size=(8, 8, 16))
    >>> mirrored = tokens[..., ::-1].copy()
    >>> maps = [ssl.pca_map(ssl.Embedding.from_tokens(array, name=name), foreground=None)
    ...         for name, array in (("a", tokens), ("b", mirrored))]
    >>> first, second = ssl.align_colours(maps)
    >>> second.aligned_to, bool(np.allclose(first.values, second.values, atol=1e-3))
    ('a', True)
    """
    if not 0 <= to < len(maps):
        raise InvalidOptionError(f"Expected a map from 0 to {len(maps) - 1} to align to; got {to}.")
    if len({found.rendering for found in maps}) > 1:
        raise InvalidOptionError("Expected maps of one rendering, stretch or whitened; got both.")
    target = maps[to]
    return [found if index == to else _align([found], [target])[0] for index, found in enumerate(maps)]


def rotation_between(first: ComponentMap, second: ComponentMap) -> NDArray[np.float64]:
    """Return the (3, 3) orthogonal matrix that turns whitened scores of the first map to those of the second.

    Raises
    ------
    MapUnavailableError
        If a map has no scores, or fewer than three tokens are known in both.
    """
    return _rotation([first], [second])


def _rotation(first: Sequence[ComponentMap], second: Sequence[ComponentMap]) -> NDArray[np.float64]:
    """Return the rotation between two encoders' maps of the same frames."""
    from scipy.linalg import orthogonal_procrustes

    pairs = [_common_scores(one, other) for one, other in zip(first, second, strict=True)]
    ours, theirs = (np.concatenate(scores) for scores in zip(*pairs, strict=True))
    if len(ours) < 3:
        raise MapUnavailableError(
            f"Expected at least three tokens that both maps know, to align colours; got {len(ours)}. Wait "
            "until more is computed."
        )
    rotation, _ = orthogonal_procrustes(ours, theirs)
    turn: NDArray[np.float64] = rotation
    return turn


def _common_scores(
    first: ComponentMap, second: ComponentMap
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the whitened scores (N, 3) of both, where both have some, on a common grid."""
    grid = common_grid([first.grid, second.grid])
    one, other = (regrid(_whitened(found), found.grid, grid) for found in (first, second))
    known = np.isfinite(one).all(axis=-1) & np.isfinite(other).all(axis=-1)
    return one[known].astype(np.float64), other[known].astype(np.float64)


def _align(frames: Sequence[ComponentMap], target: Sequence[ComponentMap]) -> list[ComponentMap]:
    """Turn maps that have one basis, of one frame or several, towards those of another encoder."""
    rotation = _rotation(frames, target)
    turned_scores: list[Float32] = [_whitened(found) @ rotation.astype(np.float32) for found in frames]
    basis = frames[0].basis
    spread = np.sqrt(np.where(basis.variance > 0, basis.variance, 1.0))
    every = np.concatenate([scores.reshape(-1, scores.shape[-1]) for scores in turned_scores])
    low, high = np.nanpercentile(every, _PERCENTILES, axis=0)
    turned: ComponentBasis = replace(
        basis,
        components=rotation.T @ (basis.components / spread[:, None]),
        variance=np.ones_like(basis.variance),
        low=low,
        high=high,
        aligned_to=target[0].provenance.encoder,
    )
    return [
        replace(found, values=render_scores(scores, turned, found.rendering), basis=turned, scores=scores)
        for found, scores in zip(frames, turned_scores, strict=True)
    ]


def _whitened(found: ComponentMap) -> Float32:
    if found.scores is None:
        raise MapUnavailableError("Expected a component map with its scores; make it with pca_map again.")
    return whitened_scores(found.scores, found.basis)


@strict
@dataclass(frozen=True, slots=True)
class PcaOptions:
    """Options of turning components into colours.

    Parameters
    ----------
    rendering
        Rule that turns scores into colours: ``stretch`` or ``whitened``.
    basis
        Basis to use: that of this ``region``; ``joint``, of all images that were embedded; or the one that
        was ``kept``, where an encoder has one.
    aligned
        Whether the colours of all methods are turned towards those of the first.
    foreground
        Tokens that the fit sees: ``auto`` for those that are not flat, ``first-component``, or empty for all.
    """

    rendering: Rendering = "stretch"
    basis: BasisChoice = "region"
    aligned: bool = False
    foreground: str = "auto"


def _make(given: MapInput) -> ComponentMap | None:
    embedding, options = given.averaged(given.embedding), given.options.pca
    if embedding.tokens.shape[-1] < COMPONENTS:
        return None
    if given.basis is not None:
        kept = pca_map(embedding, rendering=options.rendering, basis=given.basis)
        return replace(kept, fitted_to="kept")
    others = [given.averaged(other) for other in given.others] if options.basis == "joint" else ()
    foreground: Any = options.foreground or None
    found = pca_map([embedding, *others], rendering=options.rendering, foreground=foreground)[0]
    return replace(found, fitted_to="joint" if options.basis == "joint" else "region")


def _together(
    maps: Sequence[Sequence[ComponentMap]], options: "MapOptions"
) -> Sequence[Sequence[ComponentMap]]:
    return [maps[0], *(_align(frames, maps[0]) for frames in maps[1:])] if options.pca.aligned else maps


def _facts(result: ComponentMap) -> dict[str, Any]:
    return {
        "rendering": result.rendering,
        "variance": result.basis.variance.tolist(),
        "aligned_to": result.aligned_to,
        "basis_of": _BASES[result.fitted_to],
        **scale_facts(result.provenance.scale),
    }


_BASES = {"region": "of this region", "joint": "of all images together", "kept": "that were kept"}
_RENDERINGS = {"stretch": "stretched 2–98 %", "whitened": "whitened"}


def _caption(facts: Facts) -> str:
    aligned = facts.get("aligned_to")
    turned = f", colours turned to {aligned}" if aligned else ""
    basis = facts.get("basis_of") or _BASES["region"]
    return f"components {basis}, {_RENDERINGS[facts['rendering']]}{scale_words(facts)}{turned}"


def _note(result: ComponentMap) -> str:
    colours = "first three components as R, G, B"
    return f"{colours},\nturned to those of {result.aligned_to}" if result.aligned_to else colours


PCA = MapType(
    key="pca",
    result=ComponentMap,
    heading="PCA",
    tip="The first three principal components as red, green and blue.",
    options="pca",
    opacity=0.8,
    rule="none",
    follows_scale=True,
    make=_make,
    together=_together,
    spans_encoders=lambda options: options.pca.basis == "joint" or options.pca.aligned,
    facts=_facts,
    caption=_caption,
    note=_note,
)
