import numpy as np
import pytest
import torch

from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.lab.gate.features import TappedNetwork
from napari_sslmaps.lab.gate.gate import Twins

from .conftest import TINY_VIT, write_weights


@pytest.fixture(params=["mae", "ijepa", "dinov3", "dira"])
def encoder(request, tmp_path):
    return load_encoder(
        write_weights(tmp_path / "tiny.safetensors", request.param), device="cpu", precision="float32"
    )


def test_the_shipped_tap_is_what_users_see(encoder):
    images = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    tapped = TappedNetwork.of(encoder)
    seen = encoder.encode(np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())).tokens
    torch.testing.assert_close(tapped.compute(images)[tapped.shipped], seen.flatten(1, 2))


def test_every_tap_is_on_the_probe_s_grid(encoder):
    found = TappedNetwork.of(encoder).compute(torch.rand(1, 3, 128, 128))
    assert {tokens.shape[:2] for tokens in found.values()} == {(1, 256)}
    assert len(found) == (9 if encoder.spec.method == "dira" else 2)


def test_no_hook_stays_behind(encoder):
    tapped = TappedNetwork.of(encoder)
    tapped.compute(torch.rand(1, 3, 128, 128))
    assert not any(module._forward_hooks for module in tapped.network.modules())


def test_an_untrained_control_is_its_seed_s_and_leaves_the_generator_alone():
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first, again, other = (
        Twins("mae", TINY_VIT, "unit").draw(seed).network.state_dict()["blocks.0.attn.qkv.weight"]
        for seed in (0, 0, 1)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_an_unknown_kind_of_encoder_is_refused(tmp_path):
    class Other:
        extractor, device = object(), "cpu"

    with pytest.raises(InvalidOptionError, match="Expected a transformer or a U-Net on the CPU; got object"):
        TappedNetwork.of(Other())
