"""Does the pretext objective decide which signal is seen? A simulated study with both knobs in hand."""
