from hypothesis import settings

# Speed is measured in benchmarks/; a busy machine is no failure.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
