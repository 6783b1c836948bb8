from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Image
from napari.layers._source import layer_source
from numpy.typing import NDArray
from viewer_kit import LaterRunner, known_services, noise

from napari_sslmaps.viewer.canvas.npe2 import contents_of, read
from napari_sslmaps.viewer.canvas.other_images import LeftOut, left_out
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.state.workspace import Anchor, WorkspaceModel

NAMES = ("DAPI", "CD8", "PanCK", "FOXP3")


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    pixels = (noise(4, 48, 64) * 9000).astype(np.uint16)
    path = tmp_path / "cells.ome.tif"
    tifffile.imwrite(path, pixels, metadata={"axes": "CYX", "Channel": {"Name": list(NAMES)}})
    return path


@pytest.fixture
def several(tmp_path: Path) -> Path:
    path = tmp_path / "several.ome.tif"
    with tifffile.TiffWriter(path) as file:
        for number, (height, width) in enumerate(((16, 16), (48, 64), (32, 40))):
            said = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5} if number == 1 else {}
            file.write(
                np.full((height, width), number, np.uint8), metadata={"Name": f"part {number}", **said}
            )
    return path


def opened(viewer: ViewerModel, path: Path) -> list[str]:
    for data, options, _ in read(str(path)):
        viewer.add_image(data, **options)
    return [layer.name for layer in viewer.layers]


def test_metadata_say_what_a_file_has_to_choose_from(cells: Path, several: Path) -> None:
    channels = contents_of(read(str(cells))[1][1]["metadata"])
    assert channels.channels == tuple(f"{number} {name}" for number, name in enumerate(NAMES))
    assert channels.picked == (1,)
    assert channels.series == ()
    images = contents_of(read(str(several))[0][1]["metadata"])
    assert images.series[images.shown] == "1 (part 1), 48 × 64 px"
    assert [told[0] for told in images.series] == ["0", "1", "2"]


def test_another_channel_takes_the_layers_place_and_keeps_its_anchors(
    viewer: ViewerModel, controller: Controller, cells: Path
) -> None:
    viewer.layers.clear()
    opened(viewer, cells)
    workspace, third = controller.workspace, viewer.layers[2]
    viewer.layers.selection.active = third
    workspace.anchors, workspace.spacing_um = (Anchor((10.0, 12.0)),), 0.4
    controller.run()
    assert controller.session is not None
    assert controller.session.embedded
    controller.other_images.choose_channels((3,))
    assert third not in viewer.layers
    assert workspace.image is viewer.layers[2]
    assert workspace.image.name.startswith("cells: 3 FOXP3")
    np.testing.assert_array_equal(workspace.image.data, tifffile.imread(cells)[3])
    assert workspace.anchors == (Anchor((10.0, 12.0)),)
    assert workspace.spacing_um == 0.4
    assert not [layer for layer in viewer.layers if layer.name.startswith("cells: 2 PanCK")]


def test_three_channels_become_red_green_and_blue(
    viewer: ViewerModel, controller: Controller, cells: Path
) -> None:
    viewer.layers.clear()
    opened(viewer, cells)
    workspace = controller.workspace
    controller.other_images.choose_channels((2, 0, 1))
    image = workspace.image
    assert image is not None
    assert image.name == "cells: 2 PanCK + 0 DAPI + 1 CD8"
    assert image.rgb
    np.testing.assert_array_equal(image.data, tifffile.imread(cells)[[2, 0, 1]].transpose(1, 2, 0))
    assert contents_of(image.metadata).picked == (2, 0, 1)


def test_another_series_is_another_image(viewer: ViewerModel, controller: Controller, several: Path) -> None:
    viewer.layers.clear()
    assert opened(viewer, several) == ["several"]
    controller.workspace.anchors = (Anchor((40.0, 60.0)),)
    controller.other_images.choose_series(2)
    image = controller.workspace.image
    assert list(viewer.layers) == [image]
    assert image.name == "several: 2 (part 2)"
    assert image.data.shape == (32, 40)
    assert controller.workspace.anchors == ()


def test_a_file_that_is_gone_leaves_the_layer(
    viewer: ViewerModel, controller: Controller, cells: Path
) -> None:
    viewer.layers.clear()
    opened(viewer, cells)
    image = controller.workspace.image
    cells.unlink()
    told = []
    controller.images_changed.connect(lambda: told.append(True))
    controller.other_images.choose_channels((0,))
    assert controller.workspace.image is image
    assert controller.workspace.status.failed
    assert "cells.ome.tif" in controller.workspace.status.text
    assert told


def test_a_layer_that_was_removed_while_its_file_was_read_does_not_come_back(
    viewer: ViewerModel, cells: Path
) -> None:
    runners: list[LaterRunner] = []

    def make() -> LaterRunner:
        runners.append(LaterRunner())
        return runners[-1]

    controller = Controller(viewer, WorkspaceModel(), make_runner=make, services=known_services())
    opened(viewer, cells)
    controller.other_images.choose_channels((0,))
    viewer.layers.clear()
    for runner in runners:
        runner.deliver()
    assert len(viewer.layers) == 0
    controller.close()


def test_a_session_opens_with_its_channels(
    viewer: ViewerModel, controller: Controller, cells: Path, tmp_path: Path
) -> None:
    viewer.layers.clear()
    opened(viewer, cells)
    controller.other_images.choose_channels((2, 0))
    controller.session_files.save(tmp_path / "mine.json")
    name = "cells: 2 PanCK + 0 DAPI"
    assert controller.workspace.image is not None
    assert controller.workspace.image.name == name
    viewer.layers.clear()
    opened(viewer, cells)  # its channels one by one are other images
    controller.session_files.open(tmp_path / "mine.json")
    image = controller.workspace.image
    assert image is not None
    assert image.name == name
    np.testing.assert_array_equal(image.data[..., :2], tifffile.imread(cells)[[2, 0]].transpose(1, 2, 0))


def write_pyramid(path: Path, *, spacing: bool) -> NDArray[np.uint8]:
    """Write a tiled TIFF of three levels, at 0.25 µm per pixel or at a printer's 72 dots per inch."""
    pixels = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    dense: dict[str, Any] = {"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER"}
    printed: dict[str, Any] = {"resolution": (72, 72), "resolutionunit": "INCH"}
    with tifffile.TiffWriter(path) as file:
        tiles: dict[str, Any] = {"photometric": "rgb", "tile": (64, 64)}
        file.write(pixels, subifds=2, **tiles, **(dense if spacing else printed))
        for step in (2, 4):
            file.write(pixels[::step, ::step], subfiletype=1, **tiles)
    return pixels


def as_napari_reads(path: Path, pixels: NDArray[np.uint8]) -> Image:
    with layer_source(path=str(path), reader_plugin="napari"):
        return Image(pixels, name=path.stem)


def test_a_pyramid_that_napari_read_tells_its_pixel_and_how_to_open_it(
    controller: Controller, viewer: ViewerModel, tmp_path: Path
) -> None:
    pixels = write_pyramid(tmp_path / "slide.tif", spacing=True)
    image = viewer.add_layer(as_napari_reads(tmp_path / "slide.tif", pixels))
    assert controller.workspace.spacing_um == pytest.approx(0.25)
    assert controller.workspace.status.text == (
        "slide: 0.25 µm per pixel, 3 levels. File → IO Utilities → Open slide… reads only what is in sight."
    )
    np.testing.assert_array_equal(image.scale, (1, 1))
    viewer.add_image(pixels, name="other")
    assert controller.workspace.spacing_um is None
    controller.workspace.image = image
    assert controller.workspace.spacing_um == pytest.approx(0.25)


def test_what_is_left_out_of_other_files_is_nothing(tmp_path: Path) -> None:
    pixels = write_pyramid(tmp_path / "printed.tif", spacing=False)
    assert left_out(as_napari_reads(tmp_path / "printed.tif", pixels)) == LeftOut(None, 3)
    assert left_out(as_napari_reads(tmp_path / "printed.tif", pixels[:50])) is None
    tifffile.imwrite(tmp_path / "plain.tif", pixels, photometric="rgb")
    assert left_out(as_napari_reads(tmp_path / "plain.tif", pixels)) is None
    assert left_out(Image(pixels)) is None
    (tmp_path / "bad.tif").write_bytes(b"II*\0nothing")
    assert left_out(as_napari_reads(tmp_path / "bad.tif", pixels)) is None
