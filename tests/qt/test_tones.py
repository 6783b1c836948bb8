"""Colours of text against the grounds of napari's themes."""

import pytest
from napari.utils.theme import get_theme
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_sslmaps._qt.links import Browser, LinkedText
from napari_sslmaps._qt.maps.time_window import COLOURS, colours_of
from napari_sslmaps._qt.parts import EDGES, PLACEHOLDERS, TONES, tone_sheet
from napari_sslmaps.viewer.maps.clip import TimeCourses


def luminance(colour: QColor) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in colour.getRgbF()[:3]
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(ink: QColor, ground: QColor) -> float:
    """Ratio of contrast, as WCAG 2 defines it."""
    high, low = sorted((luminance(ground), luminance(ink)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def colour_of(theme: str, role: str) -> QColor:
    return QColor(*getattr(get_theme(theme), role).as_rgb_tuple(alpha=False))


@pytest.mark.parametrize("tone", TONES)
@pytest.mark.parametrize(("theme", "index"), [("dark", 0), ("light", 1)])
def test_text_can_be_read_on_the_ground_of_the_theme(tone: str, theme: str, index: int) -> None:
    assert contrast(QColor(TONES[tone][index]), colour_of(theme, "background")) >= 4.5
    assert TONES[tone][index] in tone_sheet(dark=index == 0)


@pytest.mark.parametrize(("theme", "index"), [("dark", 0), ("light", 1)])
def test_controls_can_be_seen_and_empty_inputs_read(theme: str, index: int) -> None:
    assert contrast(QColor(EDGES[index]), colour_of(theme, "background")) >= 3
    assert contrast(QColor(PLACEHOLDERS[index]), colour_of(theme, "primary")) >= 4.5
    sheet = tone_sheet(dark=index == 0)
    assert EDGES[index] in sheet
    assert PLACEHOLDERS[index] in sheet


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_lines_of_a_plot_can_be_seen(theme: str) -> None:
    courses = TimeCourses((0, 1), dict.fromkeys(COLOURS, (0.0, 1.0)), 0)
    for line in colours_of(courses, colour_of(theme, "text")):
        assert contrast(line, colour_of(theme, "background")) >= 3


def most_saturated(widget: QWidget) -> QColor:
    """Return the colour that ink comes to where it is not mixed with the ground."""
    picture = widget.grab().toImage()
    places = ((x, y) for y in range(picture.height()) for x in range(picture.width()))
    return max((picture.pixelColor(*place) for place in places), key=lambda colour: colour.hsvSaturationF())


def test_links_can_be_read_on_the_ground_of_the_theme_that_comes(qapp: object) -> None:
    page, html, markdown = QWidget(), Browser(), Browser()
    label = LinkedText("https://example.org/HHHHHHHHHHHH")
    column = QVBoxLayout(page)
    for widget in (html, markdown, label):
        column.addWidget(widget)
    html.setHtml('<p>A <a href="https://example.org">HHHHHHHHHHHH</a></p>')
    markdown.setMarkdown("| a |\n|---|\n| [HHHHHHHHHHHH](https://example.org) |")
    for theme in ("dark", "light", "dark"):
        ground = colour_of(theme, "background")
        ink = colour_of(theme, "text")
        page.setStyleSheet(f"* {{background-color: {ground.name()}; color: {ink.name()}; font-size: 24px;}}")
        page.show()
        for widget in (html, markdown, label):
            assert contrast(most_saturated(widget), ground) >= 4.5, (theme, widget)
    page.close()
