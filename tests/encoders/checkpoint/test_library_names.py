"""Transformers as torchvision, MMPretrain and MONAI write them: tokens and attention of their own code."""

import pytest
import torch
from definitions import random_weights
from torch import nn
from torch.nn import functional
from torchvision.models import VisionTransformer

from napari_sslmaps.encoders.checkpoint.read import inspect_checkpoint, read_pretext_heads
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import CheckpointError

DIM, HEADS, DEPTH, PATCH, SIDE, HIDDEN = 64, 4, 2, 8, 4, 96
WRAPPED = [("", "bare"), ("backbone.", "state_dict"), ("module.backbone.", "model")]


def drawn(module):
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    named = {name: f"{name}.norm.weight" if len(shapes[name]) == 1 else name for name in shapes}
    weights = random_weights({named[name]: shape for name, shape in shapes.items()})
    module.load_state_dict({name: weights[named[name]] for name in shapes})
    return module.eval()


def saved(path, state, prefix="", outer="bare", **beside):
    content = {f"{prefix}{name}": value for name, value in state.items()} | beside
    torch.save(content if outer == "bare" else {outer: content, "epoch": 3}, path)
    return path


def compare(path, pixels, tokens, attention, *, prefix=1, **options):
    """Behind the last norm (B, prefix + N, D), and the last block's attention (B, heads, N, N)."""
    encoder = load_encoder(
        path, device="cpu", precision="float32", **{"num_heads": HEADS, "method": "mae"} | options
    )
    with torch.inference_mode():
        found = encoder.extractor.extract(pixels)
    torch.testing.assert_close(found.tokens.flatten(1, 2), tokens[:, prefix:], atol=1e-4, rtol=1e-4)
    rows = attention[:, :, 0] if prefix else attention.mean(dim=2)
    torch.testing.assert_close(found.attention.flatten(2), rows[..., prefix:], atol=1e-5, rtol=1e-4)
    assert attention.amax() > 0.3, "attention of these weights must be far from uniform"
    return encoder


def pixels_of(channels=3, size=(PATCH * SIDE, PATCH * SIDE)):
    return torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def of_torchvision(network, pixels):
    seen = {}
    last = network.encoder.layers[-1].self_attention
    last.register_forward_pre_hook(lambda _, given: seen.update(given=given[0]))
    network.encoder.ln.register_forward_hook(lambda _, __, tokens: seen.update(tokens=tokens))
    network(pixels)
    given = seen["given"]
    _, attention = nn.MultiheadAttention.forward(last, given, given, given, average_attn_weights=False)
    return seen["tokens"], attention


@pytest.mark.parametrize(("prefix", "outer"), WRAPPED)
@pytest.mark.parametrize("older", [False, True])
def test_torchvision(tmp_path, prefix, outer, older):
    network = drawn(VisionTransformer(PATCH * SIDE, PATCH, DEPTH, HEADS, DIM, HIDDEN, num_classes=3))
    state = network.state_dict()
    if older:
        names = {
            name: name.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2") for name in state
        }
        state = {names[name]: value for name, value in state.items()}
    path = saved(tmp_path / "vit.pth", state, prefix, outer)
    pixels = pixels_of()
    encoder = compare(path, pixels, *of_torchvision(network, pixels))
    report = encoder.report
    assert (report.layout, encoder.spec.architecture.eps) == ("torchvision", 1e-6)
    assert set(report.left_out.values()) <= {"classification head", "state of the training"}
    assert "eps = 1e-06  (what torchvision's vision transformers have" in str(report)
    with pytest.raises(CheckpointError, match=r"method="):
        inspect_checkpoint(path)  # trained with labels or without: its weights do not tell


class Attention(nn.Module):
    """As a library calls its two layers: q, k and v in one, heads side by side in each."""

    def __init__(self, out, *, bias, scale=False):
        super().__init__()
        self.out, self.seen = out, None
        self.qkv = nn.Linear(DIM, 3 * DIM, bias=bias)
        self.add_module(out, nn.Linear(DIM, DIM))
        if scale:
            self.gamma1 = Scale()

    def forward(self, x):
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        self.seen = (q @ k.mT / (DIM // HEADS) ** 0.5).softmax(-1)
        found = getattr(self, self.out)((self.seen @ v).transpose(1, 2).flatten(2))
        return self.gamma1(found) if hasattr(self, "gamma1") else found


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(DIM))

    def forward(self, x):
        return x * self.weight


class Feed(nn.Module):
    """MMPretrain's, plain or with a gate."""

    def __init__(self, *, gated, scale):
        super().__init__()
        if gated:
            self.w12, self.w3 = nn.Linear(DIM, 2 * HIDDEN), nn.Linear(HIDDEN, DIM)
        else:
            first = nn.Sequential(nn.Linear(DIM, HIDDEN), nn.GELU(), nn.Dropout(0.0))
            self.layers = nn.Sequential(first, nn.Linear(HIDDEN, DIM), nn.Dropout(0.0))
        if scale:
            self.gamma2 = Scale()

    def forward(self, x):
        if hasattr(self, "w12"):
            gate, value = self.w12(x).chunk(2, -1)
            x = self.w3(functional.silu(gate) * value)
        else:
            x = self.layers(x)
        return self.gamma2(x) if hasattr(self, "gamma2") else x


class MMPretrainLayer(nn.Module):
    def __init__(self, *, gated, scale):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(DIM, eps=1e-6), nn.LayerNorm(DIM, eps=1e-6)
        self.attn = Attention("proj", bias=True, scale=scale)
        self.ffn = Feed(gated=gated, scale=scale)

    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x + self.ffn(self.ln2(x))


class MMPretrain(nn.Module):
    """MMPretrain's VisionTransformer, written anew from what its code computes."""

    def __init__(self, *, gated=False, scale=False):
        super().__init__()
        self.patch_embed = nn.Module()
        self.patch_embed.projection = nn.Conv2d(3, DIM, PATCH, PATCH)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, DIM))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + SIDE**2, DIM))
        self.layers = nn.ModuleList(MMPretrainLayer(gated=gated, scale=scale) for _ in range(DEPTH))
        self.ln1 = nn.LayerNorm(DIM, eps=1e-6)

    @torch.inference_mode()
    def forward(self, pixels):
        x = self.patch_embed.projection(pixels)
        positions = self.pos_embed
        if x.shape[2:] != (SIDE, SIDE):
            image = positions[:, 1:].transpose(1, 2).unflatten(2, (SIDE, SIDE))
            image = functional.interpolate(image, size=x.shape[2:], mode="bicubic", align_corners=False)
            positions = torch.cat([positions[:, :1], image.flatten(2).transpose(1, 2)], dim=1)
        x = (
            torch.cat([self.cls_token.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], dim=1)
            + positions
        )
        for layer in self.layers:
            x = layer(x)
        return self.ln1(x), self.layers[-1].attn.seen


@pytest.mark.parametrize(("prefix", "outer"), WRAPPED)
@pytest.mark.parametrize(("gated", "scale"), [(False, False), (True, True)])
def test_mmpretrain(tmp_path, prefix, outer, gated, scale):
    network = drawn(MMPretrain(gated=gated, scale=scale))
    head = {"head.layers.head.weight": torch.zeros(3, DIM), "neck.bn.running_mean": torch.zeros(DIM)}
    path = saved(tmp_path / "vit.pth", network.state_dict(), prefix, outer, **(head if prefix else {}))
    for size in ((32, 32), (48, 48), (16, 24)):
        pixels = pixels_of(size=size)
        encoder = compare(path, pixels, *network(pixels))
    assert (encoder.report.layout, encoder.spec.architecture.swiglu) == ("MMPretrain", gated)


def test_mmpretrain_keeps_the_decoder_of_mae_in_a_neck(tmp_path):
    network, width = drawn(MMPretrain()), 32
    block = MMPretrainLayer(gated=False, scale=False).state_dict()
    decoder = {f"decoder_blocks.0.{name}": value for name, value in block.items()} | {
        "mask_token": torch.ones(1, 1, width),
        "decoder_embed.weight": torch.zeros(width, DIM),
        "decoder_pos_embed": torch.zeros(1, 1 + SIDE**2, width),
        "ln1.weight": torch.ones(width),
        "decoder_pred.weight": torch.zeros(3 * PATCH**2, width),
    }
    state = {f"backbone.{name}": value for name, value in network.state_dict().items()}
    state |= {f"neck.{name}": value for name, value in decoder.items()}
    path = saved(tmp_path / "mae.pth", state, outer="state_dict")
    pixels = pixels_of()
    encoder = compare(path, pixels, *network(pixels), method=None)
    assert (encoder.spec.method, encoder.report.layout) == ("mae", "MAE of MMPretrain")
    found = read_pretext_heads(path, Overrides(num_heads=HEADS)).state
    assert {"decoder_norm.weight", "mask_token", "decoder_pred.weight"} <= set(found)
    ours = {"norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"}
    blocks = {name.removeprefix("decoder_blocks.0.") for name in found if name.startswith("decoder_blocks.")}
    assert {name.rpartition(".")[0] for name in blocks} == ours


@pytest.mark.parametrize("branch", [None, "target"])
def test_mmpretrain_of_moco_v3(tmp_path, branch):
    trained, average = drawn(MMPretrain()), MMPretrain()
    average.load_state_dict({name: 0.9 * value for name, value in trained.state_dict().items()})
    state = {f"backbone.{name}": value for name, value in trained.state_dict().items()}
    state |= {f"momentum_encoder.module.0.{name}": value for name, value in average.state_dict().items()}
    path = saved(tmp_path / "moco.pth", state, outer="state_dict")
    network, pixels = average.eval() if branch else trained, pixels_of()
    encoder = compare(path, pixels, *network(pixels), method=None, branch=branch)
    assert encoder.spec.method == "contrastive"
    wide = {
        name: torch.zeros([384 * side // DIM if side in (DIM, 3 * DIM) else side for side in value.shape])
        for name, value in state.items()
    }
    path = saved(tmp_path / "small.pth", wide, outer="state_dict")
    assert inspect_checkpoint(path, Overrides(branch=branch)).architecture.heads == 12


class MONAIBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = nn.Module()
        self.mlp.linear1, self.mlp.linear2 = nn.Linear(DIM, HIDDEN), nn.Linear(HIDDEN, DIM)
        self.norm1, self.norm2, self.norm_cross_attn = (nn.LayerNorm(DIM) for _ in range(3))
        self.attn, self.cross_attn = (Attention("out_proj", bias=False) for _ in range(2))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp.linear2(functional.gelu(self.mlp.linear1(self.norm2(x))))


class MONAI(nn.Module):
    """MONAI's ViT of images, and the encoder of its MaskedAutoEncoderViT, written anew."""

    def __init__(self, channels, *, linear, class_token, masked):
        super().__init__()
        self.patch_embedding = nn.Module()
        convolution = nn.Conv2d(channels, DIM, PATCH, PATCH)
        layers = nn.Sequential(nn.Identity(), nn.Linear(channels * PATCH**2, DIM))
        self.patch_embedding.patch_embeddings = layers if linear else convolution
        self.patch_embedding.position_embeddings = nn.Parameter(torch.zeros(1, SIDE**2, DIM))
        blocks = [MONAIBlock() for _ in range(DEPTH)]
        if class_token:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, DIM))
        if masked:
            blocks.append(nn.LayerNorm(DIM))
            self.decoder_embed = nn.Linear(DIM, 32)
            self.mask_tokens = nn.Parameter(torch.zeros(1, 1, 32))
        else:
            self.norm = nn.LayerNorm(DIM)
        self.blocks = nn.ModuleList(blocks)

    @torch.inference_mode()
    def forward(self, pixels):
        embed = self.patch_embedding.patch_embeddings
        if isinstance(embed, nn.Sequential):
            cut = pixels.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)  # (B, C, rows, cols, y, x)
            x = embed(cut.permute(0, 2, 3, 4, 5, 1).flatten(1, 2).flatten(2))
        else:
            x = embed(pixels).flatten(2).transpose(1, 2)
        x = x + self.patch_embedding.position_embeddings
        if hasattr(self, "cls_token"):
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        return (self.norm(x) if hasattr(self, "norm") else x), self.blocks[DEPTH - 1].attn.seen


@pytest.mark.parametrize(
    ("channels", "linear", "class_token", "masked"),
    [(3, False, False, False), (1, True, False, False), (3, True, True, False), (1, False, True, True)],
)
def test_monai(tmp_path, channels, linear, class_token, masked):
    network = drawn(MONAI(channels, linear=linear, class_token=class_token, masked=masked))
    path = saved(tmp_path / "vit.pt", network.state_dict())
    pixels = pixels_of(channels)
    method = {"method": None} if masked else {"method": "mae" if class_token else "ijepa"}
    encoder = compare(path, pixels, *network(pixels), prefix=int(class_token), **method)
    assert (encoder.report.layout, encoder.spec.architecture.eps) == ("MONAI", 1e-5)
    assert encoder.spec.architecture.channels == channels
    told = set(encoder.report.left_out.values())
    assert told == {
        "built by MONAI, and used nowhere",
        *(["MONAI's decoder", "mask token"] if masked else []),
    }
    assert not masked or encoder.spec.method == "mae"


@pytest.mark.parametrize("linear", [False, True])
def test_monai_of_volumes_is_named(tmp_path, linear):
    state = MONAI(3, linear=linear, class_token=False, masked=False).state_dict()
    weight = torch.zeros(DIM, 16**3) if linear else torch.zeros(DIM, 1, 16, 16, 16)
    state = {name: value for name, value in state.items() if "patch_embeddings" not in name}
    state[f"patch_embedding.patch_embeddings.{'1.' if linear else ''}weight"] = weight
    state["patch_embedding.position_embeddings"] = torch.zeros(1, 6**3, DIM)
    path = saved(tmp_path / "unetr.pt", state, "vit.")
    with pytest.raises(CheckpointError, match="MONAI's vision transformer of volumes"):
        inspect_checkpoint(path)
