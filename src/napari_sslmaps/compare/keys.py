"""What decides the scores of one image."""

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version

from napari_sslmaps.compare.folder import key_of
from napari_sslmaps.compare.images import OpenedImage
from napari_sslmaps.compare.methods import Lane
from napari_sslmaps.compare.request import ComparisonRequest, MaskFile
from napari_sslmaps.encoders.hashes import hash_path

IMAGE_SCORES = ("maps", "anchors", "agreement", "robustness")
"""Scores that are made image by image; the others are made of all images, of tokens that are kept."""


def image_key(image: OpenedImage, lanes: Sequence[Lane], request: ComparisonRequest) -> str:
    """Return the key of an image's scores: image, mask, region, anchors, methods, scores, options, versions.

    Labels of whole images are not in it: no score of an image by itself depends on them.
    """
    asked, options = image.asked, request.options
    mask = asked.annotation if isinstance(asked.annotation, MaskFile) else None
    facts = {
        "image": image.record.sha256,
        "mask": None if mask is None else [hash_path(mask.path), sorted(mask.classes.items()), mask.ignore],
        "region": image.region.to_dict(),
        "wanted": None if asked.mask is None else asked.mask.sha256,
        "points": [asked.anchors, asked.negative, [asdict(group) for group in asked.groups]],
        "methods": [_facts_of(lane) for lane in lanes],
        "scores": [score for score in IMAGE_SCORES if score in request.scores],
        "tokens": keeps_tokens(request),
        "options": asdict(options),
        "versions": [version("napari-sslmaps"), version("torch")],
    }
    return key_of(facts)


def keeps_tokens(request: ComparisonRequest) -> bool:
    """Whether a score is wanted that is made of all images' tokens together."""
    return request.wants("probes", "label-efficiency", "localisation")


def _facts_of(lane: Lane) -> list[object]:
    if lane.encoder is None:
        return [lane.method.name]
    spec, encoder = lane.encoder.spec, lane.encoder
    overrides = sorted(spec.overrides.items())
    return [lane.method.name, spec.sha256, encoder.precision, encoder.device, spec.normalisation, overrides]
