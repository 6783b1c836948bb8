"""DINOv3 (Siméoni et al., arXiv 2508.10104): self-distillation, then Gram anchoring.

Student and teacher share their architecture; the teacher is the student's moving average. DINO matches CLS
tokens across crops (arXiv 2104.14294), iBOT matches masked patches (arXiv 2111.07832), KoLeo spreads the CLS
tokens, Sinkhorn-Knopp centres the teacher. In the last phase the Gram matrix of the student's patch tokens is
pulled towards that of an earlier teacher, which sees the same global crops at twice the resolution and
without changed colours; its patch tokens are brought to the student's grid bicubically (section 4.3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.pretext_heads.dinov3 import PrototypeHead, begin_rotary
from napari_sslmaps.encoders.untrained import untrained_network
from napari_sslmaps.lab.training.losses import across_views, gram_loss, koleo, masked_patch_loss, sinkhorn
from napari_sslmaps.lab.training.numerics import TrainingPosition, cosine_between, frozen_copy, move_average
from napari_sslmaps.lab.training.objectives.base import Gather, Objective, prefixed
from napari_sslmaps.lab.training.options import DINOv3Options, parse_options
from napari_sslmaps.lab.training.views import CropScheme, cut, draw_places, drop_colour, jitter_stain, within
from napari_sslmaps.pretext.masks import block_masks


class _Network(nn.Module):
    """Backbone with its two heads and the mask token: what student and teacher both are."""

    def __init__(self, architecture: ViTArchitecture, options: DINOv3Options) -> None:
        super().__init__()
        self.backbone: Any = untrained_network("dinov3", architecture)
        dim, hidden, bottleneck = architecture.dim, options.head_hidden, options.head_bottleneck
        self.mask_token = nn.Parameter(torch.zeros(1, dim))
        self.dino_head = PrototypeHead(dim, hidden, bottleneck, options.prototypes)
        self.ibot_head = PrototypeHead(dim, hidden, bottleneck, options.patch_prototypes)


class DINOv3(Objective):
    """DINO + iBOT + KoLeo with Sinkhorn centring, then Gram anchoring; the moving-average teacher is kept."""

    method = "dinov3"
    normalisation = "imagenet"
    architecture: ViTArchitecture
    gram_step: Tensor

    def __init__(self, architecture: ViTArchitecture, crop: CropScheme, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.architecture = architecture
        self.crop = crop
        self.options = chosen = parse_options(DINOv3Options, options)
        self.region = CropScheme(chosen.region, chosen.region_span, crop.upright)
        self.local = CropScheme(chosen.local_size, chosen.local_span, crop.upright)
        self.pretext_settings = {
            "prototypes": chosen.prototypes,
            "patch_prototypes": chosen.patch_prototypes,
            "gram_from": chosen.gram_from,
            "gram_resolution": chosen.gram_resolution,
        }
        self.anchored = chosen.gram_from < 1 and chosen.gram_weight > 0
        self.student: Any = _Network(architecture, chosen)
        self.teacher: Any = frozen_copy(self.student)
        self.gram_teacher: Any = frozen_copy(self.student.backbone)
        self.register_buffer("gram_step", torch.tensor(-1))

    def shard_loss(
        self, fields: Tensor, progress: TrainingPosition, generator: Generator
    ) -> dict[str, Tensor]:
        """Weighted sum of the terms, and each on its own.

        Draws, in this order: regions, places of the global and then of the local crops, colours of the same,
        masks, and with `rope_rescale` the two scales of the positions.
        """
        count, options = len(fields), self.options
        large, small = self._places(fields, generator)
        views = self._view(cut(fields, large, self.crop.size), generator)
        locals_ = self._view(cut(fields, small, self.local.size), generator)
        side = self.crop.size // self.architecture.patch
        masks = block_masks(
            len(views),
            (side, side),
            generator,
            share=options.mask_share,
            ratio=options.mask_ratio,
        )
        hidden, masked = masks.flatten().nonzero()[:, 0].to(fields.device), masks.to(fields.device)
        wanted, wanted_patches = self._teach(views, hidden, progress)
        cls, patches = self._encode(self.student, views, masked=masked, scale=self._scale(generator))
        local_cls, _ = self._encode(self.student, locals_, scale=self._scale(generator))
        scores = self.student.dino_head(torch.cat([cls, local_cls])).reshape(-1, count, options.prototypes)
        patch_scores = self.student.ibot_head(patches.flatten(0, 1)[hidden])
        losses = {
            "dino": across_views(wanted.reshape(2, count, -1), scores, options.student_temperature),
            "ibot": masked_patch_loss(wanted_patches, patch_scores, masked, options.student_temperature),
            "koleo": 0.5 * (koleo(cls[:count]) + koleo(cls[count:])),
        }
        total = (
            losses["dino"] + options.patch_weight * losses["ibot"] + options.koleo_weight * losses["koleo"]
        )
        if self.anchored and progress.fraction >= options.gram_from:
            bare = ~masks.any(dim=1)
            whole = (bare if bare.any() else ~bare).nonzero()[:, 0]
            losses["gram"] = self._gram(fields, large, whole, patches, progress)
            total = total + options.gram_weight * losses["gram"]
        return {"total": total, **losses}

    def _places(self, fields: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Places of two global and of the local crops of each field, all inside one region of it."""
        count, views = len(fields), self.options.locals
        regions = draw_places(count, fields.shape[-1], self.region, generator)
        large = draw_places(2 * count, self.region.size, self.crop, generator)
        small = draw_places(views * count, self.region.size, self.local, generator)
        return within(regions.repeat(2, 1, 1), large), within(regions.repeat(views, 1, 1), small)

    def _view(self, crops: Tensor, generator: Generator) -> Tensor:
        coloured = self.vary(jitter_stain(crops, generator, self.options.jitter), generator)
        return self.normalise(drop_colour(coloured, generator, self.options.grey_share))

    def _scale(self, generator: Generator) -> float:
        """Draw the factor of the positions' coordinates, its logarithm uniform."""
        if self.options.rope_rescale == 1:
            return 1.0
        return float(self.options.rope_rescale ** (2 * torch.rand((), generator=generator) - 1))

    @torch.no_grad()
    def _teach(self, views: Tensor, hidden: Tensor, progress: TrainingPosition) -> tuple[Tensor, Tensor]:
        """Return the teacher's centred opinions on the views (2 * B, K) and on the patches hidden (M, K)."""
        low, high = self.options.teacher_temperature
        temperature = cosine_between(low, high, progress.fraction / max(self.options.teacher_warmup, 1e-9))
        cls, patches = self._encode(self.teacher, views)
        wanted = sinkhorn(self.teacher.dino_head(cls), temperature)
        return wanted, sinkhorn(self.teacher.ibot_head(patches.flatten(0, 1)[hidden]), temperature)

    def _encode(
        self, network: Any, images: Tensor, *, masked: Tensor | None = None, scale: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """CLS (B, D) and patch tokens (B, N, D) after the final norm; `masked` (B, N) hides patches."""
        backbone = getattr(network, "backbone", network)
        token = None if masked is None else network.mask_token
        sequence, positions = begin_rotary(backbone, images, masked=masked, mask_token=token, scale=scale)
        sequence = backbone.norm(self.through(backbone.blocks, sequence, rope=positions))
        return sequence[:, 0], sequence[:, backbone.num_prefix_tokens :]

    def _gram(
        self, fields: Tensor, places: Tensor, whole: Tensor, patches: Tensor, progress: TrainingPosition
    ) -> Tensor:
        """Gram loss on the global crops `whole`: those left unmasked, or all where none was."""
        self._refresh_gram_teacher(progress)
        side, chosen = self.options.gram_resolution * self.crop.size, whole.to(fields.device)
        with torch.no_grad():
            crops = cut(fields[chosen % len(fields)], places[whole], side)
            _, anchor = self._encode(self.gram_teacher, self.normalise(crops))
            anchor = to_grid(anchor, self.crop.size // self.architecture.patch)
        return gram_loss(patches[chosen], anchor)

    def _refresh_gram_teacher(self, progress: TrainingPosition) -> None:
        """Make the Gram teacher the teacher of this moment, when the phase begins and every so often."""
        age, every = progress.step - int(self.gram_step), round(self.options.gram_refresh * progress.steps)
        if int(self.gram_step) < 0 or age >= max(1, every):
            self.gram_teacher.load_state_dict(self.teacher.backbone.state_dict())
            self.gram_step.fill_(progress.step)

    def follow(self, progress: TrainingPosition, gather: Gather) -> None:
        """Let the teacher follow the student."""
        del gather
        momentum = cosine_between(self.options.momentum, 1.0, progress.fraction)
        move_average(self.teacher, self.student, momentum)

    def align(self) -> None:
        """Let the student begin where the teacher is."""
        self.student.load_state_dict(self.teacher.state_dict())

    def summary(self) -> str:
        """Say which terms there are; without Gram anchoring it is not DINOv3, and this says so."""
        terms = "DINO + iBOT + KoLeo with Sinkhorn centring"
        if not self.anchored:
            return f"{terms}, without Gram anchoring: DINOv2's (arXiv 2304.07193)"
        finer = self.options.gram_resolution
        return f"{terms}, then Gram anchoring at {finer} x the resolution (arXiv 2508.10104)"

    def tokens(self, images: Tensor) -> Tensor:
        """Return the teacher's patch tokens."""
        _, patches = self._encode(self.teacher, self.normalise(images))
        return patches

    def exported(self) -> dict[str, Tensor]:
        """Teacher backbone in timm's names, with its mask token and heads."""
        teacher: Any = self.teacher
        heads = {key: value for key, value in teacher.state_dict().items() if not key.startswith("backbone.")}
        return prefixed("", teacher.backbone.state_dict()) | heads


def to_grid(tokens: Tensor, side: int) -> Tensor:
    """Bring (B, N, D) tokens of a finer square grid to (B, side * side, D), bicubically."""
    fine = round(tokens.shape[1] ** 0.5)
    if fine == side:
        return tokens
    maps = tokens.float().transpose(1, 2).reshape(len(tokens), -1, fine, fine)
    maps = functional.interpolate(maps, size=(side, side), mode="bicubic", align_corners=False)
    return maps.flatten(2).transpose(1, 2)
