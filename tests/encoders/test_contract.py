"""One contract for every encoder: each that has a name, and a tiny one of each method."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from encoders_factory import write_encoder

from napari_sslmaps.encoders.cards import facts_of, verdict_of
from napari_sslmaps.encoders.catalog import ALIASES, CONTROLS, EMBEDDED, NAMES, weights_path
from napari_sslmaps.encoders.header import read_header, starting_gain
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.registry import get_spec, hash_encoder, list_encoders, load_encoder, model_card

TRANSFORMERS = [method for method in METHODS if method != "dira"]


@pytest.fixture(scope="module", params=[*NAMES, *METHODS])
def encoder(request, tmp_path_factory):
    if request.param in NAMES:
        return load_encoder(request.param, device="cpu", precision="float32")
    folder = tmp_path_factory.mktemp("weights")
    path = write_encoder(folder / f"{request.param}.safetensors", request.param)
    return load_encoder(path, device="cpu", precision="float32")


@pytest.fixture
def tiles(encoder):
    constraint = encoder.spec.constraint
    side = constraint.size_multiple * -(-4 * constraint.token_stride // constraint.size_multiple)
    shape = (2, side, side + constraint.size_multiple, 3)
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def test_tokens_lie_on_the_grid_and_are_finite(encoder, tiles):
    tokens = encoder.encode(tiles).tokens
    stride = encoder.spec.constraint.token_stride
    assert tokens.shape[:3] == (2, tiles.shape[1] // stride, tiles.shape[2] // stride)
    assert tokens.dtype == torch.float32
    assert torch.isfinite(tokens).all()


def test_attention_and_prefix_mass_sum_to_one_or_there_is_activation(encoder, tiles):
    features = encoder.encode(tiles)
    if encoder.spec.method == "dira":
        assert features.attention is None
        assert features.prefix_attention is None
        assert features.activation.shape == features.tokens.shape[:3]
        assert (features.activation >= 0).all()
        return
    assert features.activation is None
    assert features.attention.shape[2:] == features.tokens.shape[1:3]
    total = features.attention.sum(dim=(2, 3)) + features.prefix_attention
    torch.testing.assert_close(total, torch.ones_like(total))


def test_float32_repeats_bit_for_bit(encoder, tiles):
    first, second = encoder.encode(tiles), encoder.encode(tiles)
    assert torch.equal(first.tokens, second.tokens)


def test_a_tile_does_not_depend_on_its_neighbours_in_the_batch(encoder, tiles):
    together = encoder.encode(tiles).tokens[1]
    alone = encoder.encode(tiles[1:]).tokens[0]
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_what_is_listed_is_what_was_loaded(encoder):
    spec = encoder.spec
    assert spec.method in METHODS
    assert len(spec.sha256) == 64
    assert spec.licence
    assert spec.architecture == encoder.report.architecture
    assert (spec.megabytes > 0) == (spec.origin != "control")
    if spec.name in NAMES:
        assert spec == replace(get_spec(spec.name), sha256=hash_encoder(spec.name))
        assert spec.name in str(encoder.report) or spec.alias_of


def test_half_precision_tokens_point_the_same_way(encoder, tiles):
    known = encoder.spec.path if encoder.spec.origin == "file" else encoder.spec.name
    half = load_encoder(known, device="cpu", precision="bfloat16")
    exact, halved = (item.encode(tiles).tokens for item in (encoder, half))
    assert halved.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(exact, halved, dim=-1).mean() > 0.99


def test_sets_come_first_then_controls_then_aliases():
    specs = list_encoders()
    assert tuple(spec.name for spec in specs) == (*EMBEDDED, *CONTROLS, *ALIASES) == NAMES
    kinds = [spec.origin for spec in specs if not spec.alias_of]
    assert kinds == ["embedded"] * len(EMBEDDED) + ["control"] * len(CONTROLS)
    domains = [spec.domain for spec in specs if spec.origin == "embedded" and not spec.alias_of]
    assert domains == sorted(domains)
    assert all(domains)


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_is_the_original_under_its_own_name(alias):
    spec, original = get_spec(alias), get_spec(ALIASES[alias])
    assert spec == replace(original, name=alias, alias_of=original.name)
    assert model_card(alias) == model_card(original.name)


@pytest.mark.parametrize("name", EMBEDDED)
def test_every_embedded_architecture_has_an_untrained_twin(name):
    def start(spec, header):
        return spec.method, spec.architecture, spec.normalisation, starting_gain(read_header(header))

    starts = [start(get_spec(control), weights_path(twin)) for control, twin in CONTROLS.items()]
    assert start(get_spec(name), weights_path(name)) in starts


@pytest.mark.parametrize("name", NAMES)
def test_every_card_begins_with_its_verdict(name):
    card = model_card(name)
    assert card.startswith(f"# {get_spec(name).alias_of or name}\n")
    label, sentence = verdict_of(card)
    assert label.startswith("It ")
    assert sentence.startswith(label)
    assert "**" not in sentence


@pytest.mark.parametrize("name", EMBEDDED)
def test_what_a_card_says_as_data_is_what_it_says_in_words(name):
    facts, card = facts_of(get_spec(name)), model_card(name)
    label, sentence = verdict_of(card)
    assert label == facts.label
    assert f"{len(facts.ahead_on)} of {len(facts.real_sets)} sets" in label
    assert facts.explained in sentence
    assert all(known in sentence for known in facts.real_sets)
    assert facts.beats_simulated == ("It beats its controls on simulated" in card)
    assert "<!--" not in card


def test_a_card_without_data_says_nothing_as_data(tmp_path):
    spec = replace(get_spec(EMBEDDED[0]), path=tmp_path / "one.safetensors")
    assert facts_of(spec) is None
    (tmp_path / "one.md").write_text("# one\n\n**It beat its controls** once.\n", encoding="utf-8")
    assert facts_of(spec) is None


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_card_tells_the_hash_of_its_file(name):
    assert hash_encoder(name) in model_card(name)
