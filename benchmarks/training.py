# ruff: noqa: SLF001  # the floor calls the networks past the objectives
"""What training costs over the bare networks: processor time of one step, data and all, per method.

The floor is the forward and backward pass of the same networks on the same views, drawn beforehand: no data,
views, losses, optimiser, moving averages, queues, clipping or logging. Both are before Gram anchoring and the
adversary. Processor time, so that other work does not count.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from measure import Outcome
from torch import Tensor

from napari_sslmaps.lab.training.datasets.loading import Keys, Shards, read_ahead
from napari_sslmaps.lab.training.datasets.protocol import ArrayFields
from napari_sslmaps.lab.training.recipes import METHODS, load_recipe
from napari_sslmaps.lab.training.run import Run, advance, start
from napari_sslmaps.lab.training.trainer import LoggingSchedule, RunWriter
from napari_sslmaps.pretext.masks import block_masks, draw_blocks, random_mask

ROUNDS = 7
BUDGET = 1.10
Floor = Callable[[], None]


def bank(count: int = 256, side: int = 192) -> ArrayFields:
    """Fields whose content does not matter."""
    return ArrayFields(np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8))


def backward(*outputs: Tensor) -> None:
    torch.autograd.backward(outputs, [torch.ones_like(output) for output in outputs])


def bare(run: Run) -> Floor:
    """The networks alone, on views of the recipe's number and size."""
    recipe, objective = run.recipe, run.objective
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2 * recipe.batch, 3, recipe.crop.size, recipe.crop.size, generator=generator)
    floors: dict[str, Callable[[Any, Tensor, torch.Generator], Floor]] = {
        "mae": bare_mae,
        "ijepa": bare_ijepa,
        "dinov3": bare_dinov3,
        "dira": bare_dira,
    }
    work = floors[recipe.method](objective, images, generator)
    parameters = [parameter for parameter in objective.parameters() if parameter.requires_grad]

    def passes() -> None:
        with run.fabric.autocast():
            work()
        for parameter in parameters:
            parameter.grad = None

    return passes


def bare_mae(objective: Any, images: Tensor, generator: torch.Generator) -> Floor:
    images = images[: len(images) // 2]
    patches = objective.architecture.grid[0] ** 2
    visible, _ = random_mask(len(images), patches, objective.options.mask_ratio, generator)
    return lambda: backward(objective.decode(objective.encode(images, visible), visible, patches))


def bare_ijepa(objective: Any, images: Tensor, generator: torch.Generator) -> Floor:
    images = images[: len(images) // 2]
    context, targets = draw_blocks(
        len(images), objective.architecture.grid, generator, objective.options.blocks
    )

    def work() -> None:
        with torch.no_grad():
            objective.target.forward_features(images)
        backward(objective.predict(objective.encode(images, context), context, targets))

    return work


def bare_dinov3(objective: Any, images: Tensor, generator: torch.Generator) -> Floor:
    options, side = objective.options, objective.crop.size // objective.architecture.patch
    count = options.locals * len(images) // 2
    small = torch.rand(count, 3, options.local_size, options.local_size, generator=generator)
    shape = (side, side)
    masks = block_masks(len(images), shape, generator, share=options.mask_share, ratio=options.mask_ratio)
    hidden = masks.flatten().nonzero()[:, 0]

    def work() -> None:
        with torch.no_grad():
            cls, patches = objective._encode(objective.teacher, images)
            objective.teacher.dino_head(cls)
            objective.teacher.ibot_head(patches.flatten(0, 1)[hidden])
        cls, patches = objective._encode(objective.student, images, masked=masks)
        local_cls, _ = objective._encode(objective.student, small)
        scores = objective.student.dino_head(torch.cat([cls, local_cls]))
        backward(scores, objective.student.ibot_head(patches.flatten(0, 1)[hidden]))

    return work


def bare_dira(objective: Any, images: Tensor, generator: torch.Generator) -> Floor:
    del generator
    half = len(images) // 2
    images = images.contiguous(memory_format=torch.channels_last)

    def work() -> None:
        features = objective._features(images[:half])
        with torch.no_grad():
            objective.key.embed(objective.key.unet.features(images[half:]))
        backward(objective.query.embed(features), objective._restore(features))

    return work


def processor_seconds(work: Callable[[], object]) -> float:
    start_ = process_time()
    work()
    return process_time() - start_


def overhead(method: str, source: ArrayFields) -> Outcome:
    recipe = load_recipe(f"{method}-histology")
    run = start(recipe)
    feed = read_ahead(Shards(source, recipe), Keys(0, recipe.steps, run.own), workers=0, pin=False)
    floor = bare(run)
    run.module.train()
    for _ in range(2):
        advance(run, feed), floor()
    pairs = [(processor_seconds(lambda: advance(run, feed)), processor_seconds(floor)) for _ in range(ROUNDS)]
    step, lowest = (min(times) for times in zip(*pairs, strict=True))
    kept = writer_seconds(run, source)
    ours = step + kept
    detail = (
        f"{recipe.batch / ours:.0f} images/s per core; step {1000 * step:.0f} ms, bare "
        f"{1000 * lowest:.0f} ms, log and checkpoint {1000 * kept:.1f} ms a step"
    )
    return Outcome(f"{method}: a training step over its networks", ours / lowest, "×", BUDGET, detail)


def writer_seconds(run: Run, source: ArrayFields) -> float:
    """Processor time of watching, logging and saving, spread over the steps between."""
    schedule = LoggingSchedule()
    with tempfile.TemporaryDirectory() as folder:
        writer = RunWriter(run, Shards(source, run.recipe), Path(folder), schedule)
        line = {"step": 1.0, "total": 1.0, "rate": 1.0, "seconds": 1.0}
        often = min(processor_seconds(lambda: writer.take(dict(line))) for _ in range(2))
        rarely = processor_seconds(writer.save)
    return often / schedule.log + rarely / schedule.save


def outcomes(methods: Sequence[str] = METHODS) -> list[Outcome]:
    torch.set_num_threads(1)
    source = bank()
    return [overhead(method, source) for method in methods]


if __name__ == "__main__":
    for outcome in outcomes(sys.argv[1:] or METHODS):
        print(outcome, flush=True)
