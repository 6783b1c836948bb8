"""Files with an average beside what was trained, in the names of several codes."""

import pytest
import torch
from definitions import HEADS, vit_weights

from napari_sslmaps.encoders.registry import load_encoder


def kept(path, **options):
    options = {"method": "dino", "num_heads": HEADS} | options
    return load_encoder(path, device="cpu", **options).extractor.network.norm.weight


@pytest.mark.parametrize("outer", ["", "model_ema"])
def test_an_average_that_torch_makes(tmp_path, outer):
    network = torch.nn.Linear(2, 2)
    averaged = torch.optim.swa_utils.AveragedModel(network)
    assert set(averaged.state_dict()) == {"n_averaged", "module.weight", "module.bias"}
    weights = vit_weights()
    content = {f"module.{key}": value for key, value in weights.items()} | {"n_averaged": torch.tensor(3)}
    path = tmp_path / "averaged.pth"
    torch.save({outer: content} if outer else content, path)
    assert torch.equal(kept(path), weights["norm.weight"])
    encoder = load_encoder(path, device="cpu", method="dino", num_heads=HEADS)
    assert "counter of an average" in encoder.report.left_out.values()


@pytest.mark.parametrize(
    ("trained", "average", "usual"),
    [
        ("module.base_encoder.", "module.momentum_encoder.", "trained"),  # MoCo v3
        ("backbone.", "momentum_backbone.", "trained"),  # solo-learn
        ("encoder.", "momentum_encoder.", "trained"),  # solo-learn before 1.0.4
        ("backbone.", "backbone_momentum.", "trained"),  # lightly
        ("student_backbone.", "teacher_backbone.", "average"),  # lightly
        ("student.backbone.", "teacher.backbone.", "average"),
        ("online_model.", "ema_model.", "average"),
        ("online_network.", "target_network.", "average"),
        ("student_encoder.", "teacher_encoder.", "average"),
        ("model_student.backbone.", "model_teacher.backbone.", "average"),
        ("student.", "momentum_teacher.", "average"),
        ("encoder.", "ema_encoder.", "average"),
        ("model.", "swa_model.module.", "average"),
        ("net.", "net_ema.", "average"),
        ("model.", "EMA.", "average"),
        ("ema_model.online_model.", "ema_model.ema_model.", "average"),
        ("encoder_q.", "encoder_k.", "trained"),
        ("query_encoder.", "key_encoder.", "trained"),
    ],
)
def test_what_was_trained_and_its_average_can_be_chosen(tmp_path, trained, average, usual):
    networks = {"trained": vit_weights(seed=1), "average": vit_weights(seed=2)}
    content = {f"{trained}{key}": value for key, value in networks["trained"].items()}
    content |= {f"{average}{key}": value for key, value in networks["average"].items()}
    path = tmp_path / "training.ckpt"
    torch.save({"state_dict": content}, path)
    for branch, wanted in ((None, usual), ("encoder", "trained"), ("target", "average")):
        assert torch.equal(kept(path, branch=branch), networks[wanted]["norm.weight"])
    for branch, wanted in (("student", "trained"), ("teacher", "average")):
        assert torch.equal(kept(path, branch=branch), networks[wanted]["norm.weight"])
