"""Is a map right? Scores against annotation, probes, localisation, robustness, and their controls."""
