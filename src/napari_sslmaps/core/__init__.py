"""Pure functions of arrays and frozen results; NumPy and torch only."""
