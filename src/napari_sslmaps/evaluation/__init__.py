"""What have the tokens learned? Probes beside controls, the gate of the embedded encoders, their cards."""
