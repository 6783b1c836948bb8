"""Each method's pretext task on one region of an image."""
