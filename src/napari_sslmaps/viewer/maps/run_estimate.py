"""The line that says what a run will do and take, and the trial that tells how quickly."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from napari.layers import Image

from napari_sslmaps.core.placed_mask import PlacedMask
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.resolution import far_from_trained, in_words
from napari_sslmaps.core.units import size_text
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import RegionError, SSLMapsError
from napari_sslmaps.pipeline.cost import Throughput, cost_of
from napari_sslmaps.pipeline.free_memory import free_memory
from napari_sslmaps.pipeline.planning import (
    EmbeddingPlan,
    at_working_resolution,
    plan_at,
    stride_of,
    working_resolution,
)
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.sources.scan import MUCH_EMPTY, empty_share
from napari_sslmaps.viewer.canvas.image_layer import LayerSource
from napari_sslmaps.viewer.maps.throughput import ReadSpeed, ThroughputStore
from napari_sslmaps.viewer.state.tasks import TaskCallbacks, TaskContext, TaskRunner
from napari_sslmaps.viewer.state.workspace import Status, WorkspaceModel

_ALL = 0.99
"""Share of empty patches from which there is nothing that could be left out."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """Work for the runner: measure reading and encoders, one after another, and report what was."""

    throughputs: ThroughputStore
    specs: tuple[EncoderSpec, ...]
    readers: ReadSpeed
    source: LayerSource
    region: Region

    def __call__(self, context: TaskContext) -> None:
        if self.readers.known(self.source, self.region.level) is None:
            with suppress(SSLMapsError):  # a run will say so
                self.readers.measure(self.source, self.region)
            context.report("reading")
        for spec in self.specs:
            context.token.check()
            try:
                self.throughputs.measure(spec)
            except SSLMapsError:
                continue  # a run will say so, where somebody asked for it
            context.report(spec.name)


class RunEstimate:
    """Says in the workspace's plan what a run will do and take, or why it cannot run.

    Parameters
    ----------
    workspace
        Workspace with what is chosen; gets the plan.
    throughputs
        Store of how quickly encoders run; one it does not know is tried out.
    runner
        Runner of the trial.
    region_selection
        Function that returns source and region that are chosen of an image; raises `SSLMapsError` where there
        is none.
    mask
        Function that returns which part of that region is wanted; None for all.
    free_bytes
        Function that returns how much memory is free.
    """

    def __init__(
        self,
        workspace: WorkspaceModel,
        throughputs: ThroughputStore,
        runner: TaskRunner,
        region_selection: Callable[[Image], tuple[LayerSource, Region]],
        mask: Callable[[Image], PlacedMask | None],
        free_bytes: Callable[[], int] = free_memory,
    ) -> None:
        self._workspace = workspace
        self._throughputs = throughputs
        self._runner = runner
        self._region_selection = region_selection
        self._mask = mask
        self.free_bytes = free_bytes
        self._readers = ReadSpeed()
        self._tried: frozenset[str] = frozenset()
        self._planned: tuple[object, tuple[EmbeddingPlan, ...]] = (None, ())
        self._chosen: object = None
        self._begun: object = None
        self._done: object = None
        self._empty = 0.0
        self._looked: tuple[object, float] = (None, 0.0)

    def update(self) -> None:
        """Say it anew, because something was chosen or measured."""
        workspace = self._workspace
        if workspace.image is None:
            workspace.plan = Status("Open or select an image layer.")
        elif not workspace.specs:
            workspace.plan = Status("Tick at least one encoder.")
        else:
            try:
                source, region = self._region_selection(workspace.image)
                depth = workspace.token_block
                specs = [spec.at_block(depth, norm=workspace.token_norm) for spec in workspace.specs]
                workspace.plan = self._describe(workspace.image, source, region, specs)
            except RegionError as error:  # nothing has failed: something is still to be chosen
                workspace.plan = Status(str(error))
                return
            except SSLMapsError as error:
                workspace.plan = Status(str(error), failed=True)
                return
            self._try_out(workspace.specs, source, region)

    def learn(self, spec: EncoderSpec, pace: Throughput) -> None:
        """Take what a run measured."""
        self._throughputs.learn(spec, pace)

    def stop(self) -> None:
        """Measure no more for now: a run of what is chosen is to have the machine for itself."""
        self._runner.discard()
        self._tried = frozenset()
        self._begun = self._chosen

    def finish(self, empty: float) -> None:
        """Take note that the run is done: of the same once more, no cost is foretold.

        Parameters
        ----------
        empty
            Share of the region's tokens whose pixels do not vary.
        """
        self._done, self._empty = self._begun, empty

    def forget(self) -> None:
        """Take note that what was run is of other pixels."""
        self._done = None
        self._looked = None, 0.0

    def _describe(
        self, image: Image, source: LayerSource, region: Region, specs: Sequence[EncoderSpec]
    ) -> Status:
        plans = self._plans(source, region, specs, self._mask(image))
        of_level = f" (level {region.level})" if len(source.levels) > 1 else ""
        line = plans[0].describe().replace(" → ", f"{of_level} → ", 1)
        line += self._read_at(source, region, specs[0])
        if len(specs) > 1:
            line += f" × {len(specs)} encoders"
        line += self._compared_at(source, region)
        self._chosen = image.unique_id, self._planned[0], tuple(specs)
        far = self._far(source, region, specs)
        warned = f". {far[:-1]}" if far else ""
        if self._chosen == self._done:
            return Status(f"{line}{warned}{self._of_empty(self._empty)}")
        reading = self._readers.known(source, region.level) or 0.0
        cost = cost_of(specs, plans, [self._throughputs.known(spec) for spec in specs], reading)
        foreseen = self._of_empty(self._foreseen(source, region), "About ")
        text, free = f"{line}, {cost.describe()}{warned}{foreseen}", self.free_bytes()
        if cost.megabytes * 1e6 <= free:
            return Status(f"{text} (loading libraries …)" if self._workspace.loading else text)
        return Status(f"{text}. Only {size_text(free / 1e6)} of memory are free.", failed=True)

    def _of_empty(self, share: float, estimated: str = "") -> str:
        """Say how to leave out what is around a sector or tissue, where that is much."""
        if share < MUCH_EMPTY or self._workspace.region == "mask":
            return ""
        return (
            f". {estimated}{100 * share:.0f} % of it is empty; Region: Tissue or field of view leaves out "
            "what of that lies around"
        )

    def _foreseen(self, source: LayerSource, region: Region) -> float:
        """Return the share of a region in memory that is empty; 0 of one that a file would be read for."""
        key = source.layer_id, region
        if self._looked[0] != key:
            found = 0.0 if source.lazy else empty_share(source, region)
            self._looked = key, found if found < _ALL else 0.0
        return self._looked[1]

    def _compared_at(self, source: LayerSource, region: Region) -> str:
        """Say the neighbourhood that tokens are averaged over, where it is another for another region."""
        scale = self._workspace.scale
        if scale.unit != "%" or not scale.value:
            return ""
        sides = (
            side * factor
            for side, factor in zip(region.shape_yx, source.levels[region.level].downsample_yx, strict=True)
        )
        sigma = scale.value / 100 * min(sides)
        return f", compared at σ {sigma:.3g} px, {scale.value:.2g} % of its side"

    def _read_at(self, source: LayerSource, region: Region, spec: EncoderSpec) -> str:
        """Say at which resolution a region is read, where that is not what the file has."""
        requested = self._workspace.resolution
        found = working_resolution(source, region, requested, spec.trained)
        if found is None:
            return ""
        trained = ", as trained" if requested == "trained" else ""
        own = source.spacing_um_yx
        file = f"the file has {own[0]:.3g} µm/px" if own else f"{min(source.levels[0].shape_yx)} in the file"
        return f", read at {in_words(found)}{trained} ({file})"

    def _far(self, source: LayerSource, region: Region, specs: Sequence[EncoderSpec]) -> str:
        """Warn where a region is read far from what encoders learned at; name them unless it is all."""
        far_names: dict[str, list[str]] = {}
        for spec in specs:
            read, area = at_working_resolution(source, region, self._workspace.resolution, spec.trained)
            pixel = read.levels[area.level].downsample_yx[0]
            far = far_from_trained(pixel, spec.trained, source.levels[0].shape_yx, source.spacing_um_yx)
            if far:
                far_names.setdefault(far, []).append(spec.name)
        if any(len(names) == len(specs) for names in far_names.values()):
            return next(iter(far_names))
        return " ".join(f"{', '.join(names)}: {far}" for far, names in far_names.items())

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
            self._workspace.resolution,
            self._workspace.detail,
            tuple((spec.architecture, spec.trained) for spec in specs),
        )
        if key != self._planned[0]:
            plans: dict[object, EmbeddingPlan] = {}
            for spec in specs:
                if _asks(spec) not in plans:
                    plans[_asks(spec)] = plan_at(
                        source,
                        spec,
                        region,
                        tiling,
                        resolution=self._workspace.resolution,
                        mask=mask,
                        stride=stride_of(self._workspace.detail, spec.constraint.token_stride),
                    )
            self._planned = key, tuple(plans[_asks(spec)] for spec in specs)
        return self._planned[1]

    def _try_out(self, specs: Sequence[EncoderSpec], source: LayerSource, region: Region) -> None:
        unknown = tuple(spec for spec in specs if self._throughputs.known(spec) is None)
        names = frozenset(spec.name for spec in unknown)
        if self._readers.known(source, region.level) is None:
            names |= {f"{source.name} level {region.level}"}
        if not self._workspace.touched or names <= self._tried or self._workspace.progress is not None:
            return
        self._tried = names
        trial = _Trial(self._throughputs, unknown, self._readers, source, region)
        self._runner.submit(trial, TaskCallbacks(lambda _: self.update(), _ignore, _ignore))


def _asks(spec: EncoderSpec) -> tuple[object, ...]:
    """Return what of an encoder decides its plan."""
    return spec.constraint, getattr(spec.architecture, "rope", False), spec.trained


def _ignore(_answer: object) -> None:
    return
