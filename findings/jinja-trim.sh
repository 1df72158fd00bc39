#!/usr/bin/env bash
# @huggingface/jinja 0.5.11 (npm), which renders chat templates for transformers.js. Seen on 2026-11-29.
#
# Its filter `trim` is JavaScript's String.prototype.trim. Jinja's own, with which transformers renders the same templates, is Python's str.strip. They differ in five
# characters: U+001C to U+001F (the separators of files, groups, records and units) are white space to Python only, U+FEFF is to JavaScript only. Gemma 2's template trims
# every message, so one conversation whose text begins or ends with such a character becomes two different prompts.
#
# Output seen:
#   U+0020  jinja.js trims  Jinja 3.1.6 trims
#   U+00A0  jinja.js trims  Jinja 3.1.6 trims
#   U+3000  jinja.js trims  Jinja 3.1.6 trims
#   U+001C  jinja.js keeps  Jinja 3.1.6 trims
#   U+001D  jinja.js keeps  Jinja 3.1.6 trims
#   U+001E  jinja.js keeps  Jinja 3.1.6 trims
#   U+001F  jinja.js keeps  Jinja 3.1.6 trims
#   U+FEFF  jinja.js trims  Jinja 3.1.6 keeps
#
# Exits with 1 when any of this changes. Needs Node.js 20, npm, Python 3 with venv (or a Jinja 3.1.6 that is installed already).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

npm init -y > /dev/null
npm install --silent --no-audit --no-fund @huggingface/jinja@0.5.11 > /dev/null
python=python3
if ! python3 -c 'import jinja2, sys; sys.exit(jinja2.__version__ != "3.1.6")' 2> /dev/null; then
    python3 -m venv venv
    venv/bin/pip install --quiet jinja2==3.1.6
    python=venv/bin/python
fi

cat > show.mjs <<'JS'
import { Template } from '@huggingface/jinja';
const template = new Template('[{{ text | trim }}]');
for (const code of process.argv.slice(2)) {
    const character = String.fromCodePoint(parseInt(code, 16));
    console.log(template.render({ text: `${character}word${character}` }) === '[word]' ? 'trims' : 'keeps');
}
JS
cat > show.py <<'PY'
import sys
from jinja2.sandbox import ImmutableSandboxedEnvironment
template = ImmutableSandboxedEnvironment().from_string('[{{ text | trim }}]')
for code in sys.argv[1:]:
    character = chr(int(code, 16))
    print('trims' if template.render(text=f'{character}word{character}') == '[word]' else 'keeps')
PY

codes=(0020 00A0 3000 001C 001D 001E 001F FEFF)
mapfile -t javascript < <(node show.mjs "${codes[@]}")
mapfile -t jinja < <("$python" show.py "${codes[@]}")
found=$(for i in "${!codes[@]}"; do echo "U+${codes[i]}  jinja.js ${javascript[i]}  Jinja 3.1.6 ${jinja[i]}"; done)
echo "$found"

expected='U+0020  jinja.js trims  Jinja 3.1.6 trims
U+00A0  jinja.js trims  Jinja 3.1.6 trims
U+3000  jinja.js trims  Jinja 3.1.6 trims
U+001C  jinja.js keeps  Jinja 3.1.6 trims
U+001D  jinja.js keeps  Jinja 3.1.6 trims
U+001E  jinja.js keeps  Jinja 3.1.6 trims
U+001F  jinja.js keeps  Jinja 3.1.6 trims
U+FEFF  jinja.js trims  Jinja 3.1.6 keeps'
[ "$found" = "$expected" ] || { echo "changed since 2026-11-29; expected:"; echo "$expected"; exit 1; }
