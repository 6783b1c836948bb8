"""Reading ahead: order, bound, errors, and no thread left behind."""

import threading

import pytest

from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.pipeline.reading import read_ahead


def reading_threads():
    return [thread for thread in threading.enumerate() if "napari-sslmaps-read" in thread.name]


def test_results_come_in_order_and_never_more_wait_than_asked():
    lock, begun = threading.Lock(), []

    def read(item):
        with lock:
            begun.append(item)
        return -item

    taken = 0
    for result in read_ahead(read, range(50), 3):
        assert result == -taken
        taken += 1
        with lock:
            assert max(begun) <= taken + 3
    assert taken == 50
    assert not reading_threads()


def test_items_are_read_at_the_same_time():
    meeting = threading.Barrier(2, timeout=30)
    assert len(list(read_ahead(lambda _: meeting.wait(), range(4), 2))) == 4


def test_an_error_is_raised_in_its_turn_and_ends_the_threads():
    def read(item):
        if item == 2:
            raise UnsupportedImageError("a damaged tile")
        return item

    results = read_ahead(read, range(10), 4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(UnsupportedImageError, match="damaged"):
        next(results)
    assert not reading_threads()


def test_closing_early_drops_what_is_not_begun():
    begun = []
    results = read_ahead(begun.append, range(1000), 2)
    next(results)
    results.close()
    assert len(begun) <= 4
    assert not reading_threads()
