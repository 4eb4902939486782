"""The configuration of a run, and the sweep files that vary it."""
