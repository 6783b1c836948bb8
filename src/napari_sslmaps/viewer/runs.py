"""Runs: plan what will be done in a line, start, stop, and take what is reported."""

import logging
from collections.abc import Callable, Sequence

from napari.components import ViewerModel
from napari.layers import Image

from napari_sslmaps.core.region import Region
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import Cancelled, SSLMapsError
from napari_sslmaps.pipeline import plan
from napari_sslmaps.viewer.image import LayerSource
from napari_sslmaps.viewer.jobs import Embedder, EmbeddingJob, EncoderFailed, Painted
from napari_sslmaps.viewer.regions import choose_region
from napari_sslmaps.viewer.session import Embedded, Session
from napari_sslmaps.viewer.tasks import TaskCallbacks, TaskRunner
from napari_sslmaps.viewer.workspace import Progress, Status, WorkspaceModel

logger = logging.getLogger(__name__)


_ADVICE = "What was painted stays; choose a smaller region or fewer encoders and run again."


def sentence(error: BaseException, advice: str = _ADVICE) -> str:
    """Say an error in a line; what is not ours is logged with its trace and followed by advice."""
    if isinstance(error, SSLMapsError):
        return str(error)
    logger.error("The computation failed.", exc_info=error)
    first = (str(error).strip().splitlines() or ["no message"])[0][:200]
    return f"The computation failed ({type(error).__name__}: {first}). {advice}"


class EmbeddingRuns:
    """Embeds the chosen region by the chosen encoders.

    Parameters
    ----------
    viewer
        For the view and the rectangle.
    workspace
        What is chosen; gets plan, status and progress.
    runner
        Runs the work.
    embedder
        Computes tokens.
    painted
        Is told, on the submitting thread, what has become visible of which image.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: WorkspaceModel,
        runner: TaskRunner,
        embedder: Embedder,
        painted: Callable[[Image, Painted | None], None],
    ) -> None:
        self._viewer = viewer
        self._workspace = workspace
        self._runner = runner
        self._embedder = embedder
        self._painted = painted
        self._pace: dict[str, float] = {}
        self._device = ""
        self._failures = 0

    def region(self, image: Image) -> Region:
        """Return the chosen region of an image.

        Raises
        ------
        SSLMapsError
            If there is none, or the layer cannot be used.
        """
        workspace = self._workspace
        return choose_region(self._viewer, image, LayerSource(image), workspace.region, workspace.level)

    def source(self, image: Image) -> LayerSource:
        """Return an image layer as a source of pixels."""
        return LayerSource(image)

    def update_plan(self) -> None:
        """Say in the workspace's plan what a run will do, or why it cannot."""
        workspace = self._workspace
        if workspace.image is None:
            workspace.plan = Status("Open or select an image layer.", failed=True)
        elif not workspace.specs:
            workspace.plan = Status("Tick at least one encoder.", failed=True)
        else:
            try:
                workspace.plan = Status(self._describe(workspace.image, workspace.specs))
            except SSLMapsError as error:
                workspace.plan = Status(str(error), failed=True)

    def start(self, image: Image, session: Session, specs: Sequence[EncoderSpec], region: Region) -> None:
        """Start a run; one that is under way is stopped and silenced."""
        workspace = self._workspace
        tiling = workspace.tiling
        try:
            source = LayerSource(image)
            plans = {spec.name: plan(source, spec, region, tiling) for spec in specs}
        except SSLMapsError as error:
            workspace.say(str(error), failed=True)
            return
        session.region = region
        self._failures = 0
        workspace.say("")
        workspace.progress = Progress(f"{specs[0].name}: loading", 0.0)
        computed = {name: planned.computed_tokens for name, planned in plans.items()}
        job = EmbeddingJob(source, region, tuple(specs), self._embedder, lambda: workspace.request, tiling)

        def reported(report: Painted | EncoderFailed) -> None:
            self._on_reported(image, session, report, computed)

        def returned(completed: int) -> None:
            self._on_returned(image, session, completed)

        self._runner.submit(job, TaskCallbacks(reported, returned, self._on_failed))

    def stop(self) -> None:
        """Stop; what was painted stays."""
        if self._workspace.progress is not None:
            self._workspace.say("Stopping after this batch of tiles …")
            self._runner.cancel()

    def abandon(self) -> None:
        """Stop and take no more reports: the image is gone."""
        self._runner.discard()
        self._workspace.progress = None

    def _describe(self, image: Image, specs: Sequence[EncoderSpec]) -> str:
        source, region = LayerSource(image), self.region(image)
        plans = [plan(source, spec, region, self._workspace.tiling) for spec in specs]
        line = plans[0].describe()
        if len(specs) > 1:
            line += f" × {len(specs)} encoders"
        paces = [self._pace.get(spec.name) for spec in specs]
        known = [pace for pace in paces if pace is not None]
        if len(known) < len(paces):
            return line
        pairs = zip(plans, known, strict=True)
        seconds = sum(item.computed_tokens * pace for item, pace in pairs)
        return f"{line}, about {duration(seconds)} on {self._device}"

    def _on_reported(
        self, image: Image, session: Session, report: Painted | EncoderFailed, computed: dict[str, int]
    ) -> None:
        if isinstance(report, EncoderFailed):
            self._failures += 1
            self._workspace.say(f"{report.encoder}: {report.error}", failed=True)
            return
        self._workspace.progress = Progress(report.label, report.fraction, report.seconds_left)
        if report.embedding is None:
            return
        session.embedded[report.encoder] = Embedded(report.embedding, report.complete)
        if report.complete and report.seconds > 0:
            self._device = report.embedding.provenance.device
            self._pace[report.encoder] = report.seconds / computed[report.encoder]
        self._painted(image, report)

    def _on_returned(self, image: Image, session: Session, completed: int) -> None:
        self._workspace.progress = None
        if not self._failures:
            grid = next(iter(session.embedded.values())).embedding.grid if session.embedded else None
            size = f", {grid.rows} × {grid.cols} tokens each" if grid is not None and completed > 1 else ""
            self._workspace.say(f"{completed} encoder{'s' if completed != 1 else ''} done{size}.")
        self._painted(image, None)
        self.update_plan()

    def _on_failed(self, error: BaseException) -> None:
        self._workspace.progress = None
        self._workspace.say(sentence(error), failed=not isinstance(error, Cancelled))


def duration(seconds: float) -> str:
    """Say a time: ``3 s`` or ``2 min``."""
    return f"{max(1, round(seconds))} s" if seconds < 100 else f"{round(seconds / 60)} min"
