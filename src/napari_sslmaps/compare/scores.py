"""Scores and controls of a comparison by name."""

from typing import Literal, get_args

from napari_sslmaps.encoders.controls import ControlKind

Score = Literal["maps", "anchors", "agreement", "probes", "robustness", "label-efficiency", "localisation"]
SCORES: tuple[Score, ...] = get_args(Score)
CONTROL_KINDS: tuple[ControlKind, ...] = get_args(ControlKind)
NEEDS_ANNOTATION: tuple[Score, ...] = ("maps", "anchors", "probes")
