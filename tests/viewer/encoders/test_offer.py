from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image
from viewer_kit import KnownLibrary, known_services, make_spec, noise

from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import WeightsUnavailableError
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.encoders import encoder_list
from napari_sslmaps.viewer.encoders.encoder_list import GROUPS, domain_for, fitting, grouped, verdict
from napari_sslmaps.viewer.state.tasks import ImmediateRunner
from napari_sslmaps.viewer.state.workspace import WorkspaceModel

TISSUE = np.array([0.8, 0.5, 0.7], np.float32)
HISTOLOGY, ULTRASOUND = ("mae-histology", "dira-histology"), ("mae-ultrasound", "dira-ultrasound")


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, EncoderSpec]:
    specs = {}
    for name in (*HISTOLOGY, *ULTRASOUND):
        spec = make_spec(tmp_path / name, name)
        specs[name] = replace(spec, domain="ultrasound" if name in ULTRASOUND else "histology")
    control = replace(make_spec(tmp_path / "control", "mae-untrained"), origin="control", path=None)
    specs["mae-untrained"] = control
    monkeypatch.setattr(encoder_list, "EMBEDDED", (*HISTOLOGY, *ULTRASOUND))
    monkeypatch.setattr(encoder_list, "CONTROLS", {"mae-untrained": "mae-histology"})
    monkeypatch.setattr(encoder_list, "get_spec", specs.__getitem__)
    return specs


@pytest.fixture
def controller(
    viewer: ViewerModel, workspace: WorkspaceModel, listed: dict[str, EncoderSpec], library: KnownLibrary
) -> Iterator[Controller]:
    made = Controller(
        viewer,
        workspace,
        make_runner=ImmediateRunner,
        services=known_services(library=library),
    )
    made.encoder_list.list_known()
    yield made
    made.close()


def coloured(height: int = 64, width: int = 80) -> np.ndarray:
    return noise(height, width, 1) * TISSUE


def test_without_an_image_histology_is_ticked(controller: Controller, workspace: WorkspaceModel) -> None:
    assert [spec.name for spec in workspace.available] == [*HISTOLOGY, *ULTRASOUND, "mae-untrained"]
    assert workspace.chosen == HISTOLOGY


def test_the_ticked_set_follows_the_image(controller: Controller, workspace: WorkspaceModel) -> None:
    viewer = controller.viewer
    stained = viewer.add_image(coloured(), name="stained")
    assert workspace.chosen == HISTOLOGY
    viewer.add_image(noise(64, 80), name="echo")
    assert workspace.chosen == ULTRASOUND
    viewer.layers.selection.active = stained
    assert workspace.chosen == HISTOLOGY
    viewer.add_image(np.repeat(noise(64, 80, 1), 3, axis=-1), rgb=True, name="grey as RGB")
    assert workspace.chosen == ULTRASOUND


def test_maps_are_in_view_again_when_the_image_and_its_set_come_back(
    controller: Controller, workspace: WorkspaceModel
) -> None:
    viewer = controller.viewer
    stained = viewer.add_image(coloured(), name="stained")
    workspace.maps = ("attention",)
    controller.run()
    echo = viewer.add_image(noise(64, 80), name="echo")
    controller.run()
    for image, encoder in ((stained, "mae-histology"), (echo, "mae-ultrasound"), (stained, "mae-histology")):
        viewer.layers.selection.active = image
        assert workspace.front == encoder
        assert controller.layer_manager.find(image, "attention", encoder).visible


@pytest.mark.parametrize("chosen", [(), ("mae-untrained",), ("mae-histology", "mae-untrained")])
def test_a_choice_by_hand_is_kept(
    controller: Controller, workspace: WorkspaceModel, chosen: tuple[str, ...]
) -> None:
    workspace.chosen = chosen
    controller.viewer.add_image(noise(64, 80))
    assert workspace.chosen == chosen
    controller.viewer.add_image(coloured())
    assert workspace.chosen == chosen


def test_a_file_that_was_added_stays_ticked(
    controller: Controller, workspace: WorkspaceModel, tmp_path: Path
) -> None:
    controller.files.review(tmp_path / "mine.safetensors").accept("")
    assert workspace.chosen == (*HISTOLOGY, "mine")
    controller.viewer.add_image(noise(64, 80))
    assert workspace.chosen == (*HISTOLOGY, "mine")
    assert grouped(workspace.available)[-1] == ("Your files", [workspace.available[-1]])


def test_an_alias_ticks_what_it_stands_for(controller: Controller, workspace: WorkspaceModel) -> None:
    workspace.chosen = ("dira-demo", "mae-untrained")
    assert [spec.name for spec in workspace.specs] == ["dira-histology", "mae-untrained"]


def test_a_file_of_an_alias_s_name_is_that_file(
    controller: Controller, workspace: WorkspaceModel, tmp_path: Path
) -> None:
    controller.files.review(tmp_path / "mae-demo.safetensors").accept("")
    workspace.chosen = ("mae-demo",)
    assert [(spec.name, spec.origin) for spec in workspace.specs] == [("mae-demo", "file")]


def test_a_lost_file_is_said_and_the_rest_is_listed(
    viewer: ViewerModel,
    workspace: WorkspaceModel,
    listed: dict[str, EncoderSpec],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lose(name: str) -> EncoderSpec:
        if name == "mae-histology":
            raise WeightsUnavailableError("The weight file of mae-histology is missing. Install again.")
        return listed[name]

    monkeypatch.setattr(encoder_list, "get_spec", lose)
    made = encoder_list.EncoderList(workspace, KnownLibrary())
    made.list_known()
    assert workspace.status.failed
    assert workspace.chosen == ("dira-histology",)
    made.close()


def test_once_closed_it_listens_no_more(workspace: WorkspaceModel, listed: dict[str, EncoderSpec]) -> None:
    closed = encoder_list.EncoderList(workspace, KnownLibrary())
    closed.list_known()
    closed.close()
    workspace.chosen = ("mae-untrained",)
    closed.tick_fitting()
    assert workspace.chosen == HISTOLOGY


def test_only_the_coarsest_level_of_a_pyramid_is_read() -> None:
    class Lazy:
        def __getitem__(self, index: object) -> np.ndarray:
            raise AssertionError("the finest level was read")

    source = encoder_list.LayerSource(
        Image([coloured(256, 256), coloured(64, 64)], multiscale=True, rgb=True)
    )
    source._arrays[0] = Lazy()
    assert not encoder_list.is_grey(source)


@pytest.mark.parametrize(
    ("data", "domain"),
    [
        (noise(20, 30), "ultrasound"),
        (noise(4, 20, 30), "ultrasound"),
        (coloured(20, 30), "histology"),
        (np.stack([coloured(20, 30)] * 4), "histology"),
        (np.dstack([coloured(20, 30), np.ones((20, 30), np.float32)]), "histology"),
        (np.full((20, 30, 3), np.nan, np.float32), "histology"),
    ],
    ids=["grey", "grey stack", "RGB", "RGB stack", "RGBA", "not finite"],
)
def test_colour_decides(data: np.ndarray, domain: str) -> None:
    with np.errstate(invalid="ignore"):
        assert domain_for(Image(data, rgb=data.shape[-1] in (3, 4), contrast_limits=(0, 1))) == domain


def test_where_a_domain_has_no_encoder_all_embedded_are_ticked(listed: dict[str, EncoderSpec]) -> None:
    specs = [listed[name] for name in (*HISTOLOGY, "mae-untrained")]
    assert fitting(specs, "ultrasound") == HISTOLOGY
    assert fitting([], "ultrasound") == ()


@given(st.data())
def test_every_encoder_is_in_one_group(data: st.DataObject) -> None:
    base = EncoderSpec("x", "mae", None, "unit", None, "", "", "control")  # type: ignore[arg-type]
    kinds = [
        ("embedded", "histology"),
        ("embedded", "ultrasound"),
        ("embedded", ""),
        ("control", ""),
        ("file", ""),
        ("published", ""),
    ]
    drawn = data.draw(st.lists(st.sampled_from(kinds), max_size=12))
    specs = [
        replace(base, name=str(number), origin=origin, domain=domain)
        for number, (origin, domain) in enumerate(drawn)
    ]
    groups = grouped(specs)
    titles = [title for title, _ in groups]
    assert titles == [title for title in GROUPS if title in titles]
    assert all(members for _, members in groups)
    assert sorted(spec.name for _, members in groups for spec in members) == sorted(s.name for s in specs)


def test_the_verdict_comes_from_the_card(tmp_path: Path) -> None:
    spec = make_spec(tmp_path / "one")
    assert verdict(spec) == ("It beat its controls", "It beat its controls in a test.")
    (tmp_path / "one.md").unlink()
    label, sentence = verdict(spec)
    assert (label, "model card of mae-demo is missing" in sentence) == ("", True)
