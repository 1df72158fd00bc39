#!/usr/bin/env bash
# Compiles the tool ahead of time for the system that runs this script, into a folder: one program, and SQLite's library beside it where the tool needs it.
#   publish.sh FOLDER [INSTRUCTION_SET]
# Symbols are written to FOLDER.symbols: a trace in the server's log names addresses (gemma!<BaseAddress>+0x1234), and addr2line -f -e FILE 0x1234 says what is there.
# INSTRUCTION_SET: what the C# in it may use (IlcInstructionSet). On x64 the default is x86-64-v3: it starts on processors with AVX2, and uses AVX-VNNI, AVX-512 and AMX where they are.
# default starts on every one, avx on those since 2011; both are larger and slower on a processor with AVX2 and without AVX-512 (2B Q4_K_M: avx a third to two thirds as fast, default a fifth).
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
*) processor=x64 instructions=${2:-x86-64-v3} ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
settings=(-c Release -r "$system-$processor" -p:PublishAot=true --artifacts-path "$work/artifacts" -o "$work/out" -nologo)
[ -z "$instructions" ] || [ "$instructions" = default ] || settings+=("-p:IlcInstructionSet=$instructions")
dotnet publish "$project" "${settings[@]}"
mkdir -p "$folder" "$folder.symbols"
for file in "$work"/out/*; do
    case $file in
    */Gemma.Extensions.AI.Cli.pdb | *.dbg | *.dSYM) cp -r "$file" "$folder.symbols/" ;;
    *.pdb | *.xml | *.json) ;;
    # The names of its own functions, which nothing calls by.
    *.so) strip --strip-unneeded -o "$folder/${file##*/}" "$file" ;;
    */Gemma.Extensions.AI.Cli.exe) cp "$file" "$folder/gemma.exe" ;;
    */Gemma.Extensions.AI.Cli) cp "$file" "$folder/gemma" ;;
    *) cp -r "$file" "$folder/" ;;
    esac
done
ls -l "$folder"
