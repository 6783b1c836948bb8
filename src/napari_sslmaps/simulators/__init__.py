"""Simulated images with label maps: training data of the embedded encoders, ground truth of their scores."""

from napari_sslmaps.simulators.fields import field_seed
from napari_sslmaps.simulators.histology import CLASSES, simulate_histology

__all__ = ["CLASSES", "field_seed", "simulate_histology"]
