#!/usr/bin/env bash
# Compiles the tool ahead of time for the system that runs this script, into a folder: one program, and SQLite's library beside it where the tool needs it.
#   publish.sh FOLDER [INSTRUCTION_SET]
# INSTRUCTION_SET: what the C# in it may use (IlcInstructionSet). On x64 the default is avx: it starts on processors since 2011, and uses AVX2 and AVX-512 where they are.
# Needs the .NET 10 SDK and the system's linker: clang and zlib1g-dev on Linux, Xcode's tools on macOS, Visual Studio's C++ tools on Windows (run there from Git Bash).
# Without benchmark tasks (eval, arena), training (train, distill) and clusters (serve --cluster).
set -euo pipefail
folder=$1
project=$(cd "$(dirname "$0")" && pwd)/Gemma.Extensions.AI.Cli.csproj
case $(uname -s) in
Linux) system=linux ;;
Darwin) system=osx ;;
*) system=win ;;
esac
case $(uname -m) in
arm64 | aarch64) processor=arm64 instructions=${2:-} ;;
*) processor=x64 instructions=${2:-avx} ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
settings=(-c Release -r "$system-$processor" -p:PublishAot=true --artifacts-path "$work/artifacts" -o "$work/out" -nologo)
[ -z "$instructions" ] || [ "$instructions" = default ] || settings+=("-p:IlcInstructionSet=$instructions")
dotnet publish "$project" "${settings[@]}"
mkdir -p "$folder"
for file in "$work"/out/*; do
    case $file in
    *.pdb | *.dbg | *.dSYM | *.xml | *.json) ;;
    */Gemma.Extensions.AI.Cli.exe) cp "$file" "$folder/gemma.exe" ;;
    */Gemma.Extensions.AI.Cli) cp "$file" "$folder/gemma" ;;
    *) cp -r "$file" "$folder/" ;;
    esac
done
ls -l "$folder"
