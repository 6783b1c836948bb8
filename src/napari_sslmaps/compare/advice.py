"""Evidence for choosing a method, no oracle: what was measured, what papers found, what the scores say."""

from collections.abc import Sequence
from dataclasses import dataclass

from napari_sslmaps.compare import advice_words as words
from napari_sslmaps.compare.evidence import ImageEvidence, reach_of
from napari_sslmaps.compare.ranking import Ranking, rank_encoders
from napari_sslmaps.compare.results import Comparison
from napari_sslmaps.compare.verdicts import verdicts
from napari_sslmaps.core.estimate import Estimate
from napari_sslmaps.core.findings import Cell, Table
from napari_sslmaps.evaluation.locality import Reach


@dataclass(frozen=True, slots=True)
class Advice:
    """Evidence for choosing a method.

    Parameters
    ----------
    sentences
        What was measured, what papers found, and what the scores say.
    table
        One row per encoder.
    """

    sentences: tuple[str, ...]
    table: Table


def advise(comparison: Comparison, evidence: Sequence[ImageEvidence] | None = None) -> Advice:
    """Say what speaks for which method.

    Parameters
    ----------
    comparison
        Scores of encoders and controls.
    evidence
        What was measured of its images; what the comparison itself has of it if omitted. Without any,
        nothing is said of scale and noise.

    Returns
    -------
    Advice
        Whose table has the sentences as notes.
    """
    if evidence is None:
        evidence = [image.evidence for image in comparison.images if image.evidence is not None]
    objectives = words.objectives_of(comparison)
    reach = reach_of(evidence)
    ranking = rank_encoders(comparison)
    sentences = (
        *words.scale_sentences(evidence, reach),
        *words.paper_sentences(reach, objectives),
        *words.score_sentences(comparison, ranking),
        *words.meeting_sentences(ranking, reach, objectives),
        *words.control_sentences(comparison),
        *words.noise_sentences(comparison, evidence),
        *words.dira_sentences(comparison, objectives),
        words.CLOSING,
    )
    return Advice(sentences, _table(comparison, ranking, reach, sentences))


def _table(comparison: Comparison, ranking: Ranking | None, reach: Reach, notes: tuple[str, ...]) -> Table:
    objectives = words.objectives_of(comparison)
    unbeaten = {verdict.encoder: verdict.unbeaten for verdict in verdicts(comparison)}
    names = [encoder.name for encoder in comparison.encoders] if ranking is None else list(ranking.order)
    favoured = _favoured(reach)
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        score = Estimate(float("nan")) if ranking is None else ranking.means[name]
        behind = None if ranking is None or name == names[0] else ranking.lead(name, names[0])
        beats = None if name not in unbeaten else "no" if unbeaten[name] else "yes"
        rows.append((name, objectives[name], score, behind, beats, favoured.get(objectives[name])))
    what = "Score" if ranking is None else ranking.what
    columns = ("Method", "Learns from", what, "Less the best", "Beats its controls", "Favoured by the paper")
    return Table("Evidence for choosing a method", columns, tuple(rows), notes, "advice")


def _favoured(reach: Reach) -> dict[str, str]:
    """Which objective the paper found ahead for a signal of such reach; of others it says nothing."""
    expected = words.EXPECTED.get(reach)
    if expected is None:
        return {}
    return {kind: "yes" if kind == expected else "no" for kind in (words.PREDICTION, words.INVARIANCE)}
