"""More labels, better probes; the same labels for every method."""

from itertools import pairwise

import numpy as np
import pytest

from napari_sslmaps.core.results import Embedding
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.evaluation import label_efficiency as module
from napari_sslmaps.evaluation.label_efficiency import TOKENS_PER_IMAGE, LabelledFeatures, label_efficiency


def pooled_images(noise: float, count: int = 40) -> list[LabelledFeatures]:
    """Return one feature per image, of two classes that differ by less the more noise there is."""
    rng = np.random.default_rng(0)
    kinds = np.arange(count) % 2
    features = rng.normal(size=(count, 10)) * noise + kinds[:, None]
    return [
        LabelledFeatures(feature[None].astype(np.float32), np.array([kind]))
        for feature, kind in zip(features, kinds, strict=True)
    ]


def test_curves_rise_with_labels_and_the_better_method_is_ahead() -> None:
    found = label_efficiency({"good": pooled_images(0.7), "poor": pooled_images(4)}, draws=8)
    assert found.counts.tolist() == [1, 2, 3, 7, 14, 28]
    assert found.held_out == 12
    assert found.scores.shape == (2, 8, 6)
    np.testing.assert_allclose(found.scores[:, :, 0], 0.5)  # of one class only, nothing can be told apart
    good = [found.estimate("good", count).value for count in (1, 3, 28)]
    assert good[0] < good[1] < good[2]
    assert good[2] > found.estimate("poor", 28).value + 0.2


def test_a_second_call_draws_the_same_and_another_seed_does_not() -> None:
    images = {"some": pooled_images(2)}
    first, again, other = (label_efficiency(images, seed=seed).scores for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_methods_have_the_same_images_and_held_out_ones_are_never_fitted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: dict[int, list[tuple[tuple[int, ...], tuple[int, ...]]]] = {}
    score = module._score

    def watch(images: object, labelled: np.ndarray, asked: np.ndarray, *rest: object) -> float:
        calls.setdefault(id(images), []).append((tuple(labelled), tuple(asked)))
        return score(images, labelled, asked, *rest)

    monkeypatch.setattr(module, "_score", watch)
    images = {"one": pooled_images(1), "two": pooled_images(2)}
    label_efficiency(images, draws=3)
    one, two = calls.values()
    assert one == two
    for labelled, asked in one:
        assert not set(labelled) & set(asked)
        assert {index % 2 for index in asked} == {0, 1}
        assert len(labelled) < 2 or {index % 2 for index in labelled} == {0, 1}
    nested = [set(labelled) for labelled, _ in one[:6]]
    assert all(smaller < larger for smaller, larger in pairwise(nested))


@pytest.mark.parametrize("score", ["balanced accuracy", "AUROC"])
def test_scores_are_scikit_learns(score: str) -> None:
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    images = pooled_images(2)
    order, asked = module._draw([item.kinds for item in images], 0.3, np.random.default_rng([0, 0]))
    head = module.fit_linear(
        *(np.concatenate([getattr(images[i], name) for i in order]) for name in ("features", "kinds"))
    )
    features, kinds = (
        np.concatenate([getattr(images[i], name) for i in asked]) for name in ("features", "kinds")
    )
    shares = head.probabilities(features)
    expected = (
        balanced_accuracy_score(kinds, shares.argmax(axis=1))
        if score == "balanced accuracy"
        else roc_auc_score(kinds, shares[:, 1])
    )
    found = label_efficiency({"some": images}, shares=(1.0,), draws=1, score=score)
    assert found.scores[0, 0, 0] == pytest.approx(expected)


def test_labelled_tokens_serve_as_well() -> None:
    rng = np.random.default_rng(1)
    images = []
    for _ in range(6):
        labels = rng.integers(0, 3, (20, 20))
        tokens = rng.normal(size=(20, 20, 5)).astype(np.float32)
        tokens[..., 0] += 4 * labels
        tokens[0] = np.nan
        images.append(LabelledFeatures.of_tokens(Embedding.from_tokens(tokens, 4), labels))
    assert all(len(image.kinds) <= TOKENS_PER_IMAGE for image in images)
    assert all(np.isfinite(image.features).all() and (image.kinds > 0).all() for image in images)
    found = label_efficiency({"some": images}, draws=2)
    assert found.counts.tolist() == [1, 2, 4]
    assert found.scores.min() > 0.9


def test_a_whole_image_is_one_feature() -> None:
    embedding = Embedding.from_tokens(np.arange(12, dtype=np.float32).reshape(2, 2, 3), 4)
    found = LabelledFeatures.of_image(embedding, 3)
    np.testing.assert_allclose(found.features, [[4.5, 5.5, 6.5]])
    assert found.kinds.tolist() == [3]


def test_plot_and_table_show_mean_and_band() -> None:
    found = label_efficiency({"one": pooled_images(1), "two": pooled_images(3)}, draws=4)
    plot, table = found.plot(), found.table()
    assert [curve.label for curve in plot.curves] == ["one", "two"]
    assert plot.x_axis == "log"
    for curve in plot.curves:
        np.testing.assert_array_equal(curve.x, found.counts)
        assert (curve.low <= curve.y + 1e-6).all()
        assert (curve.y <= curve.high + 1e-6).all()
        np.testing.assert_allclose(curve.y[-1], found.estimate(curve.label, int(found.counts[-1])).value)
    assert table.columns[0] == "method"
    assert table.rows[1][0] == "two"
    assert "4 draws, 12 images held out" in table.notes[0]


def test_bad_input_is_told_in_a_sentence() -> None:
    images = pooled_images(1)
    with pytest.raises(
        InvalidOptionError, match="same labelled images for every method; got 40 of a, 39 of b"
    ):
        label_efficiency({"a": images, "b": images[1:]})
    with pytest.raises(InvalidOptionError, match="got none"):
        label_efficiency({})
    with pytest.raises(InvalidOptionError, match=r"at least two images, .* got class 0 in 1, class 1 in 1"):
        label_efficiency({"a": images[:2]})
    for options in ({"shares": ()}, {"shares": (0.0,)}, {"held_out": 1.0}, {"draws": 0}):
        with pytest.raises(InvalidOptionError, match="Expected shares above 0"):
            label_efficiency({"a": images}, **options)
    with pytest.raises(InvalidOptionError, match="balanced accuracy or AUROC; got 'dice'"):
        label_efficiency({"a": images}, score="dice")
