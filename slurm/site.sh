# shellcheck shell=bash disable=SC2034
# Settings of your site for the scripts in slurm/ and the jobs of sweeps. All are optional: remove the # in front of those you need.
# A job of preprocess.sh reads this file from the folder it was submitted from; jobs of a sweep read a copy made at that time.
# Where yours lies elsewhere, export PIANOGEN_SITE=/path/to/it, or hand that over where sbatch exports nothing else:
# sbatch --export=PIANOGEN_SITE=/path/to/it ...

# sbatch must know these two before there is a job, and takes them from its environment: read this file in the shell you
# submit from as well (`. slurm/site.sh`). Flags of sbatch (--account, --partition) win over them.
# export SBATCH_ACCOUNT=my-account
# export SBATCH_PARTITION=my-partition

# Modules that a job loads, with spaces between.
# PIANOGEN_MODULES="python/3.11 mpich/4.2"

# The command that activates the environment in a job. If unset: the .venv of the folder the job was submitted from.
# PIANOGEN_ACTIVATE="source /path/to/miniforge3/bin/activate pianogen"

# How srun connects MPI ranks: pmi2 (MPICH, Intel MPI, MVAPICH) or pmix (Open MPI); srun --mpi=list shows the site's.
# If unset: pmi2.
# PIANOGEN_MPI=pmix

# Where the file system has no locks (some NFS and Lustre mounts).
# export HDF5_USE_FILE_LOCKING=FALSE
