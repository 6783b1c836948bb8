"""Simulated images with label maps: training data of the embedded encoders, ground truth of their scores."""

from napari_sslmaps.simulators.fields import field_seed
from napari_sslmaps.simulators.histology import simulate_histology
from napari_sslmaps.simulators.registry import SIMULATORS, Simulator, get_simulator
from napari_sslmaps.simulators.ultrasound import simulate_ultrasound

__all__ = [
    "SIMULATORS",
    "Simulator",
    "field_seed",
    "get_simulator",
    "simulate_histology",
    "simulate_ultrasound",
]
