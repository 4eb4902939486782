# Settings of your site, for every script in slurm/. All are optional: remove the # of those you need.
# The jobs read this file from the folder they were submitted from; where it lies elsewhere, export PIANOGEN_SITE=/path/to/it.
# shellcheck shell=bash disable=SC2034

# sbatch must know these two before there is a job. It takes them from its environment, so read this file in the shell you
# submit from too: `. slurm/site.sh`. Flags (sbatch --account=… --partition=…) go before them.
# export SBATCH_ACCOUNT=my-account
# export SBATCH_PARTITION=my-partition

# Modules that a job loads, with spaces between.
# PIANOGEN_MODULES="python/3.11 mpich/4.2"

# The command that activates the environment in a job. Without it, the .venv of the folder submitted from.
# PIANOGEN_ACTIVATE="source /path/to/miniforge3/bin/activate pianogen"

# How srun connects MPI ranks (srun --mpi=list): pmi2 for MPICH, Intel MPI and MVAPICH, pmix for Open MPI. Without it, pmi2.
# PIANOGEN_MPI=pmix

# Where the file system has no locks (some NFS and Lustre mounts).
# export HDF5_USE_FILE_LOCKING=FALSE
