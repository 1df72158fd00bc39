#!/usr/bin/env bash
# Measures programs that are compiled ahead of time beside the same program compiled at run time (tests/Gemma.Extensions.AI.AotMeasure), by turns.
#   aot.sh build OUT                   publishes the program for each instruction set; the tests must have been built
#   aot.sh measure OUT MODEL ROUNDS    tokens a second on each tier, then the time to nano's first token and the peak of memory; medians
#   aot.sh tool GEMMA ROUNDS           how soon the tool, made by src/Gemma.Extensions.AI.Cli/publish.sh, answers
# Needs clang, zlib1g-dev and the .NET 10 SDK.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
project=$here/../Gemma.Extensions.AI.AotMeasure/AotMeasure.csproj
variants="jit default avx x86-64-v3 native"

build() {
    local out=$1 variant
    for variant in $variants; do
        local settings=(-c Release -r linux-x64 --artifacts-path "$out/obj-$variant" -o "$out/$variant" -nologo -v q)
        case $variant in
        jit) settings+=(--self-contained false) ;;
        default) settings+=(-p:PublishAot=true) ;;
        *) settings+=(-p:PublishAot=true "-p:IlcInstructionSet=$variant") ;;
        esac
        dotnet publish "$project" "${settings[@]}"
    done
}

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

measure() {
    local out=$1 model=$2 rounds=$3 tier variant round
    local log=$out/runs.txt
    : > "$log"
    for round in $(seq "$rounds"); do
        for tier in portable avx2 avx512 avx512-vnni avx512-bf16; do
            for variant in $variants; do
                # The portable tier alone is slow: a shorter measurement.
                local prompt=128 generated=24
                [ "$tier" != portable ] || { prompt=4 generated=3; }
                local said
                if said=$(GEMMA_KERNEL=$tier timeout 30 "$out/$variant/AotMeasure" "$model" $prompt $generated 2>/dev/null); then :
                elif [ $? = 124 ]; then said="prompt - generate - late"
                else said="prompt - generate - absent"; fi
                echo "$tier $variant $said" >> "$log"
            done
        done
    done
    for round in $(seq $((5 * rounds))); do
        for variant in $variants; do
            echo "start $variant $("$out/$variant/AotMeasure" nano 0 8)" >> "$log"
        done
    done

    echo "| tier | variant | prompt, tokens/s | of run time's | generate, tokens/s | of run time's |"
    echo "|---|---|---|---|---|---|"
    for tier in portable avx2 avx512 avx512-vnni avx512-bf16; do
        local p0 g0
        p0=$(awk -v t=$tier '$1 == t && $2 == "jit" && $4 != "-" { print $4 }' "$log" | median)
        g0=$(awk -v t=$tier '$1 == t && $2 == "jit" && $4 != "-" { print $6 }' "$log" | median)
        for variant in $variants; do
            local p g
            p=$(awk -v t=$tier -v v=$variant '$1 == t && $2 == v && $4 != "-" { print $4 }' "$log" | median)
            g=$(awk -v t=$tier -v v=$variant '$1 == t && $2 == v && $4 != "-" { print $6 }' "$log" | median)
            if [ -z "$p" ]; then
                echo "| $tier | $variant | $(grep -q "^$tier $variant .* late" "$log" && echo "over 30 s" || echo "not in the program") | | | |"
                continue
            fi
            awk -v t=$tier -v v=$variant -v p="$p" -v g="$g" -v p0="$p0" -v g0="$g0" 'BEGIN { printf "| %s | %s | %s | %.2f | %s | %.2f |\n", t, v, p, p / p0, g, g / g0 }'
        done
    done
    echo
    echo "| variant | nano's first token after the start of the process, ms | peak memory, MB |"
    echo "|---|---|---|"
    for variant in $variants; do
        echo "| $variant | $(awk -v v=$variant '$1 == "start" && $2 == v { print $4 }' "$log" | median) | $(awk -v v=$variant '$1 == "start" && $2 == v { print $6 }' "$log" | median) |"
    done
}

# The tool as publish.sh makes it: time from its start to the first letter of an answer and to its end.
tool() {
    local gemma=$1 rounds=$2 round before first after
    for round in $(seq "$rounds"); do
        before=${EPOCHREALTIME/./}
        exec 3< <(exec "$gemma" chat --model nano --prompt "Hello, who are you?")
        read -r -n 1 -u 3
        first=${EPOCHREALTIME/./}
        cat <&3 > /dev/null
        after=${EPOCHREALTIME/./}
        exec 3<&-
        echo "$(((first - before) / 1000)) $(((after - before) / 1000))"
    done > /tmp/aot-tool.$$
    echo "first letter $(awk '{ print $1 }' /tmp/aot-tool.$$ | median) ms, whole answer $(awk '{ print $2 }' /tmp/aot-tool.$$ | median) ms (medians of $rounds); files $(du -bc "$(dirname "$gemma")"/* | tail -1 | awk '{ printf "%.1f", $1 / 1e6 }') MB"
    rm /tmp/aot-tool.$$
}

"$@"
