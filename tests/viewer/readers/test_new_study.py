"""A new study from the window's form: the same request as the command line's, made off the thread, opened."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from PIL import Image
from readers_kit import tiny_study
from viewer_kit import LaterRunner, known_services

from napari_sslmaps.cli import main
from napari_sslmaps.core.scale import TokenScale
from napari_sslmaps.encoders.registry import get_spec
from napari_sslmaps.errors import InvalidAnchorError
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.readers import build
from napari_sslmaps.readers.study import Study
from napari_sslmaps.records.anchors import AnchorSet, save_anchors
from napari_sslmaps.viewer.canvas.image_layer import path_of
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.readers.new_study import StudyForm, request_of_form
from napari_sslmaps.viewer.state.workspace import Anchor, RunProgress, WorkspaceModel


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(2):
        pixels = np.full((48, 64, 3), 40 * number, np.uint8)
        Image.fromarray(pixels).save(folder / f"case{number}.png")
    return folder


@pytest.fixture
def form(images: Path, tmp_path: Path) -> StudyForm:
    """What makes a study: an anchor is set on each image."""
    group = AnchorGroup("anchors", anchors=((20.0, 30.0),))
    placed = {str(path.resolve()): group for path in images.iterdir()}
    return StudyForm(
        (str(images),), ("mae-histology",), ("Anna", "Ben"), str(tmp_path / "study"), placed=placed
    )


class KnownMaker:
    """Makes a study of plain pictures, whatever is asked for."""

    def __init__(self) -> None:
        self.asked: list[build.StudyRequest] = []
        self.on_image: Callable[[int], object] = str

    def __call__(self, request: build.StudyRequest, out: Path, on_image: build.OnImage) -> Study:
        self.asked.append(request)
        for number in (1, 2):
            self.on_image(number)
            on_image(number, 2)
        return tiny_study(out)


@pytest.fixture
def maker() -> KnownMaker:
    return KnownMaker()


@pytest.fixture
def made(viewer: ViewerModel, workspace: WorkspaceModel, maker: KnownMaker):
    runners: list[LaterRunner] = []

    def make_runner() -> LaterRunner:
        runners.append(LaterRunner())
        return runners[-1]

    services = replace(known_services(), study_maker=maker)
    controller = Controller(viewer, workspace, make_runner=make_runner, services=services)
    workspace.task = "readers"
    yield controller, lambda: [runner.deliver() for runner in runners]
    controller.close()


def test_the_form_asks_what_the_command_line_asks(
    form: StudyForm, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def keep(request: build.StudyRequest, out: Path, _: object) -> Study:
        asked.append((request, out))
        return tiny_study(out, readers=1)

    monkeypatch.setattr(build, "new_study", keep)
    path = save_anchors(AnchorSet((AnchorGroup("gland", anchors=((3, 4),)),)), tmp_path / "set.json")
    command = ["readers", "new", str(images), "-e", "mae-histology", "--reader", "Anna", "--reader", "Ben"]
    for words, filled in (
        ((), {}),
        (
            ("--design", "pairwise", "--maps", "pca,similarity", "--controls", "none", "--repeats", "0.3"),
            {"design": "pairwise", "maps": ("pca", "similarity"), "controls": (), "repeats": 0.3},
        ),
    ):
        out = tmp_path / f"study{len(asked)}"
        with pytest.raises(SystemExit) as end:
            main([*command, *words, "--anchors", str(path), "-o", str(out)])
        assert end.value.code == 0
        request, _ = request_of_form(replace(form, anchors=str(path), **filled))
        assert (request, out) == asked[-1]
        assert request.options.maps.scale == get_spec("mae-histology").scale == TokenScale(2.0, "%")


def test_each_wrong_field_says_so(form: StudyForm, tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "file").touch()
    wrong = replace(
        form,
        images=("nowhere.png",),
        encoders=(),
        controls=(),
        readers=(),
        questions="lost.toml",
        anchors="lost.json",
    )
    said = request_of_form(wrong)[1]
    assert set(said) == {"images", "encoders", "readers", "questions", "anchors", "out"}
    assert "nowhere.png" in said["images"]
    assert "lost.json" in said["anchors"]
    assert list(request_of_form(replace(form, placed={}, out=""))[1]) == ["anchors", "out"]


def test_a_study_is_made_and_opened(
    made, maker: KnownMaker, form: StudyForm, workspace: WorkspaceModel
) -> None:
    controller, finish = made
    page = controller.new_study
    page.make(replace(form, readers=()))
    finish()
    assert list(page.model.problems) == ["readers"]
    assert not maker.asked
    assert workspace.progress is None
    seen: list[RunProgress | None] = []
    page.model.events.progress.connect(seen.append)
    page.make(form)
    assert page.model.problems == {}
    assert workspace.progress is not None
    finish()
    assert [one and one.label for one in seen] == ["Image 1 of 2", "Image 2 of 2", "Writing the pages", None]
    assert workspace.progress is None
    assert controller.reading.model.stage == "choosing"
    study = Study.read(Path(form.out))
    for reader in study.readers:
        assert f"{reader.name} is {reader.code}" in controller.reading.model.status.text


def test_what_stops_a_study_is_said_and_nothing_else_runs_meanwhile(
    made, maker: KnownMaker, form: StudyForm, workspace: WorkspaceModel
) -> None:
    controller, finish = made
    page, reading = controller.new_study, controller.reading.model
    workspace.progress = RunProgress("Searching", 0.5)
    page.make(form)
    assert "Wait for what runs" in page.model.problems[""]
    workspace.progress = None

    def fail(_: int) -> None:
        raise InvalidAnchorError("Expected anchors on the region; one is at (900, 1). Move it.")

    maker.on_image = fail
    page.make(form)
    finish()
    assert reading.status.failed
    assert "(900, 1)" in reading.status.text
    maker.on_image = lambda _: controller.cancel()
    page.make(form)
    finish()
    assert reading.status.text == "Stopped; nothing was written."
    assert not reading.status.failed
    assert not Path(form.out).exists()
    assert workspace.progress is None


def test_each_image_has_the_anchors_that_were_set_on_it(made, form: StudyForm, images: Path) -> None:
    controller, _ = made
    workspace, layers = controller.workspace, controller.viewer.layers
    for number, at in ((0, (5.0, 6.0)), (1, (7.0, 8.0))):
        path = str(images / f"case{number}.png")
        controller.viewer.add_image(np.zeros((48, 64), np.float32), metadata={"path": path})
        workspace.image = layers[-1]
        assert path_of(layers[-1]) == path
        workspace.anchors = (Anchor(at), Anchor((1.0, 1.0), negative=True), Anchor((2.0, 2.0), group=1))
    request, wrong = request_of_form(replace(form, placed=controller.new_study.placed))
    assert not wrong
    assert [item.anchors for item in request.images] == [((5.0, 6.0),), ((7.0, 8.0),)]
    assert [item.negative for item in request.images] == [((1.0, 1.0),)] * 2
