"""The commands for training on a cluster (sweep, sample, decode, collect, listening_results), and their parts in subfolders."""
