import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.lab.training.numerics import TrainingPosition
from napari_sslmaps.lab.training.options import IJEPAOptions
from napari_sslmaps.pretext.masks import BlockScheme, draw_blocks

from .tiny import seeded, some_fields, tiny

START = TrainingPosition(0, 10)


@settings(deadline=None, max_examples=40)
@given(rows=st.integers(8, 20), columns=st.integers(8, 20), seed=st.integers(0, 1000))
def test_targets_are_rectangles_and_contexts_never_touch_them(rows, columns, seed):
    context, targets = draw_blocks(3, (rows, columns), seeded(seed))
    assert targets.shape[:2] == (4, 3)
    for image in range(3):
        seen = set(context[image].tolist())
        assert len(seen) == context.shape[1] >= 4
        for block in targets[:, image]:
            assert not seen & set(block.tolist())
            row, column = block // columns, block % columns
            height, width = int(row.max() - row.min()) + 1, int(column.max() - column.min()) + 1
            assert height * width == len(set(block.tolist())) == len(block)
            assert block.tolist() == sorted(block.tolist())


def test_targets_have_the_papers_scales_and_aspects():
    grid = (40, 40)
    sizes, aspects, starts = [], [], []
    for seed in range(300):
        _, targets = draw_blocks(1, grid, seeded(seed))
        row, column = targets[:, 0] // 40, targets[:, 0] % 40
        height, width = int(row[0].max() - row[0].min()) + 1, int(column[0].max() - column[0].min()) + 1
        sizes.append(height * width / 1600)
        aspects.append(height / width)
        starts += (row.min(dim=1).values / (40 - height)).tolist()
    assert min(sizes) == pytest.approx(0.15, abs=0.01)
    assert max(sizes) == pytest.approx(0.2, abs=0.01)
    assert np.mean(sizes) == pytest.approx(0.175, abs=0.003)
    assert min(aspects) == pytest.approx(0.75, abs=0.06)
    assert max(aspects) == pytest.approx(1.5, abs=0.08)
    assert np.mean(aspects) == pytest.approx(1.125, abs=0.04)
    assert np.mean(starts) == pytest.approx(0.5, abs=0.03)
    assert np.var(starts) == pytest.approx(1 / 12, abs=0.01)


def test_the_context_is_one_large_block_less_the_targets():
    none = BlockScheme(targets=1, target_scale=(0.001, 0.001))
    shares = [draw_blocks(1, (40, 40), seeded(seed), none)[0].shape[1] / 1600 for seed in range(200)]
    assert 0.83 < min(shares) < 0.87
    assert 0.98 < max(shares) <= 1
    usual = [draw_blocks(1, (40, 40), seeded(seed))[0].shape[1] / 1600 for seed in range(100)]
    # Four blocks of 17.5 % leave 46 % of a large context if they lay independently.
    assert np.mean(usual) == pytest.approx(0.46, abs=0.1)


def test_training_draws_the_blocks_that_its_options_say_and_a_view_draws_the_usual_ones():
    assert IJEPAOptions().blocks == BlockScheme()
    options = IJEPAOptions(2, (0.1, 0.2), (0.5, 2.0), (0.7, 0.8))
    assert options.blocks == BlockScheme(2, (0.1, 0.2), (0.5, 2.0), (0.7, 0.8))


def test_targets_that_leave_no_context_are_refused():
    with pytest.raises(InvalidOptionError, match="fewer or smaller"):
        draw_blocks(2, (8, 8), seeded(), BlockScheme(target_scale=(0.95, 1.0)))


def test_the_loss_is_smooth_l1_to_layer_normed_targets():
    objective = tiny("ijepa")
    images = objective.normalise(some_fields(3, side=64))
    context, targets = draw_blocks(3, (8, 8), seeded())
    with torch.no_grad():
        predicted = objective.predict(objective.encode(images, context), context, targets).numpy()
        full = objective.target.forward_features(images).numpy()
    normed = (full - full.mean(axis=2, keepdims=True)) / np.sqrt(full.var(axis=2, keepdims=True) + 1e-5)
    losses = []
    for block in range(4):
        for image in range(3):
            wanted = normed[image, targets[block, image]]
            error = np.abs(predicted[block * 3 + image] - wanted)
            losses.append(np.where(error < 1, 0.5 * error**2, error - 0.5))
    expected = float(np.mean(losses))
    wanted = objective.target_representations(images, targets)
    actual = torch.nn.functional.smooth_l1_loss(torch.from_numpy(predicted), wanted)
    assert float(actual) == pytest.approx(expected, rel=1e-4)


def test_the_encoder_sees_the_context_alone():
    objective = tiny("ijepa").eval()
    images = objective.normalise(some_fields(1, side=64)).requires_grad_()
    context, _ = draw_blocks(1, (8, 8), seeded())
    objective.encode(images, context).square().sum().backward()
    grid = images.grad.abs().sum(dim=1).reshape(8, 8, 8, 8).sum(dim=(1, 3)).flatten()
    seen = torch.zeros(64, dtype=torch.bool)
    seen[context[0]] = True
    assert bool(((grid > 0) == seen).all())


def test_predictions_follow_their_positions():
    objective = tiny("ijepa").eval()
    images = objective.normalise(some_fields(2, side=64))
    context, targets = draw_blocks(2, (8, 8), seeded())
    with torch.no_grad():
        encoded = objective.encode(images, context)
        straight = objective.predict(encoded, context, targets)
        turned = objective.predict(encoded, context, targets.flip(0, 2))
    blocks = straight.unflatten(0, (4, 2))
    torch.testing.assert_close(turned.unflatten(0, (4, 2)), blocks.flip(0, 2), rtol=1e-4, atol=1e-6)
    assert not torch.allclose(blocks[0], blocks[1], atol=1e-3)


def test_the_predictor_is_narrow_and_gives_representations():
    objective = tiny("ijepa", predictor_dim=12, predictor_depth=3, predictor_heads=3)
    context, targets = draw_blocks(2, (8, 8), seeded())
    encoded = torch.rand(2, context.shape[1], 16)
    assert objective.predict(encoded, context, targets).shape == (8, targets.shape[2], 16)
    assert len(objective.predictor.predictor_blocks) == 3


def test_the_target_follows_with_a_momentum_that_rises_to_one():
    objective = tiny("ijepa", momentum=0.9)
    with torch.no_grad():
        for parameter in objective.context.parameters():
            parameter.add_(1.0)
    old = objective.target.norm.weight.clone()
    new = objective.context.norm.weight.detach()
    objective.after_step(TrainingPosition(5, 10), lambda tensor: tensor)
    torch.testing.assert_close(objective.target.norm.weight, 0.95 * old + 0.05 * new)
    kept = objective.target.norm.weight.clone()
    objective.after_step(TrainingPosition(10, 10), lambda tensor: tensor)
    assert torch.equal(objective.target.norm.weight, kept)


def test_the_gain_is_of_both_encoders():
    objective = tiny("ijepa", patch_gain=2.0)
    plain = tiny("ijepa", patch_gain=1.0)
    for encoder in ("context", "target"):
        own, other = getattr(objective, encoder), getattr(plain, encoder)
        torch.testing.assert_close(own.patch_embed.proj.weight, 2 * other.patch_embed.proj.weight)
