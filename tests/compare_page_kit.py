"""A comparer whose findings tell what it was asked, for tests of the window."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_sslmaps.compare.request import ComparedImage, ComparisonRequest
from napari_sslmaps.core.findings import Curve, Estimate, Plot, Table
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.viewer.compare.build import ComparisonServices
from napari_sslmaps.viewer.compare.export import PackageExporter
from napari_sslmaps.viewer.compare.jobs import ComparisonResult, Embeddings, OnFraction
from napari_sslmaps.viewer.compare.probe_job import TokenProber


@dataclass(frozen=True, eq=False, slots=True)
class Compared:
    """What a comparer was asked."""

    request: ComparisonRequest
    specs: tuple[EncoderSpec, ...]
    embeddings: Embeddings
    folder: Path | None

    @property
    def image(self) -> ComparedImage:
        return self.request.images[0]


class KnownComparer:
    """Gives each encoder the score 0.9, 0.8, … with an interval, and every control 0.6."""

    def __init__(self) -> None:
        self.asked: list[Compared] = []
        self.error: Exception | None = None
        self.shares: tuple[float, ...] = (0.5,)

    def __call__(
        self,
        request: ComparisonRequest,
        specs: tuple[EncoderSpec, ...],
        on_fraction: OnFraction,
        *,
        embeddings: Embeddings | None = None,
        folder: Path | None = None,
    ) -> ComparisonResult:
        self.asked.append(Compared(request, specs, embeddings or {}, folder))
        for share in self.shares:
            on_fraction(specs[0].name, share)
        if self.error is not None:
            raise self.error
        names = [spec.name for spec in specs]
        values = [0.9 - 0.1 * index for index in range(len(names))]
        rows = [
            (name, Estimate(value, value - 0.05, value + 0.05))
            for name, value in zip(names, values, strict=True)
        ]
        rows += [(control, Estimate(0.6)) for control in request.controls]
        notes = (f"{names[-1]} does not beat its controls.",)
        scores = Table("Similarity to anchors", ("Method", "AUROC"), tuple(rows), notes, "anchors")
        agreement = Table(
            "Agreement of encoders", ("First", "Second", "CKA"), ((*names[:2], 0.5),), (), "agreement"
        )
        x = np.array([0, 1], np.float32)
        curve = Curve(names[0], x, 1 - x / 2)
        plot = Plot("Robustness to noise", "noise", "cosine", (curve,), key="robustness")
        return ComparisonResult((scores, agreement, plot), (f"{names[0]} is ahead.",))


def known_comparison(comparer: KnownComparer | None = None) -> ComparisonServices:
    return ComparisonServices(comparer or KnownComparer(), TokenProber(), PackageExporter())
