"""Comparison → folder: tables as CSV, plots, figures, maps, a report, and the record that makes it again."""

from collections.abc import Mapping
from dataclasses import replace
from glob import escape
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from napari_sslmaps.compare.advice import advise
from napari_sslmaps.compare.record import files_of, record_of
from napari_sslmaps.compare.results import Comparison, ScoredImage
from napari_sslmaps.compare.saved import in_files
from napari_sslmaps.compare.scores import SCORES
from napari_sslmaps.compare.scoring import ImageEmbeddings
from napari_sslmaps.compare.store import FIGURE, ComparisonFolder, file_name
from napari_sslmaps.compare.tables import plots_of, tables_of
from napari_sslmaps.core.findings import Cell, Plot, Table
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.errors import RecordError
from napari_sslmaps.evaluation.anchor_scores import middle_anchor
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.figures.picture import picture_of, without_text
from napari_sslmaps.figures.plots import draw_plot, size_of
from napari_sslmaps.figures.report import Part, ReportSection, write_report
from napari_sslmaps.figures.run_figure import FigureRow, Picture, compose_figure, save_figure
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.maps.make import MapRequest, make_maps
from napari_sslmaps.maps.map_type import Display
from napari_sslmaps.maps.registry import MAP_TYPES
from napari_sslmaps.records.claim import hashes_of, remove_own
from napari_sslmaps.records.csv import write_csv
from napari_sslmaps.records.linear_head import save_head
from napari_sslmaps.records.map_files import write_map
from napari_sslmaps.records.run import RunRecord

WRITTEN = (
    *("run.json", "report.html", "heads/*.json", f"images/*/{FIGURE}"),
    *(f"{key}.csv" for key in ("anchors", "differences", "maps", "classes", "images", "agreement", *SCORES)),
    *("advice.csv", "scale-*.csv", "depth-*.csv", "robustness-*.csv", "label-efficiency*.csv"),
)
"""What a comparison writes to its folder, beside what lies in that of each image; as patterns."""
_PICTURE = 900
_MARKED = (
    "A red × is the anchor of the similarity maps: yours, or, where you set none, the midst of the first "
    "annotated class. Outlines are those of the annotation."
)


class ImageWriter:
    """Writes figure and maps of the first images of a comparison, as they are scored.

    Without anchors of its user, an annotated image gets one, in the midst of its first class.

    Parameters
    ----------
    folder
        Folder of the comparison.
    most
        Number of images that are written; the others leave scores alone.
    display
        Whether encoders share their contrast.
    anonymous
        Whether text around an ultrasound sector is left out.
    """

    def __init__(
        self, folder: Path, most: int, display: Display = "shared", *, anonymous: bool = False
    ) -> None:
        self._folder, self._left, self._display = folder, most, display
        self._anonymous = anonymous

    def __call__(self, embedded: ImageEmbeddings, scored: ScoredImage) -> None:
        """Write an image's figure and maps, unless enough have been written.

        Raises
        ------
        ExportError
            If something cannot be written.
        """
        if self._left <= 0:
            return
        self._left -= 1
        embedded = _with_anchor(embedded)
        folder = ComparisonFolder(self._folder).image_folder(scored.name)
        spacing = embedded.image.source.spacing_um_yx
        for method, maps in embedded.maps.items():
            for kind, result in maps.items():
                write_map(folder / method / file_name(f"{kind}.tif"), result, spacing_um_yx=spacing)
        figure = image_figure(embedded, self._display, anonymous=self._anonymous)
        save_figure(figure, folder / FIGURE)


def image_figure(
    embedded: ImageEmbeddings, display: Display = "shared", *, anonymous: bool = False
) -> Figure:
    """Compose the maps of one image, a row for each method; if anonymous, without text around a sector."""
    image = embedded.image
    window = next(iter(embedded.embeddings.values())).provenance.window or (0.0, 1.0)
    picture: Picture = picture_of(image.source, image.region, window, max_side=_PICTURE)
    if anonymous:
        picture = without_text(picture)
    if image.annotation is not None:
        picture = _outlined(picture, image.annotation)
    rows = [_row(name, embedded) for name in embedded.embeddings]
    return compose_figure(
        picture,
        rows,
        anchors=image.requested.anchors,
        negative=image.requested.negative,
        title=image.name,
        display=display,
    )


def _with_anchor(embedded: ImageEmbeddings) -> ImageEmbeddings:
    """Add similarity to the midst of an annotated class, where no anchor was set that it could show."""
    image, options = embedded.image, embedded.options
    asked = image.requested
    if asked.anchors or asked.groups or image.annotation is None or "similarity" not in options.keys:
        return embedded
    patches = embedded.patches or embedded.embeddings
    everywhere = tuple(patches.values())
    place = middle_anchor(image.annotation, everywhere[0].grid, everywhere)
    if place is None:
        return embedded
    request = MapRequest(("similarity",), options.maps, AnchorGroup("anchors", anchors=(place,)))
    maps = {
        name: {**found, **make_maps({name: patches[name]}, request)[name]}
        for name, found in embedded.maps.items()
    }
    return replace(embedded, image=replace(image, requested=replace(asked, anchors=(place,))), maps=maps)


def _outlined(picture: Picture, annotation: Annotation) -> Picture:
    """Return the picture with the classes of its pixels."""
    shape = picture.pixels.shape[:2]
    left, right, bottom, top = (picture.pixels_extent or picture.extent).edges
    y, x = (
        first + (np.arange(count) + 0.5) * (last - first) / count
        for first, last, count in ((top, bottom, shape[0]), (left, right, shape[1]))
    )
    places = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2)
    labels = annotation.labels_at(places).reshape(shape)
    names = tuple(map(annotation.name_of, range(1, 1 + max(annotation.classes, default=0))))
    return replace(picture, labels=labels, class_names=names)


def write_comparison(comparison: Comparison, folder: Path, *, command: str = "") -> RunRecord:
    """Write tables, plots, report and record of a comparison.

    Parameters
    ----------
    comparison
        Comparison to write. Images and annotation that are in memory only are saved below the folder, too.
    folder
        Folder to write into, made if needed; what is of the same name in it is replaced, and what the record
        there lists and this comparison does not have is removed.
    command
        The command line that makes it again; that of the record if empty.

    Returns
    -------
    RunRecord
        The record as written to ``run.json``, last of all.

    Raises
    ------
    ExportError
        If something cannot be written.
    """
    comparison = in_files(comparison, folder)
    earlier = _written_before(folder)
    names = set()
    for table in (*tables_of(comparison), advise(comparison).table):
        names.add(f"{table.key}.csv")
        write_csv(table, folder / f"{table.key}.csv")
    for plot in plots_of(comparison):
        names |= {f"{plot.key}.png", f"{plot.key}-curves.csv"}
        save_figure(plot_figure(plot), folder / f"{plot.key}.png")
        write_csv(plot_table(plot), folder / f"{plot.key}-curves.csv")
    for name, head in comparison.heads.items():
        names.add(f"heads/{name}.json")
        save_head(head, folder / "heads" / f"{name}.json")
    write_report(
        folder / "report.html",
        title="Comparison of encoders",
        subtitle=_subtitle(comparison),
        sections=report_sections(comparison, folder),
        command=command or "napari-sslmaps evaluate --from run.json  # in the folder of this report",
    )
    record = record_of(comparison, hashes_of(folder, names))
    record.write(folder / "run.json")
    remove_own(folder, map(escape, earlier.keys() - names), earlier)
    return record


def _written_before(folder: Path) -> Mapping[str, str]:
    """Return the files, and their hashes, of the comparison whose record lies in a folder."""
    try:
        return files_of(RunRecord.read(folder / "run.json"))
    except RecordError:  # none, or none that can be understood
        return {}


def report_sections(comparison: Comparison, folder: Path | None = None) -> list[ReportSection]:
    """Return what a report says: evidence, scores, curves, figures that are in the folder, provenance."""
    tables, plots = tables_of(comparison), plots_of(comparison)
    advice = advise(comparison)
    sections = [ReportSection("Evidence", (*advice.sentences, replace(advice.table, notes=())))]
    sections.append(ReportSection("Scores", tuple(table for table in tables if table.key != "images")))
    if plots:
        sections.append(ReportSection("Curves", plots))
    drawn = () if folder is None else figures_in(comparison, folder)
    if drawn:
        sections.append(ReportSection("Maps", (_MARKED, *drawn)))
    sections.append(
        ReportSection("Image by image", tuple(table for table in tables if table.key == "images"))
    )
    sections.append(ReportSection("Provenance", (encoder_table(comparison), source_table(comparison))))
    return [section for section in sections if section.parts]


def figures_in(comparison: Comparison, folder: Path) -> tuple[Part, ...]:
    """Return the figures of images that are in the folder."""
    kept = ComparisonFolder(folder)
    paths = [kept.image_folder(image.name) / FIGURE for image in comparison.images]
    return tuple(path for path in paths if path.exists())


def plot_figure(plot: Plot) -> Figure:
    """Draw a plot on a page of its own."""
    figure = Figure(figsize=size_of(plot), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw_plot(axes, plot)
    axes.set_title(plot.title, fontsize=9)
    return figure


def plot_table(plot: Plot) -> Table:
    """Return the points of a plot's curves as rows."""
    rows: list[tuple[Cell, ...]] = []
    for curve in plot.curves:
        for at, x in enumerate(curve.x):
            ends = [None if part is None else float(part[at]) for part in (curve.low, curve.high)]
            rows.append((curve.label, float(x), float(curve.y[at]), *ends))
    return Table(plot.title, ("Method", plot.x_label, plot.y_label, "low", "high"), tuple(rows), key=plot.key)


def encoder_table(comparison: Comparison) -> Table:
    """Return what decided the numbers, method by method."""
    rows: list[tuple[Cell, ...]] = []
    for method in comparison.methods:
        made = comparison.images[0].provenance[method.name]
        facts = [str(made[name]) for name in ("architecture", "precision", "device", "normalisation")]
        rows.append((method.name, method.title, *facts, str(made["weights_sha256"])[:12]))
    columns = ("Method", "Kind", "Architecture", "Precision", "Device", "Normalisation", "Weights, sha256")
    citations = dict.fromkeys(
        METHODS[spec.method].citation for spec in comparison.specs.values() if spec.method in METHODS
    )
    return Table("Methods", columns, tuple(rows), tuple(citations), "methods")


def source_table(comparison: Comparison) -> Table:
    """Return which images were compared."""
    rows: list[tuple[Cell, ...]] = []
    for requested, scored in zip(comparison.request.images, comparison.images, strict=True):
        shape, spacing = scored.record.shape_yx, scored.record.spacing_um_yx
        size = f"{shape[0]} × {shape[1]} px"
        um = "" if spacing is None else f"{spacing[0]:.4g} × {spacing[1]:.4g}"
        rows.append((scored.name, size, um, requested.label, scored.record.sha256[:12]))
    columns = ("Image", "Size", "µm per pixel", "Label", "File, sha256")
    return Table("Images", columns, tuple(rows), key="sources")


def _subtitle(comparison: Comparison) -> str:
    encoders = ", ".join(method.name for method in comparison.encoders)
    count = len(comparison.images)
    return f"{encoders}; {comparison.images[0].name if count == 1 else f'{count} images'}"


def _row(name: str, embedded: ImageEmbeddings) -> FigureRow:
    maps = embedded.maps[name]
    method = embedded.embeddings[name].provenance.method
    title = METHODS[method].title if method in METHODS and name in embedded.encoders else "Control"
    return FigureRow(title, name, {key: result for key, result in maps.items() if key in MAP_TYPES})
