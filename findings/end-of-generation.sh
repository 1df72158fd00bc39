#!/usr/bin/env bash
# llama.cpp 0.5.0, as node-llama-cpp 3.22.1 ships it (npm). Seen on 2026-11-29.
#
# Every token spelt "</s>" ends a generation, whatever its type and whatever the model's end tokens are. In the vocabulary of Gemma 2 it is no end of anything
# but HTML's end of struck-through text: user-defined token 213, between "</u>" and "</sub>". So an answer that shows it stops there, as if complete. The type of
# the token is overridden too: it becomes a control token, which is left out of detokenized text, and "</s>" in a prompt's text is spelt in letters, where "</b>"
# is one token.
#
# Shown with two GGUF files that hold a vocabulary of Gemma 2's kind and no weights; eos is <eos>. Output seen:
#   user-defined: ends of generation <eos> <end_of_turn> </s>; text of </s> "", of </b> "</b>"; "x</s>" is ▁ x < / s >, "x</b>" is ▁ x </b>
#   normal: ends of generation <eos> <end_of_turn> </s>; text of </s> "", of </b> "</b>"; "x</s>" is ▁ x < / s >, "x</b>" is ▁ x < / b >
#
# Exits with 1 when any of this changes. Needs Node.js 20 or later and npm.
set -euo pipefail
case "$(uname -sm)" in
    "Linux x86_64") binary=linux-x64 ;;
    "Linux aarch64") binary=linux-arm64 ;;
    "Darwin arm64") binary=mac-arm64-metal ;;
    *) echo "no binary is named here for $(uname -sm)"; exit 2 ;;
esac
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

echo '{"private":true,"type":"module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts --omit=optional node-llama-cpp@3.22.1 "@node-llama-cpp/$binary@3.22.1"
cat > show.js <<'JS'
import assert from "node:assert";
import { writeFileSync } from "node:fs";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

// GGUF version 3, little-endian: magic, version, number of tensors, number of keys, then key, type and value of each.
const number = (size, write) => value => { const bytes = Buffer.alloc(size); bytes[write](value); return bytes; };
const u32 = number(4, "writeUInt32LE"), f32 = number(4, "writeFloatLE"), u64 = number(8, "writeBigUInt64LE");
const text = value => Buffer.concat([u64(BigInt(Buffer.byteLength(value))), Buffer.from(value)]);
const key = (name, type, value) => Buffer.concat([text(name), u32(type), value]);
const uint = (name, value) => key(name, 4, u32(value)), float = (name, value) => key(name, 6, f32(value)), string = (name, value) => key(name, 8, text(value));
const list = (name, type, items) => key(name, 9, Buffer.concat([u32(type), u64(BigInt(items.length)), ...items]));

const normal = 1, unknown = 2, control = 3, userDefined = 4, byte = 6;
function vocabulary(tags) {
    return [
        ["<pad>", control], ["<eos>", control], ["<bos>", control], ["<unk>", unknown], ["<start_of_turn>", control], ["<end_of_turn>", control],
        ...["<s>", "</s>", "<b>", "</b>"].map(tag => [tag, tags]),
        ...Array.from({ length: 256 }, (_, i) => [`<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`, byte]),
        ...["▁", ..."<>/abcdefghijklmnopqrstuvwxyz"].map(letter => [letter, normal]),
    ];
}

function write(path, pieces) {
    const keys = [
        string("general.architecture", "gemma2"),
        uint("gemma2.block_count", 1), uint("gemma2.context_length", 64), uint("gemma2.embedding_length", 8), uint("gemma2.feed_forward_length", 8),
        uint("gemma2.attention.head_count", 1), float("gemma2.attention.layer_norm_rms_epsilon", 1e-6),
        string("tokenizer.ggml.model", "llama"),
        list("tokenizer.ggml.tokens", 8, pieces.map(([piece]) => text(piece))),
        list("tokenizer.ggml.scores", 6, pieces.map((_, i) => f32(-i))),
        list("tokenizer.ggml.token_type", 5, pieces.map(([, type]) => u32(type))),
        uint("tokenizer.ggml.padding_token_id", 0), uint("tokenizer.ggml.eos_token_id", 1), uint("tokenizer.ggml.bos_token_id", 2), uint("tokenizer.ggml.unknown_token_id", 3),
    ];
    writeFileSync(path, Buffer.concat([Buffer.from("GGUF"), u32(3), u64(0n), u64(BigInt(keys.length)), ...keys]));
}

const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.disabled });
assert.strictEqual(llama.llamaCppRelease.release, "v0.5.0");
for (const [kind, type] of [["user-defined", userDefined], ["normal", normal]]) {
    const pieces = vocabulary(type);
    write("vocabulary.gguf", pieces);
    const model = await llama.loadModel({ modelPath: "vocabulary.gguf", vocabOnly: true });
    const ends = pieces.flatMap(([piece], id) => model.isEogToken(id) ? [piece] : []);
    const struck = pieces.findIndex(([piece]) => piece === "</s>"), bold = pieces.findIndex(([piece]) => piece === "</b>");
    const shown = [model.detokenize([struck]), model.detokenize([bold])];
    const split = ["x</s>", "x</b>"].map(value => model.tokenize(value).map(id => pieces[id][0]).join(" "));
    console.log(`${kind}: ends of generation ${ends.join(" ")}; text of </s> ${JSON.stringify(shown[0])}, of </b> ${JSON.stringify(shown[1])}; "x</s>" is ${split[0]}, "x</b>" is ${split[1]}`);

    assert.deepStrictEqual(ends, ["<eos>", "<end_of_turn>", "</s>"]);
    assert.deepStrictEqual(shown, ["", "</b>"]);
    assert.deepStrictEqual(split, ["▁ x < / s >", type === userDefined ? "▁ x </b>" : "▁ x < / b >"]);
    await model.dispose();
}

await llama.dispose();
JS
node show.js
echo "as described"
