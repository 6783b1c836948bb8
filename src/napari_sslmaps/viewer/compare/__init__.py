"""The window's part of comparisons: scores, probe, evidence, export."""
