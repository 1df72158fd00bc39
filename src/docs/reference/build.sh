#!/usr/bin/env bash
# Writes the reference of the public surface, from the packages' documentation comments, to obj/site. Any warning is an error.
# Needs a Release build of the solution (dotnet build -c Release).
set -euo pipefail
cd "$(dirname "$0")"
rm -rf obj
mkdir -p obj

# The packages for servers build on the web framework, whose libraries lie with the runtime.
runtime=$(dotnet --list-runtimes | awk '$1 == "Microsoft.AspNetCore.App" && $2 ~ /^10\./ { gsub(/[][]/, "", $3); print $3 "/" $2 }' | tail -1)
ln -s "$runtime" obj/aspnetcore

dotnet tool restore >obj/restore.log || { cat obj/restore.log; exit 1; }
dotnet docfx docfx.json --warningsAsErrors >obj/log 2>&1 || { grep -iE 'warning|error' obj/log; exit 1; }
echo "$(find obj/site -name '*.html' | wc -l) pages in $(pwd)/obj/site"
