"""Findings in Qt: a table that sorts by numbers at a click, plots in the window's colours, notes, advice."""

import math

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qt_kit import LEFT
from qtpy.QtCore import QItemSelectionModel, QPoint, Qt
from qtpy.QtGui import QColor, QGuiApplication, QPalette
from qtpy.QtWidgets import QStyleOptionViewItem

from napari_sslmaps._qt.compare.plot_canvas import PlotCanvas
from napari_sslmaps._qt.compare.results import ResultsView
from napari_sslmaps._qt.findings_table import FindingsTable
from napari_sslmaps._qt.parts import ComboBox
from napari_sslmaps.core.findings import Curve, Estimate, Plot, Table
from napari_sslmaps.viewer.compare.model import ADVICE

SCORES = Table(
    "Scores",
    ("method", "AUROC", "tokens"),
    (
        ("dira", Estimate(0.9, 0.85, 0.95), 64),
        ("mae", Estimate(0.75, 0.6, 0.8), 9),
        ("position", None, 10),
        ("pixels", math.nan, 100),
        ("dinov3", Estimate(0.8), 7),
    ),
    ("mae does not beat its controls.",),
    "scores",
    {"AUROC": "0.5 is chance."},
)
EVIDENCE = Table(
    "Evidence of classes",
    ("method and how it was read", "class of the image, by name", "AUROC, near anchors"),
    (("dinov3-histology, linear head of it", "tumour of the breast", Estimate(0.9, 0.85, 0.95)),),
    (),
    "evidence",
)
X = np.array([1, 2, 3], np.float32)
CURVES = Plot("Robustness", "noise", "cosine", (Curve("mae", X, X),), notes=("One draw.",), key="robustness")


@pytest.fixture
def table(qtbot: QtBot) -> FindingsTable:
    shown = FindingsTable()
    qtbot.addWidget(shown)
    shown.resize(400, 300)
    shown.set_table(SCORES)
    with qtbot.waitExposed(shown):
        shown.show()
    return shown


def column(table: FindingsTable, at: int = 0) -> list[str]:
    model = table.model()
    return [model.index(row, at).data() for row in range(model.rowCount())]


def click_head(table: FindingsTable, qtbot: QtBot, section: int) -> None:
    heads = table.heads
    at = QPoint(heads.sectionViewportPosition(section) + 8, heads.height() // 2)
    qtbot.mouseClick(heads.viewport(), LEFT, pos=at)


def test_a_click_on_a_head_sorts_by_numbers_and_leaves_what_is_missing_last(
    table: FindingsTable, qtbot: QtBot
) -> None:
    click_head(table, qtbot, 1)
    assert column(table) == ["mae", "dinov3", "dira", "position", "pixels"]
    click_head(table, qtbot, 1)
    assert column(table) == ["dira", "dinov3", "mae", "position", "pixels"]
    click_head(table, qtbot, 1)
    assert column(table) == ["dira", "mae", "position", "pixels", "dinov3"]
    click_head(table, qtbot, 2)
    assert column(table, 2) == ["7", "9", "10", "64", "100"]


def test_a_long_name_leaves_room_for_numbers_where_a_table_is_narrow(table: FindingsTable) -> None:
    long = Table("Long", ("method", "AUROC"), (("an-encoder-of-many-words-untrained", Estimate(0.8)),))
    table.resize(300, 200)
    table.set_table(long)
    assert table.columnWidth(0) <= 0.4 * 300
    table.resize(900, 200)
    assert table.columnWidth(0) == 190


def test_a_head_says_in_its_tip_what_its_numbers_are(table: FindingsTable) -> None:
    across, tip = Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole
    heads = [table.model_.headerData(at, across, tip) for at in range(3)]
    assert heads == ["method", "AUROC: 0.5 is chance.", "tokens"]


def test_intervals_are_drawn_small_and_told_in_the_tip(table: FindingsTable) -> None:
    index = table.model().index(0, 1)
    assert index.data() == "0.900"
    assert index.data(Qt.ItemDataRole.ToolTipRole) == "0.900 [0.850, 0.950], a 95 % interval"
    assert table.rowHeight(0) > table.rowHeight(4)
    pixels = table.grab().toImage()
    cell = table.visualRect(index).translated(table.viewport().pos())
    lower = [
        pixels.pixelColor(x, y).name()
        for y in range(cell.center().y() + 2, cell.bottom() - 1)
        for x in range(cell.left(), cell.right())
    ]
    assert len(set(lower)) > 2


@pytest.mark.parametrize(("text", "amber"), [("white", "#e8b04a"), ("black", "#7a4e00")])
def test_a_method_that_does_not_beat_its_controls_is_amber(
    table: FindingsTable, text: str, amber: str
) -> None:
    """In the shade that can be read on the ground of such text."""
    table.set_table(Table("Scores", ("Method", "Beats its controls"), (("mae", "no"), ("dira", "yes"))))
    colours = []
    for row in (0, 1):
        option = QStyleOptionViewItem()
        option.palette.setColor(QPalette.ColorRole.Text, QColor(text))
        table.itemDelegate().initStyleOption(option, table.model().index(row, 0))
        colours.append(option.palette.color(QPalette.ColorRole.Text).name())
    assert colours == [amber, QColor(text).name()]


def test_selected_rows_are_copied_with_their_heads(table: FindingsTable, qtbot: QtBot) -> None:
    whole_row = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
    table.selectionModel().select(
        table.model().index(1, 0), whole_row
    )  # `selectRow` heeds keys held elsewhere
    qtbot.keyClick(table, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    text = QGuiApplication.clipboard().text()
    assert text == "method\tAUROC\ttokens\nmae\t0.750 [0.600, 0.800]\t9"
    table.clearSelection()
    assert len(table.copied().splitlines()) == 6


def test_a_plot_takes_the_colours_of_the_window(qtbot: QtBot) -> None:
    canvas = PlotCanvas()
    qtbot.addWidget(canvas)
    canvas.set_plot(CURVES)
    palette = canvas.palette()
    palette.setColor(QPalette.ColorRole.WindowText, Qt.GlobalColor.red)
    canvas.setPalette(palette)
    (axes,) = canvas.figure.axes
    assert axes.xaxis.label.get_color() == "#ff0000"
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), X)


def test_notes_get_what_a_table_leaves_over_and_a_quarter_at_least(qtbot: QtBot) -> None:
    view = ResultsView()
    qtbot.addWidget(view)
    rows = tuple((f"method {number}", Estimate(0.8, 0.7, 0.9)) for number in range(30))
    told = tuple(f"A remark that is so long that it takes a line of its own, number {n}." for n in range(60))
    tables = [Table("Long", ("method", "AUROC"), rows[:count], told, str(count)) for count in (2, 30)]
    view.set_findings([*tables, Table("Short", ("method",), (("mae",),), ("One remark.",), "short")], ())
    with qtbot.waitExposed(view):
        view.resize(500, 600)
        view.show()
    view.set_shown("2")
    assert view.below.height() == pytest.approx(
        600 - view.stack.minimumHeight() - view.choice.height(), abs=20
    )
    assert view.height() == 600
    view.set_shown("30")
    line = view.notes.fontMetrics().lineSpacing()
    assert view.below.height() == 150 // line * line, "whole lines"
    view.resize(500, 1000)
    assert view.below.height() == 250 // line * line
    view.set_shown("short")
    assert view.below.height() < 40


def test_one_finding_is_in_view_with_its_notes(qtbot: QtBot) -> None:
    view = ResultsView()
    qtbot.addWidget(view)
    asked: list[str] = []
    view.shown_requested.connect(asked.append)
    assert "press Compare" in view.text.toPlainText()
    view.set_findings([SCORES, CURVES], ["dira is ahead by 0.1 [0.05, 0.15]."])
    view.set_shown("scores")
    assert view.stack.currentWidget() is view.table
    assert view.notes.text() == "mae does not beat its controls."
    qtbot.keyClick(view.choice, Qt.Key.Key_Down)
    assert asked == ["robustness"]
    view.set_shown("robustness")
    assert view.stack.currentWidget() is view.plot
    assert view.notes.text() == "One draw."
    view.set_shown(ADVICE)
    assert view.stack.currentWidget() is view.text
    assert view.text.toPlainText() == "dira is ahead by 0.1 [0.05, 0.15]."
    view.set_findings([], [])
    assert not view.choice.isEnabled()


def test_numbers_are_seen_beside_two_columns_of_words_in_a_dock(table: FindingsTable, qtbot: QtBot) -> None:
    table.resize(342, 200)
    with qtbot.waitExposed(table):
        table.show()
    table.set_table(EVIDENCE)
    head = table.model_.headerData(2, Qt.Orientation.Horizontal)
    assert head == "AUROC, near\nanchors"
    assert table.columnViewportPosition(2) + table.columnWidth(2) <= table.viewport().width()
    assert table.copied().startswith("method and how it was read\tclass of the image, by name\tAUROC, near")


def test_a_long_choice_is_shortened_in_its_middle_and_told_in_its_tool_tip(qtbot: QtBot) -> None:
    box = ComboBox([("a_rather_long_name_of_an_annotation_mask.tif", 1), ("short", 2)], "What it is.")
    qtbot.addWidget(box)
    box.resize(160, 24)
    with qtbot.waitExposed(box):
        box.show()
    qtbot.waitUntil(lambda: box.toolTip() == "a_rather_long_name_of_an_annotation_mask.tif\nWhat it is.")
    box.setCurrentIndex(1)
    qtbot.waitUntil(lambda: box.toolTip() == "What it is.")
