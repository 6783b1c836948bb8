"""Orders: every method in every place, everybody sees everything, repeats come later with letters anew."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.readers.schedule import make_schedule, williams_square


@given(st.integers(1, 9))
def test_a_square_is_balanced_in_places_and_successors(count):
    square = williams_square(count)
    assert len(square) == (count if count % 2 == 0 or count == 1 else 2 * count)
    for place in range(count):
        assert len(set(Counter(row[place] for row in square).values())) == 1
    after = Counter(pair for row in square for pair in pairwise(row))
    assert len(after) == count * (count - 1)
    assert len(set(after.values())) <= 1


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 12),
    st.integers(2, 7),
    st.sampled_from(["rating", "pairwise", "best-worst"]),
    st.sampled_from([0.0, 0.2, 1.0]),
    st.integers(0, 99),
)
def test_everybody_sees_every_item_once_and_repeats_in_the_second_half(
    people, images, methods, design, repeats, seed
):
    names = [f"m{number}" for number in range(methods)]
    readers = [f"r{number}" for number in range(people)]
    made = make_schedule(readers, range(images), {"similarity": names}, design, repeats=repeats, seed=seed)
    assert [reader.name for reader in made] == readers
    ids = [trial.id for reader in made for trial in reader.trials]
    assert len(set(ids)) == len(ids)
    wanted = None
    for reader in made:
        firsts = [trial for trial in reader.trials if not trial.repeat_of]
        items = Counter((trial.image, trial.map, tuple(sorted(trial.shown))) for trial in firsts)
        assert set(items.values()) == {1}
        wanted = wanted or set(items)
        assert set(items) == wanted
        seen = Counter(name for trial in firsts for name in trial.shown)
        assert len(set(seen.values())) == 1
        assert set(seen) == set(names)
        place = {trial.id: at for at, trial in enumerate(reader.trials)}
        for trial in reader.trials:
            if trial.repeat_of:
                first = next(one for one in firsts if one.id == trial.repeat_of)
                assert (first.image, sorted(first.shown)) == (trial.image, sorted(trial.shown))
                assert first.shown != trial.shown
                assert place[trial.id] > place[first.id]
                assert place[trial.id] >= -(-len(firsts) // 2)


def test_every_method_stands_behind_every_letter_equally_often_over_readers():
    names = ["a", "b", "c", "d"]
    made = make_schedule(list("wxyz"), range(10), {"pca": names}, "rating", repeats=0)
    for place in range(4):
        counts = Counter(trial.shown[place] for reader in made for trial in reader.trials)
        assert set(counts.values()) == {10}
    orders = {tuple(trial.image for trial in reader.trials) for reader in made}
    assert len(orders) == 4


def test_codes_and_ids_tell_no_order():
    made = make_schedule([f"r{n}" for n in range(30)], range(30), {"pca": ["a", "b"]}, "rating")
    codes = [int(reader.code, 16) for reader in made]
    assert abs(np.corrcoef(codes, range(30))[0, 1]) < 0.5
    ids = [int(trial.id, 16) for trial in made[0].trials]
    assert abs(np.corrcoef(ids, range(len(ids)))[0, 1]) < 0.5


@pytest.mark.parametrize(
    ("readers", "names", "repeats", "words"),
    [
        ([], ["a", "b"], 0.1, "Give each a name"),
        (["x", "x"], ["a", "b"], 0.1, "different names"),
        (["x"], ["a"], 0.1, "2 to 26"),
        (["x"], ["a", "b"], 2.0, "0 to 1"),
    ],
)
def test_what_cannot_be_drawn_is_refused(readers, names, repeats, words):
    with pytest.raises(InvalidOptionError, match=words):
        make_schedule(readers, [1], {"pca": names}, "rating", repeats=repeats)
