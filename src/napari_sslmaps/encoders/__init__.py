"""The networks: what is known of them, how their files are read, how tokens come out."""
