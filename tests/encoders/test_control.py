from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_sslmaps import embed
from napari_sslmaps.encoders import catalog, registry
from napari_sslmaps.encoders.catalog import CONTROLS
from napari_sslmaps.encoders.header import read_header
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.registry import get_spec, hash_encoder, load_encoder
from napari_sslmaps.encoders.untrained import draw_control, hash_weights
from napari_sslmaps.errors import InvalidOptionError


def loaded(name, **overrides):
    return load_encoder(name, device="cpu", precision="float32", **overrides)


@pytest.mark.parametrize("name", CONTROLS)
def test_it_is_drawn_the_same_each_time_and_leaves_the_generator_alone(name):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = draw_control(get_spec(name)).network
    assert torch.equal(torch.rand(3), expected)
    second = draw_control(get_spec(name)).network
    state = first.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in second.state_dict().items())


@pytest.mark.parametrize("name", CONTROLS)
def test_it_is_no_trained_network(name):
    control, trained = (
        load_encoder(key, device="cpu", precision="float32") for key in (name, CONTROLS[name])
    )
    tiles = np.random.default_rng(0).random((1, 64, 64, 3), dtype=np.float32)
    tokens, other = (encoder.encode(tiles).tokens for encoder in (control, trained))
    assert tokens.shape == other.shape
    assert not torch.allclose(tokens, other, atol=0.1)


def test_it_starts_as_its_twin_s_training_did(monkeypatch):
    header = read_header(catalog.weights_path("mae-histology"))

    def embedding_for(gain):
        provenance = {"provenance": {"recipe": {"options": {"patch_gain": gain}}}}
        monkeypatch.setattr(registry, "read_header", lambda _: header | provenance)
        return loaded("mae-untrained").extractor.network.patch_embed.proj.weight

    torch.testing.assert_close(embedding_for(2.0), 2 * embedding_for(1.0))


def test_the_hash_tells_every_weight_apart():
    network = draw_control(get_spec("mae-untrained")).network
    before = hash_weights(network)
    network.blocks[0].mlp.fc1.weight[0, 0] += 1e-6
    assert hash_weights(network) != before


def test_provenance_says_which_weights_these_were():
    image = np.random.default_rng(0).random((48, 64, 3), dtype=np.float32)
    provenance = embed(image, "ijepa-untrained").provenance
    assert provenance.encoder == "ijepa-untrained"
    assert provenance.weights_sha256 == hash_encoder("ijepa-untrained")


def test_overrides_do_not_change_the_weights():
    spec = get_spec("dira-untrained")
    stage = draw_control(spec, Overrides(token_stage="encoder.layer3"))
    assert stage.report.architecture == replace(spec.architecture, token_stage="encoder.layer3")
    assert hash_weights(stage.network) == hash_encoder(spec.name)
    heads = load_encoder(
        "mae-untrained", num_heads=2, normalisation="unit", device="cpu", precision="float32"
    )
    assert heads.spec.architecture.heads == 2
    assert heads.spec.normalisation == "unit"
    assert heads.spec.sha256 == hash_encoder("mae-untrained")


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"method": "dino"}, "Expected the method mae"),
        ({"num_heads": 5}, "divides"),
        ({"normalisation": "x"}, "x"),
    ],
)
def test_overrides_that_do_not_fit_are_refused(overrides, sentence):
    with pytest.raises(InvalidOptionError, match=sentence):
        load_encoder("mae-untrained", **overrides)
