"""Pretraining of encoders: data, the four objectives, recipes and the trainer."""
