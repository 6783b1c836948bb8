"""Pretraining of the embedded encoders: simulators, objectives, recipes, trainer, probe."""
