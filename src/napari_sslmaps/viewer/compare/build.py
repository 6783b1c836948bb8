"""The Compare page's model, its services, and all that hangs on them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from napari.components import ViewerModel
from napari.layers import Image

from napari_sslmaps.viewer.canvas.map_layers import AGREEMENT, EVIDENCE, LayerManager
from napari_sslmaps.viewer.compare.agreement import AgreementLayer
from napari_sslmaps.viewer.compare.annotation_outline import AnnotationOutline
from napari_sslmaps.viewer.compare.class_evidence import EvidenceLayer, Evidencer, HeadEvidencer
from napari_sslmaps.viewer.compare.comparison_layer import ComparisonLayer
from napari_sslmaps.viewer.compare.controller import ComparisonController
from napari_sslmaps.viewer.compare.export import ExportController, Exporter, PackageExporter
from napari_sslmaps.viewer.compare.jobs import Comparer, PackageComparer
from napari_sslmaps.viewer.compare.model import ComparisonModel
from napari_sslmaps.viewer.compare.probe import ProbeController
from napari_sslmaps.viewer.compare.probe_job import Prober, TokenProber
from napari_sslmaps.viewer.maps.coordinator import MapCoordinator
from napari_sslmaps.viewer.state.loaded_encoders import LoadedEncoders
from napari_sslmaps.viewer.state.session import Sessions
from napari_sslmaps.viewer.state.tasks import TaskRunner
from napari_sslmaps.viewer.state.workspace import WorkspaceModel


@dataclass(frozen=True, slots=True)
class ComparisonServices:
    """Services that compute and write.

    Parameters
    ----------
    comparer
        Comparer of encoders on a region or over a folder.
    prober
        Prober that learns from scribbles.
    exporter
        Exporter of what was found.
    evidencer
        Evidencer that finds where an image speaks for a class.
    """

    comparer: Comparer
    prober: Prober
    exporter: Exporter
    evidencer: Evidencer = field(default_factory=lambda: HeadEvidencer(LoadedEncoders()))


class CompareParts(NamedTuple):
    """Parts shared with the page of maps: what was computed, how what is missing is, and layers."""

    sessions: Sessions
    coordinator: MapCoordinator
    layer_manager: LayerManager


class ComparePage:
    """Builds the parts and closes them.

    Parameters
    ----------
    viewer, workspace
        Viewer of the layers, and workspace with the chosen encoders.
    parts
        Sessions with what was computed, the coordinator that computes what is missing, and the layers that
        maps are drawn in.
    make_runner
        Function that makes a runner: one for comparisons, one for maps of agreement and evidence, one for the
        probe, one for export.
    services
        Services that compute and write.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: WorkspaceModel,
        parts: CompareParts,
        make_runner: Callable[[], TaskRunner],
        services: ComparisonServices,
    ) -> None:
        self.model = ComparisonModel()
        self._runners = tuple(make_runner() for _ in range(4))
        runner, map_runner, probe_runner, export_runner = self._runners
        sessions, coordinator, layer_manager = parts
        agreement, evidence = (
            ComparisonLayer(role, workspace, sessions, layer_manager, map_runner)
            for role in (AGREEMENT, EVIDENCE)
        )
        self.agreement = AgreementLayer(workspace, sessions, agreement)
        self.evidence = EvidenceLayer(workspace, sessions, evidence, services.evidencer)
        self.outline = AnnotationOutline(workspace, self.model, layer_manager)
        self.comparison = ComparisonController(
            viewer,
            workspace,
            self.model,
            (sessions, coordinator, self.agreement, self.evidence, self.outline),
            runner,
            services.comparer,
        )
        self.probe = ProbeController(
            viewer, workspace, self.model, sessions, layer_manager, probe_runner, services.prober
        )

        self.exports = ExportController(workspace, export_runner, services.exporter, self.comparison.holdings)

    def annotation_file(self) -> str:
        """Return the file that the annotation is in, from the root; empty where it is in none."""
        chosen = self.model.annotation
        path = chosen if isinstance(chosen, Path) else None if chosen is None else chosen.source.path
        return str(Path(path).absolute()) if path else ""

    def annotate(self, path: Path) -> None:
        """Choose a file as the annotation."""
        if str(path) != self.annotation_file():
            self.model.annotation = path

    def cancel(self) -> None:
        """Stop a comparison; what was found before stays."""
        self.comparison.cancel()

    def place_again(self, image: Image) -> None:
        """Move layers to where the image is now."""
        self.probe.place_again(image)

    def close(self) -> None:
        """Stop what runs, leave no thread, and undo every connection."""
        for runner in self._runners:
            runner.close()
        self.comparison.close()
        self.outline.close()
        self.agreement.close()
        self.evidence.close()
        self.probe.close()


def real_comparison_services(encoders: LoadedEncoders) -> ComparisonServices:
    """Return services that use these encoders."""
    return ComparisonServices(
        PackageComparer(encoders),
        TokenProber(),
        PackageExporter(encoders),
        HeadEvidencer(encoders),
    )
