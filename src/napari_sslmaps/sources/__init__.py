"""Files and arrays → `ImageSource`; one format per file."""
