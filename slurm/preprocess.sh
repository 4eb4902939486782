#!/bin/bash
#SBATCH --job-name=preprocess
#SBATCH --ntasks=4
#SBATCH --output=preprocess-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#
# Converts a corpus of MIDI files and scores to one store, with MPI under Slurm. Submit it from the checkout:
#
#     sbatch slurm/preprocess.sh CORPUS... --store corpus.h5 [any option of pianogen preprocess]
#     sbatch --ntasks=64 --time=1:00:00 slurm/preprocess.sh midis/ --store corpus.h5
#
# --ntasks is the number of ranks; each uses one core. Slurm requeues the job after a node failure or a preemption, and the job
# resumes. After a time limit, submit the same command again to resume. The settings of the site are in slurm/site.sh.

fail() {
    printf 'slurm/preprocess.sh: %s\n' "$*" >&2
    exit 2
}

[[ -n ${SLURM_JOB_ID:-} ]] || fail "this is a batch script; submit it with sbatch slurm/preprocess.sh CORPUS... --store corpus.h5"

# sbatch copies this file to another folder, so paths are relative to the folder in which the job was submitted.
site=${PIANOGEN_SITE:-slurm/site.sh}
[[ $site == /* ]] || site=$SLURM_SUBMIT_DIR/$site
if [[ -f $site ]]; then
    # shellcheck source=slurm/site.sh
    source "$site"
elif [[ -n ${PIANOGEN_SITE:-} ]]; then
    fail "PIANOGEN_SITE is $site, but there is no such file on ${SLURMD_NODENAME:-this node}; correct or unset it"
fi

if [[ -n ${PIANOGEN_MODULES:-} ]]; then
    # shellcheck source=/dev/null
    type module &>/dev/null || source /etc/profile # --export=NONE: the function `module` is not inherited
    # shellcheck disable=SC2086 # several modules
    module load $PIANOGEN_MODULES || fail "module load $PIANOGEN_MODULES failed; correct PIANOGEN_MODULES in $site"
fi
export PYTHONSAFEPATH=1 # python -m must not run a file preprocess.py of the folder in which the job was submitted
python=python
if [[ -n ${PIANOGEN_ACTIVATE:-} ]]; then
    eval "$PIANOGEN_ACTIVATE" || fail "'$PIANOGEN_ACTIVATE' failed; correct PIANOGEN_ACTIVATE in $site"
elif [[ -x $SLURM_SUBMIT_DIR/.venv/bin/python ]]; then
    python=$SLURM_SUBMIT_DIR/.venv/bin/python
fi
if ! error=$("$python" -c 'import mpi4py, preprocess.__main__' 2>&1); then
    fail "$python cannot import this package on ${SLURMD_NODENAME:-this node}: ${error##*$'\n'}." \
        "Submit from the checkout after 'make env', or set PIANOGEN_ACTIVATE in $site"
fi

store=
for ((i = 1; i <= $#; i++)); do
    case ${!i} in
    --store=*) store=${!i#--store=} ;;
    --store) j=$((i + 1)) && store=${!j:-} ;;
    esac
done
[[ -z $store || $store == /* ]] || store=$PWD/$store
name=${store##*/}

printf 'job %s: %s ranks on %s, restart %s\n' \
    "$SLURM_JOB_ID" "$SLURM_NTASKS" "$SLURM_JOB_NODELIST" "${SLURM_RESTART_COUNT:-0}"
# MPICH names its shared memory after the job and the step. Killed ranks leave it on the node, and it makes the next attempt of
# the same job fail there. Without shared memory messages are slower, but there are few and they are short.
export MPIR_CVAR_NOLOCAL=1
# --export: after sbatch --export=NONE, srun would not pass the environment of this script to the ranks.
# --wait: after one rank was killed, the others would wait for it endlessly.
srun --mpi="${PIANOGEN_MPI:-pmi2}" --export=ALL --wait="${SLURM_WAIT:-30}" "$python" -m mpi4py -m preprocess "$@"
code=$?

printf 'job %s ended with exit code %s\n  log     %s\n' "$SLURM_JOB_ID" "$code" "$(readlink "/proc/$$/fd/1")"
if ((code == 0)) && [[ -n $store ]]; then
    printf '  store   %s\n  ledger  %s\n' "$store" "${store%"$name"}${name%.*}.ledger.csv"
elif [[ -n $store && -d $store.tmp-work ]]; then
    printf '  unfinished work is kept in %s; submit the same command again to resume\n' "$store.tmp-work"
fi
exit "$code"
