"""Judgements → tables: what readers preferred, how sure that is, and how far they agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isfinite

import numpy as np

from napari_sslmaps.core.findings import Cell, Estimate, Table
from napari_sslmaps.readers.answers import Answers, Judgement
from napari_sslmaps.readers.statistics import (
    FEWEST,
    Float,
    bradley_terry,
    friedman,
    holm,
    intraclass_correlation,
    items_needed,
    krippendorff_alpha,
    mean_of_images,
    rank_correlation,
    signed_rank,
    two_way_bootstrap,
    weighted_kappa,
)
from napari_sslmaps.readers.study import LETTERS, Study

_STRENGTH_DRAWS = 500
_MEASURES = {
    "rating": ("Mean rating", "Ratings"),
    "pairwise": ("Share of comparisons won", "Preferences"),
    "best-worst": ("Best less worst", "Best and worst"),
}
_ENOUGH_READERS = 5
"""Fewer do not tell how much readers differ: where they do, intervals are too narrow."""
_LEVEL = 0.05
_TEST_NOTE = (
    "Tests over images, each image's value being the mean over readers: Friedman over all methods, "
    "Wilcoxon's signed-rank test for pairs, p-values adjusted by Holm within a map and question. Images "
    "needed: for such a difference to be decided in 80 of 100 studies."
)
Scores = Mapping[tuple[str, str, str], float]
"""(image's name, map, method) → AUROC."""


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Judgements of one map by one question: (readers, images, methods) with NaN."""

    map: str
    question: str
    methods: tuple[str, ...]
    values: Float

    @property
    def by_image(self) -> Float:
        """(images, methods) means over readers, of images that have all of them."""
        with np.errstate(invalid="ignore"):
            counts = np.isfinite(self.values).sum(axis=0)
            means: Float = np.nansum(self.values, axis=0) / np.where(counts, counts, np.nan)
        return means

    def less(self, first: str, second: str) -> Float:
        """(images,) difference of two methods."""
        means, place = self.by_image, self.methods.index
        difference: Float = means[:, place(first)] - means[:, place(second)]
        return difference


def tables_of(study: Study, answers: Answers, scores: Scores | None = None) -> tuple[Table, ...]:
    """Return every table that the answers have numbers for.

    Parameters
    ----------
    study, answers
        Study, and the answers to it.
    scores
        AUROC of the maps, where they were evaluated.
    """
    blocks = _blocks(study, answers)
    made = (
        means_table(study, blocks),
        difference_table(study, blocks),
        strength_table(study, answers, interval_note(*_judged(blocks))),
        agreement_table(study, answers),
        time_table(study, answers),
        letter_table(study, answers),
        correlation_table(study, blocks, scores or {}),
    )
    return tuple(table for table in made if table.rows)


def sentences_of(study: Study, answers: Answers) -> tuple[str, ...]:
    """Say which methods were preferred to every control, and what is missing."""
    notes = []
    controls = {method.name for method in study.methods if method.control}
    for block in _blocks(study, answers):
        there = [name for name in block.methods if name in controls]
        if not there:
            continue
        # to be better than all of several, each at the level is enough (Berger, Technometrics 1982)
        tested = {frozenset(pair): p for pair, p, _ in _tested(block)}
        beats = [
            name
            for name in block.methods
            if name not in controls
            and all(
                _difference(block, name, other).low > 0 and tested[frozenset((name, other))] < _LEVEL
                for other in there
            )
        ]
        notes.append(
            f"{block.map}, {block.question}: {', '.join(beats) or 'no method'} "
            f"{'were' if len(beats) > 1 else 'was'} judged better than every control."
        )
    if notes:
        notes.append(
            "Better: the interval of the difference from each control is above 0, and p by Wilcoxon below "
            f"{_LEVEL}."
        )
    notes += _lacks(study, answers)
    if answers.missing:
        notes.append(f"No answers yet from {', '.join(answers.missing)}.")
    unused = ", ".join(answers.unused)
    if unused:
        notes.append(f"Not used, since there are more, or newer, answers of the same reader: {unused}.")
    return tuple(notes)


def _lacks(study: Study, answers: Answers) -> list[str]:
    """Say what is unknown for want of answers."""
    said, judged = [], answers.judgements
    for reader in study.readers:
        done = len({one.screen for one in judged if one.reader == reader.name})
        if 0 < done < len(reader.trials):
            said.append(
                f"{reader.name} answered {done} of {len(reader.trials)} screens; means are over those who "
                "answered."
            )
    images = len({one.image for one in judged if not one.repeat})
    if 0 < images < FEWEST:
        least = f"be below {2 ** (1 - images):.2g}" if images > 1 else "be told"
        said.append(
            f"Of {images} image{'s' if images > 1 else ''} p by Wilcoxon cannot {least}, so that nothing can "
            f"be judged better: it takes at least {FEWEST}."
        )
    if judged and len({one.reader for one in judged}) == 1:
        said.append("Of one reader the agreement between readers cannot be told.")
    if judged and not any(one.repeat for one in judged):
        said.append("Nothing was answered twice: how far readers agree with themselves cannot be told.")
    for key in study.maps:
        for question in study.questions:
            values = {one.value for one in judged if (one.map, one.question) == (key, question.key)}
            if len(values) == 1:
                said.append(
                    f"{key}, {question.key}: all answers are {values.pop():g}, so that agreement beyond "
                    "chance cannot be told."
                )
    return said


def _blocks(study: Study, answers: Answers) -> list[_Block]:
    readers = [reader.name for reader in study.readers if reader.name not in answers.missing]
    images = [image.number for image in study.images]
    found = []
    for key in study.maps:
        for question in study.questions:
            judged = [
                one
                for one in answers.judgements
                if not one.repeat and (one.map, one.question) == (key, question.key)
            ]
            methods = tuple(
                method.name for method in study.methods if method.name in {one.method for one in judged}
            )
            if not methods:
                continue
            total = np.zeros((len(readers), len(images), len(methods)))
            counts = np.zeros_like(total)
            for one in judged:
                place = readers.index(one.reader), images.index(one.image), methods.index(one.method)
                total[place] += one.value
                counts[place] += 1
            found.append(_Block(key, question.key, methods, total / np.where(counts, counts, np.nan)))
    return found


def means_table(study: Study, blocks: Sequence[_Block]) -> Table:
    """Mean of every method, and its difference from the control that readers liked best."""
    measure, title = _MEASURES[study.design]
    kinds = {method.name: method.control for method in study.methods}
    rows: list[tuple[Cell, ...]] = []
    for block in blocks:
        means = two_way_bootstrap(block.values, mean_of_images)
        value = {name: mean.value for name, mean in zip(block.methods, means, strict=True)}
        controls = [name for name in block.methods if kinds[name]]
        best = max(controls, key=lambda name: value[name]) if controls else None
        for name, mean in sorted(zip(block.methods, means, strict=True), key=lambda one: -one[1].value):
            less = None if best is None or name == best else _difference(block, name, best)
            rows.append((block.map, block.question, name, kinds[name] or "–", mean, less))
    columns = ("Map", "Question", "Method", "Control", measure, "Less the best control")
    return Table(title, columns, tuple(rows), (interval_note(*_judged(blocks)),), "means")


def _judged(blocks: Sequence[_Block]) -> tuple[int, int]:
    """Return how many readers and images have answers."""
    there = [np.isfinite(block.values) for block in blocks]
    readers = [int(np.count_nonzero(one.any(axis=(1, 2)))) for one in there]
    images = [int(np.count_nonzero(one.any(axis=(0, 2)))) for one in there]
    return min(readers, default=0), min(images, default=0)


def interval_note(readers: int, images: int) -> str:
    """Say what intervals hold for, by how many readers and images there were to resample."""
    if min(readers, images) < 1 or max(readers, images) < 2:
        return "No intervals: one reader and one image cannot be resampled."
    if readers == 1:
        return "Intervals: 95 %, from resampling images; of one reader, they say nothing about others."
    if images == 1:
        return "Intervals: 95 %, from resampling readers; of one image, they say nothing about others."
    note = (
        "Intervals: 95 %, from resampling readers and images independently, so that they hold for other "
        "readers and other images."
    )
    if readers >= _ENOUGH_READERS:
        return note
    return f"{note} Of {readers} readers they are too narrow if these judge differently."


def difference_table(study: Study, blocks: Sequence[_Block]) -> Table:
    """Every pair of methods: difference, tests, and how many images would have decided."""
    rows: list[tuple[Cell, ...]] = []
    for block in blocks:
        by_image = block.by_image
        whole = by_image[np.isfinite(by_image).all(axis=1)]
        overall = friedman(whole)[1]
        for (left, right), p, adjusted in _tested(block):
            needed = items_needed(block.less(left, right))
            found = _difference(block, left, right)
            rows.append((block.map, block.question, left, right, found, p, adjusted, needed, overall))
    columns = (
        "Map",
        "Question",
        "Method",
        "Less",
        "Difference",
        "p, Wilcoxon",
        "p, Holm",
        "Images needed",
        "p, Friedman",
    )
    count = len(study.images)
    return Table(
        "Differences", columns, tuple(rows), (_TEST_NOTE, f"Images of this study: {count}."), "differences"
    )


def _tested(block: _Block) -> list[tuple[tuple[str, str], float, float]]:
    """Every pair of methods, with the p-value of Wilcoxon's test and the one adjusted for all pairs."""
    pairs = list(combinations(block.methods, 2))
    raw = [signed_rank(block.less(*pair)) for pair in pairs]
    return [(pair, p, float(q)) for pair, p, q in zip(pairs, raw, holm(raw), strict=True)]


def _difference(block: _Block, first: str, second: str) -> Estimate:
    pair = [block.methods.index(first), block.methods.index(second)]

    def statistic(values: Float) -> Float:
        return mean_of_images(values[..., pair[0], None] - values[..., pair[1], None])

    if np.isfinite(statistic(block.values)).all():
        return two_way_bootstrap(block.values, statistic)[0]

    def of_means(values: Float) -> Float:  # a pair that was never on one screen
        means = mean_of_images(values[..., pair])
        return means[:1] - means[1:]

    return two_way_bootstrap(block.values, of_means)[0]


def strength_table(study: Study, answers: Answers, note: str = "") -> Table:
    """Bradley–Terry strengths of methods that were compared with each other, with a note on intervals."""
    rows: list[tuple[Cell, ...]] = []
    if study.design != "rating":
        readers = [reader.name for reader in study.readers if reader.name not in answers.missing]
        images = [image.number for image in study.images]
        for key in study.maps:
            for question in study.questions:
                judged = [
                    one
                    for one in answers.judgements
                    if not one.repeat and (one.map, one.question) == (key, question.key)
                ]
                if not judged:  # not yet
                    continue
                names = [m.name for m in study.methods if m.name in {one.method for one in judged}]
                wins = _wins(judged, readers, images, names)
                found = two_way_bootstrap(
                    wins, lambda drawn: bradley_terry(drawn.sum(axis=(0, 1))), draws=_STRENGTH_DRAWS
                )
                compared = [one for one in zip(names, found, strict=True) if isfinite(one[1].value)]
                order = sorted(compared, key=lambda one: -one[1].value)
                rows += [(key, question.key, name, strength) for name, strength in order]
    model = (
        "Bradley–Terry: a difference of 1 means odds of 2.7 to be preferred. A method that always or never "
        "won is held back by a tenth of a win. "
    )
    return Table(
        "Strengths",
        ("Map", "Question", "Method", "Log strength"),
        tuple(rows),
        (model + note,),
        "strengths",
    )


def _wins(
    judged: Sequence[Judgement], readers: Sequence[str], images: Sequence[int], names: Sequence[str]
) -> Float:
    """(readers, images, n, n): of two on one screen, the one with the higher value wins, equal ones share."""
    wins = np.zeros((len(readers), len(images), len(names), len(names)))
    screens: dict[str, list[Judgement]] = {}
    for one in judged:
        screens.setdefault(one.screen, []).append(one)
    for shown in screens.values():
        place = readers.index(shown[0].reader), images.index(shown[0].image)
        several = len(shown) > 2  # of best and worst, two in between were not compared
        for first, second in combinations(shown, 2):
            i, j = names.index(first.method), names.index(second.method)
            if first.value == second.value:
                if not several:
                    wins[(*place, i, j)] += 0.5
                    wins[(*place, j, i)] += 0.5
            else:
                wins[(*place, i, j) if first.value > second.value else (*place, j, i)] += 1
    return wins


def agreement_table(study: Study, answers: Answers) -> Table:
    """How far readers agree with each other, and each with themselves."""
    readers = [reader.name for reader in study.readers if reader.name not in answers.missing]
    rows: list[tuple[Cell, ...]] = []
    for key in study.maps:
        for question in study.questions:
            judged = [one for one in answers.judgements if (one.map, one.question) == (key, question.key)]
            targets = _targets(study, [one for one in judged if not one.repeat], readers)
            if not targets.size:
                continue
            kappas = [weighted_kappa(*targets[list(pair)]) for pair in combinations(range(len(readers)), 2)]
            icc = intraclass_correlation(targets.T)
            twice = _twice(study, judged)
            rows.append(
                (
                    key,
                    question.key,
                    len(readers),
                    targets.shape[1],
                    int(np.isfinite(targets).all(axis=0).sum()),
                    float(np.nanmean(kappas)) if np.isfinite(kappas).any() else None,
                    icc.single,
                    icc.mean,
                    krippendorff_alpha(targets, ordinal=question.scale == "likert"),
                    len(twice),
                    weighted_kappa(*np.transpose(twice)) if twice else None,
                    float(np.mean([first == second for first, second in twice])) if twice else None,
                )
            )
    columns = (
        "Map",
        "Question",
        "Readers",
        "Judged",
        "By all readers",
        "Weighted kappa",
        "ICC(2,1)",
        "ICC(2,k)",
        "Krippendorff's alpha",
        "Repeats",
        "Kappa with oneself",
        "Same answer",
    )
    note = (
        "Between readers: Cohen's kappa with quadratic weights, mean over pairs of readers; ICC of one "
        "reader and of the mean of all (two-way random, absolute agreement); alpha, ordinal or of intervals. "
        "With oneself: over items that a reader saw twice, with letters drawn anew, of all readers together. "
        "ICC needs what all readers judged; nothing is said where nothing varies."
    )
    return Table("Agreement", columns, tuple(rows), (note,), "agreement")


def _targets(study: Study, judged: Sequence[Judgement], readers: Sequence[str]) -> Float:
    """(readers, targets): what all were asked. Of a pair one method stands for both."""
    trials = study.trials
    found: dict[tuple[int, str, tuple[str, ...]], dict[str, float]] = {}
    for one in judged:
        _, trial = trials[one.screen]
        beside = tuple(sorted(trial.shown))
        if study.design == "pairwise" and one.method != beside[0]:
            continue
        found.setdefault((one.image, one.method, beside), {})[one.reader] = one.value
    return np.array(
        [[values.get(reader, np.nan) for values in found.values()] for reader in readers], float
    ).reshape(len(readers), len(found))


def _twice(study: Study, judged: Sequence[Judgement]) -> list[tuple[float, float]]:
    """Values of what a reader judged twice; of a pair one method stands for both."""
    trials = study.trials
    first = {(one.screen, one.method): one.value for one in judged if not one.repeat}
    return [
        (first[one.first, one.method], one.value)
        for one in judged
        if one.repeat
        and (one.first, one.method) in first
        and (study.design != "pairwise" or one.method == min(trials[one.screen][1].shown))
    ]


def time_table(study: Study, answers: Answers) -> Table:
    """How far every reader is, and how long a screen took them."""
    rows: list[tuple[Cell, ...]] = []
    for reader in study.readers:
        done = {one.screen for one in answers.judgements if one.reader == reader.name}
        times = [
            time
            for (name, trial), time in answers.seconds.items()
            if name == reader.name and trial in done and time > 0
        ]
        median, total = (float(np.median(times)), sum(times) / 60) if times else (None, None)
        rows.append((reader.name, len(done), len(reader.trials), median, total))
    columns = ("Reader", "Screens done", "Of", "Median seconds", "Minutes in all")
    note = "Time in view, of screens whose time was kept; pauses do not count."
    return Table("Time", columns, tuple(rows), (note,), "time")


def letter_table(study: Study, answers: Answers) -> Table:
    """Mean value by letter: where letters were drawn well, no place is preferred."""
    trials = study.trials
    by_letter: dict[str, list[float]] = {}
    for one in answers.judgements:
        letter = LETTERS[trials[one.screen][1].shown.index(one.method)]
        by_letter.setdefault(letter, []).append(one.value)
    rows = tuple(
        (letter, len(values), float(np.mean(values))) for letter, values in sorted(by_letter.items())
    )
    note = "What stands behind a letter changes from screen to screen: a place that is liked more is a habit."
    return Table("Letters", ("Letter", "Answers", "Mean"), rows, (note,), "letters")


def correlation_table(study: Study, blocks: Sequence[_Block], scores: Scores) -> Table:
    """Spearman's correlation of what readers said with AUROC, and with how far the map reaches."""
    names = {image.number: image.name for image in study.images}
    reach = {(one.image, one.map, one.method): one.share for one in study.reaches}
    rows: list[tuple[Cell, ...]] = []
    for block in blocks:
        said = block.by_image
        keys = [(image.number, place) for image in study.images for place in range(len(block.methods))]
        order = {image.number: at for at, image in enumerate(study.images)}
        with_reach, with_auroc = [], []
        for number, place in keys:
            value, method = float(said[order[number], place]), block.methods[place]
            share = reach.get((number, block.map, method))
            area = scores.get((names[number], block.map, method))
            if share is not None:
                with_reach.append((value, share))
            if area is not None:
                with_auroc.append((value, area))
        if with_auroc or with_reach:
            correlations = (*rank_correlation(with_auroc), *rank_correlation(with_reach))
            rows.append((block.map, block.question, *correlations))
    columns = ("Map", "Question", "With AUROC", "Maps", "With reach", "Maps of known reach")
    note = (
        "Spearman's, over images and methods, of the mean over readers. Reach: the distance at which a map's "
        "autocorrelation falls to 1/e, as a share of the image's side."
    )
    return Table("Correlations", columns, tuple(rows), (note,), "correlations")
