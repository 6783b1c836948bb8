import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from napari_sslmaps.encoders.families.unet import UNetArchitecture
from napari_sslmaps.encoders.pretext_heads.dira import PatchDiscriminator
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.lab.training.checkpoints import save_encoder
from napari_sslmaps.lab.training.numerics import TrainingPosition
from napari_sslmaps.lab.training.objectives import dira as module
from napari_sslmaps.lab.training.objectives.dira import DiRA
from napari_sslmaps.lab.training.views import CropScheme

from .tiny import seeded, some_fields, tiny

EARLY, LATE = TrainingPosition(0, 10), TrainingPosition(9, 10)
TERMS = {
    "Di": {"discrimination"},
    "Di+Re": {"discrimination", "restoration"},
    "Di+Re+Ad": {"discrimination", "restoration", "adversary", "judge"},
}


def one(tensor):
    return tensor


@pytest.mark.parametrize("ingredients", TERMS)
def test_each_ingredient_is_there_when_asked_for_and_trains_only_its_own(ingredients):
    objective = tiny("dira", ingredients=ingredients)
    losses = objective.loss(some_fields(4), LATE, seeded())
    assert set(losses) == {"total"} | TERMS[ingredients]
    losses["total"].backward()
    trained = {name for name, p in objective.named_parameters() if p.requires_grad}
    assert all(objective.get_parameter(name).grad is not None for name in trained)
    parts = {".".join(name.split(".")[:3]) for name in trained}
    assert ("query.unet.decoder" in parts) == ("Re" in ingredients)
    assert any(name.startswith("discriminator") for name in trained) == ("Ad" in ingredients)


def test_the_total_is_the_papers_sum():
    objective = tiny("dira", restoration_weight=7.0, adversary_weight=0.5)
    with torch.no_grad():
        terms = objective.loss(some_fields(4), LATE, seeded())
    losses = {name: float(value) for name, value in terms.items()}
    expected = losses["discrimination"] + 7 * losses["restoration"] + 0.5 * losses["adversary"]
    assert losses["total"] == pytest.approx(expected + losses["judge"], rel=1e-5)


def test_the_adversary_waits_for_the_second_phase():
    objective = tiny("dira")
    losses = objective.loss(some_fields(4), EARLY, seeded())
    assert set(losses) == {"total", "discrimination", "restoration"}
    losses["total"].backward()
    assert all(p.grad is None for p in objective.discriminator.parameters())


def test_neither_player_s_term_trains_the_other():
    objective = tiny("dira")
    clean, restored = torch.rand(2, 1, 64, 64), torch.rand(2, 1, 64, 64, requires_grad=True)
    terms = objective._adversarial_losses(objective.discriminator, clean, restored)
    terms["adversary"].backward(retain_graph=True)
    assert float(restored.grad.abs().sum()) > 0
    assert all(p.grad is None for p in objective.discriminator.parameters())
    restored.grad = None
    terms["judge"].backward()
    assert restored.grad is None
    assert all(p.grad is not None for p in objective.discriminator.parameters())


def test_the_discriminator_judges_patches_of_a_grey_image():
    assert PatchDiscriminator(4)(torch.rand(2, 1, 64, 96)).shape == (2, 1, 8, 12)


def test_what_is_restored_is_the_undistorted_grey_view_in_the_inputs_orientation(monkeypatch):
    objective = tiny("dira", ingredients="Di+Re").eval()
    seen = {}

    def coloured(views, generator, strength):
        seen["views"] = views
        return 0.5 * views

    def compared(restored, clean):
        seen["clean"] = clean
        return (restored - clean).sum()

    monkeypatch.setattr(module, "jitter_stain", coloured)
    monkeypatch.setattr(functional, "mse_loss", compared)
    objective.loss(some_fields(3), EARLY, seeded())
    luma = (seen["views"][:3] * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=1, keepdim=True)
    torch.testing.assert_close(seen["clean"], luma)


def test_the_queue_takes_the_step_s_keys_in_order_and_wraps():
    objective = tiny("dira", queue=8)
    keys = torch.arange(6.0)[:, None].expand(6, 4)
    before = objective.queue.clone()
    objective._enqueue(keys)
    assert torch.equal(objective.queue[:6], keys)
    assert torch.equal(objective.queue[6:], before[6:])
    objective._enqueue(keys + 10)
    assert objective.queue[:, 0].tolist() == [12, 13, 14, 15, 4, 5, 10, 11]
    assert int(objective.position) == 4


def test_more_keys_than_the_queue_holds_leave_the_latest():
    objective = tiny("dira", queue=4)
    objective._enqueue(torch.arange(7.0)[:, None].expand(7, 4))
    assert sorted(objective.queue[:, 0].tolist()) == [3, 4, 5, 6]


def test_keys_are_enqueued_after_the_step_and_not_in_evaluation():
    objective = tiny("dira")
    before = objective.queue.clone()
    objective.loss(some_fields(2), EARLY, seeded())
    objective.loss(some_fields(2, seed=1), EARLY, seeded(1))
    assert torch.equal(objective.queue, before)
    objective.after_step(EARLY, one)
    assert int(objective.position) == 4
    torch.testing.assert_close(objective.queue[:4].norm(dim=1), torch.ones(4))
    objective.eval()
    objective.loss(some_fields(2), EARLY, seeded())
    objective.after_step(EARLY, one)
    assert int(objective.position) == 4


def test_keys_of_other_processes_join_the_queue():
    objective = tiny("dira")
    objective.loss(some_fields(2), EARLY, seeded())
    objective.after_step(EARLY, lambda tensor: torch.cat([tensor, tensor]))
    assert int(objective.position) == 4


@pytest.mark.parametrize("ingredients", TERMS)
def test_the_file_holds_what_was_trained_and_opens(ingredients, tmp_path):
    objective = tiny("dira", ingredients=ingredients)
    path = tmp_path / "dira.safetensors"
    save_encoder(objective, path, provenance={"data": "none"})
    names = {name.split(".")[0] for name in load_file(path)}
    expected = {"encoder", "projection"}
    expected |= {"decoder", "segmentation_head"} if "Re" in ingredients else set()
    assert names == expected | ({"discriminator"} if "Ad" in ingredients else set())
    encoder = load_encoder(path, device="cpu", precision="float32")
    assert encoder.spec.architecture == objective.architecture
    assert bool(encoder.spec.architecture.decoder_channels) == ("Re" in ingredients)
    pixels = some_fields(1, side=64)
    tokens = torch.from_numpy(np.asarray(encoder.encode(pixels.permute(0, 2, 3, 1).numpy()).tokens))
    with torch.no_grad():
        own = objective.eval().tokens(pixels)
    torch.testing.assert_close(tokens.flatten(1, 2), own, atol=2e-2, rtol=0)


def test_tokens_of_a_decoder_that_is_not_trained_are_refused():
    shape = UNetArchitecture("basic", (1,) * 4, (8,) * 4, (8,) * 5, "decoder.blocks.2")
    with pytest.raises(InvalidOptionError, match="token stage of the encoder"):
        DiRA(shape, CropScheme(64, (48.0, 64.0)), {"ingredients": "Di"})


def test_the_summary_says_which_ingredients_there_were():
    assert tiny("dira", ingredients="Di").summary().startswith("InfoNCE (")
    assert "restoration (" in tiny("dira", ingredients="Di+Re").summary()
    assert "10 x restoration + 0.001 x adversary" in tiny("dira").summary()
