"""The gate of the embedded encoders: scores beside controls, and their cards."""
