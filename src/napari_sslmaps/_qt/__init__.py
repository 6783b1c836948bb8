"""Qt widgets: signals out, setters in; the only home of Qt and of threads."""
