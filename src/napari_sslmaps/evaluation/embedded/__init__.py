"""The embedded encoders beside their controls: what their tokens have learned, their gate and their cards."""
