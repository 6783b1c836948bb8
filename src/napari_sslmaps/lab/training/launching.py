"""Lightning Fabric from flags: one CPU, one GPU, many GPUs, many nodes."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from napari_sslmaps.encoders.encoder import half_of
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.lab.training.recipes import AUTO, PRECISIONS

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Devices:
    """Devices that a training runs on, in Fabric's words.

    Attributes
    ----------
    accelerator
        Kind of device: ``auto``, ``cpu``, ``cuda``, ``mps``, …
    devices
        Number of devices per node, ``auto`` for all, or their indices, for example ``0,2``.
    nodes
        Number of machines.
    """

    accelerator: str = "auto"
    devices: str = "1"
    nodes: int = 1


def open_fabric(precision: str = "32", devices: Devices | None = None) -> Fabric:
    """Set up Fabric; several devices or nodes share the work by distributed data parallelism.

    Parameters
    ----------
    precision
        A key of `PRECISIONS`, or ``auto`` (see `settle_precision`).
    devices
        Devices to run on; one CPU process if omitted.

    Raises
    ------
    InvalidOptionError
        If there is no such device here.
    """
    wanted = devices or Devices("cpu")
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)

    def build(strategy: str | DDPStrategy, precision_name: str) -> Fabric:
        chosen: int | str = int(wanted.devices) if wanted.devices.lstrip("-").isdigit() else wanted.devices
        return Fabric(
            accelerator=wanted.accelerator,
            strategy=strategy,
            devices=chosen,
            num_nodes=wanted.nodes,
            precision=precision_name,  # type: ignore[arg-type]  # Fabric's own literals, by PRECISIONS
        )

    try:
        found = build("auto", PRECISIONS["32"])
        precision = settle_precision(precision, found.device)
        _check_precision(precision, found.device)
        strategy: str | DDPStrategy = "auto"
        if isinstance(found.strategy, DDPStrategy):
            # An adversary has no gradients before its phase; buffers follow from the gathered statistics.
            strategy = DDPStrategy(find_unused_parameters=True, broadcast_buffers=False)
        return build(strategy, PRECISIONS[precision])
    except InvalidOptionError:
        raise
    except (ValueError, TypeError, RuntimeError) as error:  # what Fabric says of flags that do not fit
        raise InvalidOptionError(
            f"Expected devices that this machine has; --accelerator {wanted.accelerator} --devices "
            f"{wanted.devices} --nodes {wanted.nodes} does not fit ({' '.join(str(error).split())[:200]})."
        ) from error


def settle_precision(precision: str, device: torch.device) -> str:
    """Return the precision of a training: what was asked for, or what ``auto`` means on a device.

    That is bf16 where the device is made for bfloat16 (see `half_of`), else 32.
    """
    if precision != AUTO:
        return precision
    return "bf16" if half_of(str(device)) == "bfloat16" else "32"


def _check_precision(precision: str, device: torch.device) -> None:
    if device.type != "cpu":
        return
    if PRECISIONS[precision] == PRECISIONS["16"]:
        raise InvalidOptionError(
            f"Expected precision 32, bf16 or auto on a CPU; got {precision}, which needs a GPU."
        )
    if PRECISIONS[precision] == PRECISIONS["bf16"] and half_of("cpu") != "bfloat16":
        _log.warning(
            "This processor has no instructions for bfloat16 and computes it several times more slowly than "
            "32. Take --precision auto or 32."
        )
