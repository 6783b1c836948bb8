"""Places like this one, over all images that a batch has embedded."""
