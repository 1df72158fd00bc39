// node markdown-node.mjs MARKDOWN.JS CHECKS.JS: runs the checks on elements that are as much as the page's Markdown needs, and prints what they return.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

class Element {
  constructor(name) {
    this.tagName = name.toUpperCase();
    this.childNodes = [];
    this.parent = null;
  }
  // Browsers count through them after every change, so that costs steps.
  get children() {
    module.work.steps += this.childNodes.length;
    return this.childNodes.filter(child => typeof child !== "string");
  }
  get firstElementChild() { return this.after(-1); }
  get nextElementSibling() { return this.parent.after(this.place); }
  get place() { return this.parent.childNodes[this.index] === this ? this.index : (this.index = this.parent.childNodes.indexOf(this)); }
  after(index) {
    let i = index + 1;
    while (typeof this.childNodes[i] === "string") i++;
    return this.childNodes[i] ?? null;
  }
  append(child) {
    if (child instanceof Element) {
      child.remove();
      child.parent = this;
      child.index = this.childNodes.length;
    }
    this.childNodes.push(child);
  }
  remove() {
    this.parent?.childNodes.splice(this.place, 1);
    this.parent = null;
  }
  replaceWith(other) {
    this.parent.childNodes[this.place] = other;
    [other.parent, other.index, this.parent] = [this.parent, this.index, null];
  }
  get innerHTML() { return this.childNodes.map(child => typeof child === "string" ? child.replaceAll("<", "&lt;") : child.outerHTML).join(""); }
  get outerHTML() { return `<${this.tagName} ${this.href ?? ""} ${this.start ?? ""}>${this.innerHTML}</>`; }
}

globalThis.document = { createElement: name => new Element(name) };
const module = await import(pathToFileURL(process.argv[2]));
const checks = (0, eval)(readFileSync(process.argv[3], "utf8"));
console.log(JSON.stringify(checks(module, () => new Element("div"))));
