"""Encoder families, one network each."""
