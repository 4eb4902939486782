"""Slurm, the settings of the site, and the code that jobs run."""
