"""Scores and controls of a comparison: what window, command line, keys and tables know of each, once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

from napari_sslmaps.core.scale import SCALES
from napari_sslmaps.encoders.controls import ControlKind


@dataclass(frozen=True, slots=True)
class ScoreType:
    """A kind of score.

    Parameters
    ----------
    key
        Name in ``--scores``, in records and on its box; never renamed.
    tip
        Sentence on what the score tells.
    needs
        Input that every image has to bring, in words for people.
    needs_annotation
        Whether it cannot be had without classes of pixels.
    per_image
        Whether it is found image by image, and kept with each image's scores.
    keeps_tokens
        Whether it is found over the tokens of all images together.
    in_window, in_folder
        Whether the Compare page offers it for the image in view, and for a folder of images.
    measure
        ``module:function`` that measures each method on each image by itself, called with an embedding, the
        annotation and `MapOptions`; returns map → name of a number → its value. Empty for scores that have
        rows of their own.
    title, columns, note, each
        Title of the table of what is measured of each method, heading of each number, what they are, and
        heading of what there is a row for beside the method.
    """

    key: str
    tip: str
    needs: str = "nothing"
    needs_annotation: bool = False
    per_image: bool = True
    keeps_tokens: bool = False
    in_window: bool = True
    in_folder: bool = True
    measure: str = ""
    title: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    each: str = "Map"


SCALE_COLUMNS: Mapping[str, str] = {
    f"{scale:g}%": "One patch" if not scale else f"σ {scale:g} %" for scale in SCALES
}
"""Names and headings of the numbers of a scale profile."""
DEPTH_COLUMNS: Mapping[str, str] = {"anchors": "AUROC of anchors", "probe": "Balanced accuracy"}
"""Names and headings of the numbers of a depth profile."""
SCORES: Mapping[str, ScoreType] = {
    score.key: score
    for score in (
        ScoreType(
            "maps",
            "Every map as a detector of the annotated class: AUROC, average precision, Dice …",
            "masks",
            needs_annotation=True,
        ),
        ScoreType(
            "anchors",
            "Similarity to anchors drawn in each class, near and far, beside nearness alone.",
            "masks",
            needs_annotation=True,
        ),
        ScoreType(
            "boundaries",
            "Whether clusters of tokens change where the annotated classes do: boundary F1.",
            "masks",
            needs_annotation=True,
            measure="napari_sslmaps.evaluation.boundaries:score_boundaries",
            title="Boundaries of maps of labels",
            columns={"f1": "Boundary F1", "precision": "Precision", "recall": "Recall"},
            note="Boundaries agree within 0.75 % of the region's diagonal; what a label stands for does not "
            "count.",
        ),
        ScoreType(
            "scale",
            "Similarity to anchors at every scale, and resolution: where each method leaves its controls.",
            "masks",
            needs_annotation=True,
            title="Scale profile",
            each="Read",
            columns=SCALE_COLUMNS,
            note="Mean AUROC of centred similarity to an anchor, against σ of the Gaussian that tokens are "
            "averaged over, in per cent of the region's shorter side. Choose "
            "a scale on other images than those it is scored on.",
        ),
        ScoreType(
            "depth",
            "Similarity to anchors and a probe, on the tokens of every block or stage of each encoder.",
            "masks",
            needs_annotation=True,
            title="Depth profile",
            each="Tokens",
            columns=DEPTH_COLUMNS,
            note="Tokens of every block or stage, as they are computed. AUROC of similarity to an anchor; "
            "balanced accuracy of a linear probe that is taught on parts of an image and asked about the "
            "others. Choose a block on other images than those it is scored on.",
        ),
        ScoreType("agreement", "How alike two encoders see the region; needs no annotation."),
        ScoreType(
            "probes",
            "How well a linear probe on frozen tokens tells the classes, cross-validated.",
            "masks",
            needs_annotation=True,
            per_image=False,
            keeps_tokens=True,
        ),
        ScoreType(
            "robustness",
            "The region again under speckle, blur and gain, each at several strengths: takes long.",
            in_folder=False,
        ),
        ScoreType(
            "label-efficiency",
            "How many labelled images a linear head needs.",
            "masks or labels of images",
            per_image=False,
            keeps_tokens=True,
            in_window=False,
        ),
        ScoreType(
            "retrieval",
            "Whether the nearest tokens of other images are of the same class: what a search finds.",
            "masks or labels of images",
            per_image=False,
            keeps_tokens=True,
            in_window=False,
        ),
        ScoreType(
            "localisation",
            "Whether evidence learned from labels of whole images lies where the class is.",
            "labels of images; scored where there are masks",
            per_image=False,
            keeps_tokens=True,
            in_window=False,
        ),
    )
}
CONTROL_TIPS: Mapping[ControlKind, str] = {
    "untrained": "The same network before training.",
    "position": "A token's place alone.",
    "pixels": "The pixels of a token as they are.",
    "colour": "Mean and standard deviation of a token's colour.",
    "constant": "The encoder on the region's mean colour.",
}
CONTROL_KINDS: tuple[ControlKind, ...] = get_args(ControlKind)
DEFAULT_SCORES: tuple[str, ...] = ("maps", "anchors", "agreement")
"""Scores of a comparison unless others are chosen: on the page, over a folder, on the command line."""
DEFAULT_CONTROLS: tuple[ControlKind, ...] = ("untrained", "position", "pixels", "colour")
"""Controls, likewise. A constant image is not among them: it costs an embedding per encoder, as an untrained
twin does, and tells less."""
