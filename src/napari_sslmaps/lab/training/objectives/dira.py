"""DiRA (Haghighi et al., arXiv 2204.10437): discrimination, restoration and adversary in one U-Net.

The three ingredients can be trained one by one, as the paper ablates them: ``Di`` trains the encoder and its
projection, ``Di+Re`` the decoder too, ``Di+Re+Ad`` adds a discriminator in a second phase.

Convolutions pad with zeros, and no ingredient teaches the encoder to overlook it: on a constant image the
outermost row of tokens has a cosine of 0.6 with those inside (stride 8, the embedded encoder), the next
0.999. In a map of a whole image it is a stripe along the border.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from napari_sslmaps.encoders.families.unet import UNetArchitecture
from napari_sslmaps.encoders.pretext_heads.dira import PatchDiscriminator
from napari_sslmaps.encoders.untrained import untrained_network
from napari_sslmaps.lab.training.losses import info_nce, lsgan_fake, lsgan_real
from napari_sslmaps.lab.training.numerics import TrainingPosition, frozen_copy, move_average
from napari_sslmaps.lab.training.objectives.base import Gather, Objective, prefixed
from napari_sslmaps.lab.training.options import DiRAOptions, parse_options
from napari_sslmaps.lab.training.views import CropScheme, cut, draw_places, jitter_stain, to_grey, within
from napari_sslmaps.pretext.distortions import distort


class _Branch(nn.Module):
    """U-Net with MoCo-v2's two-layer projection of its pooled deepest features."""

    def __init__(self, architecture: UNetArchitecture, embedding: int) -> None:
        super().__init__()
        self.unet: Any = untrained_network("dira", architecture)
        width = architecture.stage_channels[-1] * (4 if architecture.block == "bottleneck" else 1)
        self.projection = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, embedding))

    def embed(self, features: list[Tensor]) -> Tensor:
        """Unit-length (B, embedding) points of the encoder's features."""
        projected: Tensor = self.projection(features[-1].mean(dim=(2, 3)))
        return functional.normalize(projected.float(), dim=-1)


class DiRA(Objective):
    """InfoNCE against a queue, restoration of the undistorted grey crop; in phase two a patch adversary."""

    method = "dira"
    normalisation = "unit"
    architecture: UNetArchitecture
    queue: Tensor
    position: Tensor

    def __init__(self, architecture: UNetArchitecture, crop: CropScheme, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.options = chosen = parse_options(DiRAOptions, options)
        self.restores = "Re" in chosen.ingredients
        if not self.restores:
            architecture = replace(architecture, decoder_channels=())
        self.architecture = architecture
        self.crop = crop
        self.region = CropScheme(chosen.region, chosen.region_span, crop.upright)
        self.pretext_settings = self._describe()
        self.query = _Branch(architecture, chosen.embedding)
        self.key: Any = frozen_copy(self.query)
        has_adversary = chosen.ingredients == "Di+Re+Ad"
        self.discriminator = PatchDiscriminator(chosen.discriminator_width) if has_adversary else None
        queue = torch.randn(chosen.queue, chosen.embedding)
        self.register_buffer("queue", functional.normalize(queue, dim=-1))
        self.register_buffer("position", torch.zeros((), dtype=torch.long))
        self._keys: list[Tensor] = []
        self.to(memory_format=torch.channels_last)  # 1.3 to 1.4 times as fast on a CPU

    def _describe(self) -> dict[str, Any]:
        described: dict[str, Any] = {"ingredients": self.options.ingredients}
        if self.restores:
            described["output"] = "sigmoid of the logits is the grey image"
        if self.options.ingredients == "Di+Re+Ad":
            described["adversary_from"] = self.options.adversary_from
        return described

    def shard_loss(
        self, fields: Tensor, progress: TrainingPosition, generator: Generator
    ) -> dict[str, Tensor]:
        """Contrastive, restoration and (second phase) adversarial terms of two views per field."""
        count, views = len(fields), self._views(fields, generator)
        coloured = self.vary(jitter_stain(views, generator, self.options.jitter), generator)
        distorted = self.normalise(distort(coloured, generator, self.options.shuffle_windows))
        features = self._features(distorted[:count])
        with torch.no_grad():
            keys = self.key.embed(self.key.unet.features(distorted[count:]))
        if self.training:
            self._keys.append(keys)
        query = self.query.embed(features)
        losses = {"discrimination": info_nce(query, keys, self.queue.clone(), self.options.temperature)}
        total = losses["discrimination"]
        if self.restores:
            # The target is the input's own view, mirrored and turned alike, before colours and distortions.
            clean, restored = to_grey(views[:count]), self._restore(features)
            losses["restoration"] = functional.mse_loss(restored, clean)
            total = total + self.options.restoration_weight * losses["restoration"]
            if self.discriminator is not None and progress.fraction >= self.options.adversary_from:
                losses |= self._adversarial_losses(self.discriminator, clean, restored)
                total = total + self.options.adversary_weight * losses["adversary"] + losses["judge"]
        return {"total": total, **losses}

    def _views(self, fields: Tensor, generator: Generator) -> Tensor:
        """Two views of each field, (2 * B, 3, S, S), out of one region, so that they share tissue."""
        count = len(fields)
        regions = draw_places(count, fields.shape[-1], self.region, generator)
        inner = draw_places(2 * count, self.region.size, self.crop, generator)
        return cut(fields, within(regions.repeat(2, 1, 1), inner), self.crop.size)

    def _features(self, views: Tensor) -> list[Tensor]:
        """Return the query encoder's features, stage by stage."""
        unet = self.query.unet
        if not self.checkpointing:
            features: list[Tensor] = unet.features(views)
            return features
        encoder = unet.encoder
        stem = encoder.act1(encoder.bn1(encoder.conv1(views)))
        features, current = [views, stem], encoder.maxpool(stem)
        for stage in (encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4):
            current = self.run(stage, current)
            features.append(current)
        return features

    def _restore(self, features: list[Tensor]) -> Tensor:
        """Grey image (B, 1, S, S) in [0, 1] that the decoder makes of the features."""
        unet = self.query.unet
        current, *skips = reversed(features[1:])
        for block, skip in zip(unet.decoder.blocks, [*skips, None], strict=True):
            current = self.run(block, current, skip)
        return torch.sigmoid(unet.segmentation_head(current).float())

    def _adversarial_losses(
        self, discriminator: nn.Module, clean: Tensor, restored: Tensor
    ) -> dict[str, Tensor]:
        """Least-squares terms: how badly the restored images fool, and how badly the discriminator errs.

        Detached weights keep the first term's gradient out of the discriminator, a detached image the
        second's out of the U-Net.
        """
        frozen = {name: value.detach() for name, value in discriminator.named_parameters()}
        fooled = functional_call(discriminator, frozen, (restored,))
        real, fake = discriminator(clean), discriminator(restored.detach())
        return {"adversary": lsgan_real(fooled), "judge": 0.5 * (lsgan_real(real) + lsgan_fake(fake))}

    @torch.no_grad()
    def _enqueue(self, keys: Tensor) -> None:
        """Replace the oldest keys of the queue."""
        size = len(self.queue)
        keys = keys[-size:]
        places = (self.position + torch.arange(len(keys), device=self.position.device)) % size
        self.queue[places] = keys.to(self.queue.dtype)
        self.position.copy_((self.position + len(keys)) % size)

    def follow(self, progress: TrainingPosition, gather: Gather) -> None:
        """Let the key branch follow the query branch, and put the step's keys into the queue."""
        del progress
        move_average(self.key, self.query, self.options.momentum)
        if self._keys:
            self._enqueue(gather(torch.cat(self._keys)))
            self._keys.clear()

    def align(self) -> None:
        """Let the key branch begin where the query branch is."""
        self.key.load_state_dict(self.query.state_dict())

    def summary(self) -> str:
        """Say which ingredients are trained, with their weights."""
        terms = "InfoNCE"
        if self.restores:
            terms += f" + {self.options.restoration_weight:g} x restoration"
        if self.discriminator is not None:
            terms += f" + {self.options.adversary_weight:g} x adversary, in two phases"
        return f"{terms} (arXiv 2204.10437)"

    def tokens(self, images: Tensor) -> Tensor:
        """Features of the token stage of the query U-Net, as tokens."""
        features = self.query.unet.features(self.normalise(images))
        part, _, stage = self.architecture.token_stage.partition(".")
        if part == "decoder":
            chosen = self.query.unet.decode(features)[int(stage.removeprefix("blocks."))]
        else:
            chosen = features[1 if stage == "stem" else 1 + int(stage.removeprefix("layer"))]
        tokens: Tensor = chosen.flatten(2).transpose(1, 2)
        return tokens

    def exported(self) -> dict[str, Tensor]:
        """Query U-Net in segmentation-models-pytorch's names, projection, discriminator: what is trained."""
        query = self.query
        state = prefixed("", query.unet.state_dict()) | prefixed("projection.", query.projection.state_dict())
        if self.discriminator is not None:
            state |= prefixed("discriminator.", self.discriminator.state_dict())
        return state
