"""The cluster: Slurm's commands, the site's settings, the code that jobs run."""
