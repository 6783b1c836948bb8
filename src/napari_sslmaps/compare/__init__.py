"""Methods side by side on the user's own images: computed, scored beside controls, told, and kept."""
