"""Pretraining: data, objectives, recipes and the trainer."""
