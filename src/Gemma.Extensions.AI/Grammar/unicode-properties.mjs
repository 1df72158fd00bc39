// Writes UnicodeProperties.bin, the Unicode properties that ECMA-262 knows:
//
//   node unicode-properties.mjs UnicodeProperties.bin        (node 20 or later, perl 5.36 for what is assigned in Unicode 14)
//
// Facts come from the engine's own regular expressions, so that \p{…} means here what it means to a validator in JavaScript. Engines follow different versions of
// Unicode: code points that version 14 does not assign, or that have another category, script or binary property in it than in the engine's, are listed as
// "unsure", and no text that depends on a property holds them. Script extensions are the engine's.
//
// Deflated: for each property a line of its kind (g category, s script, x what of script extensions differs from the script, b binary, u unsure) and its names,
// the number of its ranges, and the distances between their ends, as variable-length integers.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { deflateRawSync } from 'node:zlib';

const categories = 'Lu=Uppercase_Letter Ll=Lowercase_Letter Lt=Titlecase_Letter Lm=Modifier_Letter Lo=Other_Letter Mn=Nonspacing_Mark Mc=Spacing_Mark Me=Enclosing_Mark Nd=Decimal_Number=digit Nl=Letter_Number No=Other_Number Zs=Space_Separator Zl=Line_Separator Zp=Paragraph_Separator Cc=Control=cntrl Cf=Format Cs=Surrogate Co=Private_Use Pc=Connector_Punctuation Pd=Dash_Punctuation Ps=Open_Punctuation Pe=Close_Punctuation Pi=Initial_Punctuation Pf=Final_Punctuation Po=Other_Punctuation Sm=Math_Symbol Sc=Currency_Symbol Sk=Modifier_Symbol So=Other_Symbol Cn=Unassigned'.split(' ');
const binary = 'ASCII_Hex_Digit=AHex Alphabetic=Alpha Bidi_Control=Bidi_C Bidi_Mirrored=Bidi_M Case_Ignorable=CI Cased Changes_When_Casefolded=CWCF Changes_When_Casemapped=CWCM Changes_When_Lowercased=CWL Changes_When_NFKC_Casefolded=CWKCF Changes_When_Titlecased=CWT Changes_When_Uppercased=CWU Dash Default_Ignorable_Code_Point=DI Deprecated=Dep Diacritic=Dia Emoji Emoji_Component=EComp Emoji_Modifier=EMod Emoji_Modifier_Base=EBase Emoji_Presentation=EPres Extended_Pictographic=ExtPict Extender=Ext Grapheme_Base=Gr_Base Grapheme_Extend=Gr_Ext Hex_Digit=Hex IDS_Binary_Operator=IDSB IDS_Trinary_Operator=IDST ID_Continue=IDC ID_Start=IDS Ideographic=Ideo Join_Control=Join_C Logical_Order_Exception=LOE Lowercase=Lower Math Noncharacter_Code_Point=NChar Pattern_Syntax=Pat_Syn Pattern_White_Space=Pat_WS Quotation_Mark=QMark Radical Regional_Indicator=RI Sentence_Terminal=STerm Soft_Dotted=SD Terminal_Punctuation=Term Unified_Ideograph=UIdeo Uppercase=Upper Variation_Selector=VS White_Space=space XID_Continue=XIDC XID_Start=XIDS'.split(' ');

const perl = script => execFileSync('perl', ['-MUnicode::UCD=prop_invlist,prop_values,prop_value_aliases', '-e', script], { maxBuffer: 1 << 26 }).toString();
const scripts = perl('print join " ", grep { !/^(Hrkt|Zzzz)/ } map { join "=", prop_value_aliases("Script", $_) } sort { $a cmp $b } prop_values("Script")').split(' ').filter(s => s && !s.startsWith('Katakana_Or'));

const N = 0x110000;
function members(test) { const a = new Uint8Array(N); for (let c = 0; c < N; c++) a[c] = test.test(String.fromCodePoint(c)) ? 1 : 0; return a; }
const here = property => members(new RegExp(`^\\p{${property}}$`, 'u'));
function inOld(property) { // As version 14 has it.
  const ends = perl(`print join ",", prop_invlist("${property}")`).split(',').filter(Boolean).map(Number), a = new Uint8Array(N);
  for (let i = 0; i < ends.length; i += 2) a.fill(1, ends[i], Math.min(N, ends[i + 1] ?? N));
  return a;
}

const nonCharacters = here('Noncharacter_Code_Point'), assigned = inOld('Present_In=14.0');
const unsure = new Uint8Array(N);
for (let c = 0; c < N; c++) unsure[c] = !assigned[c] && !nonCharacters[c] ? 1 : 0;
const entries = [];
let changed = 0;
function add(kind, names, property, oldName) {
  const set = here(property), old = inOld(oldName);
  for (let c = 0; c < N; c++) if (!unsure[c] && set[c] !== old[c]) { unsure[c] = 1; changed++; }
  entries.push([kind + ' ' + names.replaceAll('=', ' '), set]);
  return set;
}
for (const names of categories) add('g', names, 'gc=' + names.split('=')[0], 'gc=' + names.split('=')[0]);
for (const names of binary) add('b', names, names.split('=')[0], names.split('=')[0]);
for (const names of scripts) {
  const short = names.split('=')[0], script = add('s', names, 'sc=' + short, 'sc=' + short), extended = here('scx=' + short);
  if (extended.some((v, c) => v !== script[c])) entries.push(['x ' + short, extended.map((v, c) => v ^ script[c])]);
}
entries.push(['u', unsure]);

const bytes = [];
const integer = n => { while (n > 127) { bytes.push(n % 128 + 128); n = Math.floor(n / 128); } bytes.push(n); };
for (const [name, set] of entries) {
  const ends = [];
  for (let c = 0, last = 0; c <= N; c++) { const now = c < N && !(unsure[c] && name !== 'u') ? set[c] : 0; if (now !== last) { ends.push(c); last = now; } }
  integer(name.length);
  for (const ch of name) bytes.push(ch.charCodeAt(0));
  integer(ends.length / 2);
  ends.reduce((from, to) => (integer(to - from), to), 0);
}
const packed = deflateRawSync(Buffer.from(bytes), { level: 9 });
writeFileSync(process.argv[2], packed);
console.log(`${entries.length} properties of Unicode ${process.versions.unicode}, ${changed} code points changed since 14.0, ${bytes.length} bytes, ${packed.length} deflated`);
