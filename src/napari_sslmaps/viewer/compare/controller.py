"""The Compare page at work: what is missing is embedded, then all is scored off the window's thread."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from napari.components import ViewerModel
from napari.layers import Image

from napari_sslmaps.compare.scores import SCORES
from napari_sslmaps.core.findings import Cell
from napari_sslmaps.errors import Cancelled, SSLMapsError
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.evaluation.annotation_file import read_annotation
from napari_sslmaps.maps.make import MapRequest
from napari_sslmaps.viewer.canvas.image_layer import LayerSource, is_found, is_own
from napari_sslmaps.viewer.compare.agreement import AgreementLayer
from napari_sslmaps.viewer.compare.annotation import (
    annotation_layers,
    annotation_of,
    only,
    within,
)
from napari_sslmaps.viewer.compare.annotation_outline import AnnotationOutline
from napari_sslmaps.viewer.compare.class_evidence import EVIDENCE_TABLES, EvidenceLayer
from napari_sslmaps.viewer.compare.jobs import (
    Comparer,
    ComparisonJob,
    ComparisonResult,
    FolderRequest,
    Shown,
    ShownImage,
    request_of_folder,
    request_of_region,
    run_options,
)
from napari_sslmaps.viewer.compare.model import ADVICE, ComparisonModel
from napari_sslmaps.viewer.maps.coordinator import MapCoordinator
from napari_sslmaps.viewer.state.connections import Connections
from napari_sslmaps.viewer.state.messages import sentence
from napari_sslmaps.viewer.state.session import Session, Sessions
from napari_sslmaps.viewer.state.tasks import TaskCallbacks, TaskRunner
from napari_sslmaps.viewer.state.workspace import RunProgress, WorkspaceModel

_ADVICE = "What was found before stays; choose fewer scores or a smaller region and compare again."
_NOTHING = (
    "Choose an annotation to score against: a Labels or Shapes layer, or a mask file; or tick agreement or "
    "robustness, which need none."
)


class ComparisonController:
    """Everything between the Compare page's model and what computes.

    Parameters
    ----------
    viewer, workspace, model
        Viewer of the annotations, workspace with the chosen encoders, and model of what is asked.
    parts
        Sessions with what was computed, the coordinator that computes what is missing, and the layers of
        agreement, of evidence and of the annotation's outline.
    runner
        Runner that compares off the window's thread.
    comparer
        Comparer of encoders on the region, or over a folder.
    """

    def __init__(  # each part is handed in, none is made here
        self,
        viewer: ViewerModel,
        workspace: WorkspaceModel,
        model: ComparisonModel,
        parts: tuple[Sessions, MapCoordinator, AgreementLayer, EvidenceLayer, AnnotationOutline],
        runner: TaskRunner,
        comparer: Comparer,
    ) -> None:
        self._viewer = viewer
        self._workspace = workspace
        self._model = model
        self._sessions, self._coordinator, self._agreement, self._evidence, self._outline = parts
        self._runner = runner
        self._comparer = comparer
        self._waiting = False
        self._mask_files: dict[str, Path] = {}
        self.result: ComparisonResult | None = None
        self._compared: Shown | None = None
        self._scored: tuple[object, int | None] | None = None
        self._connections = Connections()
        connect, events = self._connections.add, workspace.events
        connect(model.events.annotation, self.read_classes)
        for signal in (model.events.annotation, model.events.chosen_class, model.events.findings):
            connect(signal, self._tell_outdated)
        connect(viewer.layers.events.inserted, self._on_layers)
        connect(viewer.layers.events.removed, self._on_layers)
        connect(events.image, self._on_image)
        connect(events.progress, self._on_progress)
        self._on_layers()

    def run(self) -> None:
        """Compare the ticked encoders on the chosen region; what has no tokens of it is embedded first."""
        workspace = self._workspace
        if workspace.progress is not None:
            return
        if self._sessions.here is None or not workspace.specs:
            workspace.say(workspace.plan.text, failed=True)
            return
        if not self._scores():
            workspace.say(_NOTHING)
            return
        try:
            self._waiting = self._coordinator.embed_chosen()
        except SSLMapsError as error:
            workspace.say(str(error), failed=True)
            return
        if not self._waiting:
            self._compare()

    def run_folder(self, folder: FolderRequest) -> None:
        """Compare the ticked encoders over a folder of images, which the image in view need not be in."""
        workspace = self._workspace
        specs = tuple(spec for spec in workspace.specs if spec.origin != "control")
        if workspace.progress is not None or not specs:
            running = workspace.progress is not None
            workspace.say("Wait for what runs." if running else "Tick an encoder on the page Maps.")
            return

        def returned(found: ComparisonResult) -> None:
            workspace.progress = None
            self._scored = None
            self._show(found)
            self._evidence.heads = {} if found.comparison is None else found.comparison.heads
            count = len(found.comparison.images) if found.comparison is not None else 0
            workspace.say(f"Compared {len(specs)} encoders on {count} images; results are in {folder.out}.")

        workspace.progress = RunProgress("Listing images", 0.0)
        depth = workspace.token_block, workspace.token_norm
        run = run_options(workspace.request, workspace.tiling, workspace.resolution, depth, anchored=False)
        run = replace(run, mask="auto" if workspace.region == "mask" else "")
        request = partial(request_of_folder, folder, specs, self._model.controls, run)
        job = ComparisonJob(request, specs, self._comparer, folder=folder.out)
        self._runner.submit(job, TaskCallbacks(self._on_reported, returned, self._on_failed))

    def cancel(self) -> None:
        """Stop; what was found before stays."""
        self._waiting = False
        self._runner.cancel()

    def close(self) -> None:
        """Undo every connection."""
        self._connections.undo()

    def read_classes(self) -> None:
        """List the classes of the chosen annotation, and outline it."""
        model, image = self._model, self._workspace.image
        found = None
        if model.annotation is not None and image is not None:
            try:
                found = self._read(image)
            except SSLMapsError as error:
                self._workspace.say(str(error), failed=True)
        if image is not None:
            self._outline.show(image, found)
        model.classes = () if found is None else tuple((k, found.name_of(k)) for k in found.classes)
        if model.chosen_class not in [kind for kind, _ in model.classes]:
            model.chosen_class = None

    def follow_row(self, key: str, row: Sequence[Cell]) -> None:
        """Show on the canvas what a row is about: a method's map or evidence, or where two encoders agree."""
        names = [str(cell) for cell in row[:2]]
        if key == "agreement":
            self._agreement.show(names[0], names[1])
        elif key in EVIDENCE_TABLES:
            method, _, cam = names[0].partition(", ")
            self._evidence.show(method, through=bool(cam))
        elif names[0] in self._workspace.methods:
            self._workspace.front = names[0]

    def holdings(self) -> tuple[Shown, ComparisonResult | None] | None:
        """Return what can be handed on: what is shown, and what was compared; None if there is nothing."""
        here = self._sessions.here
        shown = None if here is None else self._shown(*here)
        shown = shown or (None if self.result is None else self._compared)
        return None if shown is None else (shown, self.result)

    def _scores(self) -> tuple[str, ...]:
        """Return the scores that are wanted and can be had: without annotation, few can."""
        wanted = self._model.scores
        if self._model.annotation is not None:
            return wanted
        return tuple(score for score in wanted if not SCORES[score].needs_annotation)

    def _read(self, image: Image) -> Annotation | None:
        chosen = self._model.annotation
        if chosen is None:
            return None
        if isinstance(chosen, Path):
            return read_annotation(chosen, LayerSource(image).levels[0].shape_yx)
        return annotation_of(self._viewer, chosen, image)

    def _compare(self) -> None:
        here, workspace = self._sessions.here, self._workspace
        shown = None if here is None else self._shown(*here)
        if here is None or shown is None:
            return  # whoever could not embed has said why
        try:
            annotation = self._annotation(here[0], shown)
        except SSLMapsError as error:
            workspace.say(str(error), failed=True)
            return
        self._compared = shown
        workspace.say("")
        workspace.progress = RunProgress("Comparing", 0.0)
        against = self._model.annotation, self._model.chosen_class
        request = partial(request_of_region, shown, self._scores(), self._model.controls, annotation)
        known = {(shown.image.name, name): found for name, found in shown.embeddings.items()}
        returned = partial(self._on_result, against)
        callbacks = TaskCallbacks(self._on_reported, returned, self._on_failed)
        self._runner.submit(ComparisonJob(request, shown.specs, self._comparer, known), callbacks)

    def _annotation(self, image: Image, shown: Shown) -> Annotation | None:
        """Return the classes that are scored, where there are tokens.

        Raises
        ------
        SSLMapsError
            If the annotation cannot be used.
        """
        annotation, model = self._read(image), self._model
        if annotation is None:
            return None
        model.classes = tuple((kind, annotation.name_of(kind)) for kind in annotation.classes)
        annotation = within(only(annotation, model.chosen_class), shown.image.mask)
        annotation.check_scorable(shown.embeddings[shown.specs[0].name].grid)
        return annotation

    def _shown(self, image: Image, session: Session) -> Shown | None:
        """Return what is shown of an image, as it is now; None if no encoder has tokens."""
        workspace = self._workspace
        whole = {name: item.embedding for name, item in session.embedded.items() if item.complete}
        if session.region is None or not any(spec.name in whole for spec in workspace.specs):
            return None
        maps, reference = self._anchors_elsewhere()
        return Shown(
            ShownImage(image.name, LayerSource(image, workspace.spacing_um), session.region, session.mask),
            workspace.requested,
            whole,
            maps,
            workspace.tiling,
            resolution=workspace.resolution,
            elsewhere=self._sessions.elsewhere(),
            difference=(workspace.front, workspace.against) if workspace.difference else (),
            reference=reference,
        )

    def _anchors_elsewhere(self) -> tuple[MapRequest, ShownImage | None]:
        """Return what is shown, with the anchors of another image and that image, if they lie in one."""
        request, other = self._workspace.request, self._workspace.reference
        there = None if other is None else self._sessions.of(other)
        if other is None or there is None or there.region is None:
            return request, None
        known = {name: item.embedding for name, item in there.embedded.items() if item.complete}
        source = LayerSource(other, there.spacing_um)
        reference = ShownImage(other.name, source, there.region, there.mask)
        return self._workspace.request_for(there.anchors, known), reference

    def _on_reported(self, progress: RunProgress) -> None:
        self._workspace.progress = progress

    def _on_result(self, against: tuple[object, int | None], found: ComparisonResult) -> None:
        model, workspace = self._model, self._workspace
        workspace.progress = None
        self.result, self._scored = found, against
        self._show(found)
        self._tell_outdated()
        left_out = [score for score in model.scores if score not in self._scores()]
        without = f" Without annotation, {', '.join(left_out)} were left out." if left_out else ""
        workspace.say(f"Compared {len(workspace.specs)} methods.{without}")

    def _show(self, found: ComparisonResult) -> None:
        model = self._model
        model.advice = found.advice
        model.findings = found.findings
        keys = [finding.key for finding in found.findings]
        if model.shown not in keys:  # nobody has chosen one: what all of it says comes first
            model.shown = ADVICE if found.advice else next(iter(keys), "")

    def _tell_outdated(self) -> None:
        """Say what the findings are of, once another annotation or class is chosen."""
        model, scored = self._model, self._scored
        now = model.annotation, model.chosen_class
        if not model.findings or scored is None or scored == now:
            model.outdated = ""
        else:
            model.outdated = (
                f"These results are of {self._named(*scored)}, not of {self._named(*now)}: press Compare."
            )

    def _named(self, annotation: object, kind: int | None) -> str:
        name = str(getattr(annotation, "name", "no annotation"))
        return name if kind is None else f"class {kind} of {name}"

    def _on_failed(self, error: BaseException) -> None:
        self._workspace.progress = None
        stopped = isinstance(error, Cancelled)
        text = "Stopped; what was found before stays." if stopped else sentence(error, _ADVICE)
        self._workspace.say(text, failed=not stopped)

    def _on_progress(self) -> None:
        if self._waiting and self._workspace.progress is None:
            self._waiting = False
            self._compare()

    def _on_image(self, new: Image | None, old: Image | None) -> None:
        """Forget what was found of another image, and take the mask file that was chosen for this one."""
        self._waiting = False
        chosen = self._model.annotation
        if isinstance(chosen, Path) and old is not None:
            self._mask_files[str(old.unique_id)] = chosen
        mask_file = None if new is None else self._mask_files.get(str(new.unique_id))
        if isinstance(chosen, Path) or mask_file is not None:
            self._model.annotation = mask_file
            self._on_layers()
        self._runner.discard()
        self.result = None
        self._model.findings = self._model.advice = ()
        self.read_classes()

    def _on_layers(self) -> None:
        """Offer the layers there are; choose the first that a person made, and none that is gone."""
        layers, chosen = annotation_layers(self._viewer), self._model.annotation
        self._model.offered = tuple(layers)
        if isinstance(chosen, Path) or chosen in layers:
            return
        self._model.annotation = next(
            (layer for layer in layers if not (is_own(layer) or is_found(layer))), None
        )
