"""encoders.methods."""
