"""The laboratory behind the package: training, simulators, gate and study, reached from the command line."""
