"""Protocol of objectives for the trainer, and the parts they share, BatchNorm's statistics included."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from napari_sslmaps.encoders.spec import Architecture, get_normalisation
from napari_sslmaps.lab.training.augmenting import Augmentation, augment
from napari_sslmaps.lab.training.numerics import TrainingPosition

Gather = Callable[[Tensor], Tensor]


class Objective(nn.Module, ABC):
    """A pretext task with its networks; the trainer knows nothing else of a method.

    One step is one or more *shards*: a shard is the unit of randomness and of batch statistics (BatchNorm,
    Sinkhorn, KoLeo). `loss` is called once for each, `after_step` once when the optimiser has stepped. What
    lasts from step to step (moving averages, queues, BatchNorm's running statistics) changes in `after_step`
    alone and depends on the step's shards, not on how many processes shared them. Some parameters have no
    gradient in some steps: those of an adversary before its phase.

    Attributes
    ----------
    method
        Method: ``mae``, ``ijepa``, ``dinov3`` or ``dira``.
    architecture
        Shape of the encoder that is kept.
    normalisation
        Name of the normalisation preset the encoder sees.
    pretext_settings
        Settings of the decoder, predictor or discriminator that the weights alone do not tell.
    checkpointing
        Whether blocks are computed again in the backward pass instead of keeping their activations.
    augmentation
        Ways in which views vary, beside the method's own colours.
    """

    method: str
    architecture: Architecture
    normalisation: str
    pretext_settings: dict[str, Any]

    def __init__(self) -> None:
        super().__init__()
        self.checkpointing = False
        self.augmentation = Augmentation()
        self._statistics = ShardStatistics()

    def loss(self, fields: Tensor, progress: TrainingPosition, generator: Generator) -> dict[str, Tensor]:
        """Losses of one shard.

        Parameters
        ----------
        fields
            (B, 3, S, S) float32 in [0, 1], on the module's device.
        progress
            Position of this step in the training.
        generator
            A generator of the CPU, wherever the module is: every draw is made there.

        Returns
        -------
        dict of Tensor
            Scalars by name; ``total`` is what is minimised.
        """
        with self._statistics.shard(self):
            return self.shard_loss(fields, progress, generator)

    def after_step(self, progress: TrainingPosition, gather: Gather) -> None:
        """Update what lasts once the optimiser has stepped.

        Parameters
        ----------
        progress
            Position of the finished step in the training.
        gather
            Function that concatenates a tensor along its first dimension over the processes, in their order.
        """
        self._statistics.settle(self, gather)
        self.follow(progress, gather)

    @abstractmethod
    def shard_loss(
        self, fields: Tensor, progress: TrainingPosition, generator: Generator
    ) -> dict[str, Tensor]:
        """Compute what `loss` returns."""

    @abstractmethod
    def follow(self, progress: TrainingPosition, gather: Gather) -> None:
        """Update moving averages and queues."""

    @abstractmethod
    def summary(self) -> str:
        """Say in a line what is minimised, as the options have it, with the paper."""

    @abstractmethod
    def tokens(self, images: Tensor) -> Tensor:
        """Tokens (B, N, D) that the kept encoder gives for (B, 3, H, W) images in [0, 1]."""

    @abstractmethod
    def exported(self) -> dict[str, Tensor]:
        """Return the weights that are kept, under the saved file's names, in this module's memory."""

    @abstractmethod
    def align(self) -> None:
        """Give every network that is not exported the weights of the exported one it follows or leads."""

    def load_exported(self, state: Mapping[str, Tensor]) -> list[str]:
        """Start from the weights of a saved file.

        Parameters
        ----------
        state
            Tensors by `exported`'s names.

        Returns
        -------
        list of str
            Names of `state` that were left out, because no weight has this name and shape.
        """
        own = self.exported()
        fitting = [name for name, value in state.items() if name in own and own[name].shape == value.shape]
        with torch.no_grad():
            for name in fitting:
                own[name].copy_(state[name])
        self.align()
        return sorted(set(state) - set(fitting))

    def vary(self, views: Tensor, generator: Generator) -> Tensor:
        """Vary views as images of their domain differ; draws what `augmentation` asks for."""
        return augment(views, self.augmentation, generator)

    def normalise(self, images: Tensor) -> Tensor:
        """Subtract and divide by the channel statistics of the encoder's preset."""
        preset = get_normalisation(self.normalisation)
        if not any(preset.mean) and set(preset.std) == {1.0}:
            return images
        mean = torch.tensor(preset.mean, device=images.device)[:, None, None]
        std = torch.tensor(preset.std, device=images.device)[:, None, None]
        return images.sub(mean).div_(std)

    def run(self, part: Callable[..., Tensor], *inputs: Tensor | None, **settings: Tensor) -> Tensor:
        """Call a block, keeping its activations or not as `checkpointing` says."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(partial(part, **settings), *inputs, use_reentrant=False)
        return part(*inputs, **settings)

    def through(self, blocks: Iterable[nn.Module], sequence: Tensor, **settings: Tensor) -> Tensor:
        """Pass a sequence through blocks, one after the other."""
        for block in blocks:
            sequence = self.run(block, sequence, **settings)
        return sequence


def prefixed(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put `prefix` before every key."""
    return {prefix + key: value for key, value in state.items()}


class ShardStatistics:
    """Moves running means and variances once per step, by the mean of what its shards would make of them.

    Left alone they would move once per forward pass: twice with two shards in one process, once with one
    shard in each of two, and once more for every block that gradient checkpointing computes again.
    """

    def __init__(self) -> None:
        self._before: list[Tensor] = []
        self._found: list[Tensor] = []

    @contextmanager
    def shard(self, module: nn.Module) -> Iterator[None]:
        """Begin a shard from the statistics that the step began with, and note what it makes of them."""
        buffers = running_statistics(module)
        if not module.training or not buffers:
            yield
            return
        if self._found:
            _assign(buffers, self._before)
        else:
            self._before = [buffer.clone() for buffer in buffers]
        yield
        self._found.append(torch.cat([buffer.flatten().float() for buffer in buffers]))

    @torch.no_grad()
    def settle(self, module: nn.Module, gather: Callable[[Tensor], Tensor]) -> None:
        """Set the statistics to the mean over all shards of the step; the layers' counters rise by one."""
        if not self._found:
            return
        mean = gather(torch.stack(self._found)).mean(dim=0)
        settled = [
            value.reshape(old.shape) if old.is_floating_point() else old + 1
            for value, old in zip(
                torch.split(mean, [old.numel() for old in self._before]), self._before, strict=True
            )
        ]
        _assign(running_statistics(module), settled)
        self._found.clear()


def running_statistics(module: nn.Module) -> list[Tensor]:
    """Buffers of the BatchNorm layers that are trained: running means, variances and counters."""
    layers = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.weight.requires_grad]
    return [buffer for layer in layers for buffer in layer.buffers()]


def _assign(buffers: list[Tensor], values: list[Tensor]) -> None:
    for buffer, value in zip(buffers, values, strict=True):
        buffer.copy_(value)
