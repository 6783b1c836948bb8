"""Reading ahead: order, bound, errors, and no thread left behind."""

import threading

import pytest

from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.pipeline.reading import one_behind, read_ahead


def reading_threads():
    return [thread for thread in threading.enumerate() if "napari-sslmaps-" in thread.name]


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


def test_an_item_is_worked_on_while_the_next_is_made_and_never_while_a_result_is_held():
    begun, ended = threading.Event(), threading.Event()
    under_way = []

    def items():
        yield 0
        assert begun.wait(30)  # the work on item 0 goes on meanwhile
        ended.set()
        yield from (1, 2)

    def work(item):
        under_way.append(item)
        begun.set()
        assert ended.wait(30)
        under_way.remove(item)
        return -item

    results = []
    for result in one_behind(work, items()):
        assert under_way == []
        results.append(result)
    assert results == [0, -1, -2]
    assert not reading_threads()


def test_what_work_behind_raises_comes_in_its_turn_and_ends_the_thread():
    def work(item):
        if item == 1:
            raise UnsupportedImageError("a damaged tile")
        return item

    results = one_behind(work, range(10))
    assert next(results) == 0
    with pytest.raises(UnsupportedImageError, match="damaged"):
        next(results)
    assert not reading_threads()


def test_stopping_early_ends_the_work_behind():
    results = one_behind(lambda item: item, range(1000))
    assert next(results) == 0
    results.close()
    assert not reading_threads()
