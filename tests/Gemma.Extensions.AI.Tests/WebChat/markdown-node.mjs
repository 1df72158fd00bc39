// node markdown-node.mjs MARKDOWN.JS CHECKS.JS: runs the checks on elements that are as much as the page's Markdown needs, and prints what they return.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

class Element {
  constructor(name) {
    this.tagName = name.toUpperCase();
    this.childNodes = [];
    this.parent = null;
  }
  get children() { return this.childNodes.filter(child => typeof child !== "string"); }
  get lastElementChild() { return this.children.at(-1); }
  append(child) {
    if (child instanceof Element) {
      child.remove();
      child.parent = this;
    }
    this.childNodes.push(child);
  }
  remove() {
    this.parent?.childNodes.splice(this.parent.childNodes.indexOf(this), 1);
    this.parent = null;
  }
  replaceWith(other) {
    this.parent.childNodes[this.parent.childNodes.indexOf(this)] = other;
    [other.parent, this.parent] = [this.parent, null];
  }
  get innerHTML() { return this.childNodes.map(child => typeof child === "string" ? child.replaceAll("<", "&lt;") : child.outerHTML).join(""); }
  get outerHTML() { return `<${this.tagName} ${this.href ?? ""} ${this.start ?? ""}>${this.innerHTML}</>`; }
}

globalThis.document = { createElement: name => new Element(name) };
const module = await import(pathToFileURL(process.argv[2]));
const checks = (0, eval)(readFileSync(process.argv[3], "utf8"));
console.log(JSON.stringify(checks(module, () => new Element("div"))));
