"""Pretext views in a real window: a stroke of the brush and a dragged target, checked by pixels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qt_kit import Window
from viewer_kit import KnownPretext, make_spec

from napari_sslmaps.core.pretext_views import TokenBlock
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.viewer.encoders import encoder_list

pytestmark = pytest.mark.viewer


@pytest.fixture(autouse=True)
def embedded_specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    methods = ("mae", "ijepa")
    specs: dict[str, EncoderSpec] = {
        f"{name}-demo": make_spec(tmp_path / name, f"{name}-demo", name) for name in methods
    }
    monkeypatch.setattr(encoder_list, "EMBEDDED", tuple(specs))
    monkeypatch.setattr(encoder_list, "CONTROLS", {})
    monkeypatch.setattr(encoder_list, "get_spec", specs.__getitem__)


def show(window: Window, qtbot: QtBot, encoder: str) -> None:
    """Open the page, choose the encoder and press the button."""
    widget = window.widget
    widget.tabs.setCurrentIndex(1)
    widget.pretext.encoder.setCurrentIndex(widget.pretext.encoder.findData(encoder))
    widget.run.pretext.click()
    qtbot.waitUntil(lambda: widget.controller.pretext.view is not None)


def test_a_stroke_of_the_brush_is_reconstructed(window: Window, qtbot: QtBot, pretext: KnownPretext) -> None:
    show(window, qtbot, "mae-demo")
    white = window.colour((20, 28))
    assert white.min() > 240
    assert 110 < window.colour((44, 52)).mean() < 145
    window.widget.pretext.paint.click()
    mask = window.widget.controller.pretext.tools.mask
    mask.brush_size = 1
    opacities: list[float] = []
    mask.events.opacity.connect(lambda: opacities.append(mask.opacity))
    window.drag((36, 28), (36, 36), (36, 44))
    assert opacities[0] > 0.4
    assert opacities[-1] < 0.2
    qtbot.waitUntil(lambda: len(pretext.asked) == 2)
    np.testing.assert_array_equal(pretext.asked[-1][2].mask[2], [True, True, True, False])
    qtbot.waitUntil(lambda: bool(window.widget.controller.pretext.view.mask[2, 0]))
    assert mask.visible
    window.widget.pretext.paint.click()
    assert not mask.visible
    for column in (26, 34, 42):  # beside the middle, where napari's brush still lies
        assert window.colour((38, column)).min() > 240
    assert 110 < window.colour((38, 50)).mean() < 145


def test_a_dragged_target_is_predicted_where_it_was_dropped(
    window: Window, qtbot: QtBot, pretext: KnownPretext
) -> None:
    show(window, qtbot, "ijepa-demo")
    window.widget.pretext.shift.click()
    window.drag((22, 34), (22, 40), (24, 49), (24, 49))
    qtbot.waitUntil(lambda: len(pretext.asked) > 1)
    assert pretext.asked[-1][2].targets[0] == TokenBlock(0, 2, 2, 2)
    tools = window.widget.controller.pretext.tools
    qtbot.waitUntil(lambda: next(iter(tools.blocks.features["label"])) == "0.20")
    low = np.min(tools.blocks.data[0], axis=0)
    np.testing.assert_allclose(low, (15.5, 39.5), atol=1e-3)
    assert str(tools.blocks.mode) == "select"
    agreement = window.widget.controller.layer_manager.find(
        window.image, "agreement", "ijepa-demo", "pretext"
    )
    assert agreement.data[0, 3] == np.float32(0.2)
    assert np.isnan(agreement.data[0, 0])


def test_side_by_side_the_brush_works_in_every_cell(
    window: Window, qtbot: QtBot, pretext: KnownPretext
) -> None:
    show(window, qtbot, "mae-demo")
    window.widget.pretext.side_by_side.click()
    window.widget.pretext.paint.click()
    mask = window.widget.controller.pretext.tools.mask
    mask.brush_size = 1
    assert mask.opacity > 0.4
    window.draw()
    window.drag((44, 36), (44, 44), cell=3)
    qtbot.waitUntil(lambda: len(pretext.asked) == 2)
    np.testing.assert_array_equal(pretext.asked[-1][2].mask[3], [False, True, True, False])
    qtbot.waitUntil(lambda: bool(window.widget.controller.pretext.view.mask[3, 1]))
    assert window.colour((42, 42), cell=2).min() > 240
    assert 110 < window.colour((42, 26), cell=2).mean() < 145


def test_an_own_mask_begins_with_a_button(window: Window, qtbot: QtBot, pretext: KnownPretext) -> None:
    section = window.widget.pretext
    window.widget.tabs.setCurrentIndex(1)
    assert not section.reveal.isEnabled()
    show(window, qtbot, "mae-demo")
    section.reveal.click()
    qtbot.waitUntil(lambda: not window.widget.controller.pretext.view.mask.any())
    assert section.paint.isChecked()
    assert "Nothing is hidden yet" in section.notes.text()
    section.random.click()
    qtbot.waitUntil(lambda: bool(window.widget.controller.pretext.view.mask[0].all()))
    for one in (section.reveal, section.random):
        assert one.sizeHint().width() <= one.width()


def test_the_page_shows_what_its_method_can_be_told(window: Window, qtbot: QtBot) -> None:
    section, workspace = window.widget.pretext, window.widget.workspace
    window.widget.tabs.setCurrentIndex(1)
    assert workspace.task == "pretext"
    assert not window.widget.encoders.isVisible()
    assert not window.widget.run.run.isVisible()
    assert section.ratio.isVisible()
    assert not section.paint.isEnabled()
    workspace.pretext = replace(workspace.pretext, encoder="ijepa-demo")
    assert not section.ratio.isVisible()
    assert section.shift.text() == "Move targets"
    section.seed.setValue(3)
    assert workspace.pretext.seed == 3
    window.widget.tabs.setCurrentIndex(0)
    assert window.widget.encoders.isVisible()
    assert not section.isVisible()
