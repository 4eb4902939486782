"""The commands for training on a cluster: sweep, sample, decode and collect; the subfolders hold their parts."""
