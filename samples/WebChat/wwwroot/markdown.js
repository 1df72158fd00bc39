// Markdown to elements. What a model writes is not trusted: it only ever becomes text nodes inside elements that are created here by name, links
// go to http, https and mailto, and images are shown as links, since loading one would tell its server what was said.

const fence = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)/;
const heading = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const rule = /^ {0,3}([-*_])\s*(?:\1\s*){2,}$/;
const quote = /^ {0,3}> ?/;
const item = /^( *)([-*+]|\d{1,9}[.)])( +|$)/;
const tableRule = /^ {0,3}\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;
const deepest = 8; // nested quotes, lists and emphasis; deeper ones are shown as they are written

/** Shows Markdown in an element. Blocks at the beginning that did not change stay as they are, so that a selection survives while text streams in. */
export function show(container, markdown) {
  const blocks = split(markdown.replace(/\r\n?/g, "\n").split("\n"), 0);
  blocks.forEach((block, i) => {
    const old = container.children[i];
    if (old?.source === block.source) return;
    const element = block.build();
    element.source = block.source;
    if (old) old.replaceWith(element);
    else container.append(element);
  });
  while (container.children.length > blocks.length) container.lastElementChild.remove();
}

/** Splits lines into blocks: { source, build() }. */
function split(lines, depth) {
  const blocks = [];
  for (let start = 0; start < lines.length;) {
    if (lines[start].trim() === "") {
      start++;
      continue;
    }
    const [end, build] = block(lines, start, depth);
    blocks.push({ source: lines.slice(start, end).join("\n"), build });
    start = end;
  }
  return blocks;
}

/** The block that begins at a line: where it ends, and how it is built. */
function block(lines, start, depth) {
  const line = lines[start];
  let match;
  if ((match = fence.exec(line))) return code(lines, start, match);
  if ((match = heading.exec(line))) return [start + 1, () => make(`h${Math.min(6, match[1].length + 2)}`, inline(match[2], 0))];
  if (rule.test(line)) return [start + 1, () => make("hr")];
  if (depth < deepest && quote.test(line)) {
    const end = scan(lines, start, text => quote.test(text));
    return [end, () => make("blockquote", build(lines.slice(start, end).map(text => text.replace(quote, "")), depth + 1))];
  }
  if (depth < deepest && item.test(line)) return list(lines, start, depth);
  if (line.includes("|") && tableRule.test(lines[start + 1] ?? "") && lines[start + 1].includes("-")) return table(lines, start);
  const end = scan(lines, start, (text, i) => text.trim() !== "" && (i === start || !begins(text)));
  return [end, () => make("p", inline(lines.slice(start, end).join("\n").trim(), 0))];
}

const build = (lines, depth) => split(lines, depth).map(part => part.build());
const begins = line => fence.test(line) || heading.test(line) || rule.test(line) || quote.test(line) || item.test(line);

function scan(lines, start, belongs) {
  let end = start;
  while (end < lines.length && belongs(lines[end], end)) end++;
  return end;
}

function code(lines, start, [, mark, language]) {
  const closing = new RegExp(`^ {0,3}${mark[0] === "`" ? "`" : "~"}{${mark.length},}\\s*$`);
  const end = scan(lines, start + 1, text => !closing.test(text));
  const text = lines.slice(start + 1, end).join("\n");
  return [Math.min(end + 1, lines.length), () => {
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
    const figure = make("div", [make("div", [make("span", [language || "code"]), copy]), pre]);
    figure.className = "code";
    return figure;
  }];
}

function list(lines, start, depth) {
  const [, indent, marker] = item.exec(lines[start]);
  const ordered = /\d/.test(marker);
  const items = [];
  let end = start;
  while (end < lines.length) {
    const match = item.exec(lines[end]);
    if (match && match[1].length <= indent.length + 1) {
      if (/\d/.test(match[2]) !== ordered || rule.test(lines[end])) break;
      items.push([lines[end].slice(match[0].length)]);
    } else if (lines[end].trim() === "") {
      const next = lines[scan(lines, end, text => text.trim() === "")] ?? "";
      if (!(item.test(next) || /^ {2}/.test(next))) break;
      items.at(-1).push("");
    } else if (/^ {2}/.test(lines[end]) || match) {
      items.at(-1).push(lines[end].replace(new RegExp(`^ {1,${indent.length + marker.length + 1}}`), ""));
    } else if (lines[end - 1].trim() !== "" && !begins(lines[end])) {
      items.at(-1).push(lines[end]); // goes on without indentation
    } else break;
    end++;
  }
  return [end, () => {
    const element = make(ordered ? "ol" : "ul", items.map(content => make("li", tight(build(content, depth + 1)))));
    if (ordered) element.start = parseInt(marker, 10);
    return element;
  }];
}

/** An item of one paragraph is shown without its margins. */
const tight = nodes => nodes[0]?.tagName === "P" ? [...nodes[0].childNodes, ...nodes.slice(1)] : nodes;

function table(lines, start) {
  const end = scan(lines, start, text => text.includes("|"));
  const cells = line => line.trim().replace(/^\||\|$/g, "").split("|").map(cell => cell.trim());
  return [end, () => {
    const row = (line, name) => make("tr", cells(line).map(cell => make(name, inline(cell, 0))));
    const body = make("table", [make("thead", [row(lines[start], "th")]), make("tbody", lines.slice(start + 2, end).map(line => row(line, "td")))]);
    const scroller = make("div", [body]);
    scroller.className = "table";
    scroller.tabIndex = 0;
    return scroller;
  }];
}

// Each begins where it stands in the text. Lengths are bounded so that text which never closes its marks costs little.
const inlines = [
  [/\\([\\`*_{}[\]()#+\-.!~|<>])/y, match => match[1]],
  [/(`+)(?!`)(.{1,2000}?)(?<!`)\1(?!`)/sy, match => make("code", [match[2].replace(/^ (.+) $/s, "$1")])],
  [/!?\[([^[\]]{0,500})\]\(\s*<?([^\s()<>]{0,2000}(?:\([^\s()<>]{0,200}\))?[^\s()<>]{0,2000})>?(?:\s+"[^"]{0,500}")?\s*\)/y,
    (match, depth) => link(match[2], match[1] ? inline(match[1], depth + 1) : [match[2]])],
  [/https?:\/\/[^\s<>"`]{1,2000}?(?=[.,;:!?'")\]*_~]*(?:\s|$|[<>"`]))/y, match => link(match[0], [match[0]])],
  [/(\*\*|__)(?=\S)(.{1,2000}?)(?<![\s\\])\1/sy, (match, depth) => make("strong", inline(match[2], depth + 1))],
  [/~~(?=\S)(.{1,2000}?)(?<![\s\\])~~/sy, (match, depth) => make("del", inline(match[1], depth + 1))],
  [/([*_])(?=\S)(.{1,2000}?)(?<![\s\\])\1(?!\w)/sy, (match, depth) => make("em", inline(match[2], depth + 1))],
  [/ *\n/y, () => make("br")],
];

/** Text with emphasis, code and links as nodes. */
function inline(text, depth) {
  const nodes = [];
  let plain = 0;
  for (let at = 0; at < text.length;) {
    const found = depth < deepest && /[\\`!\[h*_~ \n]/.test(text[at]) && !(text[at] === "_" && /\w/.test(text[at - 1] ?? "")) && find(text, at);
    if (!found) {
      const mark = text[at];
      do at++; while (/[*_~`\[]/.test(mark) && text[at] === mark); // a run of marks that does not open anything opens nothing from its middle either
      continue;
    }
    if (at > plain) nodes.push(text.slice(plain, at));
    nodes.push(found.make(found.match, depth));
    plain = at = at + found.match[0].length;
  }
  if (plain < text.length) nodes.push(text.slice(plain));
  return nodes;
}

function find(text, at) {
  for (const [pattern, make] of inlines) {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match) return { match, make };
  }
  return null;
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
  element.append(...children); // strings become text nodes
  return element;
}
