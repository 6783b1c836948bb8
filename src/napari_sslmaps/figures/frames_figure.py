"""Maps of several frames: a strip of them on a page, and an animation."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from napari_sslmaps.core.frames import FrameMap
from napari_sslmaps.errors import ExportError
from napari_sslmaps.figures.panels import (
    INK,
    PanelLayout,
    Scale,
    draw_anchors,
    draw_image,
    draw_scale_bar,
    framed,
)
from napari_sslmaps.figures.pixels import said_by
from napari_sslmaps.figures.run_figure import (
    FigureRow,
    Picture,
    Points,
    compose_figure,
    draw_label,
    draw_map,
)
from napari_sslmaps.files import written_whole
from napari_sslmaps.maps.contrast import Limits
from napari_sslmaps.maps.frames import common_limits
from napari_sslmaps.maps.map_type import Display
from napari_sslmaps.maps.registry import map_type_of, selectable

MOST_COLUMNS = 8
_DPI, _MILLISECONDS = 100, 100


@dataclass(frozen=True, eq=False, slots=True)
class FrameRow:
    """The maps of one encoder, of every frame.

    Parameters
    ----------
    method, encoder
        The method's title, and the encoder's name.
    maps
        Maps by key of `MAP_TYPES`.
    """

    method: str
    encoder: str
    maps: Mapping[str, FrameMap]

    def at(self, index: int) -> FigureRow:
        """Its row of the figure of one frame."""
        return FigureRow(
            self.method, self.encoder, {key: found.maps[index] for key, found in self.maps.items()}
        )


@dataclass(frozen=True, eq=False, slots=True)
class FramesFigure:
    """Content of a figure of several frames.

    Parameters
    ----------
    frames, pictures
        Numbers of the frames, and the image at each.
    rows
        Rows of maps, one per encoder.
    anchors, negative
        (row, column) pixels of level 0 in the frame `anchor_frame`.
    anchor_frame
        The frame that anchors are drawn in.
    title
        Title above the figure.
    display
        Whether encoders share their contrast; frames always do.
    """

    frames: tuple[int, ...]
    pictures: tuple[Picture, ...]
    rows: tuple[FrameRow, ...]
    anchors: Points = ()
    negative: Points = ()
    anchor_frame: int = 0
    title: str = ""
    display: Display = "shared"

    def limits(self) -> dict[tuple[int, str], Limits]:
        """Contrast by row and key of a map, the same in all frames."""
        found: dict[tuple[int, str], Limits] = {}
        for index, row in enumerate(self.rows):
            for key, maps in row.maps.items():
                ends = common_limits(map_type_of(maps.maps[0]), maps, self.display)
                if ends is not None:
                    found[index, key] = ends
        for key in {key for _, key in found} if self.display == "shared" else ():
            kind = map_type_of(next(row.maps[key] for row in self.rows if key in row.maps).maps[0])
            alike = [at for at in found if at[1] == key]
            if kind.shared:
                common = min(found[at][0] for at in alike), max(found[at][1] for at in alike)
                found |= dict.fromkeys(alike, common)
        return found

    def marks(self, index: int) -> tuple[Points, Points]:
        """Anchors of a frame: those of their own frame alone."""
        return (self.anchors, self.negative) if self.frames[index] == self.anchor_frame else ((), ())


def compose_strip(shown: FramesFigure) -> Figure:
    """Compose frames × maps: a column per frame, up to 8 spread evenly, that of the anchors among them.

    Raises
    ------
    ExportError
        If there is no map.
    """
    lines = [
        (number, row, slot.heading, key)
        for number, row in enumerate(shown.rows)
        for slot in selectable()
        for key in row.maps
        if map_type_of(row.maps[key].maps[0]).slot == slot.key
    ]
    if not lines:
        raise ExportError("Expected at least one map to draw; got none.")
    columns, limits = _columns(shown), shown.limits()
    extent = shown.pictures[0].extent
    layout = PanelLayout.fitting(extent, len(lines) + 1, len(columns), titled=bool(shown.title))
    figure = Figure(figsize=(layout.width, layout.height), facecolor="white")
    FigureCanvasAgg(figure)
    draw_label(figure, layout, 0, FigureRow("Image", ""))
    for line, (_, row, heading, _) in enumerate(lines, start=1):
        draw_label(figure, layout, line, FigureRow(heading, row.encoder))
    for column, index in enumerate(columns):
        axes = [framed(figure, layout.panel(line, column), extent) for line in range(len(lines) + 1)]
        picture = shown.pictures[index]
        draw_image(axes[0], picture.pixels, picture.pixels_extent or extent)
        if column == 0 and picture.spacing_um_yx is not None:
            draw_scale_bar(axes[0], extent, picture.spacing_um_yx[1])
        for panel, (number, row, _, key) in zip(axes[1:], lines, strict=True):
            result, ends = row.maps[key].maps[index], limits.get((number, key))
            draw_map(panel, result, None if ends is None else Scale(map_type_of(result).colormap, *ends))
        for panel in axes:
            draw_anchors(panel, *shown.marks(index))
        x, y = layout.heading(column)
        figure.text(x, y, f"frame {shown.frames[index]}", ha="center", va="center", fontsize=9, color=INK)
    if shown.title:
        x, y = layout.title()
        figure.text(x, y, shown.title, ha="center", va="center", fontsize=9.5, color=INK, weight="bold")
    return figure


def write_animation(shown: FramesFigure, path: Path) -> None:
    """Write the figure of every frame as an animated WebP, 10 a second.

    Raises
    ------
    ExportError
        If there is no row, or it cannot be written.
    """
    drawn = _drawn(shown)
    with written_whole(path) as temporary:
        next(drawn).save(
            temporary,
            "WEBP",
            save_all=True,
            append_images=drawn,
            duration=_MILLISECONDS,
            loop=0,
            quality=85,
            **said_by("WEBP"),
        )


def _drawn(shown: FramesFigure) -> Iterator[Image.Image]:
    limits = shown.limits()
    for index, (frame, picture) in enumerate(zip(shown.frames, shown.pictures, strict=True)):
        anchors, negative = shown.marks(index)
        figure = compose_figure(
            picture,
            [row.at(index) for row in shown.rows],
            anchors=anchors,
            negative=negative,
            title=f"{shown.title} · frame {frame}".removeprefix(" · "),
            display=shown.display,
            limits=limits,
        )
        drawn = io.BytesIO()
        figure.savefig(drawn, dpi=_DPI, format="png")
        yield Image.open(drawn).convert("RGB")


def _columns(shown: FramesFigure) -> list[int]:
    """Return the indices of the frames that get a column."""
    count = len(shown.frames)
    chosen = set(np.linspace(0, count - 1, min(MOST_COLUMNS, count)).round().astype(int).tolist())
    own = shown.frames.index(shown.anchor_frame) if shown.anchor_frame in shown.frames else None
    if shown.anchors and own is not None and own not in chosen:
        chosen.remove(min(chosen, key=lambda index: abs(index - own)))
        chosen.add(own)
    return sorted(chosen)
