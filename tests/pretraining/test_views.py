import torch

from napari_sslmaps.pretraining.views import CropScheme, draw_crops, jitter_stain


def test_crops_stay_inside_the_field(generator):
    crops = draw_crops(torch.full((32, 3, 96, 96), 0.5), CropScheme(32, (24.0, 60.0)), generator)
    assert crops.shape == (32, 3, 32, 32)
    torch.testing.assert_close(crops, torch.full_like(crops, 0.5))


def test_an_upright_crop_keeps_rows_in_order(generator):
    ramp = torch.linspace(0, 1, 96)[None, None, :, None].expand(4, 3, 96, 96)
    crops = draw_crops(ramp, CropScheme(32, (32.0, 64.0), upright=True), generator)
    assert bool((crops[:, :, 1:] > crops[:, :, :-1]).all())


def test_stain_jitter_stays_in_range_and_keeps_glass_bright(generator):
    images = torch.rand(8, 3, 16, 16, generator=generator)
    jittered = jitter_stain(images, generator)
    assert float(jittered.min()) >= 0
    assert float(jittered.max()) <= 1
