#!/usr/bin/env bash
# Train on several nodes of a SLURM cluster:  sbatch docs/slurm_train.sh --dataset DATA --latents LATENTS --preset published
# SLURM warns five minutes before the end of the time: the run writes a checkpoint, and the job is queued again to go on from it.
#SBATCH --job-name=x2fashion
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

HEAD_NODE=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export HEAD_NODE
WARNED=
trap 'WARNED=1; scancel --signal=TERM "$SLURM_JOB_ID" || true' USR1 # to the nodes, not to this script
# One torchrun a node; processes that die are started again up to three times and go on from the last checkpoint.
# shellcheck disable=SC2016
srun bash -c 'exec torchrun \
    --nnodes "$SLURM_NNODES" --node_rank "$SLURM_NODEID" --nproc_per_node "${SLURM_GPUS_ON_NODE:-1}" \
    --rdzv_id "$SLURM_JOB_ID" --rdzv_backend c10d --rdzv_endpoint "$HEAD_NODE:${MASTER_PORT:-29500}" \
    --max-restarts 3 --shutdown-timeout 240 train.py "$@"' train "$@" &
RUN=$!
STATUS=0
wait "$RUN" || STATUS=$?
if [ -n "$WARNED" ]; then # it ended the wait above
    STATUS=0
    wait "$RUN" || STATUS=$?
    [ "$STATUS" = 0 ] || scontrol requeue "$SLURM_JOB_ID"
fi
exit "$STATUS"
