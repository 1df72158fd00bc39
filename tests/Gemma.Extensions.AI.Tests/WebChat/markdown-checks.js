// What the Markdown of the page costs, counted in steps and not in seconds, and whether text that streams in comes out as it does at once. An expression, so that
// node and a page can both run it: takes the module and a function that makes an empty element.
({ show, work }, holder) => {
  const parts = ["*", "**", "_", "__", "`", "``", "```", "~~", "[", "](", ")", "!", "![", "<", ">", "> ", "\n", "\n\n", "- ", "1. ", "  ", "    ", "#", "# ", "|", "|---|---|", "---", ":-",
    "http://a.b/", "https://", "\"", "\\", "word", " ", "a b", "\t", "\r", "\r\n", "[a](b \"", "(", ".", "* *", "\u00a0"];
  let seed = 1;
  const random = below => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return (seed >> 8) % below;
  };
  const pick = () => parts[random(parts.length)];
  const cost = text => {
    work.steps = 0;
    show(holder(), text);
    return work.steps / text.length;
  };

  // A few parts, some of them spread by spaces, again and again, between a beginning and an end that make another block of it.
  const pathological = () => {
    const unit = Array.from({ length: 1 + random(4) }, () => pick() + (random(4) ? "" : " ".repeat(random(40)))).join("");
    const [before, after] = [random(2) ? pick() : "", random(2) ? pick() : "b"];
    return length => before + unit.repeat(Math.ceil(length / unit.length)).slice(0, length) + after;
  };
  const made = Array.from({ length: 1200 }, pathological);
  const named = [length => `# a${" ".repeat(length)}b`, length => "a\n\n".repeat(length / 3), length => "---\n".repeat(length / 4), length => "- a\n".repeat(length / 4), length => "> a\n\n".repeat(length / 5), ...parts.map(part => length => part.repeat(length / part.length)), ...parts.map(part => length => `${part}${"a".repeat(length)}`),
    ...parts.map(part => length => `${part}${" ".repeat(length)}b`), ...parts.map(part => length => `a ${part}b `.repeat(length / (part.length + 4)))];
  const dearest = made.map(make => ({ text: make(60), steps: cost(make(3000)) })).sort((a, b) => b.steps - a.steps)[0];
  const growth = named.map(make => ({ text: make(60), factor: cost(make(100_000)) / cost(make(10_000)) })).sort((a, b) => b.factor - a.factor)[0];

  const stream = (text, size) => {
    const element = holder();
    work.steps = 0;
    for (let at = size; at < text.length + size; at += size) show(element, text.slice(0, at));
    return work.steps;
  };
  const answer = "A paragraph with *some* emphasis and `code`.\n\n- one\n- two\n\n```\nlet a = 1;\n```\n\n";
  const streamed = { once: cost(answer.repeat(100)) * answer.length * 100, short: stream(answer.repeat(100), 20), long: stream(answer.repeat(200), 20) };

  const different = [];
  for (let i = 0; i < 3000; i++) {
    const [element, whole] = [holder(), holder()];
    let text = "";
    for (let n = 1 + random(40); n > 0; n--) {
      text += pick();
      if (random(3)) show(element, text);
    }
    show(element, text);
    show(whole, text);
    if (element.innerHTML !== whole.innerHTML) different.push(text);
  }
  return { inputs: made.length, dearest, growth, streamed, different: different.slice(0, 5) };
}
