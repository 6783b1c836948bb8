"""A comparer whose findings tell what it was asked, for tests of the window."""

import numpy as np

from napari_sslmaps.core.findings import Curve, Estimate, Plot, Table
from napari_sslmaps.encoders.controls import ControlKind
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.viewer.compare.build import ComparisonServices
from napari_sslmaps.viewer.compare.export import RoomExporter
from napari_sslmaps.viewer.compare.jobs import AskedComparison, AskedFolder, ComparisonResult, OnShare
from napari_sslmaps.viewer.compare.probe_job import TokenProber


class KnownComparer:
    """Gives each encoder the score 0.9, 0.8, … with an interval, and every control 0.6."""

    def __init__(self) -> None:
        self.asked: list[AskedComparison] = []
        self.error: Exception | None = None
        self.shares: tuple[float, ...] = (0.5,)

    def __call__(self, asked: AskedComparison, on_share: OnShare) -> ComparisonResult:
        self.asked.append(asked)
        for share in self.shares:
            on_share(asked.specs[0].name, share)
        if self.error is not None:
            raise self.error
        names = [spec.name for spec in asked.specs]
        values = [0.9 - 0.1 * index for index in range(len(names))]
        rows = [
            (name, Estimate(value, value - 0.05, value + 0.05))
            for name, value in zip(names, values, strict=True)
        ]
        rows += [(control, Estimate(0.6)) for control in asked.controls]
        notes = (f"{names[-1]} does not beat its controls.",)
        scores = Table("Similarity to anchors", ("Method", "AUROC"), tuple(rows), notes, "anchors")
        agreement = Table(
            "Agreement of encoders", ("First", "Second", "CKA"), ((*names[:2], 0.5),), (), "agreement"
        )
        x = np.array([0, 1], np.float32)
        curve = Curve(names[0], x, 1 - x / 2)
        plot = Plot("Robustness to noise", "noise", "cosine", (curve,), key="robustness")
        return ComparisonResult((scores, agreement, plot), (f"{names[0]} is ahead.",))


class KnownFolderComparer:
    """Finds nothing but what it was asked."""

    def __init__(self) -> None:
        self.asked: list[AskedFolder] = []

    def __call__(
        self,
        asked: AskedFolder,
        specs: tuple[EncoderSpec, ...],
        controls: tuple[ControlKind, ...],
        on_share: OnShare,
    ) -> ComparisonResult:
        self.asked.append(asked)
        on_share("one.png", 0.5)
        rows = tuple((spec.name, len(controls)) for spec in specs)
        return ComparisonResult((Table("Over the folder", ("Method", "Controls"), rows, (), "folder"),))


def known_comparison(comparer: KnownComparer | None = None) -> ComparisonServices:
    return ComparisonServices(
        comparer or KnownComparer(), KnownFolderComparer(), TokenProber(), RoomExporter()
    )
