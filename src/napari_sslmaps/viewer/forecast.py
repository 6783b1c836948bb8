"""The line that says what a run will do and take, and the trial that tells how quickly."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from napari.layers import Image

from napari_sslmaps.core.placed_mask import PlacedMask
from napari_sslmaps.core.region import Region
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import SSLMapsError
from napari_sslmaps.pipeline import EmbeddingPlan, plan
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.viewer.cost import Pace, cost_of
from napari_sslmaps.viewer.paces import Paces
from napari_sslmaps.viewer.tasks import TaskCallbacks, TaskContext, TaskRunner
from napari_sslmaps.viewer.workspace import Status, WorkspaceModel


@dataclass(frozen=True, slots=True)
class _Trial:
    """Work for the runner: measure encoders, one after another, and report which was."""

    paces: Paces
    specs: tuple[EncoderSpec, ...]

    def __call__(self, context: TaskContext) -> None:
        for spec in self.specs:
            context.token.check()
            try:
                self.paces.measure(spec)
            except SSLMapsError:
                continue  # a run will say so, where somebody asked for it
            context.report(spec.name)


class Forecast:
    """Says in the workspace's plan what a run will do and take, or why it cannot run.

    Parameters
    ----------
    workspace
        What is chosen; gets the plan.
    paces
        Knows how quickly encoders run; one it does not know is tried out.
    runner
        Runs the trial.
    look
        Gives source and region that are chosen of an image; raises `SSLMapsError` where there is none.
    mask
        Gives which part of that region is wanted; None for all.
    """

    def __init__(
        self,
        workspace: WorkspaceModel,
        paces: Paces,
        runner: TaskRunner,
        look: Callable[[Image], tuple[ImageSource, Region]],
        mask: Callable[[Image], PlacedMask | None],
    ) -> None:
        self._workspace = workspace
        self._paces = paces
        self._runner = runner
        self._look = look
        self._mask = mask
        self._tried: frozenset[str] = frozenset()
        self._planned: tuple[object, tuple[EmbeddingPlan, ...]] = (None, ())

    def update(self) -> None:
        """Say it anew, because something was chosen or measured."""
        workspace = self._workspace
        if workspace.image is None:
            workspace.plan = Status("Open or select an image layer.", failed=True)
        elif not workspace.specs:
            workspace.plan = Status("Tick at least one encoder.", failed=True)
        else:
            try:
                text = self._describe(workspace.image, workspace.specs)
            except SSLMapsError as error:
                workspace.plan = Status(str(error), failed=True)
                return
            workspace.plan = Status(text)
            self._try_out(workspace.specs)

    def learn(self, spec: EncoderSpec, pace: Pace) -> None:
        """Take what a run measured."""
        self._paces.learn(spec, pace)

    def stop(self) -> None:
        """Measure no more for now: a run is to have the machine for itself."""
        self._runner.discard()
        self._tried = frozenset()

    def _describe(self, image: Image, specs: Sequence[EncoderSpec]) -> str:
        source, region = self._look(image)
        plans = self._plans(source, region, specs, self._mask(image))
        of_level = f" (level {region.level})" if len(source.levels) > 1 else ""
        line = plans[0].describe().replace(" → ", f"{of_level} → ", 1)
        if len(specs) > 1:
            line += f" × {len(specs)} encoders"
        cost = cost_of(specs, plans, [self._paces.known(spec) for spec in specs])
        return f"{line}, {cost.describe()}"

    def _plans(
        self,
        source: ImageSource,
        region: Region,
        specs: Sequence[EncoderSpec],
        mask: PlacedMask | None,
    ) -> tuple[EmbeddingPlan, ...]:
        """Plan once for all encoders that ask the same, and again only where something has changed."""
        tiling = self._workspace.tiling
        key = (
            region,
            None if mask is None else mask.sha256,
            source.levels,
            source.spacing_um_yx,
            tiling,
            tuple(spec.architecture for spec in specs),
        )
        if key != self._planned[0]:
            plans: dict[object, EmbeddingPlan] = {}
            for spec in specs:
                asks = spec.constraint, getattr(spec.architecture, "rope", False)
                if asks not in plans:
                    plans[asks] = plan(source, spec, region, tiling, mask=mask)
            self._planned = (
                key,
                tuple(plans[spec.constraint, getattr(spec.architecture, "rope", False)] for spec in specs),
            )
        return self._planned[1]

    def _try_out(self, specs: Sequence[EncoderSpec]) -> None:
        unknown = tuple(spec for spec in specs if self._paces.known(spec) is None)
        names = frozenset(spec.name for spec in unknown)
        if not self._workspace.touched or names <= self._tried or self._workspace.progress is not None:
            return
        self._tried = names
        trial = _Trial(self._paces, unknown)
        self._runner.submit(trial, TaskCallbacks(lambda _: self.update(), _ignore, _ignore))


def _ignore(_answer: object) -> None:
    return
