"""Downloads of published encoders: progress, a stop, a failure, and the tick in the end."""

from dataclasses import replace
from pathlib import Path

import pytest
from viewer_kit import KnownLibrary, make_spec

from napari_sslmaps.errors import WeightsUnavailableError
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.encoders.encoder_list import grouped, warning_of
from napari_sslmaps.viewer.encoders.library import OnBytes

NAME = "mae-vit-b16"


@pytest.fixture
def offered(controller: Controller, library: KnownLibrary, tmp_path: Path) -> Controller:
    absent = replace(make_spec(tmp_path / "hub"), name=NAME, origin="published", trouble="Not here yet.")
    library.hub[NAME] = absent
    controller.encoder_list.list_again()
    return controller


def test_a_published_encoder_is_listed_with_its_size(offered: Controller) -> None:
    (spec,) = dict(grouped(offered.workspace.available))["Published"]
    assert warning_of(spec) == "448 MB to download"
    assert NAME not in offered.workspace.chosen


def test_nothing_is_fetched_before_the_start(offered: Controller, library: KnownLibrary) -> None:
    offered.files.download(NAME).close()
    assert library.hub[NAME].trouble


def test_progress_is_announced_and_the_encoder_ticked(offered: Controller, library: KnownLibrary) -> None:
    download, seen = offered.files.download(NAME), []

    def fetch(on_bytes: OnBytes) -> None:
        on_bytes(0, 0)
        on_bytes(30, 120)

    library.on_download = fetch
    download.changed.connect(lambda: seen.append((download.running, download.fraction)))
    download.start()
    assert seen == [(True, 0.0), (True, 0.0), (True, 0.25)]
    assert not download.running
    assert offered.workspace.chosen[-1] == NAME


def test_a_stop_keeps_what_came_and_says_nothing_of_failure(
    offered: Controller, library: KnownLibrary
) -> None:
    download = offered.files.download(NAME)

    def fetch(on_bytes: OnBytes) -> None:
        download.stop()
        on_bytes(30, 120)

    library.on_download = fetch
    download.start()
    assert not download.running
    assert download.error_text == ""
    assert NAME not in offered.workspace.chosen


def test_a_refusal_is_a_sentence_and_can_be_tried_again(offered: Controller, library: KnownLibrary) -> None:
    download = offered.files.download(NAME)

    def refuse(_on_bytes: OnBytes) -> None:
        raise WeightsUnavailableError("Expected access to the files. Ask for it on their page.")

    library.on_download = refuse
    download.start()
    assert download.error_text == "Expected access to the files. Ask for it on their page."
    library.on_download = str
    download.start()
    assert download.error_text == ""
    assert offered.workspace.chosen[-1] == NAME
