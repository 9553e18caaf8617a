#!/bin/sh
# Hardware counters of CUTLASS's kernel and ours, by Nsight Compute: what binds each. Needs a GPU and `ncu`.
# The first two launches of a kernel are warm-ups; the third of CUTLASS's and the first of ours are profiled.
set -eu
cd "$(dirname "$0")/../.."
stalls=""
for reason in barrier math_pipe_throttle short_scoreboard long_scoreboard wait mio_throttle not_selected; do
    stalls="$stalls,smsp__average_warps_issue_stalled_${reason}_per_issue_active.ratio"
done
metrics=sm__pipe_tensor_op_hmma_cycles_active.avg.pct_of_peak_sustained_active
for unit in smsp__issue_active sm__inst_executed_pipe_xu sm__warps_active l1tex__data_pipe_lsu_wavefronts; do
    metrics="$metrics,$unit.avg.pct_of_peak_sustained_active"
done
metrics="$metrics,l1tex__data_pipe_lsu_wavefronts_mem_shared.sum,l1tex__data_bank_conflicts_pipe_lsu_mem_shared.sum"
metrics="$metrics,gpu__time_duration.sum$stalls"
for form in sm75 sm70s; do
    for d in 64 128; do
        echo "== $form d=$d: CUTLASS, then ours"
        ncu --clock-control none --kernel-name fa_kernel --launch-skip 2 --launch-count 2 --metrics "$metrics" \
            python3 benchmarks/cuda_prefill/run.py --dims $d --lengths 4096 --causal 0 --forms $form --repeats 1 --no-sdpa
    done
done
