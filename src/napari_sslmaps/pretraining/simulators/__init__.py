"""Simulated images with label maps: training data of the embedded encoders, ground truth of their scores."""

from napari_sslmaps.pretraining.simulators.histology import CLASSES, simulate_histology

__all__ = ["CLASSES", "simulate_histology"]
