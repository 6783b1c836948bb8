"""A reader study, read blind in the window."""
