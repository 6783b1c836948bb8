"""Weight files as the methods' own repositories write them, with random weights."""

import torch

from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.families.vit_network import build_vit

DIM, DEPTH, HEADS, PATCH, SIDE = 128, 2, 2, 16, 4


def architecture(**options):
    fields = {
        "patch": PATCH,
        "dim": DIM,
        "depth": DEPTH,
        "heads": HEADS,
        "grid": (SIDE, SIDE),
        "mlp_hidden": 4 * DIM,
        "class_token": True,
    }
    return ViTArchitecture(**(fields | options))


def transformer_state(**options):
    """Random state of a transformer whose positions are not special."""
    torch.manual_seed(3)
    network = build_vit(architecture(**options))
    return {key: torch.randn_like(value) * 0.05 for key, value in network.state_dict().items()}


def sincos_positions(dim, side, *, class_token):
    """2-D sine–cosine table: the first half of the channels for columns, the second for rows."""

    def along(positions):
        omega = 1 / 10_000 ** (torch.arange(dim // 4, dtype=torch.float64) / (dim / 4))
        angles = torch.outer(positions.double(), omega)
        return torch.cat([angles.sin(), angles.cos()], dim=1)

    rows, cols = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    table = torch.cat([along(cols.flatten()), along(rows.flatten())], dim=1).float()
    if class_token:
        table = torch.cat([torch.zeros(1, dim), table])
    return table[None]


def mae_state(*, decoder=False, head=False):
    state = transformer_state()
    state["pos_embed"] = sincos_positions(DIM, SIDE, class_token=True)
    if decoder:
        state |= {
            "mask_token": torch.zeros(1, 1, 64),
            "decoder_embed.weight": torch.zeros(64, DIM),
            "decoder_pos_embed": torch.zeros(1, SIDE * SIDE + 1, 64),
            "decoder_blocks.0.norm1.weight": torch.ones(64),
            "decoder_pred.weight": torch.zeros(PATCH * PATCH * 3, 64),
        }
    if head:
        state["head.weight"] = torch.zeros(10, DIM)
    return state


def ijepa_file():
    def branch(seed):
        torch.manual_seed(seed)
        state = {
            key: torch.randn_like(value) * 0.05 for key, value in transformer_state(class_token=False).items()
        }
        state["pos_embed"] = sincos_positions(DIM, SIDE, class_token=False)
        return {f"module.{key}": value for key, value in state.items()}

    return {
        "encoder": branch(1),
        "predictor": {"module.predictor_embed.weight": torch.zeros(32, DIM)},
        "target_encoder": branch(2),
        "opt": {"state": {}, "param_groups": []},
        "scaler": None,
        "epoch": 3,
        "loss": 0.1,
        "batch_size": 8,
        "world_size": 1,
        "lr": 1e-3,
    }


def dinov3_state(*, bias=False, bias_mask=False, swiglu=False):
    """A hub file: storage tokens, layer scale as ls.gamma, rotary periods, fused q, k, v bias."""
    torch.manual_seed(4)
    hidden = 352 if swiglu else 4 * DIM
    state = {
        "cls_token": torch.randn(1, 1, DIM),
        "storage_tokens": torch.randn(1, 4, DIM),
        "mask_token": torch.zeros(1, DIM),
        "rope_embed.periods": 100.0 ** (torch.arange(DIM // HEADS // 4) / (DIM / HEADS / 4)),
        "patch_embed.proj.weight": torch.randn(DIM, 3, PATCH, PATCH) * 0.02,
        "patch_embed.proj.bias": torch.randn(DIM) * 0.02,
        "norm.weight": torch.ones(DIM),
        "norm.bias": torch.zeros(DIM),
    }
    for index in range(DEPTH):
        stem = f"blocks.{index}."
        linears = {"attn.qkv": (3 * DIM, DIM), "attn.proj": (DIM, DIM)}
        linears |= (
            {"mlp.w1": (hidden, DIM), "mlp.w2": (hidden, DIM), "mlp.w3": (DIM, hidden)}
            if swiglu
            else {"mlp.fc1": (hidden, DIM), "mlp.fc2": (DIM, hidden)}
        )
        for name, shape in linears.items():
            state[f"{stem}{name}.weight"] = torch.randn(shape) * 0.05
            if bias or name != "attn.qkv":
                state[f"{stem}{name}.bias"] = torch.randn(shape[0]) * 0.05
        if bias_mask:
            mask = torch.ones(3 * DIM)
            mask[DIM : 2 * DIM] = 0
            state[f"{stem}attn.qkv.bias_mask"] = mask
        for name in ("norm1", "norm2"):
            state[f"{stem}{name}.weight"] = torch.ones(DIM)
            state[f"{stem}{name}.bias"] = torch.randn(DIM) * 0.05
        for name in ("ls1", "ls2"):
            state[f"{stem}{name}.gamma"] = torch.rand(DIM)
    return state
