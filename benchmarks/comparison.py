"""What a full comparison costs over embedding its region, and what a second one of the same images costs."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from measure import Outcome, ratio, seconds
from PIL import Image

from napari_sslmaps.compare.compute import compare
from napari_sslmaps.compare.request import ComparedImage, ComparisonRequest, MaskFile
from napari_sslmaps.compare.tables import plots_of, tables_of
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.lab.simulators import SIMULATORS
from napari_sslmaps.pipeline.embedding import embed

SIDE = 1024
ENCODERS = ("mae-histology", "ijepa-histology", "dinov3-histology", "dira-histology")


def write_region(folder: Path) -> ComparedImage:
    """A simulated region with its label map, which the annotation of all its pixels is."""
    image, labels = SIMULATORS["histology"].draw(np.random.default_rng(0), SIDE)
    Image.fromarray(image).save(folder / "region.png")
    Image.fromarray(labels).save(folder / "mask.png")
    mask = MaskFile(folder / "mask.png")
    return ComparedImage("region.png", str(folder / "region.png"), mask, anchors=((300.0, 300.0),))


def comparison_over_embedding(image: ComparedImage, encoders: Mapping[str, Encoder]) -> Outcome:
    """Maps, their scores, anchors, agreement, evidence and tables, beside controls without a network."""
    request = ComparisonRequest(
        (image,), tuple(map(EncoderChoice, encoders)), controls=("position", "pixels", "colour")
    )

    def whole() -> None:
        comparison = compare(request, encoders=encoders)
        tables_of(comparison), plots_of(comparison)

    def embeddings() -> None:
        for encoder in encoders.values():
            embed(image.image, encoder)

    found, ours, floor = ratio(whole, embeddings, repeats=5)
    detail = f"{ours:.1f} s over {floor:.1f} s, {SIDE} × {SIDE} px, {len(encoders)} encoders, 3 controls"
    return Outcome("full comparison / embedding by its encoders", found, "×", 1.2, detail)


def second_comparison(image: ComparedImage, encoders: Mapping[str, Encoder], folder: Path) -> Outcome:
    """The same comparison again in its folder, where all is finished."""
    request = ComparisonRequest((image,), tuple(map(EncoderChoice, encoders)))

    def again() -> None:
        compare(request, encoders=encoders, folder=folder)

    first = seconds(again)
    second = min(seconds(again) for _ in range(5))
    detail = f"{second * 1e3:.0f} ms over {first:.1f} s"
    return Outcome("finished comparison / comparing", second / first, "×", 0.05, detail)


def outcomes() -> list[Outcome]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = write_region(folder)
        encoders = {name: load_encoder(name, precision="float32") for name in ENCODERS}
        return [
            comparison_over_embedding(image, encoders),
            second_comparison(image, encoders, folder / "out"),
        ]
