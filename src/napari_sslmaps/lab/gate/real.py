"""The gate on real images: an encoder beside its controls on public sets, all at one resolution and scale.

Sets with masks ask what a click shows, similarity to an anchor; sets with labels what an image's mean token
tells. Test images are looked at once per weight file: what is found stays on record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.resolution import Resolution
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.encoders.controls import Control, ControlKind
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.families.registry import network_of
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.evaluation.anchor_scores import STRATA, AnchorScores
from napari_sslmaps.evaluation.image_labels import pooled
from napari_sslmaps.evaluation.locality import annotation_scale
from napari_sslmaps.evaluation.uncertainty import (
    Tally,
    bootstrap_mean,
    estimate,
    estimate_gain,
    paired_difference,
)
from napari_sslmaps.files import hash_path
from napari_sslmaps.lab.gate.gate import CONTROL_SEEDS, Twins
from napari_sslmaps.lab.gate.image_sets import (
    ImageSet,
    MaskedImage,
    read_labelled,
    read_masked,
    sets_for,
)
from napari_sslmaps.lab.gate.real_measure import (
    ANCHORS,
    Embed,
    MaskScores,
    Working,
    measure_labelled,
    measure_masked,
)
from napari_sslmaps.lab.gate.results import Book
from napari_sslmaps.pipeline.controls import embed_control
from napari_sslmaps.pipeline.embedding import embed

WORKING: Mapping[str, Working] = {
    "histology": Working(short_side=256, share=3 / 64),
    "ultrasound": Working(short_side=192, share=1 / 12),
}
"""By domain; one and a half, and two, tokens of 8 px at that resolution."""
PLAIN: tuple[ControlKind, ...] = ("colour", "pixels", "position")


def judge_real(name: str, weights: Path, folder: Path, *, date: str) -> dict[str, Any]:
    """Measure an encoder and its controls on the real sets of its domain.

    Parameters
    ----------
    name
        Name under which it is embedded; ends in the domain.
    weights
        Weight file of the encoder.
    folder
        Folder that holds the sets by domain.
    date
        Date of today, as ISO 8601.

    Returns
    -------
    dict
        Result, ready for JSON.

    Raises
    ------
    SourceNotFoundError
        If a set is not there.
    """
    domain = name.rpartition("-")[2]
    field = Field.around(load_encoder(weights, device="cpu", precision="float32"), WORKING[domain])
    return {
        "domain": domain,
        "method": field.encoder.spec.method,
        "sha256": hash_path(weights),
        "date": date,
        "working": asdict(field.working),
        "anchors": ANCHORS,
        "masks": {known.name: _compose_masked(known, folder, field) for known in sets_for(domain, "masks")},
        "labels": {
            known.name: _compose_labelled(known, folder, field) for known in sets_for(domain, "labels")
        },
    }


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """Everybody who is measured: an encoder, its untrained twins, and what needs no network.

    Parameters
    ----------
    encoder
        The encoder that is judged.
    twins
        Untrained networks of the same architecture, one for each of the control seeds.
    working
        Resolution and neighbourhood for all of them.
    """

    encoder: Encoder
    twins: tuple[Encoder, ...]
    working: Working

    @classmethod
    def around(cls, encoder: Encoder, working: Working) -> Field:
        """Draw the twins of an encoder."""
        alike = Twins.of(encoder)
        return cls(encoder, tuple(_drawn(encoder, alike, seed) for seed in CONTROL_SEEDS), working)

    def entrants(self) -> Iterator[tuple[str, Embed]]:
        """Yield ``encoder``, ``untrained 0`` and so on, and the controls without a network."""
        at = Resolution(short_side=self.working.short_side)
        yield "encoder", partial(_embedded, encoder=self.encoder, at=at)
        for seed, twin in zip(CONTROL_SEEDS, self.twins, strict=True):
            yield f"untrained {seed}", partial(_embedded, encoder=twin, at=at)
        for kind in PLAIN:
            control = Control.of_encoder(kind, self.encoder.spec)
            yield kind, partial(_plain, control=control, at=at)


def _drawn(encoder: Encoder, alike: Twins, seed: int) -> Encoder:
    network = alike.draw(seed).network
    spec = replace(encoder.spec, name=f"untrained {seed}", origin="control", path=None)
    return replace(encoder, spec=spec, extractor=network_of(spec.architecture).extractor(network))


def _embedded(pixels: NDArray[np.uint8], encoder: Encoder, at: Resolution) -> Embedding:
    return embed(pixels, encoder, resolution=at)


def _plain(pixels: NDArray[np.uint8], control: Control, at: Resolution) -> Embedding:
    return embed_control(control, pixels, resolution=at)


def _compose_masked(known: ImageSet, folder: Path, field: Field) -> dict[str, Any]:
    images = list(read_masked(folder, known))
    found: dict[str, MaskScores] = {}
    first: tuple[AnchorScores, ...] = ()
    for entrant, embed_one in field.entrants():
        found[entrant], scores = measure_masked(images, embed_one, field.working, first)
        first = first or tuple(scores)
    encoder, untrained = found["encoder"], _untrained(found)
    twin_areas = np.mean([each.areas for each in untrained], axis=0)
    rivals = {"untrained": twin_areas, **{kind: found[kind].areas for kind in PLAIN}}
    whole = STRATA.index("all")
    gains = {
        rival: asdict(paired_difference(encoder.areas[:, whole], areas[:, whole]))
        for rival, areas in rivals.items()
    }
    return {
        "images": len(images),
        "share": _locality(images, scores),
        "areas": {
            "encoder": _strata(encoder.areas),
            **{rival: _strata(areas) for rival, areas in rivals.items()},
            "nearness": _strata(encoder.nearness),
        },
        "by_image": {
            "encoder": encoder.areas[:, whole].tolist(),
            "untrained": twin_areas[:, whole].tolist(),
        },
        "encoder": asdict(bootstrap_mean(encoder.areas[:, whole])),
        "untrained": [float(np.nanmean(each.areas[:, whole])) for each in untrained],
        "gains": gains,
        "beats": all(gain["low"] > 0 for gain in gains.values()),
        "below_untrained": gains["untrained"]["high"] < 0,
        "components": {
            "encoder": float(np.nanmean(encoder.components)),
            "untrained": float(np.nanmean([each.components for each in untrained])),
            **{kind: float(np.nanmean(found[kind].components)) for kind in PLAIN},
        },
        "probe": _probes({entrant: scores.probe for entrant, scores in found.items()}),
    }


def _locality(images: Sequence[MaskedImage], scores: Sequence[AnchorScores]) -> float:
    """Median over images of the annotated signal's length as a share of the side, as `evaluate` has it."""
    pairs = zip(images, scores, strict=True)
    return float(np.nanmedian([annotation_scale(image.annotation, each.grid).share for image, each in pairs]))


def _compose_labelled(known: ImageSet, folder: Path, field: Field) -> dict[str, Any]:
    images, labels = read_labelled(folder, known)
    found = {
        entrant: measure_labelled(np.stack([pooled(embed_one(pixels)) for pixels in images]), labels)
        for entrant, embed_one in field.entrants()
        if entrant != "position"  # whose mean is the same of every image
    }
    return {"images": len(images), "classes": len(set(labels)), "probe": _probes(found)}


def _probes(tallies: Mapping[str, Tally]) -> dict[str, Any]:
    untrained = _untrained(tallies)
    return {
        "encoder": asdict(estimate(tallies["encoder"])),
        "untrained": float(np.mean([tally.accuracy for tally in untrained])),
        **{kind: tallies[kind].accuracy for kind in PLAIN if kind in tallies},
        "gain": asdict(estimate_gain([tallies["encoder"]], untrained)),
    }


def _untrained(found: Mapping[str, Any]) -> list[Any]:
    return [found[f"untrained {seed}"] for seed in CONTROL_SEEDS]


def _strata(areas: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(STRATA, np.nanmean(areas, axis=0).tolist(), strict=True))


def real_book(path: Path) -> Book:
    """Open the results on real images; those of earlier weights stay on record in short."""
    return Book(path, identity=_identity, short=_short)


def _identity(result: Mapping[str, Any]) -> object:
    return result["sha256"], result["working"], result["anchors"]


def _short(result: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "sha256": result["sha256"],
        "date": result["date"],
        "masks": {name: found["encoder"]["value"] for name, found in result["masks"].items()},
    }
