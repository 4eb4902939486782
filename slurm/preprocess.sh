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
    # MPICH publishes the address of a rank in one line. That of UCX may be longer than the line that Slurm's PMI reads.
    if [[ $("$SLURM_SUBMIT_DIR/.venv/bin/mpichversion" 2>/dev/null) == *ch4:*ofi* ]]; then
        export MPIR_CVAR_CH4_NETMOD=${MPIR_CVAR_CH4_NETMOD:-ofi}
    fi
fi
if ! error=$("$python" -c 'import mpi4py, preprocess.__main__' 2>&1); then
    fail "$python cannot import this package on ${SLURMD_NODENAME:-this node}: ${error##*$'\n'}." \
        "Submit from the checkout after 'make env', or set PIANOGEN_ACTIVATE in $site"
fi

# Many ranks that import Python modules from a shared file system open tens of thousands of files at once. With a broadcast one
# node reads the environment, Slurm sends the nodes one archive, and each rank imports from the disk of its node. The modules of
# the checkout are few, and are not copied.
on_each_node() {
    srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --mpi=none --export=ALL "$@"
}

broadcast() {
    local folder=$1 prefix start=$SECONDS
    archive=$(mktemp "$folder/pianogen-XXXXXX") || fail "$folder cannot be written on ${SLURMD_NODENAME:-this node};" \
        "set PIANOGEN_BROADCAST to a folder on the disk of each node"
    copy=$folder/pianogen-$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}
    prefix=$("$python" -c 'import sys; print(sys.prefix)')
    # Preprocessing does not import TensorFlow, which is the largest part of the environment.
    tar --create --file="$archive" --exclude='site-packages/tensorflow' --exclude='site-packages/nvidia' \
        --directory="${prefix%/*}" "${prefix##*/}" &&
        sbcast --force "$archive" "$copy.tar" &&
        on_each_node bash -c 'mkdir "$0" && tar --extract --file="$0.tar" --directory="$0" && rm "$0.tar"' "$copy" ||
        fail "the environment $prefix was not copied to $folder on every node; set PIANOGEN_BROADCAST to another folder, or unset it"
    python=$copy/${prefix##*/}/bin/python
    printf 'copied %s (%s) to %s on %s in %s s\n' \
        "$prefix" "$(du --human-readable "$archive" | cut --fields=1)" "$copy" "$SLURM_JOB_NODELIST" $((SECONDS - start))
}

remove_copy() {
    rm --force "${archive:-}"
    [[ -z $copy ]] || on_each_node rm --recursive --force "$copy" "$copy.tar"
}

archive= copy=
if [[ ${PIANOGEN_BROADCAST:-0} != 0 ]]; then
    trap remove_copy EXIT
    [[ $PIANOGEN_BROADCAST == 1 ]] && PIANOGEN_BROADCAST=/tmp
    broadcast "$PIANOGEN_BROADCAST"
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
if ((code == 0)) && [[ -n $store && " $* " != *" --dry-run "* ]]; then
    printf '  store   %s\n  ledger  %s\n' "$store" "${store%"$name"}${name%.*}.ledger.csv"
elif [[ -n $store && -d $store.tmp-work ]]; then
    printf '  unfinished work is kept in %s; submit the same command again to resume\n' "$store.tmp-work"
fi
exit "$code"
