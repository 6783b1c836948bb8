"""Runs: start, stop, and take what is reported."""

from collections.abc import Callable, Sequence

from napari.layers import Image
from psygnal import Signal

from napari_sslmaps.core.placed_mask import PlacedMask
from napari_sslmaps.core.region import Region
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import Cancelled, SSLMapsError
from napari_sslmaps.pipeline.cost import Throughput, work_of_plan
from napari_sslmaps.pipeline.planning import plan_at, stride_of
from napari_sslmaps.viewer.canvas.image_layer import LayerSource
from napari_sslmaps.viewer.maps.embedding_job import (
    CacheProblem,
    Embedder,
    EmbeddingJob,
    EmbedOptions,
    EncoderChoice,
    EncoderFailed,
    PartialResult,
)
from napari_sslmaps.viewer.maps.run_estimate import RunEstimate
from napari_sslmaps.viewer.state.messages import sentence
from napari_sslmaps.viewer.state.session import Embedded, Session
from napari_sslmaps.viewer.state.tasks import TaskCallbacks, TaskRunner
from napari_sslmaps.viewer.state.workspace import RunProgress, WorkspaceModel

Report = PartialResult | EncoderFailed | CacheProblem
Works = dict[str, tuple[EncoderSpec, float]]
"""By name, encoders of a run and what it asks of each, as `work_of_plan` counts."""


class EmbeddingRuns:
    """Embeds the chosen region by the chosen encoders.

    Parameters
    ----------
    workspace
        Workspace with what is chosen; gets plan, status and progress.
    runner
        Runner of the work.
    embedder
        Service that computes tokens.
    run_estimate
        Estimate that keeps off the machine while a run is on, and learns from it.
    focus
        Function that returns the pixel of an image that a user looks at.
    """

    partial = Signal(object, object)
    """An image layer, and the `PartialResult` that has become visible of it, or None when all is."""

    def __init__(
        self,
        workspace: WorkspaceModel,
        runner: TaskRunner,
        embedder: Embedder,
        run_estimate: RunEstimate,
        focus: Callable[[Image], tuple[float, float] | None],
    ) -> None:
        self._workspace = workspace
        self._runner = runner
        self._embedder = embedder
        self._run_estimate = run_estimate
        self._focus = focus
        self._failures = 0
        self._restored: list[float] = []
        self._seams: dict[str, float] = {}
        self._cache_problems: dict[str, None] = {}

    def start(
        self,
        image: Image,
        session: Session,
        methods: Sequence[EncoderChoice],
        region: Region,
        mask: PlacedMask | None = None,
    ) -> None:
        """Start a run; one that is under way is stopped and silenced."""
        workspace = self._workspace
        options = EmbedOptions(
            workspace.tiling,
            self._focus(image),
            workspace.keep,
            mask,
            workspace.resolution,
            workspace.detail,
            workspace.token_block,
            workspace.token_norm,
        )
        try:
            source = LayerSource(image, workspace.spacing_um)
            specs = [
                method.at_block(options.token_block, norm=options.token_norm)
                for method in methods
                if isinstance(method, EncoderSpec)
            ]
            plans = {
                spec.name: plan_at(
                    source,
                    spec,
                    region,
                    options.tiling,
                    resolution=options.resolution,
                    mask=mask,
                    stride=stride_of(options.detail, spec.constraint.token_stride),
                )
                for spec in specs
            }
        except SSLMapsError as error:
            workspace.say(str(error), failed=True)
            return
        self._run_estimate.stop()
        session.region, session.mask = region, mask
        self._failures = 0
        self._restored = []
        self._seams = {}
        self._cache_problems = {}
        workspace.say("")
        workspace.progress = RunProgress(f"{methods[0].name}: loading", 0.0)
        works = {spec.name: (spec, work_of_plan(spec.architecture, plans[spec.name])) for spec in specs}
        job = EmbeddingJob(source, region, tuple(methods), self._embedder, lambda: workspace.request, options)

        def reported(report: Report) -> None:
            self._on_reported(image, session, report, works)

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

    def _on_reported(self, image: Image, session: Session, report: Report, works: Works) -> None:
        if isinstance(report, CacheProblem):
            self._cache_problems[report.text] = None
            return
        if isinstance(report, EncoderFailed):
            self._failures += 1
            self._workspace.say(f"{report.encoder}: {report.error}", failed=True)
            return
        self._workspace.progress = RunProgress(report.label, report.fraction, report.seconds_left)
        if report.embedding is None:
            return
        session.embedded[report.encoder] = Embedded(report.embedding, report.complete)
        if report.complete:
            self._restored.append(report.restored)
            if report.seams is not None:
                self._seams[report.encoder] = report.seams
        if report.complete and report.seconds > 0 and report.restored < 1 and report.encoder in works:
            spec, work = works[report.encoder]
            pace = report.seconds / (work * (1 - report.restored))
            self._run_estimate.learn(spec, Throughput(pace, report.embedding.provenance.device))
        self.partial.emit(image, report)

    def _on_returned(self, image: Image, session: Session, completed: int) -> None:
        self._workspace.progress = None
        if not self._failures:
            self._run_estimate.finish(_empty(session))
            grid = next(iter(session.embedded.values())).embedding.grid if session.embedded else None
            size = f", {grid.rows} × {grid.cols} tokens each" if grid is not None and completed > 1 else ""
            self._workspace.say(
                f"{completed} method{'s' if completed != 1 else ''} done{size}{self._from_cache()}."
                f"{self._of_seams()}{''.join(f' {text}' for text in self._cache_problems)}",
                failed=bool(self._cache_problems),
            )
        self.partial.emit(image, None)
        self._run_estimate.update()

    def _from_cache(self) -> str:
        """Say how much of the run was there from an earlier one."""
        if not any(self._restored):
            return ""
        share = sum(self._restored) / len(self._restored)
        return ", from the cache" if share == 1 else f", {max(1, int(100 * share))} % of it from the cache"

    def _of_seams(self) -> str:
        """Say how far tile borders show, of the method in which they show most."""
        if not self._seams:
            return ""
        name, worst = max(self._seams.items(), key=lambda item: item[1])
        whose = f" with {name}" if len(self._seams) > 1 else ""
        return f" Across tile borders, tokens differ {worst:.2f} × as much as inside{whose}."

    def _on_failed(self, error: BaseException) -> None:
        self._workspace.progress = None
        self._workspace.say(sentence(error), failed=not isinstance(error, Cancelled))


def _empty(session: Session) -> float:
    """Return the share of tokens whose pixels do not vary; 0 where that is not known."""
    found = next(iter(session.embedded.values()), None)
    structured = None if found is None else found.embedding.foreground
    return 0.0 if structured is None else float(1 - structured.mean())
