"""Work of a network that is stopped between its layers."""

from threading import Thread

import pytest
import torch

from napari_sslmaps.encoders.encoder import checked_at_each_layer
from napari_sslmaps.errors import Cancelled


def test_a_network_stops_at_the_layer_after_it_was_asked() -> None:
    seen: list[int] = []

    def check() -> None:
        seen.append(1)
        if len(seen) == 3:
            raise Cancelled("Stopped.")

    network = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(9)))
    with pytest.raises(Cancelled), checked_at_each_layer(check):
        network(torch.zeros(1, 2))
    assert len(seen) == 3
    network(torch.zeros(1, 2))
    assert len(seen) == 3


def test_another_thread_goes_on() -> None:
    def check() -> None:
        raise Cancelled("Stopped.")

    done: list[torch.Tensor] = []
    layer = torch.nn.Linear(2, 2)
    with checked_at_each_layer(check):
        thread = Thread(target=lambda: done.append(layer(torch.zeros(1, 2))))
        thread.start()
        thread.join()
    assert len(done) == 1
