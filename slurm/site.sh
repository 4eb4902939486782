# shellcheck shell=bash disable=SC2034
# Settings of your site for the scripts in slurm/ and for the jobs of sweeps. All are optional; remove the # before those you need.
# A job of preprocess.sh reads slurm/site.sh of the folder in which it was submitted. A sweep reads that of the checkout whose code
# runs, and its jobs read a copy made at submission. If your file has another path, export PIANOGEN_SITE=/path/to/site.sh, or pass
# the path to sbatch: sbatch --export=PIANOGEN_SITE=/path/to/site.sh ...

# sbatch reads these two variables from its environment, so source this file in the shell in which you submit
# (`. slurm/site.sh`). The options --account and --partition of sbatch override them.
# export SBATCH_ACCOUNT=my-account
# export SBATCH_PARTITION=my-partition

# The modules that a job loads, separated by spaces.
# PIANOGEN_MODULES="python/3.11 mpich/4.2"

# The command that activates the Python environment in a job of preprocess.sh. Default: the .venv of the folder in which the job was
# submitted. The jobs of sweeps use the Python interpreter that submitted them.
# PIANOGEN_ACTIVATE="source /path/to/miniforge3/bin/activate pianogen"

# A folder on the local disk of each node, or 1 for /tmp: preprocessing copies the Python environment there before it starts, so that
# many ranks do not import it from the shared file system.
# PIANOGEN_BROADCAST=1

# The MPI type of srun in preprocess.sh: pmi2 (MPICH, Intel MPI, MVAPICH) or pmix (Open MPI); srun --mpi=list shows the valid values.
# Default: pmi2.
# PIANOGEN_MPI=pmix

# For file systems without locks (some NFS and Lustre mounts).
# export HDF5_USE_FILE_LOCKING=FALSE
