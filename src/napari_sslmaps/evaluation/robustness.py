"""Robustness: how far an encoder's tokens move, and its scores with them, when its image is perturbed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.arguments import check_fields
from napari_sslmaps.core.baselines import unit_pixels
from napari_sslmaps.core.preprocess import auto_window
from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.evaluation.perturbations import PERTURBATIONS, Perturbation, applicable, rotated_back
from napari_sslmaps.serialise import MeasuredArray, strict

Float = NDArray[np.float64]
Encode = Callable[[Float32], Embedding]
"""Embeds (H, W) or (H, W, 3) float32 pixels in [0, 1], window (0, 1)."""
Score = Callable[[Embedding], float]
"""Scores an embedding on the clean one's grid; after a rotation, tokens that went out of sight are NaN."""
COSINE, CENTRED = "cosine", "centred cosine"


@strict
@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """Effect of one perturbation on one method.

    Parameters
    ----------
    strengths
        (S,) float64, ascending, with 0.
    runs
        Values by measure, (S, R) float64: ``cosine`` and ``centred cosine`` of each token with itself in the
        clean image, averaged over tokens, in [−1, 1]; and by name of each score its change, perturbed less
        clean. R counts seeds and regions.
    """

    strengths: MeasuredArray
    runs: Mapping[str, MeasuredArray]

    def summary(self, measure: str) -> float:
        """Mean of a measure over runs and all strengths but 0."""
        changed = self.runs[measure][self.strengths != 0]
        return float(np.nanmean(changed)) if np.isfinite(changed).any() else float("nan")


@strict
@dataclass(frozen=True, slots=True, eq=False)
class Robustness:
    """Effect of perturbations on one method.

    Parameters
    ----------
    method
        Name of the encoder.
    responses
        Responses by key of the perturbation.
    regions
        Number of regions that were perturbed.
    """

    method: str
    responses: Mapping[str, Response]
    regions: int = 1

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of what was measured: the cosines, then the scores."""
        first = next(iter(self.responses.values()))
        return tuple(first.runs)


@dataclass(frozen=True, slots=True)
class RobustnessOptions:
    """Perturbations to try, their strengths and the number of draws.

    Parameters
    ----------
    perturbations
        Keys of `PERTURBATIONS`; all that say something of the image if empty.
    strengths
        Other strengths than a perturbation's own, by key.
    seeds
        Number of draws of a random perturbation.

    Examples
    --------
    >>> import napari_sslmaps as ssl
    >>> options = ssl.RobustnessOptions(("blur", "gamma"), {"blur": (1.0, 2.0)}, seeds=1)
    >>> options.perturbations
    ('blur', 'gamma')
    """

    perturbations: tuple[str, ...] = ()
    strengths: Mapping[str, Sequence[float]] = field(default_factory=dict)
    seeds: int = 2

    def __post_init__(self) -> None:
        check_fields(self)
        unknown = {*self.perturbations, *self.strengths} - set(PERTURBATIONS)
        if unknown:
            raise InvalidOptionError(
                f"Expected perturbations among {', '.join(PERTURBATIONS)}; got {', '.join(sorted(unknown))}."
            )
        if self.seeds < 1:
            raise InvalidOptionError(f"Expected at least one seed; got {self.seeds}.")

    def plan(self, unit: Float32) -> tuple[tuple[Perturbation, tuple[float, ...], int], ...]:
        """Return each perturbation with its strengths, ascending with 0, and its number of seeds."""
        changes = [PERTURBATIONS[key] for key in self.perturbations or applicable(unit)]
        return tuple(
            (
                change,
                tuple(sorted({0.0, *map(float, self.strengths.get(change.key, change.strengths))})),
                self.seeds if change.draws else 1,
            )
            for change in changes
        )

    def count(self, unit: Float32) -> int:
        """Count the embeddings that it takes beside the clean one."""
        return sum((len(strengths) - 1) * seeds for _, strengths, seeds in self.plan(unit))


def robustness(
    pixels: NDArray[Any],
    encode: Encode,
    options: RobustnessOptions | None = None,
    *,
    window: tuple[float, float] | None = None,
    clean: Embedding | None = None,
    scores: Mapping[str, Score] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Robustness:
    """Embed a region again and again, perturbed, and compare with the clean one token by token.

    Cosines are averaged over the clean image's tokens that are not flat. *Centred* is what centred similarity
    maps see: each image's own mean token is subtracted first. After a rotation, each token of the clean image
    is compared with what the turned image has where the token went, interpolated linearly between token
    centres; tokens nearer than 1.5 tokens to a border before or after, the corners among them, are left out,
    also from scores.

    Parameters
    ----------
    pixels
        (H, W) or (H, W, 3), of one region, as stored.
    encode
        Function that embeds perturbed pixels; they are float32 in [0, 1], so with the window (0, 1).
    options
        Perturbations, their strengths and the number of seeds; `RobustnessOptions()` if omitted.
    window
        Intensities that become 0 and 1; chosen as `embed` chooses them if omitted.
    clean
        The region's own embedding, with that window, if there is one already.
    scores
        Further measures by name: functions of an embedding on the clean one's grid. The change against the
        clean embedding's score is kept, of the same tokens.
    on_progress
        Callback, called with the number of embeddings done and to do; may raise `Cancelled`.

    Returns
    -------
    Robustness
        Mean cosine in [−1, 1], plain and centred, and the change of each score, by perturbation, strength and
        draw.

    Raises
    ------
    InvalidOptionError
        If a strength does not fit.
    UnsupportedImageError
        If a change of colour is asked for and the image is grey.

    Examples
    --------
    >>> from skimage.data import immunohistochemistry
    >>> import napari_sslmaps as ssl
    >>> encoder = ssl.load_encoder("ijepa-histology", device="cpu", precision="float32")
    >>> def encode(pixels):
    ...     return ssl.embed(pixels, encoder, window=(0, 1))
    >>> options = ssl.RobustnessOptions(("blur",), {"blur": (1.0,)}, seeds=1)
    >>> result = ssl.robustness(immunohistochemistry()[:64, :64], encode, options)
    >>> [*result.responses], "centred cosine" in result.measures
    (['blur'], True)
    """
    chosen = options or RobustnessOptions()
    low_high = auto_window(pixels, float(pixels.min()), float(pixels.max())) if window is None else window
    unit = unit_pixels(pixels, low_high)
    unit = unit[..., 0] if pixels.ndim == 2 else unit
    reference = encode(unit) if clean is None else clean
    if not isinstance(reference, Embedding):
        raise InvalidOptionError(
            f"Expected encode to give an Embedding; it gave a value of type {type(reference).__name__}."
        )
    measure = _Measure(reference, scores or {})
    done, total = 0, chosen.count(unit)
    responses = {}
    for change, strengths, seeds in chosen.plan(unit):
        runs = {name: np.tile(value, (len(strengths), seeds)) for name, value in measure.unchanged.items()}
        for (row, strength), seed in product(enumerate(strengths), range(seeds)):
            if strength == 0:
                continue
            perturbed = encode(change(unit, strength, seed))
            for name, value in measure.of(perturbed, strength if change.turns else None).items():
                runs[name][row, seed] = value
            done += 1
            if on_progress is not None:
                on_progress(done, total)
        responses[change.key] = Response(np.array(strengths), runs)
    return Robustness(reference.provenance.encoder, responses)


def join_regions(parts: Sequence[Robustness]) -> Robustness:
    """Join what was found on several regions by one method, with the same options, into one.

    Raises
    ------
    InvalidOptionError
        If methods, perturbations, strengths or measures differ.
    """
    first = parts[0]
    for part in parts:
        alike = part.method == first.method and part.measures == first.measures
        alike = alike and list(part.responses) == list(first.responses)
        if not alike or any(
            not np.array_equal(part.responses[key].strengths, response.strengths)
            for key, response in first.responses.items()
        ):
            raise InvalidOptionError(
                "Expected the same method, perturbations, strengths and scores on every region; got others. "
                "Perturb grey and colour images apart."
            )
    responses = {
        key: Response(
            response.strengths,
            {
                name: np.concatenate([part.responses[key].runs[name] for part in parts], axis=1)
                for name in first.measures
            },
        )
        for key, response in first.responses.items()
    }
    return Robustness(first.method, responses, sum(part.regions for part in parts))


class _Measure:
    """Compares embeddings with a clean one."""

    def __init__(self, clean: Embedding, scores: Mapping[str, Score]) -> None:
        self._clean, self._scores = clean, scores
        self._before = {name: score(clean) for name, score in scores.items()}
        self.unchanged = dict.fromkeys((COSINE, CENTRED), 1.0) | dict.fromkeys(scores, 0.0)

    def of(self, perturbed: Embedding, degrees: float | None) -> dict[str, float]:
        clean, before = self._clean, self._before
        if degrees is None:
            found = replace(perturbed, grid=clean.grid)
        else:
            found, clean = rotated_back(perturbed, clean, degrees)
            before = {name: score(clean) for name, score in self._scores.items()}
        cosines = {COSINE: token_cosine(clean, found), CENTRED: token_cosine(clean, found, centred=True)}
        return cosines | {name: score(found) - before[name] for name, score in self._scores.items()}


def token_cosine(first: Embedding, second: Embedding, *, centred: bool = False) -> float:
    """Mean cosine of tokens at the same place of two embeddings on one grid.

    Over tokens that both have and that are not flat in the first; over all that both have if all are flat.

    Parameters
    ----------
    centred
        Whether to subtract each embedding's own mean, over those tokens, first.

    Returns
    -------
    float
        Mean cosine in [−1, 1]; a token of length 0 counts as 0. NaN if there is no token.
    """
    one, other = (
        np.asarray(embedding.tokens, np.float64).reshape(-1, embedding.tokens.shape[-1])
        for embedding in (first, second)
    )
    known = np.isfinite(one).all(axis=1) & np.isfinite(other).all(axis=1)
    if first.foreground is not None and (known & first.foreground.ravel()).any():
        known &= first.foreground.ravel()
    if not known.any():
        return float("nan")
    one, other = one[known], other[known]
    if centred:
        one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    products = np.vecdot(one, other)
    return float(np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0).mean())
