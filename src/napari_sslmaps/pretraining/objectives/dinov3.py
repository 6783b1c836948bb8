"""DINOv3 (Siméoni et al., arXiv 2508.10104): self-distillation, then Gram anchoring.

Student and teacher share their architecture; the teacher is the student's moving average. DINO matches CLS
tokens across crops (arXiv 2104.14294), iBOT matches masked patches (arXiv 2111.07832), KoLeo spreads the CLS
tokens, Sinkhorn-Knopp centres the teacher. In the last phase the Gram matrix of the student's patch tokens is
pulled towards that of an earlier teacher, frozen when the phase began.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from napari_sslmaps.encoders.spec import ViTArchitecture
from napari_sslmaps.encoders.vit import build_vit
from napari_sslmaps.pretraining.data import CropScheme, draw_crops, drop_colour, jitter_stain
from napari_sslmaps.pretraining.losses import cross_entropy_of, gram_loss, koleo, sinkhorn
from napari_sslmaps.pretraining.objectives.base import Objective, prefixed
from napari_sslmaps.pretraining.schedules import Progress, cosine_between, frozen_copy, move_average

_STUDENT_TEMPERATURE = 0.1


class PrototypeHead(nn.Module):
    """Three-layer MLP, unit-length bottleneck, scores against unit-length prototypes.

    The hidden layers are batch-normalised, an option of DINO's own head: without it the points of a small,
    young network are nearly collinear, the Sinkhorn targets nearly uniform, and nothing is learned.
    """

    def __init__(self, dim: int, hidden: int, bottleneck: int, prototypes: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden),
            nn.BatchNorm1d(hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        self.last_layer = nn.Parameter(torch.empty(prototypes, bottleneck))
        for part in self.mlp:
            if isinstance(part, nn.Linear):
                nn.init.trunc_normal_(part.weight, std=0.02)
                nn.init.zeros_(part.bias)
        nn.init.normal_(self.last_layer)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores (…, K) of (…, D) tokens, cosines in [-1, 1]."""
        points = functional.normalize(self.mlp(tokens), dim=-1, eps=1e-6)
        return points @ functional.normalize(self.last_layer, dim=-1).T


class _Network(nn.Module):
    """Backbone with its two heads and the mask token: what student and teacher both are."""

    def __init__(self, architecture: ViTArchitecture, prototypes: int) -> None:
        super().__init__()
        backbone: Any = build_vit(architecture)
        self.backbone: Any = backbone
        for block in backbone.blocks:
            nn.init.constant_(block.gamma_1, 0.1)
            nn.init.constant_(block.gamma_2, 0.1)
        self.mask_token = nn.Parameter(torch.zeros(1, architecture.dim))
        self.dino_head = PrototypeHead(architecture.dim, 256, 64, prototypes)
        self.ibot_head = PrototypeHead(architecture.dim, 256, 64, prototypes)

    def forward(self, images: Tensor, masked: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """CLS (B, D) and patch tokens (B, N, D) after the final norm; `masked` (B, N) hides patches."""
        backbone = self.backbone
        grid = backbone.patch_embed(images)
        rows, columns = grid.shape[1:3]
        tokens = grid.flatten(1, 2)
        if masked is not None:
            tokens = torch.where(masked[:, :, None], self.mask_token.to(tokens.dtype), tokens)
        count = len(images)
        prefix = [backbone.cls_token.expand(count, -1, -1), backbone.reg_token.expand(count, -1, -1)]
        sequence = torch.cat([*prefix, tokens], dim=1)
        positions = backbone.rope.get_embed(shape=(rows, columns))
        for block in backbone.blocks:
            sequence = block(sequence, rope=positions)
        sequence = backbone.norm(sequence)
        return sequence[:, 0], sequence[:, backbone.num_prefix_tokens :]


def block_masks(count: int, side: int, generator: Generator) -> Tensor:
    """Masks of iBOT: half of the images get 10 to 50 % of their patches hidden, as rectangles.

    Returns
    -------
    (count, side * side) bool.
    """
    masks = torch.zeros(count, side, side, dtype=torch.bool)
    wanted = torch.linspace(0.1, 0.5, max(1, count // 2))[
        torch.randperm(max(1, count // 2), generator=generator)
    ]
    for mask, share in zip(masks[: len(wanted)], wanted, strict=True):
        for _ in range(20):
            if mask.float().mean() >= share:
                break
            draw = torch.rand(4, generator=generator)
            height, width = (1 + (draw[:2] * side * 0.6)).long().tolist()
            top, left = int(draw[2] * (side - height + 1)), int(draw[3] * (side - width + 1))
            mask[top : top + height, left : left + width] = True
    order = torch.randperm(count, generator=generator)
    return masks[order].flatten(1)


class DINOv3(Objective):
    """DINO + iBOT + KoLeo with Sinkhorn centring, then Gram anchoring; the moving-average teacher is kept."""

    method = "dinov3"
    normalisation = "imagenet"
    gram_ready: Tensor

    def __init__(self, architecture: ViTArchitecture, crop: CropScheme, options: dict[str, Any]) -> None:
        super().__init__()
        self.architecture = architecture
        self.crop = crop
        self.region = CropScheme(
            int(options.get("region", 96)), tuple(options.get("region_span", (64.0, 104.0)))
        )
        self.local = CropScheme(
            int(options.get("local_size", 32)), tuple(options.get("local_span", (24.0, 44.0)))
        )
        self.mask_side = crop.size // architecture.patch
        self.locals = int(options.get("locals", 4))
        self.gram_from = float(options.get("gram_from", 0.75))
        self.gram_weight = float(options.get("gram_weight", 2.0))
        self.momentum = float(options.get("momentum", 0.99))
        prototypes = int(options.get("prototypes", 128))
        self.companions = {"prototypes": prototypes, "gram_from": self.gram_from}
        self.student: Any = _Network(architecture, prototypes)
        self.teacher: Any = frozen_copy(self.student, _Network(architecture, prototypes))
        self.gram_teacher: Any = frozen_copy(self.student, _Network(architecture, prototypes))
        self.register_buffer("gram_ready", torch.zeros((), dtype=torch.bool))

    def loss(self, fields: Tensor, progress: Progress, generator: Generator) -> dict[str, Tensor]:
        """Weighted sum of the four terms, and each on its own."""
        count = len(fields)
        # Views are cut out of one region, so that two views of a field share tissue and not only its stain.
        regions = draw_crops(fields, self.region, generator)
        views = torch.cat([self._view(regions, self.crop, generator) for _ in range(2)])
        small = torch.cat([self._view(regions, self.local, generator) for _ in range(self.locals)])
        masked = block_masks(2 * count, self.mask_side, generator)
        temperature = cosine_between(0.04, 0.07, min(1.0, progress.fraction / 0.3))
        with torch.no_grad():
            teacher_cls, teacher_patches = self.teacher(views)
            wanted = sinkhorn(self.teacher.dino_head(teacher_cls), temperature)
            wanted_patches = sinkhorn(self.teacher.ibot_head(teacher_patches[masked]), temperature)
        cls, patches = self.student(views, masked)
        local_cls, _ = self.student(small)
        scores = self.student.dino_head(torch.cat([cls, local_cls]))
        ibot = cross_entropy_of(wanted_patches, self.student.ibot_head(patches[masked]), _STUDENT_TEMPERATURE)
        spread = 0.5 * sum((koleo(part) for part in cls.chunk(2)), torch.zeros(()))
        dino = _across_views(wanted.chunk(2), scores.split(count))
        losses = {"dino": dino, "ibot": ibot, "koleo": spread}
        total = dino + ibot + 0.1 * spread
        if progress.fraction >= self.gram_from:
            losses["gram"] = self._gram(views, patches, masked)
            total = total + self.gram_weight * losses["gram"]
        return {"total": total, **losses}

    def _view(self, regions: Tensor, scheme: CropScheme, generator: Generator) -> Tensor:
        crops = draw_crops(regions, scheme, generator)
        return self.normalise(drop_colour(jitter_stain(crops, generator, 0.25), generator, 0.15))

    def _gram(self, views: Tensor, patches: Tensor, masked: Tensor) -> Tensor:
        """Gram loss on the views that were left unmasked."""
        if not bool(self.gram_ready):
            self.gram_teacher.load_state_dict(self.teacher.state_dict())
            self.gram_ready.fill_(value=True)
        whole = ~masked.any(dim=1)
        with torch.no_grad():
            _, anchor = self.gram_teacher(views[whole])
        return gram_loss(patches[whole], anchor)

    def after_step(self, progress: Progress) -> None:
        """Let the teacher follow the student."""
        move_average(self.teacher, self.student, cosine_between(self.momentum, 1.0, progress.fraction))

    def tokens(self, images: Tensor) -> Tensor:
        """Return the teacher's patch tokens."""
        _, patches = self.teacher(self.normalise(images))
        tokens: Tensor = patches
        return tokens

    def exported(self) -> dict[str, Tensor]:
        """Teacher backbone in timm's names, with its mask token and heads."""
        teacher: Any = self.teacher
        heads = {key: value for key, value in teacher.state_dict().items() if not key.startswith("backbone.")}
        return prefixed("", teacher.backbone.state_dict()) | heads


def _across_views(wanted: tuple[Tensor, ...], scores: tuple[Tensor, ...]) -> Tensor:
    """Cross-entropy of every teacher view with every other student view, averaged over the pairs."""
    pairs = [
        cross_entropy_of(target, own, _STUDENT_TEMPERATURE)
        for i, target in enumerate(wanted)
        for j, own in enumerate(scores)
        if i != j
    ]
    return torch.stack(pairs).mean()
