"""The Search page in a real window: an archive is built, an anchor searched for, a result clicked."""

from collections.abc import Callable, Iterator
from pathlib import Path

import napari
import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qt_kit import LEFT, Window, is_red
from qtpy.QtWidgets import QApplication, QFileDialog, QLabel
from search_kit import KnownSearcher
from viewer_kit import KnownEmbedder, known_services

from napari_sslmaps.viewer.state.workspace import TASKS

pytestmark = pytest.mark.viewer


@pytest.fixture
def searcher(tmp_path: Path) -> KnownSearcher:
    return KnownSearcher(tmp_path)


@pytest.fixture
def page(
    make_napari_viewer: Callable[..., napari.Viewer],
    qtbot: QtBot,
    embedder: KnownEmbedder,
    searcher: KnownSearcher,
) -> Iterator[Window]:
    """The page, opened by its tab."""
    opened = Window(make_napari_viewer(show=True), known_services(embedder, searcher=searcher), qtbot)
    tabs = opened.widget.tabs
    qtbot.mouseClick(tabs, LEFT, pos=tabs.tabRect(TASKS.index("search")).center())
    assert opened.widget.workspace.task == "search"
    yield opened
    opened.widget.close_controller()


def build(page: Window, qtbot: QtBot, folder: Path) -> None:
    """Choose the folder of a batch, and build its index."""
    archive = page.widget.search.archive
    assert not archive.build.isVisible()
    qtbot.mouseClick(archive.open, LEFT)
    dialog = archive.dialog
    assert isinstance(dialog, QFileDialog)
    dialog.fileSelected.emit(str(folder))
    dialog.close()
    qtbot.waitUntil(lambda: "No index yet" in archive.text.text())
    assert archive.encoder.isVisible()
    assert archive.encoder.itemText(0) == "mae-demo · not indexed"
    (title,) = (one for one in archive.findChildren(QLabel) if one.text() == "Encoder")
    assert title.sizeHint().width() <= title.width()
    qtbot.mouseClick(archive.build, LEFT)
    qtbot.waitUntil(lambda: archive.text.text() == "3 images, 240 tokens by mae-demo.")
    assert [archive.encoder.itemText(at) for at in (0, 1)] == ["mae-demo", "other · not indexed"]


def test_a_click_on_a_thumbnail_opens_its_image_there(
    page: Window, qtbot: QtBot, embedder: KnownEmbedder, tmp_path: Path
) -> None:
    widget, workspace, grid = page.widget, page.widget.workspace, page.widget.search.grid
    assert widget.anchors.isVisible()
    assert not widget.encoders.isVisible()
    # beside a scroll bar, too
    assert widget.search.minimumSizeHint().width() < widget.minimumSizeHint().width() - 36
    build(page, qtbot, tmp_path)
    qtbot.mouseClick(widget.anchors.mode, LEFT)
    page.click((20, 30))
    assert len(workspace.anchors) == 1
    widget.search.other_images.click()
    assert widget.controller.search_page.model.other_images
    qtbot.mouseClick(widget.run.search, LEFT)
    qtbot.waitUntil(lambda: grid.count() == 3)
    page.wait_until_idle()
    assert not widget.search.archive.build.isVisible()  # folded away, for what was found
    assert "(44, 60)" in grid.item(1).toolTip()
    assert not embedder.calls
    assert grid.item(1).text() == "2 · 0.80\ncase1"
    qtbot.waitUntil(lambda: "1 of 3 places without a picture" in workspace.status.text)
    grid.scrollToItem(grid.item(1))
    QApplication.processEvents()
    at = grid.visualItemRect(grid.item(1)).center()
    picture = grid.viewport().grab().toImage()
    colour = picture.pixelColor(at.x(), at.y() - 20)
    assert (colour.red(), colour.green()) == (200, 50)
    qtbot.mouseClick(grid.viewport(), LEFT, pos=at)
    qtbot.waitUntil(lambda: workspace.image is not None and workspace.image.name.startswith("case1"))
    qtbot.waitUntil(lambda: "at (44, 60)" in workspace.status.text)
    assert [anchor.pixel_yx for anchor in workspace.anchors] == [(44.0, 60.0)]
    assert widget.controller.layer_manager.maps_of(workspace.image)
    assert not embedder.calls
    page.image = workspace.image
    height, width = page.viewer.canvas.viewbox_size(page.viewer.layers)
    point = page.at((44, 60))
    np.testing.assert_allclose((point.y(), point.x()), (height / 2, width / 2), atol=1)
    assert is_red(page.colour((44, 60))) or is_red(page.colour((44.4, 60.4)))
