#!/bin/bash
#SBATCH --job-name=preprocess
#SBATCH --ntasks=4
#SBATCH --output=preprocess-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#
# A corpus to a store with MPI, as a Slurm job. From the checkout:
#
#     sbatch slurm/preprocess.sh CORPUS... --store corpus.h5 [any option of python -m preprocess]
#     sbatch --ntasks=64 --time=1:00:00 slurm/preprocess.sh midis/ --store corpus.h5

name=slurm/preprocess.sh

refuse() {
    printf '%s: %s\n' "$name" "$*" >&2
    exit 2
}

[[ -n ${SLURM_JOB_ID:-} ]] || refuse "this is a job; submit it: sbatch $name CORPUS... --store corpus.h5"

site=${PIANOGEN_SITE:-slurm/site.sh}
[[ $site == /* ]] || site=$SLURM_SUBMIT_DIR/$site
if [[ -f $site ]]; then
    # shellcheck source=slurm/site.sh
    source "$site" || refuse "the site settings $site end with an error; see above"
elif [[ -n ${PIANOGEN_SITE:-} ]]; then
    refuse "PIANOGEN_SITE names $site, and there is no such file"
fi
if [[ -n ${PIANOGEN_MODULES:-} ]]; then
    type module &>/dev/null || source /etc/profile # where `module` comes from in a shell that inherited nothing
    # shellcheck disable=SC2086 # several modules
    module load $PIANOGEN_MODULES || refuse "module load $PIANOGEN_MODULES failed; PIANOGEN_MODULES stands in $site"
fi
python=python
if [[ -n ${PIANOGEN_ACTIVATE:-} ]]; then
    eval "$PIANOGEN_ACTIVATE" || refuse "the command $PIANOGEN_ACTIVATE failed; PIANOGEN_ACTIVATE stands in $site"
elif [[ -x $SLURM_SUBMIT_DIR/.venv/bin/python ]]; then
    python=$SLURM_SUBMIT_DIR/.venv/bin/python
fi
if ! error=$("$python" -c 'import mpi4py, preprocess.__main__' 2>&1); then
    refuse "no environment for this job: $python on $(hostname) says: ${error##*$'\n'}. Submit from the checkout, where" \
        "'make env' made .venv, or set PIANOGEN_ACTIVATE in $site"
fi

printf '%s: job %s, %s ranks on %s, restart %s\n' \
    "$name" "$SLURM_JOB_ID" "$SLURM_NTASKS" "$SLURM_JOB_NODELIST" "${SLURM_RESTART_COUNT:-0}"
# --export: after sbatch --export=NONE srun would hand nothing of this environment to the ranks.
srun --mpi="${PIANOGEN_MPI:-pmi2}" --export=ALL "$python" -m mpi4py -m preprocess "$@"
code=$?
printf '%s: job %s ended with exit code %s\n' "$name" "$SLURM_JOB_ID" "$code"
exit "$code"
