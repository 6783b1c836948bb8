"""Methods side by side on a person's own images: computed, scored beside controls, told, and kept."""
