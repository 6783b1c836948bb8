"""All frames of a clip: embedded alike, mapped alike."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import napari_sslmaps as ssl
from napari_sslmaps.cache.store import Cache
from napari_sslmaps.core.frames import chosen_frames
from napari_sslmaps.errors import InvalidOptionError, RegionError

CLIP = np.random.default_rng(0).integers(0, 255, (5, 48, 64), dtype=np.uint8)


@given(st.integers(1, 40), st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 7))
def test_text_is_read_as_python_slices(count: int, start: int, stop: int, step: int) -> None:
    expected = tuple(range(count)[start:stop:step])
    if not expected:
        with pytest.raises(InvalidOptionError, match="at least one"):
            chosen_frames(f"{start}:{stop}:{step}", count)
        return
    assert chosen_frames(f"{start}:{stop}:{step}", count) == expected
    assert chosen_frames(slice(start, stop, step), count) == expected
    assert chosen_frames(",".join(map(str, expected)), count) == expected


def test_all_ranges_and_what_is_neither() -> None:
    assert chosen_frames("all", 3) == (0, 1, 2)
    assert chosen_frames(range(0, 5, 2), 5) == (0, 2, 4)
    assert chosen_frames([4, 1], 5) == (4, 1)
    with pytest.raises(InvalidOptionError, match="0:20:2"):
        chosen_frames("every", 3)
    with pytest.raises(RegionError, match="frames below 3; got 7"):
        chosen_frames("1,7", 3)


@pytest.fixture(scope="module")
def embedded() -> ssl.core.frames.FrameEmbeddings:
    with ssl.open_image(CLIP, frames=True) as source:
        return ssl.embed(source, "mae-demo", frames="all")


def test_each_frame_is_as_if_it_were_embedded_alone(embedded: ssl.core.frames.FrameEmbeddings) -> None:
    assert embedded.frames == (0, 1, 2, 3, 4)
    for frame, found in zip(embedded.frames, embedded, strict=True):
        alone = ssl.embed(CLIP[frame], "mae-demo", window=found.provenance.window)
        np.testing.assert_allclose(found.tokens, alone.tokens, atol=1e-5)
        assert found.provenance.region is not None
        assert found.provenance.region.frame == frame
    assert embedded.of_frame(2) is embedded[2]
    assert embedded[1:3].frames == (1, 2)
    with pytest.raises(RegionError, match="among those embedded"):
        embedded.of_frame(9)


def test_deep_frames_share_one_window() -> None:
    deep = CLIP.astype(np.uint16) * 16
    deep[2] //= 4
    with ssl.open_image(deep, frames=True) as source:
        windows = {found.provenance.window for found in ssl.embed(source, "mae-demo", frames="all")}
    assert len(windows) == 1
    low, high = windows.pop()
    assert low <= np.percentile(deep[2], 1)
    assert high >= np.percentile(deep[0], 99)


def test_maps_of_frames_share_basis_and_anchor(embedded: ssl.core.frames.FrameEmbeddings) -> None:
    maps = ssl.frame_maps(embedded, ["pca", "similarity", "clusters"], anchors=[(20, 30)], anchor_frame=2)
    assert maps["pca"].values.shape == (5, 6, 8, 3)
    assert maps["similarity"].values.shape == (5, 6, 8)
    joint = ssl.pca_map(list(embedded))
    np.testing.assert_allclose(maps["pca"].values, np.stack([one.values for one in joint]), atol=1e-5)
    for frame, found in zip(embedded, maps["similarity"].maps, strict=True):
        alone = ssl.similarity_map(frame, [(20, 30)], centred=True, reference=embedded[2])
        np.testing.assert_array_equal(found.values, alone.values)
    assert maps["similarity"].values[2].max() == pytest.approx(1.0, abs=1e-5)


def test_a_second_run_finds_every_frame_in_the_cache(tmp_path: Path) -> None:
    np.save(tmp_path / "clip.npy", CLIP)
    cache = Cache(tmp_path / "cache")
    first = ssl.embed(tmp_path / "clip.npy", "mae-demo", frames="0:4:2", cache=cache)
    seen = []
    again = ssl.embed(tmp_path / "clip.npy", "mae-demo", frames=(0, 2), cache=cache, on_progress=seen.append)
    assert [(one.done, one.total) for one in seen] == [(1, 2), (2, 2)]
    assert all(one.restored for one in seen)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.tokens, other.tokens)
    region = again[1].provenance.region
    assert region is not None
    assert again[1].pixels is not None
    np.testing.assert_array_equal(again[1].pixels(region), CLIP[2])


def test_a_black_frame_does_not_stop_the_others() -> None:
    clip = CLIP.copy()
    clip[0] = 0
    with ssl.open_image(clip, frames=True) as source:
        assert len(ssl.embed(source, "mae-demo", frames="all")) == 5
