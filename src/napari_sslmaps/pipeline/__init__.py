"""The use-cases without a viewer: plan and embed a region of an image by an encoder."""
