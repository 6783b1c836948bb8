"""The pretext section says of every method what can be changed by hand."""

from pathlib import Path

import pytest
from family_kit import bystander  # noqa: F401  # a fixture
from pytestqt.qtbot import QtBot
from viewer_kit import make_spec

from napari_sslmaps._qt.encoders.correction_form import CorrectionForm
from napari_sslmaps._qt.pretext.pretext_section import PretextSection
from napari_sslmaps.encoders.methods.method import Method
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.pretext.options import PretextOptions


def shown(qtbot: QtBot, path: Path, method: str) -> PretextSection:
    section = PretextSection()
    qtbot.addWidget(section)
    section.set_encoders([make_spec(path / "mine", "mine", method)])
    section.set_options(PretextOptions(encoder="mine"))
    return section


SHOWN = [method for method in METHODS.values() if method.pretext]


@pytest.mark.parametrize("method", SHOWN, ids=lambda method: method.name)
def test_a_method_has_a_hint_and_the_tools_of_its_task(method: Method, qtbot: QtBot, tmp_path: Path) -> None:
    section = shown(qtbot, tmp_path, method.name)
    assert section.task.text() == f"{method.title} {method.objective}."
    assert section.hint.text()
    assert section.paint.isVisibleTo(section) == (method.edits in {"paint", "crops"})
    assert section.shift.isVisibleTo(section) == (method.edits in {"blocks", "crops"})


def test_a_method_that_is_registered_is_known_to_the_window(
    bystander: Method,  # noqa: F811  # the fixture
    qtbot: QtBot,
    tmp_path: Path,
) -> None:
    section = shown(qtbot, tmp_path, bystander.name)
    assert section.task.text() == "Bystander looks on."
    assert section.shift.text() == "Move targets"
    form = CorrectionForm(Overrides())
    qtbot.addWidget(form)
    assert form.method.findText("Bystander") >= 0
