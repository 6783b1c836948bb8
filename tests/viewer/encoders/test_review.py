"""A weight file under review: seen, corrected, refused, added, found again, forgotten."""

from dataclasses import replace
from pathlib import Path

import pytest
from viewer_kit import KnownLibrary

from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.encoders.checkpoint_review import CheckpointReview
from napari_sslmaps.viewer.encoders.encoder_list import grouped, warning_of
from napari_sslmaps.viewer.state.tasks import ImmediateRunner


def review_of(path: Path, library: KnownLibrary) -> CheckpointReview:
    review = CheckpointReview(path, library, ImmediateRunner())
    review.inspect()
    return review


def test_what_is_recognised_is_announced(tmp_path: Path, library: KnownLibrary) -> None:
    review = CheckpointReview(tmp_path / "mine.pth", library, ImmediateRunner())
    seen = []
    review.changed.connect(lambda: seen.append((review.doing, review.addable)))
    review.inspect()
    assert seen == [("Reading the file …", False), ("", True)]
    assert review.report is not None
    assert review.report.method == "mae"


def test_a_correction_looks_again_and_travels(tmp_path: Path, library: KnownLibrary) -> None:
    review = review_of(tmp_path / "mine.pth", library)
    review.correct(num_heads=4)
    review.correct(normalisation="unit")
    assert review.report is not None
    assert (review.report.architecture.heads, review.report.normalisation) == (4, "unit")
    added = []
    review.accepted.connect(added.append)
    review.accept("four-heads")
    assert added[0].overrides == {"num_heads": 4, "normalisation": "unit"}
    assert added[0].name == "four-heads"


def test_the_same_correction_reads_nothing_again(tmp_path: Path, library: KnownLibrary) -> None:
    review = review_of(tmp_path / "mine.pth", library)
    review.correct(num_heads=4)
    count = len(library.asked)
    review.correct(num_heads=4)
    assert len(library.asked) == count


def test_a_malformed_correction_is_said_and_undone(tmp_path: Path, library: KnownLibrary) -> None:
    review = review_of(tmp_path / "mine.pth", library)
    review.correct(eps=float("nan"))
    assert "epsilon between 0 and 1" in review.error_text
    assert not review.addable
    review.correct(eps=None)
    assert review.addable


def test_an_ambiguous_method_is_asked_for(tmp_path: Path, library: KnownLibrary) -> None:
    review = review_of(tmp_path / "ambiguous.pth", library)
    assert "Say which" in review.error_text
    assert not review.addable
    review.correct(method="dino")
    assert review.addable
    assert review.report is not None
    assert review.report.method == "dino"


def test_a_refused_file_changes_nothing(controller: Controller, tmp_path: Path) -> None:
    before = controller.workspace.available
    review = controller.files.review(tmp_path / "refused.pth")
    review.inspect()
    review.accept("")
    assert "os.system" in review.error_text
    assert not review.addable
    assert controller.workspace.available == before


def test_a_closed_review_announces_nothing(tmp_path: Path, library: KnownLibrary) -> None:
    review = review_of(tmp_path / "mine.pth", library)
    seen = []
    review.changed.connect(lambda: seen.append(1))
    review.close()
    review.correct(num_heads=4)
    assert not seen


def test_an_added_file_is_listed_ticked_and_there_at_the_next_start(
    controller: Controller, tmp_path: Path
) -> None:
    controller.files.review(tmp_path / "mine.pth").accept("")
    assert "recognised as MAE" in controller.workspace.status.text
    assert controller.workspace.chosen[-1] == "mine"
    controller.workspace.available = ()
    controller.encoder_list.list_known()
    assert [spec.name for spec in controller.workspace.available if spec.origin == "file"] == ["mine"]


@pytest.mark.parametrize("there", [True, False])
def test_a_file_that_changed_or_moved_is_unticked_and_can_be_found_again(
    controller: Controller, library: KnownLibrary, tmp_path: Path, there: bool
) -> None:
    workspace, path = controller.workspace, tmp_path / "mine.pth"
    controller.files.review(path, Overrides(num_heads=4)).accept("")
    library.listed["mine"] = replace(library.listed["mine"], trouble="Expected the weights of mine.")
    if not there:
        path.unlink()
    controller.encoder_list.list_again()
    (spec,) = dict(grouped(workspace.available))["Your files"]
    assert warning_of(spec) == ("changed" if there else "moved")
    assert "mine" not in workspace.chosen
    again = controller.files.review_again("mine", tmp_path / "found.pth")
    assert (again.name, again.overrides) == ("mine", Overrides(num_heads=4))
    again.accept(again.name)
    (spec,) = dict(grouped(workspace.available))["Your files"]
    assert (spec.trouble, spec.path) == ("", tmp_path / "found.pth")
    assert workspace.chosen[-1] == "mine"


def test_a_forgotten_file_is_gone_from_list_and_ticks(controller: Controller, tmp_path: Path) -> None:
    controller.files.review(tmp_path / "mine.pth").accept("")
    controller.files.forget("mine")
    assert not [spec for spec in controller.workspace.available if spec.origin == "file"]
    assert "mine" not in controller.workspace.chosen
    assert (tmp_path / "mine.pth").exists()
    controller.files.forget("mine")
    assert controller.workspace.status.failed


def test_a_list_that_cannot_be_read_is_said(controller: Controller, library: KnownLibrary) -> None:
    library.warning = "Expected the list of remembered encoders; it is damaged."
    controller.encoder_list.list_again()
    assert controller.workspace.status.failed
    assert "damaged" in controller.workspace.status.text
