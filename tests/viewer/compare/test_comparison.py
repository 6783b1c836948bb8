"""The Compare page without Qt: what is asked of the packages below, what comes of it, and what is written."""

from collections.abc import Iterator
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import PIL.Image
import pytest
from compare_page_kit import KnownComparer, known_comparison
from napari.components import ViewerModel
from napari.layers import Image, Labels
from viewer_kit import KnownEmbedder, LaterRunner, known_services, noise

from napari_sslmaps.compare.scores import DEFAULT_CONTROLS, DEFAULT_SCORES
from napari_sslmaps.core.placed_mask import PlacedMask
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.scale import TokenScale
from napari_sslmaps.core.tiling import TILED
from napari_sslmaps.encoders.registry import get_spec
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import AnnotationError, Cancelled, ExportError
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.maps.registry import MapOptions
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.records.run import RunOptions, RunRecord
from napari_sslmaps.viewer.canvas.image_layer import AREAS, LayerSource
from napari_sslmaps.viewer.compare.annotation import only, within
from napari_sslmaps.viewer.compare.build import ComparePage
from napari_sslmaps.viewer.compare.export import PackageExporter
from napari_sslmaps.viewer.compare.jobs import (
    FolderRequest,
    PackageComparer,
    Shown,
    ShownImage,
    request_of_folder,
    request_of_region,
)
from napari_sslmaps.viewer.compare.model import ADVICE
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.state.loaded_encoders import LoadedEncoders
from napari_sslmaps.viewer.state.tasks import ImmediateRunner
from napari_sslmaps.viewer.state.workspace import WorkspaceModel


@pytest.fixture
def comparer() -> KnownComparer:
    return KnownComparer()


@pytest.fixture
def controller(
    viewer: ViewerModel,
    workspace: WorkspaceModel,
    specs: tuple[EncoderSpec, ...],
    embedder: KnownEmbedder,
    comparer: KnownComparer,
) -> Iterator[Controller]:
    services = known_services(embedder, comparison=known_comparison(comparer))
    made = Controller(viewer, workspace, make_runner=ImmediateRunner, services=services)
    workspace.available = specs
    workspace.chosen = tuple(spec.name for spec in specs)
    yield made
    made.close()


@pytest.fixture
def comparing(controller: Controller) -> ComparePage:
    return controller.compare_page


@pytest.fixture
def labels(viewer: ViewerModel, image: Image) -> Labels:
    painted = np.zeros((64, 80), np.uint8)
    painted[:, :30], painted[:, 30:50] = 1, 2
    layer = viewer.add_labels(painted, name="drawn")
    layer.features = {"index": [1, 2], "name": ["gland", "stroma"]}
    return layer


def test_what_is_missing_is_embedded_and_then_compared(
    comparing: ComparePage,
    labels: Labels,
    workspace: WorkspaceModel,
    embedder: KnownEmbedder,
    comparer: KnownComparer,
) -> None:
    comparing.comparison.run()
    assert [name for name, _ in embedder.calls] == ["mae-demo", "dinov3-demo"]
    comparing.comparison.run()
    assert len(embedder.calls) == 2
    asked = comparer.asked[-1]
    assert asked.image.region == Region(0, 0, 64, 80)
    assert (asked.request.scores, asked.request.controls) == (DEFAULT_SCORES, DEFAULT_CONTROLS)
    assert asked.image.annotation.classes == (1, 2)
    assert comparing.model.classes == ((1, "gland"), (2, "stroma"))
    assert comparing.model.shown == ADVICE
    assert comparing.model.advice == ("mae-demo is ahead.",)
    assert workspace.status.text == "Compared 2 methods."
    assert workspace.progress is None


def test_one_class_is_scored_against_all_else(
    comparing: ComparePage, labels: Labels, comparer: KnownComparer
) -> None:
    comparing.model.annotation = None
    comparing.model.annotation = labels
    assert comparing.model.classes == ((1, "gland"), (2, "stroma"))
    comparing.model.chosen_class = 2
    comparing.comparison.run()
    (asked,) = comparer.asked
    assert asked.image.annotation.classes == (2,)
    assert asked.image.annotation.name_of(2) == "stroma"
    assert (asked.image.annotation.labels == 2).sum() == 64 * 20


def test_classes_that_are_left_out_become_background_and_what_is_unknown_stays() -> None:
    drawn = Annotation.from_labels(np.array([[1, 2], [0, -1]], np.int8), (2, 2))
    np.testing.assert_array_equal(only(drawn, 2).labels, [[0, 2], [0, -1]])
    assert only(drawn, None) is drawn


def test_beside_a_mask_nothing_is_scored() -> None:
    drawn = Annotation.from_labels(np.ones((2, 4), np.uint8), (4, 8))
    mask = PlacedMask(np.array([[True, False]]), (2.0, 4.0), (2.0, 0.0))
    np.testing.assert_array_equal(within(drawn, mask).labels, [[-1, -1, -1, -1], [1, 1, -1, -1]])
    assert within(drawn, None) is drawn


def test_without_annotation_only_what_needs_none_is_compared(
    comparing: ComparePage, image: Image, workspace: WorkspaceModel, comparer: KnownComparer
) -> None:
    comparing.comparison.run()
    assert comparer.asked[0].request.scores == ("agreement",)
    assert workspace.status.text.endswith("Without annotation, maps, anchors were left out.")
    comparing.model.scores = ("maps",)
    comparing.comparison.run()
    assert len(comparer.asked) == 1
    assert not workspace.status.failed
    assert workspace.status.text.startswith("Choose an annotation to score against")


def test_an_empty_annotation_is_refused_in_a_sentence(
    comparing: ComparePage, labels: Labels, workspace: WorkspaceModel, comparer: KnownComparer
) -> None:
    labels.data = np.zeros((64, 80), np.uint8)
    comparing.comparison.run()
    assert not comparer.asked
    assert "this one is empty" in workspace.status.text
    assert workspace.progress is None


def test_a_mask_file_is_an_annotation(
    comparing: ComparePage, image: Image, tmp_path: Path, comparer: KnownComparer, workspace: WorkspaceModel
) -> None:
    mask = np.zeros((64, 80), np.uint8)
    mask[:20] = 3
    np.save(tmp_path / "mask.npy", mask)
    comparing.model.annotation = tmp_path / "mask.npy"
    assert comparing.model.classes == ((3, "class 3"),)
    comparing.comparison.run()
    assert comparer.asked[0].image.annotation.classes == (3,)
    comparing.model.annotation = tmp_path / "gone.npy"
    assert workspace.status.failed
    assert comparing.model.classes == ()


@pytest.mark.parametrize(
    ("error", "text", "failed"),
    [
        (Cancelled("Stopped."), "Stopped; what was found before stays.", False),
        (AnnotationError("Expected a class; got none. Draw one."), "Expected a class; got none", True),
        (MemoryError("full"), "choose fewer scores", True),
    ],
)
def test_what_was_found_stays_when_a_comparison_fails(
    comparing: ComparePage,
    labels: Labels,
    workspace: WorkspaceModel,
    comparer: KnownComparer,
    error: Exception,
    text: str,
    *,
    failed: bool,
) -> None:
    comparing.comparison.run()
    before = comparing.model.findings
    comparer.error = error
    comparing.comparison.run()
    assert comparing.model.findings is before
    assert text in workspace.status.text
    assert workspace.status.failed is failed
    assert workspace.progress is None


def test_another_image_has_no_findings_yet(
    comparing: ComparePage, labels: Labels, viewer: ViewerModel
) -> None:
    comparing.comparison.run()
    viewer.add_image(noise(64, 64), name="other")
    assert comparing.model.findings == ()
    assert comparing.comparison.result is None


def test_a_new_layer_is_proposed_and_one_that_is_gone_forgotten(
    comparing: ComparePage, labels: Labels, viewer: ViewerModel
) -> None:
    assert comparing.model.annotation is labels
    shapes = viewer.add_shapes()
    assert comparing.model.offered == (shapes, labels)
    assert comparing.model.annotation is labels
    viewer.layers.remove(labels)
    assert comparing.model.annotation is shapes


def test_what_a_method_found_is_offered_and_not_proposed(
    comparing: ComparePage, labels: Labels, viewer: ViewerModel
) -> None:
    """Scored against its own areas, a method is ahead of all others."""
    areas = viewer.add_labels(np.asarray(labels.data), name="areas", metadata={AREAS: {"threshold": 0.5}})
    viewer.layers.remove(labels)
    assert comparing.model.annotation is None
    assert comparing.model.offered == (areas,)


def test_nothing_embedded_cannot_be_exported(
    comparing: ComparePage, image: Image, workspace: WorkspaceModel, tmp_path: Path
) -> None:
    comparing.exports.export("figure", tmp_path)
    assert workspace.status.text.startswith("Press Run or Compare first")
    assert not list(tmp_path.glob("*.png"))


def test_a_report_needs_a_comparison(
    comparing: ComparePage, controller: Controller, image: Image, workspace: WorkspaceModel, tmp_path: Path
) -> None:
    controller.run()
    comparing.exports.export("report", tmp_path)
    assert workspace.status.text.startswith("Press Compare first")


def test_a_run_stopped_while_embedding_is_not_compared(
    viewer: ViewerModel, workspace: WorkspaceModel, specs: tuple[EncoderSpec, ...], comparer: KnownComparer
) -> None:
    runners: list[LaterRunner] = []

    def make() -> LaterRunner:
        runners.append(LaterRunner())
        return runners[-1]

    services = known_services(comparison=known_comparison(comparer))
    controller = Controller(viewer, workspace, make_runner=make, services=services)
    viewer.add_image(noise(64, 80))
    workspace.available, workspace.chosen = specs, ("mae-demo", "dinov3-demo")
    controller.compare_page.comparison.run()
    controller.cancel()
    workspace.progress = None
    for runner in runners:
        runner.deliver()
    assert not comparer.asked
    controller.close()


def test_the_packages_compare_and_write_what_the_window_asks(tmp_path: Path) -> None:
    """The real thing, small: one encoder on a part of the sample, then everything in a folder."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 90, (64, 64, 3), np.uint8)
    pixels[:, 32:] += 120
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 1
    source = LayerSource(Image(pixels, name="made", rgb=True))
    spec, encoders = get_spec("mae-histology"), LoadedEncoders()
    shown = Shown(
        ShownImage("made", source, Region(0, 0, 64, 64)),
        (spec,),
        {spec.name: embed(source, encoders.get(spec))},
        WorkspaceModel().request,
        TILED,
    )
    annotation = Annotation.from_labels(mask, (64, 64))
    request = request_of_region(shown, ("maps", "anchors"), ("position", "pixels"), annotation)
    shares: list[float] = []
    known = {("made", spec.name): shown.embeddings[spec.name]}
    found = PackageComparer(encoders)(
        request, shown.specs, lambda _, share: shares.append(share), embeddings=known
    )
    assert found.embedded is not None
    assert found.embedded.embeddings[spec.name] is shown.embeddings[spec.name]
    assert {"anchors", "maps", "advice"} <= {finding.key for finding in found.findings}
    assert found.advice
    assert shares == sorted(shares)
    export = PackageExporter(encoders)
    names = export("all", shown, found, tmp_path)
    assert {"report.html", "run.json", "anchors.csv", "maps.csv"} <= set(names)
    record = RunRecord.read(tmp_path / "run.json")
    assert record.evaluation is not None
    assert export("report", shown, found, tmp_path / "page") == ["report.html"]
    assert b"mae-histology" in (tmp_path / "page" / "report.html").read_bytes()
    assert "anchors.csv" in export("tables", shown, found, tmp_path / "tables")
    assert export("print", shown, None, tmp_path / "one.png") == ["one.png"]
    with PIL.Image.open(tmp_path / "one.png") as picture:
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=1)
        assert picture.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
    with pytest.raises(ExportError, match="figure file ending in png"):
        export("print", shown, None, tmp_path / "one.docx")


def test_the_outline_of_a_mask_file_is_seen_where_it_is_chosen(
    comparing: ComparePage, workspace: WorkspaceModel, viewer: ViewerModel, image: Image, tmp_path: Path
) -> None:
    mask = np.zeros((64, 80), np.uint8)
    mask[10:30, 20:50] = 3
    iio.imwrite(tmp_path / "mask.png", mask)
    comparing.model.annotation = tmp_path / "mask.png"
    assert len(viewer.layers) == 1  # on the page Maps nobody asked for it
    workspace.task = "compare"
    layer = viewer.layers["tissue / annotation / mask.png"]
    assert layer.visible
    assert layer.contour > 0
    np.testing.assert_array_equal(layer.data > 0, mask > 0)
    np.testing.assert_allclose(layer.data_to_world((9.5, 19.5)), image.data_to_world((9.5, 19.5)))
    workspace.task = "maps"
    assert not layer.visible
    assert comparing.outline.layer(image) is None
    comparing.comparison.run()
    assert comparing.outline.layer(image) is layer  # after a comparison also there
    layer.visible = False
    assert comparing.outline.layer(image) is None
    comparing.model.annotation = None
    assert layer not in viewer.layers


def test_results_of_another_annotation_are_said_to_be_so(
    comparing: ComparePage, labels: Labels, tmp_path: Path
) -> None:
    model = comparing.model
    comparing.comparison.run()
    assert model.findings
    assert model.outdated == ""
    iio.imwrite(tmp_path / "mask.png", np.eye(64, 80, dtype=np.uint8))
    model.annotation = tmp_path / "mask.png"
    assert model.outdated == f"These results are of {labels.name}, not of mask.png: press Compare."
    model.annotation = labels
    assert model.outdated == ""
    model.annotation = None
    assert model.outdated == f"These results are of {labels.name}, not of no annotation: press Compare."
    model.annotation = tmp_path / "mask.png"
    comparing.comparison.run()
    assert model.outdated == ""


def test_a_layer_of_labels_is_outlined_side_by_side_where_it_is_seen(
    comparing: ComparePage, labels: Labels, image: Image
) -> None:
    assert comparing.outline.layer(image) is labels
    labels.visible = False
    assert comparing.outline.layer(image) is None


def test_what_speaks_for_which_method_comes_first(comparing: ComparePage, labels: Labels) -> None:
    comparing.comparison.run()
    assert comparing.model.advice
    assert comparing.model.shown == ADVICE
    comparing.model.shown = comparing.model.findings[0].key
    comparing.comparison.run()
    assert comparing.model.shown == comparing.model.findings[0].key  # what a user chose stays


def test_a_mask_file_is_of_the_image_that_it_was_chosen_for(
    comparing: ComparePage, viewer: ViewerModel, image: Image, tmp_path: Path
) -> None:
    mask = np.zeros((64, 80), np.uint8)
    mask[:, 40:] = 1
    iio.imwrite(tmp_path / "mask.png", mask)
    comparing.model.annotation = tmp_path / "mask.png"
    assert comparing.model.classes
    other = viewer.add_image(image.data.copy(), name="other")
    assert comparing.model.annotation is None
    assert comparing.model.classes == ()
    viewer.layers.selection.active = image
    assert comparing.model.annotation == tmp_path / "mask.png"
    viewer.layers.selection.active = other
    assert comparing.model.annotation is None


def test_a_folder_is_compared_at_the_scale_and_resolution_of_the_window(
    controller: Controller, comparer: KnownComparer, image: Image, tmp_path: Path
) -> None:
    workspace = controller.workspace
    workspace.scale, workspace.resolution = TokenScale(5.0, "%"), "native"
    folder = FolderRequest(tmp_path, None, "", ("agreement",), tmp_path / "out")
    (tmp_path / "one.png").write_bytes(b"")
    controller.compare_page.comparison.run_folder(folder)
    run = comparer.asked[-1].request.options.run
    assert (run.maps.scale, run.resolution, run.mask) == (TokenScale(5.0, "%"), "native", "")
    workspace.region = "mask"
    controller.compare_page.comparison.run_folder(folder)
    assert comparer.asked[-1].request.options.run.mask == "auto", "the window leaves out what is around, too"


def test_a_folder_is_compared_as_the_command_line_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        pixels = rng.integers(0, 90, (64, 64, 3), np.uint8)
        pixels[:, 32:] += 120
        mask = np.zeros((64, 64), np.uint8)
        mask[:, 32:] = 1
        for folder, array in (("images", pixels), ("masks", mask)):
            (tmp_path / folder).mkdir(exist_ok=True)
            iio.imwrite(tmp_path / folder / f"{name}.png", array)
    out = tmp_path / "out"
    folder = FolderRequest(tmp_path / "images", tmp_path / "masks", "", ("anchors",), out)
    specs = (get_spec("mae-histology"),)
    compare, told = PackageComparer(LoadedEncoders()), list[str]()
    made = RunOptions(maps=MapOptions(scale=TokenScale(3.0, "%")), resolution="native")
    request = request_of_folder(folder, specs, ("pixels",), made)
    assert request.options.run.precision == "float32"
    found = compare(request, specs, lambda what, _: told.append(what), folder=out)
    assert found.embedded is None
    assert {what.split(":")[0] for what in told} >= {"one.png", "two.png"}
    assert found.findings[0].key == "anchors"
    said = "images read as stored, tokens averaged over σ = 3 % of the region's shorter side."
    assert any(note.endswith(said) for note in found.findings[0].notes)
    assert {"run.json", "report.html", "anchors.csv"} <= {path.name for path in out.iterdir()}
