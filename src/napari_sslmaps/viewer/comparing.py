"""All that is behind the Compare page: its model, comparisons, and the probe."""

from collections.abc import Callable

from napari.components import ViewerModel
from napari.layers import Image

from napari_sslmaps.viewer.agreement_layer import AgreementLayer
from napari_sslmaps.viewer.answers import Answers
from napari_sslmaps.viewer.comparison import ComparisonDesk
from napari_sslmaps.viewer.comparison_model import ComparisonModel
from napari_sslmaps.viewer.comparison_services import ComparisonServices
from napari_sslmaps.viewer.evidence_layer import EvidenceLayer
from napari_sslmaps.viewer.exporting import ExportDesk
from napari_sslmaps.viewer.layers import LayerBoard
from napari_sslmaps.viewer.probe import ProbePainter
from napari_sslmaps.viewer.session import Sessions
from napari_sslmaps.viewer.tasks import TaskRunner
from napari_sslmaps.viewer.workspace import WorkspaceModel


class Comparing:
    """Builds the parts and closes them.

    Parameters
    ----------
    viewer, workspace
        Where layers are, and which encoders are chosen.
    parts
        What was computed, how what is missing is, and where maps are drawn.
    make_runner
        Makes what runs work: one for comparisons, one for maps of agreement and evidence, one for the
        probe, one for export.
    services
        What computes.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: WorkspaceModel,
        parts: tuple[Sessions, Answers, LayerBoard],
        make_runner: Callable[[], TaskRunner],
        services: ComparisonServices,
    ) -> None:
        self.model = ComparisonModel()
        self._runners = tuple(make_runner() for _ in range(4))
        runner, map_runner, probe_runner, export_runner = self._runners
        sessions, answers, board = parts
        self.agreement = AgreementLayer(workspace, sessions, board, map_runner)
        self.evidence = EvidenceLayer(workspace, sessions, board, map_runner, services.evidencer)
        self.desk = ComparisonDesk(
            viewer,
            workspace,
            self.model,
            (sessions, answers, self.agreement, self.evidence),
            runner,
            (services.comparer, services.folder_comparer),
        )
        self.probe = ProbePainter(
            viewer, workspace, self.model, sessions, board, probe_runner, services.prober
        )

        self.exports = ExportDesk(workspace, export_runner, services.exporter, self.desk.holdings)

    def cancel(self) -> None:
        """Stop a comparison; what was found before stays."""
        self.desk.cancel()

    def place_again(self, image: Image) -> None:
        """Move layers to where the image is now."""
        self.probe.place_again(image)

    def close(self) -> None:
        """Stop what runs, leave no thread, and undo every connection."""
        for runner in self._runners:
            runner.close()
        self.desk.close()
        self.agreement.close()
        self.evidence.close()
        self.probe.close()
