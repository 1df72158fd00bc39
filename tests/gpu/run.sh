#!/usr/bin/env bash
# Runs on a machine with an NVIDIA GPU, in the root of the repository: what tests/gpu/publish.sh packed is tested and measured there, with weights that are made there, in at most eight
# minutes. RESULTS/report.md then has the table with targets and verdicts.
# Usage: tests/gpu/run.sh [--dry] FILE RESULTS
# --dry: the same steps on the CPU with a tiny model, to see that they work; the numbers mean nothing.
set -u
dry=0
if [ "${1:-}" = --dry ]; then dry=1; shift; fi
[ $# -eq 2 ] || { echo "usage: tests/gpu/run.sh [--dry] FILE RESULTS" >&2; exit 2; }
[ -f "$1" ] || { echo "'$1' is not there: make it with tests/gpu/publish.sh." >&2; exit 2; }
file=$(realpath "$1") results=$(realpath -m "$2")
cd "$(dirname "$0")/../.." || exit 2
if [ $dry = 0 ]; then
    command -v nvidia-smi > /dev/null || { echo "no GPU: nvidia-smi is not installed; nothing was run." >&2; exit 3; }
    nvidia-smi -L > /dev/null 2>&1 || { echo "no GPU: $(nvidia-smi -L 2>&1 | head -1); nothing was run." >&2; exit 3; }
fi
mkdir -p artifacts && work=$(mktemp -d "$PWD/artifacts/gpu-XXXXXX") || exit 2 # within the repository, where tests find their data
trap 'rm -rf "$work"' EXIT
mkdir -p "$results"
rm -f "$results"/*.json "$results"/*.err "$results"/tests.txt "$results"/summary.txt "$results"/report.md
tar -xJf "$file" -C "$work" || exit 2
export DOTNET_gcServer=0 DOTNET_TieredPGO=0
[ $dry = 1 ] || nvidia-smi --query-gpu=name,driver_version,memory.total,memory.used,clocks.max.mem --format=csv > "$results/gpu.csv" 2>&1

deadline=$((SECONDS + 470))
step() { # NAME LIMIT COMMAND: within its limit and what is left of the eight minutes; its output goes to NAME.json and NAME.err
    local name=$1 limit=$2 left=$((deadline - SECONDS)) start=$SECONDS
    shift 2
    [ $left -gt 5 ] || { echo "$name: left out, the time is over" | tee -a "$results/summary.txt"; return; }
    timeout -k 5 $((limit < left ? limit : left)) "$@" > "$results/$name.json" 2> "$results/$name.err"
    local code=$?
    echo "$name: exit $code after $((SECONDS - start)) s; $(tail -n 1 "$results/$name.json" | cut -c1-300)" | tee -a "$results/summary.txt"
    [ $code = 0 ] || tail -n 3 "$results/$name.err" | tee -a "$results/summary.txt"
}
measure() { # NAME LIMIT SHAPE TYPE ARGUMENTS
    local name=$1 limit=$2 shape=$3 type=$4 device=cuda
    shift 4
    [ $dry = 0 ] || { shape=tiny; device=cpu; }
    step "$name" "$limit" "$work/Gemma.Extensions.AI.Benchmarks" forward --device $device --shape $shape --type "$type" --repeat 2 "$@"
}

# Speed first: should the time run out, tests are sooner repeated. 27B in bfloat16 reads 54.5 GB a token.
measure 27b-bf16 75 27b BF16 --prompt-tokens 2048 --generate-tokens 64
measure 27b-bf16-8 60 27b BF16 --prompt-tokens 0 --generate-tokens 32 --sequences 8
measure 2b-q4_k_m 30 2b Q4_K_M --prompt-tokens 2048 --generate-tokens 128
measure 2b-q8_0 30 2b Q8_0 --prompt-tokens 2048 --generate-tokens 128
if command -v python3 > /dev/null && python3 -c 'import torch, transformers' 2> /dev/null; then
    step transformers 110 python3 tests/gpu/transformers_speed.py $([ $dry = 1 ] && echo tiny)
else
    echo "transformers: left out, torch or transformers is not installed" | tee -a "$results/summary.txt"
fi

# The tests of the tier "cuda": operations, attention, products of every type, prompts, adapters, golden logits, engine.
tests=Gemma.Extensions.AI.Tests
engine=GpuEngineTests
[ $dry = 0 ] || engine=CublasTests
step tests 150 "$work/$tests" -noColor -class $tests.Backends.Cuda.$engine -class $tests.Backends.Cuda.CudaPromptTests -class $tests.Backends.OperationTests \
    -class $tests.Backends.AttentionTests -class $tests.Backends.MatMulTests -class $tests.Lora.LowRankTests
mv "$results/tests.json" "$results/tests.txt" 2> /dev/null
grep -E '\[FAIL\]' "$results/tests.txt" | head -20 | tee -a "$results/summary.txt"
"$work/Gemma.Extensions.AI.Benchmarks" gpu-report "$results" | tee "$results/report.md"
[ $dry = 0 ] || echo "A dry run: the numbers mean nothing." | tee -a "$results/report.md"
