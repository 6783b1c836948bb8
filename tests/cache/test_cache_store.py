"""The cache as a whole: listing, limits, what is deleted first."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from napari_sslmaps.cache.entry import DAMAGE, part_path, read_part, write_part
from napari_sslmaps.cache.ome import Placement
from napari_sslmaps.cache.store import Cache, _time, default_limit, key_of
from napari_sslmaps.cli.commands import main
from napari_sslmaps.core.tiling import Tiling, plan_tiles
from napari_sslmaps.errors import InvalidOptionError

PLACE = Placement((8.0, 8.0), (3.5, 3.5))
ABOUT = {"image": "slide", "encoder": "mae", "grid": (16, 16), "tiles": 4}
REGION = {"y": 0, "x": 0, "height": 128, "width": 128, "level": 0, "frame": 0}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SSLMAPS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NAPARI_SSLMAPS_CACHE_GB", "0.001")
    return Cache()


def planes(seed=0, rows=16):
    rng = np.random.default_rng(seed)
    return {
        "tokens": rng.random((rows, 16, 64), dtype=np.float32),
        "foreground": np.ones((rows, 16, 1), np.float32),
        "prefix_attention": rng.random(2, dtype=np.float32),
    }


def put(cache, name, age_s=0, **about):
    entry = cache.entry({"name": name}, {**ABOUT, "region": REGION, **about})
    entry.finish(planes(), PLACE)
    path = cache.folder / f"{key_of({'name': name})}.zarr"
    if age_s:
        _age(path, age_s)
    return path


def _age(path, seconds):
    modified = path.stat().st_mtime - seconds
    os.utime(path, (modified, modified))


def test_planes_come_back_bit_for_bit(cache):
    put(cache, "one")
    found, expected = cache.entry({"name": "one"}, {}).load((16, 16)), planes()
    assert found.keys() == expected.keys()
    for name, plane in expected.items():
        np.testing.assert_array_equal(found[name], plane)


@pytest.mark.parametrize("shape", [(1, 1), (64, 64), (65, 130), (200, 3)])
def test_grids_of_any_size_come_back(tmp_path, shape):
    cache = Cache(tmp_path, 10**9)
    values = {"tokens": np.random.default_rng(0).random((*shape, 5), dtype=np.float32)}
    cache.entry({}, {}).finish(values, PLACE)
    np.testing.assert_array_equal(cache.entry({}, {}).load(shape)["tokens"], values["tokens"])


def test_no_flipped_bit_of_a_tile_is_served(tmp_path):
    rng, tile = np.random.default_rng(0), plan_tiles(8, 8, Tiling())[0]
    part = {name: plane[:4, :4] if plane.ndim == 3 else plane for name, plane in planes().items()}
    write_part(tmp_path, tile, part)
    path = part_path(tmp_path, tile)
    content = path.read_bytes()
    refused = 0
    for position in rng.integers(0, len(content), 800):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            found = read_part(tmp_path, tile)
        except DAMAGE:
            refused += 1
        else:
            for name, plane in part.items():
                np.testing.assert_array_equal(found[name], plane)
    assert refused > 400


def test_an_embedding_of_another_grid_is_not_served(cache, caplog):
    put(cache, "one")
    assert cache.entry({"name": "one"}, {}).load((16, 17)) is None
    assert "damaged" in caplog.text


def test_what_was_used_longest_ago_is_deleted_first(cache):
    size = next(iter(_sizes(cache, [put(cache, "probe")])))
    cache.clear()
    roomy = replace(cache, limit_bytes=3 * size + size // 2)
    oldest, read, newest = (put(roomy, name, age) for name, age in (("a", 300), ("b", 200), ("c", 100)))
    assert roomy.entry({"name": "a"}, {}).load((16, 16)) is not None
    put(roomy, "d")
    assert oldest.exists()
    assert newest.exists()
    assert not read.exists()
    assert sum(item.size for item in roomy.embeddings()) <= roomy.limit_bytes


def _sizes(cache, paths):
    by_path = {item.path: item.size for item in cache.embeddings()}
    return [by_path[path] for path in paths]


def test_what_killed_processes_left_is_swept_after_a_day(cache):
    put(cache, "one")
    fresh, old = cache.folder / f".{1:032x}.tmp", cache.folder / f".{2:032x}.tmp"
    for folder in (fresh, old):
        folder.mkdir()
    _age(old, 2 * 24 * 3600)
    assert cache.prune() == []
    assert fresh.exists()
    assert not old.exists()
    cache.clear()
    assert not fresh.exists()


@pytest.mark.parametrize("text", ["much", "0", "-1", "inf", "nan", ""])
def test_a_limit_that_is_no_number_is_said(monkeypatch, text):
    monkeypatch.setenv("NAPARI_SSLMAPS_CACHE_GB", text)
    with pytest.raises(InvalidOptionError, match="number of GB"):
        default_limit()


def test_the_key_depends_on_every_fact_and_on_no_order():
    facts = {"image": "a", "window": [0, 255], "tile": 8}
    assert key_of(facts) == key_of(dict(reversed(facts.items())))
    others = [
        {**facts, "image": "b"},
        {**facts, "window": [0, 254]},
        {**facts, "tile": 9},
        {**facts, "more": 0},
    ]
    assert len({key_of(each) for each in [facts, *others]}) == 5


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["cache", *arguments])
    said = capsys.readouterr()
    return end.value.code, said.out, said.err


def test_a_time_beyond_all_calendars_is_the_first_of_all():
    assert _time(2**40) == _time(0.0) < _time(1e9)


def test_the_command_lists_prunes_and_clears(cache, capsys):
    first, second = put(cache, "a", 300), put(cache, "b", 100, image="other")
    (second / "zarr.json").write_text("{}")
    code, out, _ = run(capsys, "list")
    assert code == 0
    assert "slide" in out
    assert "damaged" in out
    assert "2 embeddings" in out
    listed = json.loads(run(capsys, "list", "--json")[1])
    assert [item["path"] for item in listed["embeddings"]] == [str(second), str(first)]
    assert listed["limit_bytes"] == 10**6
    code, out, _ = run(capsys, "prune", "--limit-gb", "0.0001")
    assert (code, first.exists(), second.exists()) == (0, False, True)
    assert "Deleted 1 embeddings" in out
    assert run(capsys, "clear", "--yes")[0] == 0
    assert not cache.embeddings()
    assert "0 embeddings" in run(capsys, "list")[1]


def test_a_folder_that_refuses_is_said(cache, capsys, monkeypatch):
    put(cache, "a")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("napari_sslmaps.cache.store.remove_folder", refuse)
    code, _, err = run(capsys, "clear", "--yes")
    assert code == 1
    assert "Permission denied" in " ".join(err.split())


def _strange(folder):
    """What its user put on a data disk."""
    known = set(folder.rglob("*"))
    for name in ("patient_scan.zarr", "mine.parts", "scans"):
        (folder / name).mkdir(parents=True)
    (folder / "patient_scan.zarr" / "zarr.json").write_text("{}")
    (folder / "scans" / "patient1.json").write_text("{}")
    (folder / ".note.tmp").write_text("a note")
    (folder / f"{3:064x}.zarr").symlink_to(folder / "patient_scan.zarr")
    return {path: path.read_bytes() if path.is_file() else b"" for path in {*folder.rglob("*")} - known}


def test_nothing_is_deleted_that_is_not_the_caches_own(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "disk"
    before = _strange(folder)
    monkeypatch.setenv("NAPARI_SSLMAPS_CACHE", str(folder))
    monkeypatch.setenv("NAPARI_SSLMAPS_CACHE_GB", "0.0002")
    cache = Cache()
    for name in ("a", "b", "c", "d"):
        cache.entry({"name": name}, {**ABOUT, "region": REGION}).finish(planes(), PLACE)
    assert cache.entry({"name": "d"}, {}).load((16, 16)) is not None
    assert 0 < len(cache.embeddings()) < 4
    assert str(cache.root) == str(folder / "napari-sslmaps-cache")
    assert run(capsys, "clear", "--yes")[0] == 0
    assert cache.embeddings() == []
    now = {path: path.read_bytes() if path.is_file() else b"" for path in before}
    assert now == before
    assert sorted(path.name for path in cache.root.iterdir()) == ["CACHEDIR.TAG"]


def test_nothing_foreign_is_deleted_that_came_into_a_marked_cache(cache):
    put(cache, "one")
    before = _strange(cache.folder)
    assert cache.root == cache.folder
    cache.clear()
    assert cache.embeddings() == []
    assert all(path.exists() for path in before)


def test_a_cache_of_the_first_version_is_found_where_it_lies(cache):
    """It has a tag that says nothing of us, and nothing but our names."""
    path = put(cache, "one")
    (cache.folder / "CACHEDIR.TAG").write_bytes(b"Signature: 8a477f597d28d172789f06886806bc55\n")
    assert cache.entry({"name": "one"}, {}).load((16, 16)) is not None
    assert [item.path for item in cache.embeddings()] == [path]
    put(cache, "two")
    assert b"napari-sslmaps" in (cache.folder / "CACHEDIR.TAG").read_bytes()


def test_an_embedding_of_the_first_version_among_strange_files_is_taken_over(cache):
    path = put(cache, "one")
    (cache.folder / "CACHEDIR.TAG").write_bytes(b"Signature: 8a477f597d28d172789f06886806bc55\n")
    before = _strange(cache.folder)
    assert cache.entry({"name": "one"}, {}).load((16, 16)) is not None
    assert not path.exists()
    assert (cache.root / path.name).exists()
    assert all(path.exists() for path in before)


def test_two_chunks_that_changed_places_are_noticed(tmp_path, caplog):
    cache = Cache(tmp_path, 10**9)
    values = {"tokens": np.random.default_rng(0).random((128, 128, 5), dtype=np.float32)}
    cache.entry({}, {}).finish(values, PLACE)
    chunks = cache.root / f"{key_of({})}.zarr" / "tokens" / "c" / "0"
    (chunks / "0" / "0").rename(tmp_path / "aside")
    (chunks / "1" / "1").rename(chunks / "0" / "0")
    (tmp_path / "aside").rename(chunks / "1" / "1")
    assert cache.entry({}, {}).load((128, 128)) is None
    assert "a chunk is another one, or in another place" in caplog.text


def test_a_chunk_of_another_embedding_is_noticed(tmp_path):
    cache = Cache(tmp_path, 10**9)
    for seed in (0, 1):
        cache.entry({"seed": seed}, {}).finish(planes(seed), PLACE)
    first, second = (cache.root / f"{key_of({'seed': seed})}.zarr/tokens/c/0/0/0" for seed in (0, 1))
    first.write_bytes(second.read_bytes())
    assert cache.entry({"seed": 0}, {}).load((16, 16)) is None
    assert cache.entry({"seed": 1}, {}).load((16, 16)) is not None


def test_two_tiles_that_changed_places_are_noticed(tmp_path):
    tiles = plan_tiles(8, 20, Tiling(tile=8, overlap=0))[:2]
    for tile in tiles:
        write_part(tmp_path, tile, planes())
    first, second = (part_path(tmp_path, tile) for tile in tiles)
    first.write_bytes(second.read_bytes())
    assert set(read_part(tmp_path, tiles[1])) == set(planes())
    with pytest.raises(DAMAGE, match="another tile"):
        read_part(tmp_path, tiles[0])


@pytest.mark.parametrize("name", ["zarr.json", "tokens/zarr.json", "tokens/c/0/0/0"])
def test_a_pipe_in_the_cache_is_not_waited_for(cache, name):
    path = put(cache, "one")
    (path / name).unlink()
    os.mkfifo(path / name)
    assert cache.entry({"name": "one"}, {}).load((16, 16)) is None
    assert [item.key for item in cache.embeddings()] == []
