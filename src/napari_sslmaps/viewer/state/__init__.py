"""The window's state: one workspace, its image sessions, tasks and messages."""
