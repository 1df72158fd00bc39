#!/usr/bin/env bash
# Packs the tests and benchmarks with their runtime into one file for a machine that has a GPU and a driver and nothing else. Usage: tests/gpu/publish.sh [FILE]
set -euo pipefail
cd "$(dirname "$0")/../.."
file=$(realpath -m "${1:-gpu.tar.xz}")
out=$(mktemp -d)
for project in Gemma.Extensions.AI.Tests Gemma.Extensions.AI.Benchmarks; do
    dotnet publish "tests/$project" -c Release -r linux-x64 --self-contained -o "$out" -nologo -v q \
        -p:ValidateExecutableReferencesMatchSelfContained=false -p:ErrorOnDuplicatePublishOutputFiles=false -p:SatelliteResourceLanguages=en -p:DebugType=none
done
find "$out" -name '*.pdb' -delete
rm -rf "$out/.playwright" "$out/Microsoft.CodeCoverage" # a browser's driver and code coverage: nothing that runs on the GPU needs them
tar -C "$out" -cf - . | xz -T0 -6 > "$file"
rm -r "$out"
bytes=$(stat -c %s "$file")
echo "$file: $bytes bytes"
[ "$bytes" -le $((64 << 20)) ] || { echo "more than 64 MiB"; exit 1; }
