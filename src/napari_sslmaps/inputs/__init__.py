"""Opening of what a user named: encoders, images, lists of images."""
