import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from napari_sslmaps.encoders.header import read_header
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.encoders.spec import ViTArchitecture, architecture_from_dict
from napari_sslmaps.encoders.unet import build_unet
from napari_sslmaps.encoders.vit import build_vit
from napari_sslmaps.errors import CheckpointError, InvalidOptionError
from napari_sslmaps.pretraining.objectives import build_objective
from napari_sslmaps.pretraining.recipes import demo_recipe
from napari_sslmaps.pretraining.saving import describe, save_encoder
from napari_sslmaps.pretraining.trainer import advance, resume, save, start, train

from .conftest import tiny_recipe

_COMPANIONS = (
    "mask_token",
    "decoder_",
    "predictor.",
    "dino_head.",
    "ibot_head.",
    "discriminator.",
    "projection.",
)


def test_a_resumed_run_repeats_the_uninterrupted_one(recipe, two_images, tmp_path):
    whole = start(recipe, 6)
    expected = [advance(whole, two_images)["total"] for _ in range(6)]
    broken = start(recipe, 6)
    for _ in range(4):
        advance(broken, two_images)
    save(broken, tmp_path / "checkpoint.pt")
    resumed = resume(recipe, tmp_path / "checkpoint.pt")
    assert resumed.step == 4
    assert [advance(resumed, two_images)["total"] for _ in range(2)] == expected[4:]


def test_a_new_length_is_noted(two_images, tmp_path):
    run = start(tiny_recipe("mae"), 6)
    advance(run, two_images)
    save(run, tmp_path / "checkpoint.pt")
    resumed = resume(tiny_recipe("mae"), tmp_path / "checkpoint.pt", steps=3)
    assert resumed.steps == 3
    assert resumed.notes == ["length changed from 6 to 3 steps at step 1"]


def test_a_checkpoint_of_another_method_is_refused(two_images, tmp_path):
    save(start(tiny_recipe("mae"), 1), tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="Expected a checkpoint of ijepa"):
        resume(tiny_recipe("ijepa"), tmp_path / "checkpoint.pt")


def test_training_logs_and_warns_of_a_collapse(two_images, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("napari_sslmaps.pretraining.trainer.feature_rank", lambda *_: 1.2)
    with caplog.at_level(logging.WARNING):
        run = train(start(tiny_recipe("mae"), 2), two_images_of(160), tmp_path, every=1)
    assert "nearly collapsed" in caplog.text
    assert [line["step"] for line in run.history] == [1, 2]
    assert (tmp_path / "checkpoint.pt").exists()
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2


def two_images_of(side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)


def test_a_diverged_run_stops_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_sslmaps.pretraining.trainer.feature_rank", lambda *_: 9.0)
    recipe = replace(tiny_recipe("mae"), peak_rate=float("inf"))
    with pytest.raises(CheckpointError, match="the training diverged"):
        train(start(recipe, 5), two_images_of(160), tmp_path, every=1)


def saved(method, images, folder):
    run = start(tiny_recipe(method), 1)
    losses = advance(run, images)
    run.history.append({"step": 1.0, **losses, "rank": 9.0, "seconds": 1.0})
    path = folder / f"{method}-tiny.safetensors"
    provenance = describe(run, date="2026-01-01", device="CPU", package_version="0")
    save_encoder(run.objective, path, provenance=provenance)
    return run, path


def test_a_saved_encoder_loads_with_every_key_used(method, two_images, tmp_path):
    run, path = saved(method, two_images, tmp_path)
    architecture = architecture_from_dict(read_header(path)["architecture"])
    build = build_vit if isinstance(architecture, ViTArchitecture) else build_unet
    network = build(architecture).eval()
    tensors = load_file(path)
    network.load_state_dict({k: v for k, v in tensors.items() if not k.startswith(_COMPANIONS)})
    assert any(key.startswith(_COMPANIONS) for key in tensors)
    if isinstance(architecture, ViTArchitecture):
        pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        prefix = network.num_prefix_tokens
        tokens = network.forward_features(run.objective.normalise(pixels))[:, prefix:]
        torch.testing.assert_close(tokens, run.objective.eval().tokens(pixels), atol=2e-2, rtol=0)


def test_the_library_opens_what_was_saved(method, two_images, tmp_path):
    _, path = saved(method, two_images, tmp_path)
    encoder = load_encoder(path, device="cpu", precision="float32")
    assert encoder.spec.method == method
    assert encoder.spec.architecture == tiny_recipe(method).architecture


def test_saving_twice_gives_the_same_bytes(two_images, tmp_path):
    _, first = saved("mae", two_images, tmp_path)
    before = first.read_bytes()
    saved("mae", two_images, tmp_path)
    assert first.read_bytes() == before


def test_an_unknown_method_is_refused():
    with pytest.raises(InvalidOptionError, match="Expected a method among mae"):
        demo_recipe("simclr")


def test_an_architecture_of_the_wrong_family_is_refused():
    wrong = replace(tiny_recipe("mae"), architecture=tiny_recipe("dira").architecture)
    with pytest.raises(InvalidOptionError, match="Expected a ViTArchitecture for mae"):
        build_objective(wrong)
