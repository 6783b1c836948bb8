"""Vision transformers written out from the papers' definitions, on weights under the methods' own key names.

Nothing of the package is used here: softmax(q kᵀ / √d) v, pre-norm blocks, GELU or SwiGLU, layer scale, added
positions or DINOv3's rotary ones.
"""

import math

import torch
from torch.nn import functional

DIM, DEPTH, HEADS, PATCH, SIDE = 64, 2, 2, 8, 4


def random_weights(shapes, seed=0):
    """Weights large enough for attention that is far from uniform."""
    generator = torch.Generator().manual_seed(seed)

    def draw(name, shape):
        values = torch.randn(shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            return 1 + 0.2 * values
        if name.endswith("weight"):
            return values * 1.5 / math.sqrt(math.prod(shape[1:]))
        return 0.3 * values

    return {name: draw(name, shape) for name, shape in shapes.items()}


def block_shapes(index, *, scale=False, mlp="gelu", bias=True):
    hidden = 4 * DIM if mlp == "gelu" else 176
    shapes = {}
    for norm in ("norm1", "norm2"):
        shapes |= {f"{norm}.weight": (DIM,), f"{norm}.bias": (DIM,)}
    linears = {"attn.qkv": (3 * DIM, DIM), "attn.proj": (DIM, DIM)}
    linears |= {
        "gelu": {"mlp.fc1": (hidden, DIM), "mlp.fc2": (DIM, hidden)},
        "packed": {"mlp.w12": (2 * hidden, DIM), "mlp.w3": (DIM, hidden)},
        "apart": {"mlp.w1": (hidden, DIM), "mlp.w2": (hidden, DIM), "mlp.w3": (DIM, hidden)},
    }[mlp]
    for name, shape in linears.items():
        shapes[f"{name}.weight"] = shape
        if bias or name != "attn.qkv":
            shapes[f"{name}.bias"] = shape[:1]
    if scale:
        shapes |= {"ls1.gamma": (DIM,), "ls2.gamma": (DIM,)}
    return {f"blocks.{index}.{name}": shape for name, shape in shapes.items()}


def vit_weights(*, class_token=True, positions=True, norm="norm", seed=0, extra=None, **block):
    shapes = {"patch_embed.proj.weight": (DIM, 3, PATCH, PATCH), "patch_embed.proj.bias": (DIM,)}
    if class_token:
        shapes["cls_token"] = (1, 1, DIM)
    if positions:
        shapes["pos_embed"] = (1, SIDE * SIDE + int(class_token), DIM)
    for index in range(DEPTH):
        shapes |= block_shapes(index, **block)
    shapes |= {f"{norm}.weight": (DIM,), f"{norm}.bias": (DIM,)} | (extra or {})
    return random_weights(shapes, seed)


def layer_norm(weights, name, x, eps):
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
    return (x - mean) / torch.sqrt(variance + eps) * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(weights, name, x):
    bias = weights.get(f"{name}.bias")
    product = x @ weights[f"{name}.weight"].T
    return product if bias is None else product + bias


def rotate(x, periods, rows, cols, prefix, over=None):
    """DINOv3's rotary positions on (B, heads, prefix + rows * cols, d): pairs lie half a head apart.

    `over` chooses what both coordinates are divided by: the built-in max or min; each by its own if omitted.
    """
    high, wide = (rows, cols) if over is None else (over(rows, cols),) * 2
    y = (torch.arange(rows) + 0.5) / high * 2 - 1
    z = (torch.arange(cols) + 0.5) / wide * 2 - 1
    coordinates = torch.stack(torch.meshgrid(y, z, indexing="ij"), dim=-1).reshape(-1, 2)
    angles = (2 * math.pi * coordinates[:, :, None] / periods).reshape(rows * cols, -1)
    first, second = x[:, :, prefix:].chunk(2, dim=-1)
    turned = torch.cat(
        [first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()], dim=-1
    )
    return torch.cat([x[:, :, :prefix], turned], dim=2)


def feed_forward(weights, stem, x):
    if f"{stem}mlp.w12.weight" in weights:
        gate, value = linear(weights, f"{stem}mlp.w12", x).chunk(2, dim=-1)
        return linear(weights, f"{stem}mlp.w3", functional.silu(gate) * value)
    if f"{stem}mlp.w1.weight" in weights:
        gated = functional.silu(linear(weights, f"{stem}mlp.w1", x)) * linear(weights, f"{stem}mlp.w2", x)
        return linear(weights, f"{stem}mlp.w3", gated)
    hidden = linear(weights, f"{stem}mlp.fc1", x)
    return linear(weights, f"{stem}mlp.fc2", hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2))))


def forward(weights, pixels, *, heads=HEADS, eps=1e-6, norm="norm", resample=None):
    """Tokens behind the last norm, prefix first, (B, N, D); the last block's attention (B, heads, N, N)."""
    rows, cols = (side // PATCH for side in pixels.shape[2:])
    patches = functional.conv2d(
        pixels, weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"], stride=PATCH
    )
    x = patches.flatten(2).transpose(1, 2)
    prefix = [weights["cls_token"].expand(len(x), -1, -1)] if "cls_token" in weights else []
    x = torch.cat([*prefix, x], dim=1)
    if "pos_embed" in weights:
        x = x + on_grid(weights["pos_embed"], rows, cols, len(prefix), resample)
    registers = weights.get("register_tokens", weights.get("storage_tokens"))
    if registers is not None:
        x = torch.cat([x[:, :1], registers.expand(len(x), -1, -1), x[:, 1:]], dim=1)
    count = x.shape[1] - rows * cols
    for index in range(DEPTH):
        stem = f"blocks.{index}."
        normed = layer_norm(weights, f"{stem}norm1", x, eps)
        q, k, v = (
            part.unflatten(-1, (heads, -1)).transpose(1, 2)
            for part in linear(weights, f"{stem}attn.qkv", normed).chunk(3, dim=-1)
        )
        if "rope_embed.periods" in weights:
            q, k = (rotate(part, weights["rope_embed.periods"], rows, cols, count) for part in (q, k))
        attention = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), dim=-1)
        mixed = linear(weights, f"{stem}attn.proj", (attention @ v).transpose(1, 2).flatten(2))
        x = x + mixed * weights.get(f"{stem}ls1.gamma", 1.0)
        mlp = feed_forward(weights, stem, layer_norm(weights, f"{stem}norm2", x, eps))
        x = x + mlp * weights.get(f"{stem}ls2.gamma", 1.0)
    return (x if norm is None else layer_norm(weights, norm, x, eps)), attention


def on_grid(positions, rows, cols, prefix, resample):
    """Positions of another grid, bicubic; `resample` are the options of interpolation that a method takes."""
    if (rows, cols) == (SIDE, SIDE):
        return positions
    image = positions[:, prefix:].reshape(1, SIDE, SIDE, -1).permute(0, 3, 1, 2)
    options = resample(rows, cols) if resample else {"size": (rows, cols)}
    image = functional.interpolate(image, mode="bicubic", **options)
    assert image.shape[2:] == (rows, cols)
    return torch.cat([positions[:, :prefix], image.flatten(2).transpose(1, 2)], dim=1)
