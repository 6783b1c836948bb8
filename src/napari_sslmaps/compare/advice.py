"""Evidence for choosing a method, no oracle: what the scores say, what was measured, what papers found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from napari_sslmaps.compare.image_statistics import ImageStatistics, locality_of, sentences_on_outside
from napari_sslmaps.compare.results import Comparison
from napari_sslmaps.compare.verdicts import Ranking, doubts_of, rank_encoders, verdicts
from napari_sslmaps.core.findings import Cell, Estimate, Table, cell_text
from napari_sslmaps.core.units import listed
from napari_sslmaps.encoders.methods.method import INVARIANCE, PREDICTION, RECONSTRUCTION, Method
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.evaluation.locality import GLOBAL, LOCAL, Locality
from napari_sslmaps.evaluation.perturbations import PERTURBATIONS
from napari_sslmaps.evaluation.robustness import CENTRED, join_regions


@dataclass(frozen=True, slots=True)
class Advice:
    """Evidence for choosing a method.

    Parameters
    ----------
    sentences
        Sentences on the user's own scores, then on what was measured of the images, and on what papers found.
    table
        Measurements and scores, one row per encoder.
    """

    sentences: tuple[str, ...]
    table: Table


def advise(comparison: Comparison, statistics: Sequence[ImageStatistics] | None = None) -> Advice:
    """Say what speaks for which method.

    Parameters
    ----------
    comparison
        Scores of encoders and controls.
    statistics
        Measurements of the images; those that the comparison itself has, if omitted. Without any, nothing is
        said of scale and noise.

    Returns
    -------
    Advice
        Advice whose table has the sentences as notes.
    """
    statistics = comparison.image_statistics if statistics is None else statistics
    objectives = objectives_of(comparison)
    locality = locality_of(statistics)
    ranking = rank_encoders(comparison)
    papers = paper_sentences(locality, objectives)
    sentences = (
        *score_sentences(comparison, ranking),
        *control_sentences(comparison),
        *sentences_on_outside(statistics),
        *robustness_sentences(comparison, statistics),
        *scale_sentences(statistics, locality),
        *noise_sentences(comparison, statistics),
        *papers,
        *meeting_sentences(ranking, locality, objectives),
        *noise_paper_sentences(statistics, cited=bool(papers)),
        *claim_sentences(comparison),
        CLOSING,
    )
    return Advice(sentences, _table(comparison, ranking, locality, sentences))


def _table(
    comparison: Comparison, ranking: Ranking | None, locality: Locality, notes: tuple[str, ...]
) -> Table:
    objectives = objectives_of(comparison)
    words = {verdict.encoder: verdict.word for verdict in verdicts(comparison)}
    names = [encoder.name for encoder in comparison.encoders] if ranking is None else list(ranking.order)
    favoured = _favoured(locality)
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        score = Estimate(float("nan")) if ranking is None else ranking.means[name]
        behind = None if ranking is None or name == names[0] else ranking.lead(name, names[0])
        rows.append((name, objectives[name], score, behind, words.get(name), favoured.get(objectives[name])))
    what = "Score" if ranking is None else ranking.what
    columns = ("Method", "Learns from", what, "Less the best", "Beats its controls", "Favoured by the paper")
    return Table("Evidence for choosing a method", columns, tuple(rows), notes, "advice")


def _favoured(locality: Locality) -> dict[str, str]:
    """Which objective the paper found ahead for a signal of such reach; of others it says nothing."""
    expected = EXPECTED.get(locality)
    if expected is None:
        return {}
    return {kind: "yes" if kind == expected else "no" for kind in (PREDICTION, INVARIANCE)}


Sentences = tuple[str, ...]
EXPECTED: Mapping[Locality, str] = {"local": INVARIANCE, "global": PREDICTION}
"""Which of the two the paper found ahead, by the reach of the signal."""
PAPER = "Ivezić, Pleasure et al. 2026, arXiv 2603.22649"
STUDY = "-0.027, 95 % interval -0.085 to +0.032"
"""What this package's own study found, as docs/study.md says it."""
_REACH_OVER_SCALE = 3.0
"""On the sets of docs/scale-scores.md a third of the reach loses little against each set's best scale."""
CLOSING = (
    "This is evidence, not an oracle: the papers' encoders were trained and tested on other images, and a "
    "method is only as good as its scores on yours."
)
_BELOW, _FROM = f"{100 * LOCAL:.0f} %", f"{100 * GLOBAL:.0f} %"
_LOCALITY_WORDS: Mapping[Locality, str] = {
    "local": f"That is local: below {_BELOW}.",
    "between": f"That is neither local (below {_BELOW}) nor global ({_FROM} or more).",
    "global": f"That is global: {_FROM} or more, and no region shows much more than 35 %.",
}


def objectives_of(comparison: Comparison) -> dict[str, str]:
    """Return what each encoder learned from, by its name; ``unknown`` for a method that is not listed."""
    methods = methods_of(comparison)
    names = [encoder.name for encoder in comparison.encoders]
    return {name: methods[name].learns_from if name in methods else "unknown" for name in names}


def methods_of(comparison: Comparison) -> dict[str, Method]:
    """Return the method of each encoder, by its name, as far as it is one that is listed."""
    made = {
        name: str(facts.get("method", ""))
        for image in comparison.images
        for name, facts in image.provenance.items()
    }
    names = [encoder.name for encoder in comparison.encoders]
    return {name: METHODS[made[name]] for name in names if made.get(name) in METHODS}


def scale_sentences(statistics: Sequence[ImageStatistics], locality: Locality) -> Sentences:
    """Say how far the signal reaches, against tokens and region."""
    known = [item for item in statistics if np.isfinite(item.share)]
    if not known:
        return ()
    length, tokens, share = (
        float(np.median([getattr(item, name) for item in known])) for name in ("length_px", "tokens", "share")
    )
    microns = [item.length_um for item in known if np.isfinite(item.length_um)]
    size = f"{length:.3g} px" + (f" ({_length(float(np.median(microns)))})" if microns else "")
    signal = "The annotated signal" if known[0].signal == "annotation" else "What is similar to the anchors"
    over = "" if len(known) == 1 else f", the median of {len(known)} images"
    found = (
        f"{signal} stays like itself over {size}{over}: {tokens:.2g} tokens, {100 * share:.1f} % of the "
        f"region's side (where autocorrelation falls to 1/e). {_LOCALITY_WORDS[locality]}"
    )
    if tokens >= 1:
        sigma = 100 * share / _REACH_OVER_SCALE
        proposed = (
            f"A third of that is a scale to try: {sigma:.2g} % of the region's shorter side (Scale in the "
            "window, --scale on the command line). Try it on other images than these, and with controls."
        )
        return found, proposed
    finer = "Choose a finer level of the image, or an encoder of smaller stride."
    return found, f"That is less than one token: no map on this grid can follow it. {finer}"


def paper_sentences(locality: Locality, objectives: Mapping[str, str]) -> Sentences:
    """Say what papers found for a signal of such locality, where that concerns an encoder."""
    if locality == "unknown" or not {INVARIANCE, PREDICTION} & set(objectives.values()):
        return ()
    invariant, predictive = (
        f"{kind} ({', '.join(name for name in objectives if objectives[name] == kind) or 'none here'})"
        for kind in (INVARIANCE, PREDICTION)
    )
    claim = {
        "local": f"{invariant} ahead of {predictive} where the signal is local, as in histology",
        "global": f"{predictive} ahead of {invariant} where the signal is global, as in ultrasound of the "
        "liver",
        "between": f"{invariant} ahead where the signal is local, {predictive} where it is global, and says "
        "nothing of a reach between the two",
    }[locality]
    own = (
        "In simulated scenes that differ in nothing but where the signal lives, this package's own study "
        f"could neither confirm nor refute that: I-JEPA's lead over DINOv3, global less local, was "
        f"{STUDY.replace('-', '−')} (docs/study.md)."
    )
    return f"Pretext Matters ({PAPER}) finds {claim}.", own


def score_sentences(comparison: Comparison, ranking: Ranking | None) -> Sentences:
    """Say who is ahead on the user's own scores, by how much, and how sure that is."""
    if ranking is None:
        return ("Neither anchors nor maps were scored, so nothing is said of who is ahead on your images.",)
    count = len(comparison.images)
    images = "this image" if count == 1 else f"these {count} images"
    first, *others = ranking.order
    mean = f"a mean {ranking.what} of {cell_text(ranking.means[first])}"
    if others:
        lead = ranking.lead(first, others[0])
        who, sure = (
            (f"{first} is ahead", "more than chance explains")
            if lead.excludes_zero
            else ("no encoder is clearly ahead", "which chance can explain")
        )
        again = "" if lead.excludes_zero else f"{first} has "
        found = f"On {images} {who}: {again}{mean}, {cell_text(lead)} above {others[0]}, {sure}."
    else:
        found = f"On {images} {first} has {mean}."
    one = "Brackets hold 95 % intervals, which come from one image and say nothing of others."
    many = "Brackets hold 95 % intervals, over images and what was scored in them."
    return found, one if count == 1 else many


def meeting_sentences(
    ranking: Ranking | None, locality: Locality, objectives: Mapping[str, str]
) -> Sentences:
    """Say whether the user's own scores meet what the paper found."""
    if ranking is None or locality not in EXPECTED:
        return ()
    sides = [
        [name for name in ranking.order if objectives[name] == kind] for kind in (PREDICTION, INVARIANCE)
    ]
    if not all(sides):
        return ()
    lead = ranking.lead_of_groups(*sides)
    ahead = PREDICTION if lead.value > 0 else INVARIANCE
    verdict = (
        "decide nothing about that paper"
        if not lead.excludes_zero
        else "agree with that paper"
        if ahead == EXPECTED[locality]
        else "contradict that paper"
    )
    return (f"Your own scores {verdict}: {PREDICTION} less {INVARIANCE} is {cell_text(lead)}.",)


def control_sentences(comparison: Comparison) -> Sentences:
    """Say which encoders beat their controls, and which do not."""
    found = verdicts(comparison)
    better = [verdict.encoder for verdict in found if not verdict.unbeaten]
    beat = "is clearly better than all of its controls" if len(better) == 1 else "beat all of their controls"
    praise = (f"{listed(better)} {beat}.",) if better else ()
    return *praise, *doubts_of(found)


def robustness_sentences(comparison: Comparison, statistics: Sequence[ImageStatistics]) -> Sentences:
    """Say how the methods bore the noise that such images have, where that was tried."""
    if not any(np.isfinite(item.sigma) for item in statistics):
        return ()
    key = "speckle" if any(np.isfinite(item.contrast) for item in statistics) else "gaussian"
    kept = _kept_under(key, comparison)
    if not kept:
        return ()
    ranked = ", ".join(f"{name} {kept[name]:.2f}" for name in sorted(kept, key=lambda name: -kept[name]))
    return (f"Under {PERTURBATIONS[key].title} tokens kept a mean centred cosine to clean of: {ranked}.",)


def noise_sentences(comparison: Comparison, statistics: Sequence[ImageStatistics]) -> Sentences:
    """Say how noisy the region is, and how to find out which methods bear that, where it was not tried."""
    sigmas = [item.sigma for item in statistics if np.isfinite(item.sigma)]
    if not sigmas:
        return ()
    contrasts = [item.contrast for item in statistics if np.isfinite(item.contrast)]
    speckle = f", local contrast at most {np.median(contrasts):.2g}" if contrasts else ""
    level = (
        f"Noise is at most {np.median(sigmas):.2g} of the intensity window{speckle}; fine texture counts as "
        "noise."
    )
    tried = any(image.robustness for image in comparison.images)
    return (level,) if tried else (level, "Ask for robustness to see how your methods bear noise.")


def noise_paper_sentences(statistics: Sequence[ImageStatistics], *, cited: bool) -> Sentences:
    """Say which methods a paper takes to bear noise, where noise was measured."""
    if not any(np.isfinite(item.sigma) for item in statistics):
        return ()
    paper = "The same paper" if cited else f"Pretext Matters ({PAPER})"
    return (f"{paper} takes {INVARIANCE} and {PREDICTION} to bear noise better than {RECONSTRUCTION}.",)


def claim_sentences(comparison: Comparison) -> Sentences:
    """Say what papers claim of the methods that are compared, and whether it can be seen here."""
    methods = methods_of(comparison)
    sentences = []
    for method in METHODS.values():
        names = [name for name in methods if methods[name] is method]
        if not names or (claim := method.claim) is None:
            continue
        scored = set(claim.scores) <= set(comparison.request.scores)
        check = "both are scored here" if scored else "ask for both scores to see it on your images"
        sentences.append(
            f"{method.title}'s paper ({claim.paper}) claims {claim.text}; for {', '.join(names)}, {check}."
        )
    return tuple(sentences)


def _length(microns: float) -> str:
    return f"{microns:.3g} µm" if microns < 1000 else f"{microns / 1000:.3g} mm"


def _kept_under(key: str, comparison: Comparison) -> dict[str, float]:
    """Mean centred cosine under a perturbation, by encoder, where it was tried."""
    kept = {}
    for encoder in comparison.encoders:
        parts = [
            part for image in comparison.images for part in image.robustness if part.method == encoder.name
        ]
        if parts and key in parts[0].responses:
            kept[encoder.name] = join_regions(parts).responses[key].summary(CENTRED)
    return kept
