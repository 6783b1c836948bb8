"""Trials of encoders whose pace is not known, and what a run teaches."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from viewer_kit import KnownPaces, LaterRunner, known_services, noise

from napari_sslmaps.core.resolution import Resolution
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import CheckpointError
from napari_sslmaps.pipeline.cost import Throughput
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.state.workspace import WorkspaceModel

TRIAL = 7
"""Of the runners that a controller makes, in order."""


@pytest.fixture
def throughputs() -> KnownPaces:
    return KnownPaces()


@pytest.fixture
def runners() -> list[LaterRunner]:
    return []


@pytest.fixture
def waiting(
    viewer: ViewerModel,
    workspace: WorkspaceModel,
    specs: tuple[EncoderSpec, ...],
    throughputs: KnownPaces,
    runners: list[LaterRunner],
) -> Iterator[Controller]:
    """A controller whose work waits until it is delivered."""

    def make() -> LaterRunner:
        runners.append(LaterRunner())
        return runners[-1]

    made = Controller(viewer, workspace, make_runner=make, services=known_services(throughputs=throughputs))
    viewer.add_image(noise(64, 80), name="tissue")
    workspace.available = specs
    workspace.touched = True
    yield made
    made.close()


def test_nothing_is_tried_out_before_a_person_has_chosen_anything(
    waiting: Controller, runners: list[LaterRunner]
) -> None:
    waiting.workspace.touched = False
    waiting.workspace.chosen = ("mae-demo",)
    assert not runners[TRIAL].waiting
    waiting.workspace.touched = True
    waiting.workspace.chosen = ("mae-demo", "dinov3-demo")
    assert runners[TRIAL].waiting


def test_encoders_of_unknown_pace_are_tried_out_once(
    waiting: Controller, runners: list[LaterRunner], throughputs: KnownPaces
) -> None:
    workspace, trial = waiting.workspace, runners[TRIAL]
    assert not trial.waiting
    workspace.chosen = ("mae-demo",)
    assert workspace.plan.text.endswith("1 MB")
    workspace.level = 0
    workspace.chosen = ("mae-demo", "dinov3-demo")
    trial.deliver()
    assert throughputs.measured == ["mae-demo", "dinov3-demo"]
    assert workspace.plan.text.endswith("about 1 s on cpu")
    workspace.chosen = ("mae-demo",)
    trial.deliver()
    assert len(throughputs.measured) == 2


def test_a_run_ends_the_trial_and_teaches_its_pace(
    waiting: Controller, runners: list[LaterRunner], throughputs: KnownPaces
) -> None:
    waiting.workspace.chosen = ("mae-demo",)
    waiting.run()
    assert not runners[TRIAL].waiting
    runners[0].deliver()
    assert throughputs.measured == []
    assert throughputs.throughputs["mae-demo"].seconds > 0
    assert not runners[TRIAL].waiting


def test_no_cost_is_foretold_of_what_has_been_run(waiting: Controller, runners: list[LaterRunner]) -> None:
    workspace = waiting.workspace
    workspace.chosen = ("mae-demo",)
    before = workspace.plan.text
    assert before.endswith(" MB")
    waiting.run()
    runners[0].deliver()
    assert workspace.plan.text == before.rpartition(", ")[0]
    workspace.detail = 2
    assert "16 × 20 tokens" in workspace.plan.text
    assert "about" in workspace.plan.text
    workspace.detail = 1
    assert workspace.plan.text == before.rpartition(", ")[0]
    waiting.viewer.layers[0].data = noise(64, 80)
    assert "about" in workspace.plan.text


def test_an_encoder_that_cannot_be_loaded_is_tried_once(
    waiting: Controller, runners: list[LaterRunner], throughputs: KnownPaces
) -> None:
    def refuse() -> None:
        raise CheckpointError("It is damaged.")

    throughputs.on_measure = refuse
    waiting.workspace.chosen = ("mae-demo",)
    runners[TRIAL].deliver()
    assert not runners[TRIAL].waiting
    assert not waiting.workspace.plan.failed
    assert waiting.workspace.plan.text.endswith("1 MB")


def test_plans_follow_the_region(waiting: Controller, throughputs: KnownPaces) -> None:
    workspace = waiting.workspace
    throughputs.learn(workspace.available[0], Throughput(1e-4, "cuda:0"))
    workspace.chosen = ("mae-demo",)
    before = workspace.plan.text
    assert before.endswith("s on cuda:0")
    waiting.viewer.add_image(noise(640, 800))
    assert workspace.plan.text.startswith("640 × 800 px → 80 × 100 tokens")
    waiting.viewer.layers.selection.active = waiting.viewer.layers[0]
    assert workspace.plan.text == before


def test_the_size_of_a_pixel_belongs_to_its_image(waiting: Controller) -> None:
    workspace, layers = waiting.workspace, waiting.viewer.layers
    workspace.chosen = ("mae-demo",)
    workspace.spacing_um = 0.5
    assert "at 0.5 µm/px" in workspace.plan.text
    waiting.viewer.add_image(noise(64, 80))
    assert workspace.spacing_um is None
    layers.selection.active = layers[0]
    assert workspace.spacing_um == 0.5


def test_a_region_far_from_what_the_encoder_learned_at_is_said(waiting: Controller) -> None:
    workspace = waiting.workspace
    spec = replace(workspace.available[0], trained=Resolution(um_per_px=0.5))
    workspace.available = (spec, *workspace.available[1:])
    workspace.chosen = (spec.name,)
    workspace.spacing_um = 0.125
    assert "finer" not in workspace.plan.text
    workspace.resolution = "native"
    assert workspace.plan.text.endswith(". It learned at 0.5 µm/px; this is read 4 times finer")
    assert not workspace.plan.failed


def test_of_several_encoders_those_far_from_what_they_learned_at_are_named(waiting: Controller) -> None:
    workspace = waiting.workspace
    near, far = (
        replace(spec, trained=Resolution(um_per_px=um))
        for spec, um in zip(workspace.available[:2], (0.125, 0.5), strict=True)
    )
    workspace.available = (near, far, *workspace.available[2:])
    workspace.chosen = (near.name, far.name)
    workspace.spacing_um, workspace.resolution = 0.125, "native"
    assert workspace.plan.text.endswith(f". {far.name}: It learned at 0.5 µm/px; this is read 4 times finer")
    workspace.available = (replace(near, trained=far.trained), far, *workspace.available[2:])
    assert workspace.plan.text.endswith(". It learned at 0.5 µm/px; this is read 4 times finer")


class Slow:
    """A level whose pixels come from elsewhere."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels, self.shape, self.dtype, self.ndim = pixels, pixels.shape, pixels.dtype, pixels.ndim
        self.read: list[object] = []

    def __getitem__(self, key: object) -> np.ndarray:
        self.read.append(key)
        return self.pixels[key]


def test_reading_is_measured_once_for_images_that_are_not_in_memory(
    waiting: Controller, runners: list[LaterRunner]
) -> None:
    workspace, trial = waiting.workspace, runners[TRIAL]
    workspace.chosen = ("mae-demo",)
    trial.deliver()
    slow = Slow(noise(64, 80))
    layer = waiting.viewer.add_image(slow, contrast_limits=(0, 255), multiscale=False)
    workspace.image = layer
    slow.read.clear()
    trial.deliver()
    assert slow.read == [(slice(0, 64), slice(0, 80))]
    workspace.region = "view"
    workspace.region = "whole"
    assert not trial.waiting


def test_the_line_turns_red_beyond_memory(waiting: Controller) -> None:
    waiting.workspace.chosen = ("mae-demo",)
    assert not waiting.workspace.plan.failed
    waiting.run_estimate.free_bytes = lambda: 1000
    waiting.run_estimate.update()
    assert waiting.workspace.plan.failed
    assert waiting.workspace.plan.text.endswith("1 MB. Only 1 MB of memory are free.")
