"""A device that computes while the host goes on: the same numbers, nothing waited for, little copied."""

import copy
import threading
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from encoders_factory import write_encoder
from torch.overrides import TorchFunctionMode

from napari_sslmaps.cache.store import Cache
from napari_sslmaps.core.preprocess import flat_tokens, flat_tokens_of, scale_to_unit, stored_to_unit
from napari_sslmaps.core.tiling import Tiling
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.encoders.transfers import Transfers
from napari_sslmaps.errors import Cancelled, CheckpointError, DeviceMemoryError
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pipeline.token_store import TokenBudget


class Copies:
    """Stands in for a device's copies: counts them, and what comes down waits for what goes up next."""

    def __init__(self, launches_left):
        self.up_bytes, self.down_bytes, self.marks = [], [], 0
        self._left = launches_left
        self._launched = threading.Condition()

    def up(self, values):
        self.up_bytes.append(values.nbytes)
        return torch.from_numpy(values)

    def mark(self):
        with self._launched:
            self.marks += 1
            self._launched.notify_all()
        return self.marks

    def down(self, tensors, computed):
        # the host asks for the next batch before this one has come, or this lasts for ever
        with self._launched:
            due = min(computed + 1, self._left)
            assert self._launched.wait_for(lambda: self.marks >= due, 60)
        self.down_bytes.append(sum(tensor.nbytes for tensor in tensors))
        return [tensor.clone() for tensor in tensors]


class Ahead:
    """An encoder on a device that computes while the host goes on."""

    device = "mps"  # its batches have the size of a processor's

    def __init__(self, encoder, batches=0, room=1000, spoil=None):
        self._encoder, self.room, self.spoil = encoder, room, spoil
        self.copies, self.launched = Copies(batches), []

    def __getattr__(self, name):
        return getattr(self._encoder, name)

    def transfers(self):
        return self.copies

    def encode(self, _tiles):
        raise AssertionError("the host waits for this one")

    encode_at = encode

    def features_at(self, tiles, depths):
        self.launched.append(len(tiles))
        if len(tiles) > self.room:
            raise torch.OutOfMemoryError("no room")
        found = self._encoder.features_at(tiles, depths)
        if self.spoil == len(self.launched):
            tokens = found[0].tokens.clone()
            tokens[0, 0, 0, 0] = torch.inf
            found[0] = replace(found[0], tokens=tokens)
        return found


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return {
        method: load_encoder(
            write_encoder(folder / f"{method}.safetensors", method), device="cpu", precision="float32"
        )
        for method in METHODS
    }


def noise(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(dtype)


def check_same(one, other, atol=1e-5):
    for name in ("tokens", "attention", "prefix_attention", "activation", "foreground"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None), name
        if a is not None:
            np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=atol, err_msg=name)
    assert (one.moments is None) == (other.moments is None)
    if one.moments is not None:
        assert one.moments.count == other.moments.count
        np.testing.assert_allclose(one.moments.mean, other.moments.mean, atol=1e-5)
        np.testing.assert_allclose(one.moments.covariance, other.moments.covariance, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stitching", ["drop", "blend"])
def test_every_method_gives_what_it_gives_on_a_processor(encoders, method, stitching):
    image, tiling = noise(150, 230, 3), Tiling(8, 2, stitching=stitching)
    ahead = Ahead(encoders[method])
    check_same(embed(image, ahead, tiling=tiling), embed(image, encoders[method], tiling=tiling))
    assert len(ahead.copies.down_bytes) == len(ahead.launched) > 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, np.int32])
@pytest.mark.parametrize("colour", [(), (3,)])
def test_pixels_of_every_type_cross_and_become_the_same(encoders, dtype, colour):
    image = noise(100, 130, *colour, dtype=dtype) * (200 if dtype == np.uint16 else 1)
    check_same(
        *(embed(image, each, tiling=Tiling(6, 1)) for each in (Ahead(encoders["mae"]), encoders["mae"]))
    )


def test_bytes_go_up_as_stored_and_what_is_kept_comes_down_once(encoders):
    image, encoder = noise(256, 256), encoders["mae"]
    ahead = Ahead(encoder)
    found = embed(image, ahead, tiling=Tiling(10, 2))
    pixels = [size for size in ahead.copies.up_bytes if size % 80**2 == 0 and size < 20 * 80**2]
    assert sum(pixels) == sum(ahead.launched) * 80 * 80  # one byte a pixel: grey stays grey until it is there
    heads, dim = len(found.attention), found.tokens.shape[-1]
    a_token = 4 * (dim + heads + 1)
    assert sum(ahead.copies.down_bytes) - 32 * 32 * a_token < 100 * sum(ahead.launched)


def test_tokens_that_are_kept_in_half_come_down_in_half(encoders, tmp_path):
    image, budget = noise(160, 160), TokenBudget(0, 10**9, tmp_path)
    ahead = Ahead(encoders["dinov3"])
    found, own = (
        embed(image, each, tiling=Tiling(5, 0), budget=budget) for each in (ahead, encoders["dinov3"])
    )
    full = Ahead(encoders["dinov3"])
    embed(image, full, tiling=Tiling(5, 0))
    check_same(found, own, atol=2e-3)
    saved = sum(full.copies.down_bytes) - sum(ahead.copies.down_bytes)
    assert saved == 2 * 20 * 20 * found.tokens.shape[-1]


def test_the_host_asks_for_the_next_batch_before_the_last_has_come(encoders):
    image = noise(512, 512)
    count = Ahead(encoders["mae"])
    embed(image, count, tiling=Tiling(8, 0))
    ahead = Ahead(encoders["mae"], batches=len(count.launched))
    embed(image, ahead, tiling=Tiling(8, 0))
    assert len(ahead.launched) > 3


def test_a_mask_keeps_its_tokens_alone_in_map_and_moments(encoders):
    mask = np.zeros((20, 20), bool)
    mask[3:9, 4:17] = True
    image = noise(160, 160, 3)
    one, other = (
        embed(image, each, tiling=Tiling(6, 1), mask=mask)
        for each in (Ahead(encoders["mae"]), encoders["mae"])
    )
    check_same(one, other)
    assert one.moments.count == mask.sum()


def test_several_depths_take_one_pass_and_a_stride_several(encoders):
    image = noise(120, 120, 3)
    ahead = Ahead(encoders["mae"])
    for one, other in zip(
        embed(image, ahead, block=[0, -1], tiling=Tiling(5, 1)),
        embed(image, encoders["mae"], block=[0, -1], tiling=Tiling(5, 1)),
        strict=True,
    ):
        check_same(one, other)
    check_same(
        embed(image, ahead, stride=4, tiling=Tiling(5, 1)),
        embed(image, encoders["mae"], stride=4, tiling=Tiling(5, 1)),
    )


def test_a_run_that_was_stopped_goes_on_where_it_was(encoders, tmp_path):
    image, tiling = noise(400, 400), Tiling(5, 1)

    def stop(progress):
        raise Cancelled("Stopped on request.")

    cache = Cache(tmp_path)
    with pytest.raises(Cancelled):
        embed(image, Ahead(encoders["mae"]), tiling=tiling, cache=cache, on_progress=stop)
    ahead = Ahead(encoders["mae"])
    check_same(embed(image, ahead, tiling=tiling, cache=cache), embed(image, encoders["mae"], tiling=tiling))
    whole = Ahead(encoders["mae"])
    embed(image, whole, tiling=tiling)
    assert 0 < sum(ahead.launched) < sum(whole.launched)


def test_a_batch_that_does_not_fit_is_halved_and_counted_once(encoders):
    image, ahead = noise(200, 200), Ahead(encoders["mae"], room=3)
    check_same(embed(image, ahead, tiling=Tiling(5, 0)), embed(image, encoders["mae"], tiling=Tiling(5, 0)))
    assert max(ahead.launched) > 3
    with pytest.raises(DeviceMemoryError, match="One tile of 5 × 5 tokens"):
        embed(image, Ahead(encoders["mae"], room=0), tiling=Tiling(5, 0))


def test_a_token_that_is_no_number_is_refused_where_it_appears(encoders):
    with pytest.raises(CheckpointError, match=r"finite numbers; 1 of \d+ values"):
        embed(noise(400, 400), Ahead(encoders["mae"], spoil=2), tiling=Tiling(5, 0))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("window", [(0.0, 255.0), (3.7, 171.3), (-50.0, 9000.5), (20.0, 20.0)])
@pytest.mark.parametrize("colour", [(), (3,)])
def test_scaling_on_a_device_is_scaling_here_to_the_bit(dtype, window, colour):
    pixels = noise(3, 24, 32, *colour, dtype=dtype)
    there = stored_to_unit(torch.from_numpy(pixels), window)
    for one, other in zip(pixels, there, strict=True):
        np.testing.assert_array_equal(scale_to_unit(one, window), other.numpy())


def test_flat_tokens_are_found_alike_here_and_there():
    unit = np.random.default_rng(0).random((4, 64, 48, 3), dtype=np.float32)
    unit *= np.linspace(0, 0.2, 48, dtype=np.float32)[:, None]
    there = flat_tokens_of(torch.from_numpy(unit), 8).numpy()
    assert 0 < there.mean() < 1
    np.testing.assert_array_equal(np.stack([flat_tokens(one, 8) for one in unit]), there)


class Crossings(TorchFunctionMode):
    """Counts what makes a host wait for a device: copies between them, and numbers that are made or read."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = func.__name__
        devices = {each.device.type for each in (*args, result) if isinstance(each, torch.Tensor)}
        crosses = name in ("to", "copy_", "cpu", "type_as") and len(devices) > 1
        self.found[name] += crosses or name in ("tensor", "new_tensor", "as_tensor", "item", "tolist")
        return result


@pytest.mark.parametrize("name", ["mae-histology", "dira-histology", *METHODS])
def test_a_pass_copies_nothing_to_the_device_and_reads_nothing_from_it(name, encoders):
    encoder = encoders[name] if name in encoders else load_encoder(name, device="cpu", precision="float32")
    extractor = copy.deepcopy(encoder.extractor)
    extractor.network.to("meta")
    moved = replace(encoder, device="meta", extractor=extractor)
    side = 4 * encoder.spec.constraint.token_stride
    tiles = torch.empty(2, side, side, 3, device="meta")
    moved.features_at(tiles, ())  # what is made once for a size
    with Crossings() as crossings:
        moved.features_at(tiles, ())
    assert not +crossings.found


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_gives_what_the_processor_gives(encoders):
    assert isinstance(load_encoder("mae-histology", device="cuda").transfers(), Transfers)
    image = noise(700, 500, 3)
    for name in ("mae-histology", "dinov3-histology", "dira-histology"):
        here, there = (
            embed(image, load_encoder(name, device=device, precision="float32"), tiling=Tiling(12, 2))
            for device in ("cpu", "cuda:0")
        )
        check_same(here, there, atol=1e-3)
