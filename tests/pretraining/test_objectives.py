import math

import torch

from napari_sslmaps.pretraining.objectives import build_objective
from napari_sslmaps.pretraining.objectives.heads import block_masks
from napari_sslmaps.pretraining.objectives.ijepa import draw_blocks
from napari_sslmaps.pretraining.objectives.mae import random_mask, to_patches
from napari_sslmaps.pretraining.schedules import Progress, learning_rate, move_average

from .conftest import tiny_recipe


def test_mae_hides_three_quarters_of_every_image_uniformly(generator):
    visible, hidden = random_mask(400, 64, 0.75, generator)
    assert visible.shape == (400, 16)
    assert hidden.shape == (400, 48)
    together = torch.cat([visible, hidden], dim=1).sort(dim=1).values
    assert bool((together == torch.arange(64)).all())
    share = torch.bincount(hidden.flatten(), minlength=64) / 400
    assert float((share - 0.75).abs().max()) < 0.1


def test_patches_are_channels_last_and_row_major():
    image = torch.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4).float()
    patches = to_patches(image, 2)
    assert patches.shape == (2, 4, 12)
    torch.testing.assert_close(patches[0, 1].reshape(2, 2, 3), image[0, :, :2, 2:].permute(1, 2, 0))


def test_ijepa_contexts_never_touch_their_targets(generator):
    for _ in range(20):
        context, targets = draw_blocks(6, (16, 16), generator)
        assert targets.shape[0] == 4
        for image in range(6):
            seen = set(context[image].tolist())
            assert len(seen) == context.shape[1]
            for block in targets[:, image]:
                assert not seen & set(block.tolist())
                rows, columns = block // 16, block % 16
                height, width = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
                assert height * width == len(block)
                assert 0.13 <= len(block) / 256 <= 0.22
                assert 0.6 <= height / width <= 1.8


def test_ibot_masks_half_of_the_images(generator):
    masks = block_masks(40, 8, generator)
    shares = masks.float().mean(dim=1)
    masked = shares[shares > 0].sort().values
    torch.testing.assert_close(masked, (torch.linspace(0.1, 0.5, 20) * 64).round() / 64)


def test_moving_average_follows_its_definition():
    average, current = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    expected = 0.9 * average.weight.detach() + 0.1 * current.weight.detach()
    move_average(average, current, 0.9)
    torch.testing.assert_close(average.weight.detach(), expected)


def test_learning_rate_warms_up_and_falls():
    rates = [learning_rate(1.0, Progress(step, 100)) for step in range(101)]
    assert rates[0] < 0.2
    assert max(rates) <= 1.0
    assert math.isclose(rates[8], 1.0)
    assert rates[8:] == sorted(rates[8:], reverse=True)
    assert rates[-1] < 1e-5


def test_gram_anchoring_starts_late_with_the_teacher_of_that_moment(generator):
    objective = build_objective(tiny_recipe("dinov3"))
    fields = torch.rand(2, 3, 96, 96, generator=generator)
    assert "gram" not in objective.loss(fields, Progress(0, 10), generator)
    assert int(objective.gram_step) == -1
    assert "gram" in objective.loss(fields, Progress(6, 10), generator)
    own, anchor = objective.teacher.backbone.state_dict(), objective.gram_teacher.state_dict()
    assert all(torch.equal(own[key], anchor[key]) for key in own)


def test_every_objective_trains_its_own_encoder(recipe, generator):
    objective = build_objective(recipe)
    fields = torch.rand(2, 3, 96, 96, generator=generator)
    losses = objective.loss(fields, Progress(6, 10), generator)
    losses["total"].backward()
    touched = {name for name, p in objective.named_parameters() if p.grad is not None and p.grad.any()}
    assert touched
    assert not any(name.startswith(("teacher.", "gram_teacher.", "target.", "key.")) for name in touched)
