"""Reader studies: maps judged blind by people, from a folder of images to the statistics of a paper."""
