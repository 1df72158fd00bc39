#!/usr/bin/env bash
# Trains the vocabulary of gemma2-nano. Needs SentencePiece's spm_train. Usage: vocabulary.sh RECIPE_DLL; writes nano.model beside this script.
set -euo pipefail
recipe=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
dotnet exec "$recipe" words --cases 60000 --output "$work/words.tsv"
spm_train --input="$work/words.tsv" --input_format=tsv --model_prefix="$work/base" --model_type=bpe --vocab_size=1700 \
  --character_coverage=1.0 --byte_fallback=true --split_digits=true --split_by_unicode_script=true --normalization_rule_name=identity \
  --add_dummy_prefix=false --remove_extra_whitespaces=false --max_sentence_length=1000 \
  --pad_id=0 --eos_id=1 --bos_id=2 --unk_id=3 --pad_piece='<pad>' --eos_piece='<eos>' --bos_piece='<bos>' --unk_piece='<unk>' \
  --user_defined_symbols='<start_of_turn>,<end_of_turn>,<tool_call>,</tool_call>,<tool_result>,</tool_result>,…' --num_threads=2
dotnet exec "$recipe" vocabulary --base "$work/base.model" --words "$work/words.tsv" --size 2048 --output "$here/nano.model"
