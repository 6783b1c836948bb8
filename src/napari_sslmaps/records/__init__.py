"""Files that a user keeps: records of runs, anchors, bases, linear heads, maps and tables."""
