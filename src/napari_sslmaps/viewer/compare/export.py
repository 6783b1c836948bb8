"""Export from the window: figures, tables, a report, or all with the record that reproduces it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal, Protocol

from napari_sslmaps.errors import ExportError, SSLMapsError
from napari_sslmaps.maps.map_type import Display
from napari_sslmaps.viewer.compare.jobs import ComparisonResult, Shown, request_of_region
from napari_sslmaps.viewer.compare.map_export import write_maps
from napari_sslmaps.viewer.state.loaded_encoders import LoadedEncoders
from napari_sslmaps.viewer.state.messages import sentence
from napari_sslmaps.viewer.state.tasks import TaskCallbacks, TaskContext, TaskRunner
from napari_sslmaps.viewer.state.workspace import WorkspaceModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from napari_sslmaps.compare.results import Comparison
    from napari_sslmaps.compare.scoring import ImageEmbeddings

_NAMED = 3
_ADVICE = "Choose another folder, or make room, and export again."
_RUN_FIRST = "Press Run or Compare first: nothing is embedded that could be written."
ExportKind = Literal["all", "maps", "figure", "print", "report", "tables"]


class Exporter(Protocol):
    """Writes what was found."""

    def __call__(
        self, kind: ExportKind, shown: Shown, found: ComparisonResult | None, folder: Path
    ) -> Sequence[str]:
        """Write into a folder, or to print into a file, on the calling thread; return the names of files."""
        ...


class ExportController:
    """Hands on what was found.

    Parameters
    ----------
    workspace
        Workspace whose status line tells what was written.
    runner
        Runner that writes.
    exporter
        Service that knows the files' formats.
    holdings
        Function that returns the region with its embeddings, and what was found of it; None if nothing is
        embedded.
    """

    def __init__(
        self,
        workspace: WorkspaceModel,
        runner: TaskRunner,
        exporter: Exporter,
        holdings: Callable[[], tuple[Shown, ComparisonResult | None] | None],
    ) -> None:
        self._workspace = workspace
        self._runner = runner
        self._exporter = exporter
        self._holdings = holdings

    def export(self, kind: ExportKind, folder: Path) -> None:
        """Write what there is into a folder; a figure to be printed into the file of that path."""
        try:
            held = self._holdings()
        except SSLMapsError as error:
            self._workspace.say(str(error), failed=True)
            return
        if held is None:
            self._workspace.say(_RUN_FIRST)
            return

        def returned(names: Sequence[str]) -> None:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            into = folder.parent if kind == "print" else folder
            self._workspace.say(f"Wrote {', '.join(names[:_NAMED])}{more} into {into}.")

        self._workspace.say(f"Writing into {folder} …")
        job = ExportJob(kind, *held, folder, self._exporter)
        self._runner.submit(job, TaskCallbacks(lambda _: None, returned, self._on_failed))

    def _on_failed(self, error: BaseException) -> None:
        self._workspace.say(sentence(error, _ADVICE), failed=True)


_FORMATS, _DPI = ("png", "svg", "pdf"), 300
_COMPARE_FIRST = "Press Compare first, then export: there is no comparison yet."


class PackageExporter:
    """Writes by the packages ``run`` and ``compare``, as the command line does.

    Parameters
    ----------
    encoders
        Encoders, each loaded once.
    """

    def __init__(self, encoders: LoadedEncoders | None = None) -> None:
        self._encoders = encoders or LoadedEncoders()

    def __call__(
        self, kind: ExportKind, shown: Shown, found: ComparisonResult | None, folder: Path
    ) -> Sequence[str]:
        """Write; maps and a figure need embeddings alone, the others a comparison.

        Raises
        ------
        ExportError
            If there is nothing to write, or it cannot be written.
        """
        known = found if found is not None and found.comparison is not None else None
        if kind == "print":
            return _print(_embedded(shown, known, self._encoders), folder, _display(shown))
        folder.mkdir(parents=True, exist_ok=True)
        if kind == "maps":
            write_maps(shown, folder, self._encoders)
            return _names_in(folder)
        if kind == "figure":
            return _figures(_embedded(shown, known, self._encoders), folder, _display(shown))
        if known is None or known.comparison is None:
            raise ExportError(_COMPARE_FIRST)
        if kind == "tables":
            return _tables(known.comparison, folder)
        if kind == "report":
            return _report(known, folder)
        write_maps(shown, folder / "maps", self._encoders)
        return _all(known, folder)


@dataclass(frozen=True, eq=False, slots=True)
class ExportJob:
    """An export, captured when it is submitted."""

    kind: ExportKind
    shown: Shown
    result: ComparisonResult | None
    folder: Path
    exporter: Exporter

    def __call__(self, context: TaskContext) -> Sequence[str]:
        """Write the files, on the calling thread."""
        context.token.check()
        return self.exporter(self.kind, self.shown, self.result, self.folder)


def _embedded(shown: Shown, found: ComparisonResult | None, encoders: LoadedEncoders) -> "ImageEmbeddings":
    """Return what every method made of the image: what was compared, else what was embedded."""
    if found is not None and found.embedded is not None:
        return found.embedded
    from napari_sslmaps.compare.compute import maps_of
    from napari_sslmaps.compare.images import OpenedImage, record_of_compared
    from napari_sslmaps.compare.scoring import ImageEmbeddings

    request = request_of_region(shown)
    (image,) = request.images
    networks = {spec.name: encoders.get(spec) for spec in shown.specs}
    maps = {
        name: maps_of(one, image, request.options.run, networks.get(name))
        for name, one in shown.embeddings.items()
    }
    record = record_of_compared(image, shown.image.source)
    opened = OpenedImage(image, shown.image.source, record, shown.image.region, None)
    return ImageEmbeddings(opened, dict(shown.embeddings), maps, tuple(shown.embeddings))


def _display(shown: Shown) -> Display:
    return shown.maps.options.similarity.display


def _print(embedded: "ImageEmbeddings", file: Path, display: Display) -> list[str]:
    from napari_sslmaps.compare.write import image_figure
    from napari_sslmaps.figures.run_figure import check_format, save_figure

    check_format(file)
    save_figure(image_figure(embedded, display), file, dpi=_DPI)
    return [file.name]


def _figures(embedded: "ImageEmbeddings", folder: Path, display: Display) -> list[str]:
    from napari_sslmaps.compare.write import image_figure
    from napari_sslmaps.figures.run_figure import save_figure

    figures = {"figure": image_figure(embedded, display)}
    if any(found.attention is not None for found in embedded.embeddings.values()):
        figures["heads"] = _heads(embedded)
    names = [f"{name}.{suffix}" for name in figures for suffix in _FORMATS]
    for name in names:
        save_figure(figures[Path(name).stem], folder / name, dpi=_DPI)
    return names


def _heads(embedded: "ImageEmbeddings") -> "Figure":
    """Compose every head of every encoder that has any."""
    from napari_sslmaps.encoders.methods.registry import METHODS
    from napari_sslmaps.figures.heads_figure import HeadsRow, compose_heads_figure
    from napari_sslmaps.figures.picture import picture_of

    titles: dict[str, str] = {method: info.title for method, info in METHODS.items()}
    image, rows, window = embedded.image, [], (0.0, 1.0)
    for name, found in embedded.embeddings.items():
        window = found.provenance.window or window
        if found.attention is not None:
            title = titles.get(found.provenance.method, "Control")
            rows.append(HeadsRow(title, name, found.attention, found.grid, prefix=found.prefix_attention))
    picture = picture_of(image.source, image.region, window)
    return compose_heads_figure(picture, rows, anchors=image.requested.anchors, title=image.name)


def _tables(comparison: "Comparison", folder: Path) -> list[str]:
    from napari_sslmaps.compare.tables import plots_of, tables_of
    from napari_sslmaps.compare.write import plot_table
    from napari_sslmaps.records.csv import write_csv

    made = {f"{table.key}.csv": table for table in tables_of(comparison)}
    made |= {f"{plot.key}-curves.csv": plot_table(plot) for plot in plots_of(comparison)}
    for name, table in made.items():
        write_csv(table, folder / name)
    return list(made)


def _report(found: ComparisonResult, folder: Path) -> list[str]:
    from napari_sslmaps.compare.write import report_sections
    from napari_sslmaps.figures.report import write_report

    comparison = found.comparison
    if comparison is None:
        raise ExportError(_COMPARE_FIRST)
    with TemporaryDirectory() as temporary:
        _draw(found, Path(temporary))
        write_report(
            folder / "report.html",
            title="Comparison of encoders",
            subtitle=", ".join(method.name for method in comparison.encoders),
            sections=report_sections(comparison, Path(temporary)),
        )
    return ["report.html"]


def _all(found: ComparisonResult, folder: Path) -> list[str]:
    from napari_sslmaps.compare.write import write_comparison

    if found.comparison is None:
        raise ExportError(_COMPARE_FIRST)
    _draw(found, folder)
    write_comparison(found.comparison, folder)
    return _names_in(folder)


def _names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def _draw(found: ComparisonResult, folder: Path) -> None:
    """Write the figure and the maps of the image where a report looks for them."""
    from napari_sslmaps.compare.store import ComparisonFolder
    from napari_sslmaps.compare.write import ImageWriter

    if found.comparison is not None and found.embedded is not None:
        display = found.comparison.request.options.run.maps.similarity.display
        ComparisonFolder(folder).forget(found.comparison.images[0].name)
        ImageWriter(folder, 1, display)(found.embedded, found.comparison.images[0])
