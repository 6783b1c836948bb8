"""A new reader study as the window asks for it: its form, and its making off the window's thread."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeAlias, TypeVar

from napari.components import ViewerModel
from napari.layers import Image
from psygnal import SignalGroupDescriptor

from napari_sslmaps.encoders.controls import ControlKind
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import Cancelled, SSLMapsError
from napari_sslmaps.files import user_path
from napari_sslmaps.inputs.encoders import EncoderChoice, choose_encoders, usual_scale
from napari_sslmaps.inputs.listing import BatchItem, list_items
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.maps.make import NO_ANCHORS
from napari_sslmaps.maps.registry import MapOptions
from napari_sslmaps.readers.study import (
    CONTROLS,
    MAPS,
    PAGES,
    REPEATS,
    Design,
    Question,
    Study,
    load_questions,
)
from napari_sslmaps.records.anchors import first_group
from napari_sslmaps.records.run import RunOptions
from napari_sslmaps.viewer.canvas.image_layer import is_own, path_of
from napari_sslmaps.viewer.readers.controller import ReadingController
from napari_sslmaps.viewer.state.messages import sentence
from napari_sslmaps.viewer.state.session import Sessions
from napari_sslmaps.viewer.state.tasks import TaskCallbacks, TaskContext, TaskRunner
from napari_sslmaps.viewer.state.workspace import RunProgress, Status, WorkspaceModel

if TYPE_CHECKING:
    from napari_sslmaps.readers.build import OnImage, StudyRequest

Problems: TypeAlias = Mapping[str, str]
"""Field of `StudyForm` → what is wrong with it; of no field, if its name is empty."""
T = TypeVar("T")
_ADVICE = "Nothing was written; try again."


@dataclass(frozen=True, slots=True)
class StudyForm:
    """Form of a new study, as it was filled in.

    Parameters
    ----------
    images
        Paths of images, folders and CSV files.
    encoders, readers
        Names of encoders, and of people.
    out
        Path of the folder for the study.
    maps, controls, design, repeats
        Maps, controls, design and share of repeats, as `StudyRequest` has them.
    questions
        Path of a file of questions; empty for those of the package.
    anchors
        Path of a set of anchors; empty for `placed`.
    placed
        Anchors that were set in the window, by the path of their image.
    """

    images: tuple[str, ...]
    encoders: tuple[str, ...]
    readers: tuple[str, ...]
    out: str
    maps: tuple[str, ...] = MAPS
    controls: tuple[ControlKind, ...] = CONTROLS
    design: Design = "rating"
    repeats: float = REPEATS
    questions: str = ""
    anchors: str = ""
    placed: Mapping[str, AnchorGroup] = field(default_factory=dict)


def request_of_form(form: StudyForm) -> tuple["StudyRequest", dict[str, str]]:
    """Return the request that the command line makes of the same words, and what is wrong with it."""
    from napari_sslmaps.readers.build import StudyRequest, problems

    wrong: dict[str, str] = {}

    def part(name: str, make: Callable[[], T], lacking: T) -> T:
        try:
            return make()
        except SSLMapsError as error:
            wrong[name] = str(error)
            return lacking

    out = user_path(form.out)
    none: tuple[EncoderChoice, ...] = ()
    encoders = part("encoders", lambda: choose_encoders(form.encoders, Overrides()), none)
    request = StudyRequest(
        images=part("images", lambda: _placed(list_items(form.images, out=out).items, form), ()),
        encoders=encoders,
        readers=form.readers,
        questions=part("questions", lambda: _questions(form), ()),
        design=form.design,
        controls=form.controls,
        maps=form.maps,
        anchors=part("anchors", lambda: first_group(form.anchors), NO_ANCHORS)
        if form.anchors
        else NO_ANCHORS,
        options=RunOptions(maps=MapOptions(scale=usual_scale(encoders))),
        repeats=form.repeats,
    )
    if not form.out:
        wrong["out"] = "Expected a folder for the study; got none. Choose an empty one."
    return request, {**problems(request, out), **wrong}


def _questions(form: StudyForm) -> tuple[Question, ...]:
    return load_questions(user_path(form.questions) if form.questions else None, form.design)


def _placed(items: tuple[BatchItem, ...], form: StudyForm) -> tuple[BatchItem, ...]:
    """Give images the anchors that were set on them in the window, unless a list or a set gives others."""
    if form.anchors:
        return items
    found = [form.placed.get(str(Path(item.image).resolve()), NO_ANCHORS) for item in items]
    return tuple(
        item if item.anchors else replace(item, anchors=tuple(group.anchors), negative=tuple(group.negative))
        for item, group in zip(items, found, strict=True)
    )


def make_study(request: "StudyRequest", out: Path, on_image: "OnImage") -> Study:
    """Make a study, as the command line does."""
    from napari_sslmaps.readers.build import new_study

    return new_study(request, out, on_image)


StudyMaker: TypeAlias = "Callable[[StudyRequest, Path, OnImage], Study]"


@dataclass(frozen=True, eq=False, slots=True)
class StudyJob:
    """Checks a form and makes its study."""

    form: StudyForm
    maker: StudyMaker

    def __call__(self, context: TaskContext) -> Study | Problems:
        """Return the study, or what is wrong with the form; progress is reported once nothing is."""
        request, wrong = request_of_form(self.form)
        if wrong:
            return wrong

        def on_image(done: int, total: int) -> None:
            context.token.check()
            label = f"Image {done + 1} of {total}" if done < total else "Writing the pages"
            context.report(RunProgress(label, done / total))

        on_image(0, len(request.images))
        return self.maker(request, user_path(self.form.out), on_image)


@dataclass(eq=False)
class NewStudyModel:
    """State of a study that is being made.

    Each field has a signal of its name in `events`.

    Parameters
    ----------
    problems
        Problems of the form that was asked for last.
    progress
        Progress of its making; None while nothing is made.
    """

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    problems: Problems = field(default_factory=dict)
    progress: RunProgress | None = None


class NewStudy:
    """Makes a study and opens it.

    Parameters
    ----------
    viewer, workspace, sessions
        Images with their anchors, the encoders there are, and whether something else runs.
    reading
        Controller that opens the study.
    runner
        Runner of the making.
    maker
        Function that makes studies; called on a thread.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: WorkspaceModel,
        sessions: Sessions,
        reading: ReadingController,
        runner: TaskRunner,
        maker: StudyMaker,
    ) -> None:
        self.model = NewStudyModel()
        self._viewer = viewer
        self._workspace = workspace
        self._sessions = sessions
        self._reading = reading
        self._runner = runner
        self._maker = maker
        self._running = False

    @property
    def encoders(self) -> tuple[tuple[EncoderSpec, bool], ...]:
        """Encoders that can be judged, and whether they are ticked."""
        ticked = {spec.name for spec in self._workspace.specs}
        return tuple(
            (spec, spec.name in ticked)
            for spec in self._workspace.available
            if not spec.trouble and not spec.alias_of and spec.origin != "control"
        )

    @property
    def placed(self) -> dict[str, AnchorGroup]:
        """Files of the images that are open, and the active group's anchors on each."""
        workspace, found = self._workspace, {}
        for image in self._viewer.layers:
            if isinstance(image, Image) and not is_own(image) and path_of(image):
                here = image is self._sessions.image
                anchors = workspace.anchors if here else self._sessions.of(image).anchors
                found[str(Path(path_of(image)).resolve())] = workspace.request_for(anchors).anchors
        return found

    def make(self, form: StudyForm) -> None:
        """Make the study of a form, or say what is wrong with it."""
        workspace = self._workspace
        self.model.problems = {}
        if workspace.progress is not None:
            self.model.problems = {"": "Wait for what runs on the other pages, or cancel it there."}
            return
        workspace.progress = RunProgress("Making a reader study", 0.0)
        self._running = True

        def returned(answer: Study | Problems) -> None:
            self._end()
            if isinstance(answer, Study):
                self._open(answer, user_path(form.out))
            else:
                self.model.problems = answer

        self._runner.submit(
            StudyJob(form, self._maker), TaskCallbacks(self._on_reported, returned, self._on_failed)
        )

    def cancel(self) -> None:
        """Stop the making; nothing is written then."""
        if self._running:
            self._runner.cancel()

    def _open(self, study: Study, out: Path) -> None:
        reading = self._reading
        if reading.model.stage == "reading":  # which nothing else may disturb
            return
        reading.open(out)
        codes = ", ".join(f"{reader.name} is {reader.code}" for reader in study.readers)
        reading.model.status = Status(
            f"Made: {codes}. Send each the page of that name in {out / PAGES}, or let them read here."
        )

    def _end(self) -> None:
        self._running = False
        self._workspace.progress = self.model.progress = None

    def _on_reported(self, progress: RunProgress) -> None:
        self._workspace.progress = replace(progress, label=f"Reader study: {progress.label}")
        self.model.progress = progress

    def _on_failed(self, error: BaseException) -> None:
        self._end()
        stopped = isinstance(error, Cancelled)
        text = "Stopped; nothing was written." if stopped else sentence(error, _ADVICE)
        self._reading.model.status = Status(text, failed=not stopped)
