"""Weight files: open, unwrap, translate key names, identify, report."""
