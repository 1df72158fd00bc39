#!/usr/bin/env bash
# Runs on a machine with an NVIDIA GPU, in the root of the repository: what tests/gpu/publish.sh packed is tested and measured there, with weights that are made there, in at most eight minutes.
# Usage: tests/gpu/run.sh FILE RESULTS
set -u
file=$(realpath "$1") results=$(realpath -m "$2")
cd "$(dirname "$0")/../.."
mkdir -p "$results" artifacts/gpu
tar -xJf "$file" -C artifacts/gpu
export DOTNET_gcServer=0 DOTNET_TieredPGO=0
nvidia-smi --query-gpu=name,driver_version,memory.total,memory.used,clocks.max.mem --format=csv > "$results/gpu.csv" 2>&1

# The tests of the tier "cuda": operations, attention, products of every type, adapters, golden logits, engine.
tests=Gemma.Extensions.AI.Tests
timeout 150 artifacts/gpu/$tests -noColor \
    -class $tests.Backends.Cuda.GpuEngineTests -class $tests.Backends.OperationTests -class $tests.Backends.AttentionTests -class $tests.Backends.MatMulTests -class $tests.Lora.LowRankTests \
    > "$results/tests.txt" 2>&1
echo "tests: $?" | tee "$results/summary.txt"
grep -E 'Total:|\[FAIL\]' "$results/tests.txt" | tee -a "$results/summary.txt"

# Speed: one JSON line each. 27B in bfloat16 reads 54.5 GB a token.
measure() {
    name=$1; shift
    timeout 75 artifacts/gpu/Gemma.Extensions.AI.Benchmarks forward --device cuda --repeat 2 "$@" > "$results/$name.json" 2> "$results/$name.err"
    echo "$name: $? $(cat "$results/$name.json")" | tee -a "$results/summary.txt"
}
measure 27b-bf16 --shape 27b --type BF16 --prompt-tokens 2048 --generate-tokens 64
measure 27b-bf16-8 --shape 27b --type BF16 --prompt-tokens 0 --generate-tokens 32 --sequences 8
measure 2b-q4_k --shape 2b --type Q4_K --prompt-tokens 2048 --generate-tokens 128
measure 2b-q8_0 --shape 2b --type Q8_0 --prompt-tokens 2048 --generate-tokens 128
