"""Every kind of map, and one registered here alone, is known wherever maps are made, shown or written."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from encoders_factory import write_encoder
from figures_kit import embedding, picture
from napari.layers import Image
from typer.testing import CliRunner

from napari_sslmaps.cli.commands import app
from napari_sslmaps.core.results import TokenMap
from napari_sslmaps.figures.run_figure import FigureRow, compose_figure
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.maps.make import MapRequest, make_maps
from napari_sslmaps.maps.map_type import MapInput, MapType
from napari_sslmaps.maps.registry import MAP_TYPES, caption, selectable
from napari_sslmaps.records.map_files import read_map, write_map
from napari_sslmaps.records.run import RunOptions, RunRecord
from napari_sslmaps.run.compute import compute_run
from napari_sslmaps.run.request import RunRequest
from napari_sslmaps.run.write import request_from_record, write_run
from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.canvas.map_layers import draw
from napari_sslmaps.viewer.controller import Controller


@dataclass(frozen=True, eq=False, kw_only=True)
class RowMap(TokenMap):
    """Number of each token's row."""


def make_rows(given: MapInput) -> RowMap:
    values = np.zeros(given.embedding.grid.shape, np.float32) + np.arange(given.embedding.grid.rows)[:, None]
    return RowMap(values=values, grid=given.embedding.grid, provenance=given.embedding.provenance)


ROWS = MapType(
    key="rows",
    result=RowMap,
    heading="Rows",
    tip="The number of each row.",
    colormap="magma",
    make=make_rows,
    facts=lambda result: {"last": float(result.values[-1, 0])},
    caption=lambda facts: f"rows up to {facts['last']:g}",
    note=lambda _: "number of the row",
)


@pytest.fixture
def rows_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MAP_TYPES, ROWS.key, ROWS)


def keys() -> list[str]:
    return [*(kind.key for kind in selectable() if not kind.needs_anchors), ROWS.key]


@pytest.mark.usefixtures("rows_known")
@pytest.mark.parametrize("key", keys())
def test_a_map_is_drawn_written_and_captioned(key: str, tmp_path: Path) -> None:
    made = embedding()
    (result,) = make_maps({"e": made}, MapRequest((key,)))["e"].values()
    drawing = draw(result)
    assert (drawing.kind, drawing.colormap) == (key, MAP_TYPES[key].colormap)
    words, _ = caption({"map": key, **drawing.record})
    assert words
    write_map(tmp_path / "map.tif", result)
    read = read_map(tmp_path / "map.tif")
    assert (read.kind, dict(read.details)) == (key, drawing.record["options"])
    figure = compose_figure(picture(), [FigureRow("MAE", "e", {key: result})])
    assert MAP_TYPES[key].heading in [text.get_text() for text in figure.texts]


@pytest.mark.usefixtures("rows_known")
def test_a_new_map_is_in_the_window(controller: Controller, image: Image) -> None:
    workspace = controller.workspace
    workspace.maps = tuple(kind.key for kind in selectable())
    controller.run()
    workspace.shown = ROWS.key
    layer = controller.layer_manager.find(image, ROWS.key, workspace.front)
    assert layer is not None
    assert layer.visible
    assert layer.metadata[OWN]["map"] == ROWS.key
    assert workspace.caption.text.startswith("rows up to")


@pytest.mark.usefixtures("rows_known")
def test_a_new_map_is_in_runs_and_their_records(tmp_path: Path) -> None:
    from PIL import Image as Picture

    noise = np.random.default_rng(0).integers(0, 255, (40, 64, 3), np.uint8)
    Picture.fromarray(noise).save(tmp_path / "image.png")
    choice = EncoderChoice(str(write_encoder(tmp_path / "mae-tiny.safetensors", "mae")))
    options = RunOptions(device="cpu", precision="float32", wanted=("pca", "rows"))
    outcome = compute_run(RunRequest(str(tmp_path / "image.png"), (choice,), options=options))
    record = write_run(outcome, tmp_path / "out")
    assert set(record.encoders[0].outputs) >= {"pca", "rows"}
    assert "similarity" not in record.encoders[0].outputs
    again = request_from_record(RunRecord.read(tmp_path / "out" / "run.json"), tmp_path / "out")
    assert again.options == options
    assert read_map(tmp_path / "out" / record.encoders[0].outputs["rows"]).kind == "rows"


@pytest.mark.usefixtures("rows_known")
@pytest.mark.parametrize("command", ["run", "batch", "evaluate"])
def test_help_names_every_map(command: str) -> None:
    told = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).stdout
    assert all(kind.key in told for kind in selectable())
