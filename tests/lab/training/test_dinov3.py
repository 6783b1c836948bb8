import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch.nn import functional

from napari_sslmaps.encoders.pretext_heads.dinov3 import PrototypeHead, rotary_positions
from napari_sslmaps.lab.training.losses import gram_loss, sinkhorn
from napari_sslmaps.lab.training.numerics import TrainingPosition
from napari_sslmaps.lab.training.objectives import dinov3 as module
from napari_sslmaps.lab.training.objectives.dinov3 import to_grid
from napari_sslmaps.pretext.masks import block_masks

from .tiny import seeded, some_fields, tiny


def one(tensor):
    return tensor


@settings(deadline=None, max_examples=25)
@given(count=st.integers(2, 40), side=st.integers(4, 20), share=st.floats(0.1, 1.0))
def test_masked_images_hide_exactly_their_share(count, side, share):
    masks = block_masks(count, (side, side), seeded(), share=share, ratio=(0.1, 0.5))
    hidden = masks.sum(dim=1)
    chosen = max(1, round(count * share))
    expected = (torch.linspace(0.1, 0.5, chosen) * side * side).round().long().clamp(min=1)
    assert torch.equal(hidden[hidden > 0].sort().values, expected)


def test_masks_are_blocks_anywhere():
    masks = block_masks(400, (16, 16), seeded(), share=1.0, ratio=(0.25, 0.25)).reshape(400, 16, 16)
    pieces = [ndimage.label(mask)[1] for mask in masks.numpy()]
    assert np.median(pieces) <= 3  # scattered patches would fall into dozens
    middle, corner = masks[:, 6:10, 6:10].float().mean(), masks[:, :2, :2].float().mean()
    assert 0.02 < float(corner) < float(middle) < 0.6


def test_rotary_positions_are_timms_and_scale_their_coordinates():
    rope = tiny("dinov3").teacher.backbone.rope
    torch.testing.assert_close(rotary_positions(5, 7, rope.periods), rope.get_embed(shape=(5, 7)))
    scaled = rotary_positions(5, 7, rope.periods, scale=2.0)
    torch.testing.assert_close(scaled, rotary_positions(5, 7, rope.periods / 2))


def test_the_whole_forward_pass_is_timms():
    objective = tiny("dinov3").eval()
    images = objective.normalise(some_fields(2, side=64))
    with torch.no_grad():
        cls, patches = objective._encode(objective.teacher, images)
        expected = objective.teacher.backbone.forward_features(images)
    torch.testing.assert_close(cls, expected[:, 0])
    torch.testing.assert_close(patches, expected[:, 5:])


def test_masked_patches_do_not_reach_the_student():
    objective = tiny("dinov3").eval()
    images = objective.normalise(some_fields(2, side=64)).requires_grad_()
    masked = block_masks(2, (8, 8), seeded(), share=1.0)
    _, patches = objective._encode(objective.student, images, masked=masked)
    patches.square().sum().backward()
    grid = images.grad.abs().sum(dim=1).reshape(2, 8, 8, 8, 8).sum(dim=(2, 4)).flatten(1)
    assert float(grid[masked].abs().max()) == 0
    assert float(grid[~masked].min()) > 0


def test_scores_are_cosines_with_the_prototypes():
    torch.manual_seed(0)
    head = PrototypeHead(8, 16, 4, 6).eval()
    scores = head(torch.randn(5, 8, generator=seeded()))
    points = functional.normalize(head.mlp(torch.randn(5, 8, generator=seeded())), dim=1)
    prototypes = functional.normalize(head.last_layer, dim=1)
    expected = [[float(p @ q) for q in prototypes.detach()] for p in points.detach()]
    torch.testing.assert_close(scores, torch.tensor(expected))


def test_the_total_is_the_weighted_sum():
    objective = tiny("dinov3", patch_weight=2.0, koleo_weight=0.5, gram_weight=3.0)
    with torch.no_grad():
        losses = objective.loss(some_fields(4), TrainingPosition(6, 10), seeded())
    terms = {name: float(value) for name, value in losses.items()}
    expected = terms["dino"] + 2 * terms["ibot"] + 0.5 * terms["koleo"] + 3 * terms["gram"]
    assert terms["total"] == pytest.approx(expected, rel=1e-5)


def test_the_teacher_centres_all_views_together_and_warms_up():
    objective = tiny("dinov3", teacher_temperature=(0.1, 0.3), teacher_warmup=0.5).eval()
    views = objective.normalise(some_fields(6, side=64))
    hidden = torch.tensor([0, 70, 100])
    with torch.no_grad():
        cls, patches = objective._encode(objective.teacher, views)
        for step, temperature in ((0, 0.1), (5, 0.2), (20, 0.3)):
            wanted, wanted_patches = objective._teach(views, hidden, TrainingPosition(step, 20))
            expected = sinkhorn(objective.teacher.dino_head(cls), temperature)
            torch.testing.assert_close(wanted, expected)
            expected = sinkhorn(objective.teacher.ibot_head(patches.flatten(0, 1)[hidden]), temperature)
            torch.testing.assert_close(wanted_patches, expected)


def test_gram_anchoring_starts_late_with_the_teacher_of_that_moment():
    objective = tiny("dinov3", gram_from=0.5, gram_refresh=0.2)
    assert "gram" not in objective.loss(some_fields(), TrainingPosition(0, 10), seeded())
    assert int(objective.gram_step) == -1
    for step, refreshed in ((6, 6), (7, 6), (8, 8), (9, 8)):
        with torch.no_grad():
            objective.teacher.backbone.cls_token.fill_(step)
        assert "gram" in objective.loss(some_fields(), TrainingPosition(step, 10), seeded())
        assert int(objective.gram_step) == refreshed
        assert float(objective.gram_teacher.cls_token.mean()) == refreshed


def test_gram_anchoring_can_be_left_out_and_the_summary_says_so():
    objective = tiny("dinov3", gram_from=1.0)
    assert "gram" not in objective.loss(some_fields(), TrainingPosition(10, 10), seeded())
    assert "without Gram anchoring" in objective.summary()
    assert "2 x the resolution" in tiny("dinov3").summary()


def test_the_gram_teacher_sees_the_same_crops_twice_as_fine(monkeypatch):
    objective = tiny("dinov3", gram_from=0.0, jitter=0.0, grey_share=0.0).eval()
    seen = []
    encode = objective._encode

    def noted(network, images, **settings):
        seen.append((network, images))
        return encode(network, images, **settings)

    monkeypatch.setattr(objective, "_encode", noted)
    monkeypatch.setattr(module, "gram_loss", lambda own, anchor: seen.append((own, anchor)) or own.sum())
    objective.loss(some_fields(4, side=192), TrainingPosition(0, 10), seeded())
    views = next(images for network, images in seen if network is objective.teacher)
    fine = next(images for network, images in seen if network is objective.gram_teacher)
    own, anchor = seen[-1]
    assert own.shape == anchor.shape == (4, 64, 16)
    assert fine.shape == (4, 3, 128, 128)
    # Each fine crop, averaged two by two, is one of the global crops.
    pooled = functional.avg_pool2d(fine, 2)
    for crop in pooled:
        assert min(float((crop - view).abs().mean()) for view in views) < 0.02


def test_the_anchor_is_the_fine_grid_of_tokens_brought_to_the_student_s(monkeypatch):
    tokens = torch.randn(2, 64, 5, generator=seeded())
    maps = tokens.transpose(1, 2).reshape(2, 5, 8, 8)
    # Bicubic halving weighs the four nearest tokens along each axis by -3, 19, 19, -3 of 32.
    weights = torch.tensor([-3.0, 19.0, 19.0, -3.0]) / 32
    padded = functional.pad(maps, (1, 1, 1, 1), mode="replicate")
    expected = functional.conv2d(
        padded.flatten(0, 1)[:, None], (weights[:, None] * weights)[None, None], stride=2
    ).reshape(2, 5, 16)
    torch.testing.assert_close(to_grid(tokens, 4), expected.transpose(1, 2), rtol=1e-4, atol=1e-5)
    assert to_grid(tokens, 8) is tokens
    flat = torch.ones(1, 64, 3)
    torch.testing.assert_close(to_grid(flat, 4), torch.ones(1, 16, 3))


def test_the_gram_loss_trains_the_student_alone():
    objective = tiny("dinov3", gram_from=0.0, koleo_weight=0.0, patch_weight=0.0)
    losses = objective.loss(some_fields(4), TrainingPosition(5, 10), seeded())
    losses["gram"].backward()
    trained = {name.split(".")[0] for name, p in objective.named_parameters() if p.grad is not None}
    assert trained == {"student"}
    assert gram_loss(torch.eye(3)[None], torch.eye(3)[None]) == 0


def test_where_all_views_are_masked_the_anchor_is_for_all():
    objective = tiny("dinov3", gram_from=0.0, mask_share=1.0)
    losses = objective.loss(some_fields(), TrainingPosition(5, 10), seeded())
    assert bool(torch.isfinite(losses["gram"]))


def test_rescaled_positions_change_what_the_student_sees_and_not_the_teacher():
    fields = some_fields(4)
    still, moved = (
        tiny("dinov3", rope_rescale=factor).loss(fields, TrainingPosition(0, 10), seeded())
        for factor in (1.0, 2.0)
    )
    assert float(still["dino"].detach()) != float(moved["dino"].detach())
    objective = tiny("dinov3", rope_rescale=2.0)
    scales = [objective._scale(seeded(seed)) for seed in range(300)]
    assert 0.5 <= min(scales) < 0.55
    assert 1.8 < max(scales) <= 2
    assert np.mean(np.log(scales)) == pytest.approx(0, abs=0.1)


def test_the_teacher_follows_along_a_cosine():
    objective = tiny("dinov3", momentum=0.9)
    with torch.no_grad():
        objective.student.mask_token.fill_(1.0)
        objective.teacher.mask_token.fill_(0.0)
    objective.after_step(TrainingPosition(5, 10), one)
    torch.testing.assert_close(objective.teacher.mask_token, torch.full((1, 16), 0.05))


def test_sizes_of_heads_are_options():
    objective = tiny("dinov3", prototypes=9, patch_prototypes=7, head_hidden=20, head_bottleneck=6)
    assert objective.student.dino_head.last_layer.shape == (9, 6)
    assert objective.student.ibot_head.last_layer.shape == (7, 6)
    assert objective.student.dino_head.mlp[0].out_features == 20
