"""What a user named, opened: encoders, images, lists of images."""
