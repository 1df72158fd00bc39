// Markdown to elements. What a model writes is not trusted: it only ever becomes text nodes inside elements that are created here by name, links
// go to http, https and mailto, and images are shown as links, since loading one would tell its server what was said.
//
// Every character is looked at a bounded number of times, whatever the text: lines and marks are read by loops that only go forward, and regular
// expressions say of single characters what they are. `work.steps` counts, for the tests.

export const work = { steps: 0 };

const deepest = 8; // nested quotes, lists and emphasis; deeper ones are shown as they are written
const space = /\s/;
const word = /\w/;
const digit = /\d/;
const language = /[\w+#.-]/;
const escapable = /[\\`*_{}[\]()#+\-.!~|<>]/;
const endsUrl = /[\s<>"`]/;
const afterUrl = /[.,;:!?'")\]*_~]/;
const endsTarget = /[\s()<>]/;

/**
 * Shows Markdown in an element. Blocks at the beginning that did not change stay as they are, so that a selection survives while text streams in; blocks that
 * more text cannot change are not even read again.
 */
export function show(container, markdown) {
  const shown = container.shown?.text && markdown.startsWith(container.shown.text) ? container.shown : { text: "", last: null };
  const { lines, starts } = toLines(markdown, shown.text.length);
  const blocks = split(lines, 0);

  // From element to element: to look one up by its number, browsers count from the first after every change.
  let old = shown.last ? shown.last.nextElementSibling : container.firstElementChild;
  const elements = blocks.map(block => {
    const next = old?.nextElementSibling;
    let element = old;
    if (old?.source !== block.source) {
      element = block.build();
      element.source = block.source;
      if (old) old.replaceWith(element);
      else container.append(element);
    }
    old = next;
    return element;
  });
  while (old) {
    const next = old.nextElementSibling;
    old.remove();
    old = next;
  }

  // The last line may go on and so belong to the block before it; a block that is followed by another one that began with a whole line is settled.
  const settled = blocks.length - (blocks.at(-1)?.start === lines.length - 1 ? 2 : 1);
  if (settled > 0) container.shown = { text: markdown.slice(0, starts[blocks[settled].start]), last: elements[settled - 1] };
  else container.shown = shown;
}

/** The lines from a position on, and where each begins. */
function toLines(text, from) {
  const lines = [], starts = [];
  let start = from;
  for (let at = from; at <= text.length; at++) {
    work.steps++;
    const mark = text[at];
    if (at < text.length && mark !== "\n" && mark !== "\r") continue;
    lines.push(text.slice(start, at));
    starts.push(start);
    if (mark === "\r" && text[at + 1] === "\n") at++;
    start = at + 1;
  }
  return { lines, starts };
}

/** Splits lines into blocks: { start, source, build() }. */
function split(lines, depth) {
  const blocks = [];
  for (let start = 0; start < lines.length;) {
    if (isBlank(lines[start])) {
      start++;
      continue;
    }
    const [end, build] = block(lines, start, depth);
    blocks.push({ start, source: lines.slice(start, end).join("\n"), build });
    start = end;
  }
  return blocks;
}

/** The block that begins at a line: where it ends, and how it is built. */
function block(lines, start, depth) {
  const line = lines[start];
  const mark = fence(line);
  if (mark) return code(lines, start, mark);
  const level = heading(line);
  if (level) return [start + 1, () => make(`h${Math.min(6, level + 2)}`, inline(title(line, level), 0))];
  if (isRule(line)) return [start + 1, () => make("hr")];
  if (depth < deepest && quoted(line)) {
    const end = scan(lines, start, quoted);
    return [end, () => make("blockquote", build(lines.slice(start, end).map(text => text.slice(quoted(text))), depth + 1))];
  }
  const first = depth < deepest && item(line);
  if (first) return list(lines, start, first, depth);
  if (line.includes("|") && isTableRule(lines[start + 1] ?? "")) return table(lines, start);
  const end = scan(lines, start, (text, i) => !isBlank(text) && (i === start || !begins(text)));
  return [end, () => make("p", inline(lines.slice(start, end).join("\n").trim(), 0))];
}

const build = (lines, depth) => split(lines, depth).map(part => part.build());
const begins = line => fence(line) || heading(line) || isRule(line) || quoted(line) || item(line);

function scan(lines, start, belongs) {
  let end = start;
  while (end < lines.length && belongs(lines[end], end)) end++;
  return end;
}

/** Where a run of characters ends that begins at a position. */
function past(text, at, belongs, most = Infinity) {
  const end = Math.min(text.length, at + most);
  while (at < end && belongs(text[at])) {
    at++;
    work.steps++;
  }
  work.steps++;
  return at;
}

const isSpace = character => space.test(character);
const blank = character => character === " ";
const isBlank = line => past(line, 0, isSpace) === line.length;

/** Up to three spaces at the beginning of a line: how many; null where there are more. */
function margin(line) {
  const end = past(line, 0, blank, 4);
  return end > 3 ? null : end;
}

/** The fence of code that a line opens: { mark, length, rest }. */
function fence(line) {
  const start = margin(line);
  const mark = line[start];
  if (mark !== "`" && mark !== "~") return null;
  const end = past(line, start, character => character === mark);
  const isCode = mark === "`" && past(line, end, character => character !== "`") < line.length; // in one line
  return end - start >= 3 && !isCode ? { mark, length: end - start, rest: end } : null;
}

/** The level of a heading; 0 where a line is none. */
function heading(line) {
  const start = margin(line);
  if (start === null || line[start] !== "#") return 0;
  const end = past(line, start, character => character === "#", 7);
  return end - start < 7 && isSpace(line[end] ?? "x") ? end - start : 0;
}

/** The text of a heading: without marks at its end that stand alone. */
function title(line, level) {
  const text = line.slice(margin(line) + level).trim();
  let end = text.length;
  while (text[end - 1] === "#") {
    end--;
    work.steps++;
  }
  return end === 0 ? "" : isSpace(text[end - 1]) ? text.slice(0, end).trimEnd() : text;
}

/** Three or more of one mark, and spaces. */
function isRule(line) {
  const mark = line[margin(line)];
  if (mark !== "-" && mark !== "*" && mark !== "_") return false;
  let marks = 0;
  const end = past(line, margin(line), character => character === mark ? ++marks : isSpace(character));
  return end === line.length && marks >= 3;
}

/** Length of the mark of a quote; 0 where a line is none. */
function quoted(line) {
  const start = margin(line);
  return start === null || line[start] !== ">" ? 0 : start + (line[start + 1] === " " ? 2 : 1);
}

/** The item of a list that a line begins: { indent, width, ordered, marker, length }. */
function item(line) {
  const indent = past(line, 0, blank);
  let end = indent;
  const ordered = digit.test(line[indent] ?? "");
  if (ordered) {
    end = past(line, indent, character => digit.test(character), 9);
    if (line[end] !== "." && line[end] !== ")") return null;
  } else if (line[indent] !== "-" && line[indent] !== "*" && line[indent] !== "+") return null;
  end++;
  const length = past(line, end, blank);
  return length > end || end === line.length ? { indent, width: end - indent, ordered, marker: line.slice(indent, end), length } : null;
}

function code(lines, start, { mark, length, rest }) {
  const closes = text => {
    const closing = fence(text);
    return closing?.mark === mark && closing.length >= length && past(text, closing.rest, isSpace) === text.length;
  };
  const end = scan(lines, start + 1, text => !closes(text));
  const text = lines.slice(start + 1, end).join("\n");
  return [Math.min(end + 1, lines.length), () => {
    const named = past(lines[start], rest, isSpace);
    const name = lines[start].slice(named, past(lines[start], named, character => language.test(character)));
    const copy = make("button", ["Copy"]);
    copy.type = "button";
    copy.onclick = async () => {
      try {
        await navigator.clipboard.writeText(text);
        copy.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(pre); // there is no clipboard without https, and it may be forbidden
        copy.textContent = "Press Ctrl+C";
      }
      setTimeout(() => { copy.textContent = "Copy"; }, 1500);
    };
    const pre = make("pre", [make("code", [text])]);
    pre.tabIndex = 0; // can be scrolled with the keyboard
    const figure = make("div", [make("div", [make("span", [name || "code"]), copy]), pre]);
    figure.className = "code";
    return figure;
  }];
}

function list(lines, start, first, depth) {
  const items = [];
  let end = start;
  while (end < lines.length) {
    const line = lines[end];
    const next = item(line);
    if (next && next.indent <= first.indent + 1) {
      if (next.ordered !== first.ordered || isRule(line)) break;
      items.push([line.slice(next.length)]);
    } else if (isBlank(line)) {
      const after = scan(lines, end, isBlank);
      const text = lines[after] ?? "";
      if (!(item(text) || text.startsWith("  "))) break;
      items.at(-1).push(...new Array(after - end).fill(""));
      end = after;
      continue;
    } else if (line.startsWith("  ") || next) {
      items.at(-1).push(line.slice(past(line, 0, blank, first.indent + first.width + 1)));
    } else if (!isBlank(lines[end - 1]) && !begins(line)) {
      items.at(-1).push(line); // goes on without indentation
    } else break;
    end++;
  }
  return [end, () => {
    const element = make(first.ordered ? "ol" : "ul", items.map(content => make("li", tight(build(content, depth + 1)))));
    if (first.ordered) element.start = parseInt(first.marker, 10);
    return element;
  }];
}

/** An item of one paragraph is shown without its margins. */
const tight = nodes => nodes[0]?.tagName === "P" ? [...nodes[0].childNodes, ...nodes.slice(1)] : nodes;

/** Cells of dashes: what stands below the head of a table. */
function isTableRule(line) {
  let at = past(line, margin(line) ?? line.length, isSpace);
  if (line[at] === "|") at++;
  for (let cells = 0; ; cells++) {
    at = past(line, at, isSpace);
    if (at === line.length) return cells > 0;
    if (line[at] === ":") at++;
    const dashes = past(line, at, character => character === "-");
    if (dashes === at) return false;
    at = past(line, line[dashes] === ":" ? dashes + 1 : dashes, isSpace);
    if (at === line.length) return true;
    if (line[at++] !== "|") return false;
  }
}

function cells(line) {
  const text = line.trim();
  return text.slice(text.startsWith("|") ? 1 : 0, text.length > 1 && text.endsWith("|") ? -1 : undefined).split("|").map(cell => cell.trim());
}

function table(lines, start) {
  const end = scan(lines, start, (text, i) => i <= start + 1 || text.includes("|"));
  return [end, () => {
    const row = (line, name) => make("tr", cells(line).map(cell => make(name, inline(cell, 0))));
    const body = make("table", [make("thead", [row(lines[start], "th")]), make("tbody", lines.slice(start + 2, end).map(line => row(line, "td")))]);
    const scroller = make("div", [body]);
    scroller.className = "table";
    scroller.tabIndex = 0;
    return scroller;
  }];
}

/** Text with emphasis, code and links as nodes; without links inside the text of a link. */
function inline(text, depth, linked = false) {
  const found = new Emphasis(depth);
  const ticks = new CodeSpans(text);
  let plain = 0;
  const add = (from, to, node) => {
    found.add(text.slice(plain, from));
    if (node) found.add(node);
    plain = to;
    return to;
  };
  for (let at = 0; at < text.length;) {
    work.steps++;
    const mark = text[at];
    let target;
    if (mark === "\\" && escapable.test(text[at + 1] ?? "")) {
      add(at, at + 1);
      at += 2;
    } else if (mark === "`") {
      const end = past(text, at, character => character === "`");
      const close = ticks.close(at, end);
      at = close ? add(at, close + end - at, make("code", [codeText(text.slice(end, close))])) : end;
    } else if (mark === "\n") {
      let end = at;
      while (end > plain && text[end - 1] === " ") {
        end--;
        work.steps++;
      }
      at = add(end, at + 1, make("br"));
    } else if (!linked && (mark === "[" || (mark === "!" && text[at + 1] === "[")) && (target = readLink(text, mark === "[" ? at : at + 1))) {
      const label = text.slice(mark === "[" ? at + 1 : at + 2, target.bracket);
      at = add(at, target.end, link(target.url, label && depth < deepest ? inline(label, depth + 1, true) : [label || target.url]));
    } else if (!linked && mark === "h" && (target = readUrl(text, at))) {
      const url = text.slice(at, target);
      at = add(at, target, link(url, [url]));
    } else if (mark === "*" || mark === "_" || mark === "~") {
      const end = past(text, at, character => character === mark);
      add(at, end);
      found.mark(mark, end - at, text[at - 1] ?? " ", text[end] ?? " ");
      at = end;
    } else at++;
  }
  add(text.length, text.length);
  return found.nodes();
}

/** Pairs of runs of backticks of one length: where the next one of each length stands. */
class CodeSpans {
  constructor(text) {
    this.text = text;
    this.runs = null;
  }

  /** Where the run begins that closes the one from start to end; 0 where none does. */
  close(start, end) {
    this.runs ??= this.read(start);
    const positions = this.runs.get(end - start) ?? []; // a run whose first one is escaped is none of those
    while (positions.at(-1) <= start) positions.pop();
    return positions.at(-1) ?? 0;
  }

  /** Positions by length of run, the last ones first. */
  read(from) {
    const runs = new Map();
    for (let at = from; at < this.text.length;) {
      const end = past(this.text, at, character => character === "`");
      if (end > at) {
        if (!runs.has(end - at)) runs.set(end - at, []);
        runs.get(end - at).push(at);
      }
      at = end + 1;
    }
    for (const positions of runs.values()) positions.reverse();
    return runs;
  }
}

/** One space on both sides, which keeps backticks apart, is not part of the code. */
function codeText(text) {
  return text.length > 2 && text.startsWith(" ") && text.endsWith(" ") ? text.slice(1, -1) : text;
}

/** A link [text](target "title") from its bracket on: { bracket, url, end }. */
function readLink(text, open) {
  const bracket = past(text, open + 1, character => character !== "[" && character !== "]");
  if (text[bracket] !== "]" || text[bracket + 1] !== "(") return null;
  let at = past(text, bracket + 2, isSpace);
  if (text[at] === "<") at++;
  const start = at;
  at = past(text, at, character => !endsTarget.test(character));
  if (text[at] === "(") {
    const inner = past(text, at + 1, character => !endsTarget.test(character)); // one pair of parentheses, as many addresses have it
    if (text[inner] !== ")") return null;
    at = past(text, inner + 1, character => !endsTarget.test(character));
  }
  const url = text.slice(start, at);
  if (text[at] === ">") at++;
  const after = past(text, at, isSpace);
  if (after > at && text[after] === "\"") {
    const closing = past(text, after + 1, character => character !== "\"");
    if (closing === text.length) return null;
    at = past(text, closing + 1, isSpace);
  } else at = after;
  return text[at] === ")" ? { bracket, url, end: at + 1 } : null;
}

/** Where an address ends that stands in the text; 0 where there is none. Punctuation at its end is the sentence's. */
function readUrl(text, at) {
  const start = text.startsWith("https://", at) ? at + 8 : text.startsWith("http://", at) ? at + 7 : 0;
  if (!start) return 0;
  let end = past(text, start, character => !endsUrl.test(character));
  while (end > start && afterUrl.test(text[end - 1])) {
    end--;
    work.steps++;
  }
  return end > start ? end : 0;
}

/**
 * Nodes of a text, with what stands between marks of emphasis put into elements. A mark that closes looks back for the one that opened; those in between open
 * nothing any more, and where it finds none, nobody looks there again: so all the looking back together is as long as the text.
 */
class Emphasis {
  constructor(depth) {
    this.depth = depth;
    this.parts = []; // { node, depth } or, of marks that may open, { mark, count, depth: 0 }
    this.open = []; // indexes of those
    this.bottom = {}; // by kind of mark: below which of the open ones nothing is to be found
  }

  add(node) {
    if (node !== "") this.parts.push({ node, depth: typeof node === "string" || node.tagName === "BR" ? 0 : 1 });
  }

  mark(mark, count, before, after) {
    if (mark === "~" && count !== 2) {
      this.add(mark.repeat(count));
      return;
    }
    let left = count;
    if (!isSpace(before)) {
      for (let size; left > 0 && (size = this.close(mark, left, !word.test(after))) > 0;) left -= size;
    }
    if (left === 0) return;
    if (isSpace(after) || (mark === "_" && word.test(before))) {
      this.add(mark.repeat(left));
      return;
    }
    this.open.push(this.parts.length);
    this.parts.push({ mark, count: left, depth: 0 });
  }

  /** Closes the nearest marks that fit: how many of them; 0 where there are none. */
  close(mark, count, mayBeOne) {
    const kind = mark + (count > 1) + mayBeOne;
    for (let i = this.open.length - 1; i >= (this.bottom[kind] ?? 0); i--) {
      work.steps++;
      const opener = this.parts[this.open[i]];
      const size = opener.mark !== mark ? 0 : mark === "~" || (count > 1 && opener.count > 1) ? 2 : mayBeOne ? 1 : 0;
      if (size === 0) continue;
      this.wrap(i, opener, size);
      return size;
    }
    this.bottom[kind] = this.open.length;
    return 0;
  }

  wrap(i, opener, size) {
    const at = this.open[i];
    const inside = this.parts.splice(at + 1);
    work.steps += inside.length;
    this.open.length = i;
    for (const kind in this.bottom) this.bottom[kind] = Math.min(this.bottom[kind], i);
    const depth = 1 + inside.reduce((most, part) => Math.max(most, part.depth), 0);
    opener.count -= size;
    if (opener.count > 0) this.open.push(at);
    else this.parts.pop();
    if (inside.length > 0 && this.depth + depth <= deepest) {
      this.parts.push({ node: make(opener.mark === "~" ? "del" : size === 2 ? "strong" : "em", flat(inside)), depth });
    } else {
      const marks = { node: opener.mark.repeat(size), depth: 0 };
      this.parts.push({ parts: [marks, ...inside, marks], depth: depth - 1 }); // stays together, so that nobody has to carry it piece by piece
    }
  }

  nodes() {
    return flat(this.parts);
  }
}

/** The nodes of parts, and of the parts in them. */
function flat(parts) {
  const nodes = [];
  const left = [{ parts, next: 0 }];
  while (left.length > 0) {
    const level = left.at(-1);
    const part = level.parts[level.next++];
    work.steps++;
    if (!part) left.pop();
    else if (part.parts) left.push({ parts: part.parts, next: 0 });
    else nodes.push(part.node ?? part.mark.repeat(part.count));
  }
  return nodes;
}

function link(target, content) {
  let url;
  try {
    url = new URL(target);
  } catch {
    url = null;
  }
  if (!["http:", "https:", "mailto:"].includes(url?.protocol)) return make("span", content);
  const element = make("a", content);
  element.href = url.href;
  element.target = "_blank";
  element.rel = "noopener noreferrer nofollow";
  return element;
}

function make(name, children = []) {
  const element = document.createElement(name);
  for (const child of children) element.append(child); // strings become text nodes; one by one, since there may be more than a call takes
  return element;
}
