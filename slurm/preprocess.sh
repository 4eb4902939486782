#!/bin/bash
#SBATCH --job-name=preprocess
#SBATCH --ntasks=4
#SBATCH --output=preprocess-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#
# A corpus of MIDI files and scores to one store, with MPI under Slurm. From the checkout:
#
#     sbatch slurm/preprocess.sh CORPUS... --store corpus.h5 [any option of python -m preprocess]
#     sbatch --ntasks=64 --time=1:00:00 slurm/preprocess.sh midis/ --store corpus.h5
#
# --ntasks is the number of ranks, one core each. After a node failure, a preemption or a time limit the same command goes
# on where it stopped; Slurm gives it itself after the first two. Settings of the site are in slurm/site.sh.

refuse() {
    printf 'slurm/preprocess.sh: %s\n' "$*" >&2
    exit 2
}

[[ -n ${SLURM_JOB_ID:-} ]] || refuse "this is a job script; submit it: sbatch slurm/preprocess.sh CORPUS... --store corpus.h5"

# sbatch has copied this file elsewhere, so what lies beside it is found from the folder the job was submitted from.
site=${PIANOGEN_SITE:-slurm/site.sh}
[[ $site == /* ]] || site=$SLURM_SUBMIT_DIR/$site
if [[ -f $site ]]; then
    # shellcheck source=slurm/site.sh
    source "$site"
elif [[ -n ${PIANOGEN_SITE:-} ]]; then
    refuse "PIANOGEN_SITE names $site, and there is no such file on ${SLURMD_NODENAME:-this node}"
fi

if [[ -n ${PIANOGEN_MODULES:-} ]]; then
    # shellcheck source=/dev/null
    type module &>/dev/null || source /etc/profile # a shell that inherited nothing does not know `module` yet
    # shellcheck disable=SC2086 # several modules
    module load $PIANOGEN_MODULES || refuse "module load $PIANOGEN_MODULES failed; correct PIANOGEN_MODULES in $site"
fi
python=python
if [[ -n ${PIANOGEN_ACTIVATE:-} ]]; then
    eval "$PIANOGEN_ACTIVATE" || refuse "'$PIANOGEN_ACTIVATE' failed; correct PIANOGEN_ACTIVATE in $site"
elif [[ -x $SLURM_SUBMIT_DIR/.venv/bin/python ]]; then
    python=$SLURM_SUBMIT_DIR/.venv/bin/python
fi
if ! error=$("$python" -c 'import mpi4py, preprocess.__main__' 2>&1); then
    refuse "no environment for this program on ${SLURMD_NODENAME:-this node}: ${error##*$'\n'} (tried: $python)." \
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
# MPICH names its shared memory after job and step. Killed ranks leave it behind, and the next attempt on that node, of the
# same names, fails in it; the messages are few and short enough to do without.
export MPIR_CVAR_NOLOCAL=1
# --export: under sbatch --export=NONE srun too would keep this environment from the ranks.
# --wait: ranks end together; the others would wait for ever for one that was killed.
srun --mpi="${PIANOGEN_MPI:-pmi2}" --export=ALL --wait="${SLURM_WAIT:-30}" "$python" -m mpi4py -m preprocess "$@"
code=$?

printf 'job %s ended with exit code %s\n  log     %s\n' "$SLURM_JOB_ID" "$code" "$(readlink "/proc/$$/fd/1")"
if ((code == 0)) && [[ -n $store ]]; then
    printf '  store   %s\n  ledger  %s\n' "$store" "${store%"$name"}${name%.*}.ledger.csv"
elif [[ -n $store && -d $store.tmp-work ]]; then
    printf '  unfinished work is kept in %s; submit the same command again to go on\n' "$store.tmp-work"
fi
exit "$code"
