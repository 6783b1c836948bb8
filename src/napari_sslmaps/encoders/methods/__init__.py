"""Methods, one to a module: its facts, and how its files name things."""
