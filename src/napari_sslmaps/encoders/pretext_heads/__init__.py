"""Networks that a pretext task needs beside the encoder: decoders, predictors, heads, discriminators."""
