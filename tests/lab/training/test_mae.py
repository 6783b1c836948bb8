import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from napari_sslmaps.encoders.pretext_heads.mae import to_patches
from napari_sslmaps.lab.training.numerics import TrainingPosition
from napari_sslmaps.pretext.masks import random_mask

from .tiny import seeded, some_fields, tiny

START = TrainingPosition(0, 10)
RENAMES = (
    ("attn.proj", "attention.o_proj"),
    ("norm1", "layernorm_before"),
    ("norm2", "layernorm_after"),
    ("decoder_blocks.", "decoder.decoder_layers."),
    ("blocks.", "vit.layers."),
    ("patch_embed.proj", "vit.embeddings.patch_embeddings.projection"),
    ("pos_embed", "vit.embeddings.position_embeddings"),
    ("cls_token", "vit.embeddings.cls_token"),
)


@settings(deadline=None, max_examples=30)
@given(count=st.integers(1, 5), patches=st.integers(2, 80), ratio=st.floats(0.1, 0.9))
def test_every_patch_is_either_visible_or_hidden(count, patches, ratio):
    visible, hidden = random_mask(count, patches, ratio, seeded())
    assert visible.shape[1] == round(patches * (1 - ratio))
    together = torch.cat([visible, hidden], dim=1).sort(dim=1).values
    assert bool((together == torch.arange(patches)).all())


def test_patches_are_hidden_uniformly_and_independently():
    _, hidden = random_mask(4000, 16, 0.75, seeded())
    masked = torch.zeros(4000, 16).scatter(1, hidden, 1.0)
    assert float((masked.mean(dim=0) - 0.75).abs().max()) < 0.03
    pairs = masked.T @ masked / 4000
    # Two patches are both hidden with probability 12/16 * 11/15.
    off_diagonal = pairs[~torch.eye(16, dtype=torch.bool)]
    assert float((off_diagonal - 0.55).abs().max()) < 0.04


def test_patches_are_channels_last_and_row_major():
    image = torch.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4).float()
    patches = to_patches(image, 2)
    assert patches.shape == (2, 4, 12)
    torch.testing.assert_close(patches[0, 1].reshape(2, 2, 3), image[0, :, :2, 2:].permute(1, 2, 0))


def in_transformers(objective, *, norm_pix_loss):
    """ViTMAE of transformers with the weights of an objective."""
    config = ViTMAEConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=64,
        patch_size=8,
        decoder_num_attention_heads=2,
        decoder_hidden_size=8,
        decoder_num_hidden_layers=1,
        decoder_intermediate_size=32,
        layer_norm_eps=1e-6,
        norm_pix_loss=norm_pix_loss,
    )
    state = {}
    for key, value in objective.exported().items():
        if key == "decoder_pos_embed":
            name = "decoder.decoder_pos_embed"
        else:
            name = key
            for ours, theirs in RENAMES:
                name = name.replace(ours, theirs) if theirs not in name else name
        if key in {"norm.weight", "norm.bias"}:
            name = f"vit.layer{key}"
        elif key.startswith(("decoder_embed", "decoder_norm", "decoder_pred", "mask_token")):
            name = f"decoder.{key}"
        if "attn.qkv" in name:
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                state[name.replace("attn.qkv", f"attention.{letter}_proj")] = part
        else:
            state[name] = value
    model = ViTMAEForPreTraining(config)
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize("norm_pix_loss", [True, False])
def test_loss_and_gradient_are_those_of_transformers_vitmae(norm_pix_loss):
    objective = tiny("mae", norm_pix_loss=norm_pix_loss)
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=seeded()))
    theirs = in_transformers(objective, norm_pix_loss=norm_pix_loss)
    images = objective.normalise(some_fields(3, side=64))
    noise = torch.rand(3, 64, generator=seeded(5))
    order = noise.argsort(dim=1)
    loss = objective.reconstruction_loss(images, order[:, :16], order[:, 16:])
    expected = theirs(images, noise=noise).loss
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-6)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(
        objective.encoder.patch_embed.proj.weight.grad,
        theirs.vit.embeddings.patch_embeddings.projection.weight.grad,
        rtol=1e-3,
        atol=1e-5,
    )
    torch.testing.assert_close(
        objective.mask_token.grad, theirs.decoder.mask_token.grad, rtol=1e-3, atol=1e-5
    )


def test_the_settings_say_how_pixels_were_predicted():
    assert tiny("mae").pretext_settings["norm_pix"] is True
    plain = tiny("mae", norm_pix_loss=False)
    assert plain.pretext_settings["norm_pix"] is False
    assert "as they are" in plain.summary()


def test_visible_patches_have_no_part_in_the_loss():
    objective = tiny("mae").eval()
    images = objective.normalise(some_fields(2, side=64))
    order = torch.rand(2, 64, generator=seeded()).argsort(dim=1)
    visible, hidden = order[:, :16], order[:, 16:]
    pixels = images.requires_grad_()
    objective.decode(objective.encode(pixels, visible), visible, 64).sum().backward()
    grid = pixels.grad.abs().sum(dim=1).reshape(2, 8, 8, 8, 8).sum(dim=(2, 4)).flatten(1)
    # What is hidden has no influence on the prediction.
    assert float(grid.gather(1, hidden).abs().max()) == 0
    assert float(grid.gather(1, visible).min()) > 0


def test_the_gain_scales_the_patch_embedding_alone():
    plain, loud = tiny("mae", patch_gain=1.0), tiny("mae", patch_gain=4.0)
    before, after = plain.exported(), loud.exported()
    torch.testing.assert_close(4 * before["patch_embed.proj.weight"], after["patch_embed.proj.weight"])
    assert all(torch.equal(before[k], after[k]) for k in before if k != "patch_embed.proj.weight")


def test_decoder_sizes_are_options():
    objective = tiny("mae", decoder_dim=12, decoder_depth=3, decoder_heads=4)
    assert len(objective.decoder_blocks) == 3
    assert objective.decoder_embed.out_features == 12
    assert objective.decoder_blocks[0].attn.num_heads == 4
    assert objective.loss(some_fields(), START, seeded())["total"].requires_grad
