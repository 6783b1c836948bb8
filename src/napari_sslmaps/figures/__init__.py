"""Pictures for people: figures, plots and the report."""
