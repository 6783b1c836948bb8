import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch.nn import functional

from napari_sslmaps.lab.training.views import (
    CropScheme,
    cut,
    draw_crops,
    draw_places,
    drop_colour,
    jitter_stain,
    to_grey,
    within,
)

from .tiny import seeded, some_fields

CORNERS = torch.tensor([[x, y, 1.0] for x in (-1.0, 1.0) for y in (-1.0, 1.0)]).T


@settings(deadline=None, max_examples=40)
@given(
    side=st.integers(20, 200),
    low=st.floats(0.05, 0.7),
    more=st.floats(0, 0.2),
    upright=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_places_have_their_span_and_lie_inside_where_they_fit(side, low, more, upright, seed):
    scheme = CropScheme(16, (low * side, (low + more) * side), upright=upright)
    places = draw_places(8, side, scheme, seeded(seed))
    scale = places[:, :, :2].double().det().abs().sqrt()
    assert bool(((scale > low - 1e-4) & (scale < low + more + 1e-4)).all())
    corners = (places @ CORNERS).abs().amax(dim=(1, 2))
    fits = scale * (1 if upright else 2**0.5) <= 1
    assert float(corners[fits].max() if fits.any() else 0) <= 1 + 1e-4


def test_places_turn_mirror_and_spread_evenly():
    places = draw_places(4000, 100, CropScheme(16, (20.0, 60.0)), seeded())
    assert float((places[:, :, :2].det() < 0).float().mean()) == pytest.approx(0.5, abs=0.03)
    turns = torch.atan2(places[:, 1, 1], -places[:, 0, 1])
    for share in torch.histc(turns, 8) / 4000:
        assert float(share) == pytest.approx(1 / 8, abs=0.02)
    assert float(places[:, :, 2].mean().abs()) < 0.02
    spans = 100 * places[:, :, :2].det().abs().sqrt()
    assert float(spans.mean()) == pytest.approx(40, abs=0.7)


def test_an_upright_crop_keeps_rows_in_order():
    ramp = torch.linspace(0, 1, 96)[None, None, :, None].expand(4, 3, 96, 96)
    crops = draw_crops(ramp, CropScheme(32, (32.0, 64.0), upright=True), seeded())
    assert bool((crops[:, :, 1:] > crops[:, :, :-1]).all())


def test_a_crop_is_what_scipy_interpolates_there():
    fields = some_fields(2, side=40)
    places = draw_places(4, 40, CropScheme(9, (10.0, 20.0)), seeded())
    views = cut(fields, places, 9)
    assert views.shape == (4, 3, 9, 9)
    for number, (view, place) in enumerate(zip(views, places.double().numpy(), strict=True)):
        steps = (np.arange(9) + 0.5) / 4.5 - 1
        y, x = np.meshgrid(steps, steps, indexing="ij")
        at_x, at_y = place[:, :2] @ np.stack([x.ravel(), y.ravel()]) + place[:, 2:]
        pixels = [((at + 1) * 40 - 1) / 2 for at in (at_y, at_x)]
        expected = ndimage.map_coordinates(fields[number % 2, 1].numpy(), pixels, order=1, mode="nearest")
        np.testing.assert_allclose(view[1].numpy().ravel(), expected, atol=1e-4)


def test_beyond_a_field_is_its_mirror():
    field = torch.arange(4.0).expand(1, 3, 4, 4)
    whole = torch.tensor([[[2.0, 0, 0], [0, 2.0, 0]]])
    assert cut(field, whole, 8)[0, 0, 0].tolist() == [1, 0, 0, 1, 2, 3, 3, 2]


def test_a_view_within_a_region_is_that_part_of_it():
    fields = functional.interpolate(some_fields(3, side=24), size=192, mode="bicubic")
    outer = draw_places(3, 192, CropScheme(128, (90.0, 100.0)), seeded(1))
    inner = draw_places(3, 128, CropScheme(32, (40.0, 60.0)), seeded(2))
    direct = cut(fields, within(outer, inner), 32)
    detour = cut(cut(fields, outer, 128), inner, 32)
    torch.testing.assert_close(direct, detour, atol=0.02, rtol=0)


def test_twice_the_size_at_the_same_place_shows_the_same():
    fields = some_fields(2, side=96)
    places = draw_places(2, 96, CropScheme(16, (30.0, 32.0)), seeded())
    fine = functional.avg_pool2d(cut(fields, places, 32), 2)
    torch.testing.assert_close(fine, cut(fields, places, 16), atol=0.03, rtol=0)


def test_crops_stay_inside_the_field():
    crops = draw_crops(torch.full((32, 3, 96, 96), 0.5), CropScheme(32, (24.0, 60.0)), seeded())
    assert crops.shape == (32, 3, 32, 32)
    torch.testing.assert_close(crops, torch.full_like(crops, 0.5))


def test_stain_jitter_follows_its_formula():
    images = torch.rand(3, 3, 8, 8, generator=seeded(1)).clamp(min=1 / 255)
    jittered = jitter_stain(images, seeded(2), 0.3)
    draws = seeded(2)
    common, channel, offset = (torch.randn(3, n, 1, 1, generator=draws) for n in (1, 3, 3))
    density = -images.log() * torch.exp(0.3 * (common + channel / 2)) + 0.06 * offset
    torch.testing.assert_close(jittered, torch.exp(-density).clamp(0, 1), atol=1e-5, rtol=0)


def test_stain_jitter_stays_in_range_and_0_changes_nothing():
    images = torch.rand(8, 3, 16, 16, generator=seeded())
    jittered = jitter_stain(images, seeded())
    assert float(jittered.min()) >= 0
    assert float(jittered.max()) <= 1
    assert torch.equal(jitter_stain(images, seeded(), 0.0), images)


def test_grey_images_stay_grey_and_differ_in_gamma_and_gain():
    grey = torch.rand(8, 1, 16, 16, generator=seeded()).expand(-1, 3, -1, -1)
    jittered = jitter_stain(grey, seeded())
    assert torch.equal(jittered[:, 0], jittered[:, 1])
    assert torch.equal(jittered[:, 0], jittered[:, 2])
    assert float((jittered - grey).abs().mean()) > 0.01
    mixed = torch.cat([grey, torch.rand(8, 3, 16, 16, generator=seeded(3))])
    torch.testing.assert_close(jitter_stain(mixed, seeded())[:8].std(dim=1), torch.zeros(8, 16, 16))


def test_colour_is_dropped_from_a_share_of_the_images():
    images = torch.rand(500, 3, 4, 4, generator=seeded())
    dropped = drop_colour(images, seeded(), 0.2)
    grey = (dropped == dropped[:, :1]).flatten(1).all(dim=1)
    assert float(grey.float().mean()) == pytest.approx(0.2, abs=0.05)
    torch.testing.assert_close(dropped[grey][:, :1], to_grey(images[grey]))
    assert torch.equal(dropped[~grey], images[~grey])
    assert torch.equal(drop_colour(images, seeded(), 0.0), images)


def test_luma_is_bt601():
    assert to_grey(torch.eye(3)[:, :, None, None]).flatten().tolist() == pytest.approx([0.299, 0.587, 0.114])


def test_places_and_luma_keep_their_precision_under_autocast():
    fields = some_fields(2)
    outer, inner = (draw_places(2, 96, CropScheme(64, (40.0, 60.0)), seeded(seed)) for seed in (0, 1))
    with torch.autocast("cpu", torch.bfloat16):
        places, grey = within(outer, inner), to_grey(fields)
    assert torch.equal(places, within(outer, inner))
    assert torch.equal(grey, to_grey(fields))
