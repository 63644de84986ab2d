// Discord's light markup as DOM nodes: bold, italic, underline, strike, code, quotes, links,
// mentions and timestamps. Whatever it does not know stays the text it was.

import { el } from "./dom.js";

const DEEPEST = 6;

const INLINE = [
  [/^```(?:[a-z0-9_+-]*\n)?([\s\S]+?)```/i, (m) => el("pre", {}, m[1].replace(/\n$/, ""))],
  [/^`([^`\n]+)`/, (m) => el("code", {}, m[1])],
  [/^\*\*([\s\S]+?)\*\*(?!\*)/, (m, deep, names) => el("strong", {}, inline(m[1], deep, names))],
  [/^__([\s\S]+?)__(?!_)/, (m, deep, names) => el("u", {}, inline(m[1], deep, names))],
  [/^~~([\s\S]+?)~~/, (m, deep, names) => el("s", {}, inline(m[1], deep, names))],
  [/^\*(?!\s)([^*\n]+?)\*(?!\*)/, (m, deep, names) => el("em", {}, inline(m[1], deep, names))],
  [/^_(?!\s)([^_\n]+?)_(?![\w_])/, (m, deep, names) => el("em", {}, inline(m[1], deep, names))],
  [/^<@!?(\d{1,20})>/, (m, _deep, names) => mention(`@${names.get(m[1]) ?? "someone"}`)],
  [/^<#(\d{1,20})>/, (m, _deep, names) => mention(`#${names.get(m[1]) ?? "channel"}`)],
  [/^<@&\d{1,20}>/, () => mention("@role")],
  [/^<\/([^:>\n]{1,100}):\d{1,20}>/, (m) => mention(`/${m[1]}`)],
  [/^<a?:(\w{1,32}):\d{1,20}>/, (m) => `:${m[1]}:`],
  [/^<t:(-?\d{1,12})(?::([tTdDfFR]))?>/, (m) => moment(Number(m[1]), m[2])],
  [/^\[([^\]\n]{1,200})\]\((https?:\/\/[^\s)]{1,1000})\)/, (m) => link(m[2], m[1])],
  [/^<?(https?:\/\/[^\s<>]{1,1000}[^\s<>.,:;"')\]])>?/, (m) => link(m[1], m[1])],
  [/^\\([*_~`<\\|>])/, (m) => m[1]],
];

/** Nodes for a whole text; `names` maps ids to the names that mentions show. */
export function markdown(text, names = new Map()) {
  const nodes = [];
  let quote = [];
  const endQuote = () => {
    if (quote.length > 0) nodes.push(el("blockquote", {}, inline(quote.join("\n"), 0, names)));
    quote = [];
  };
  let plain = [];
  const endPlain = () => {
    if (plain.length > 0) nodes.push(...inline(plain.join("\n"), 0, names));
    plain = [];
  };
  let fenced = false;
  for (const row of text.split("\n")) {
    if (!fenced && row.startsWith("> ")) {
      endPlain();
      quote.push(row.slice(2));
    } else {
      endQuote();
      plain.push(row);
      if ((row.match(/```/g) ?? []).length % 2 === 1) fenced = !fenced;
    }
  }
  endQuote();
  endPlain();
  return nodes;
}

function inline(text, deep, names) {
  if (deep > DEEPEST) return [text];
  const nodes = [];
  let plain = "";
  let at = 0;
  while (at < text.length) {
    const found = special(text, at, deep, names);
    if (found) {
      if (plain) nodes.push(plain);
      plain = "";
      nodes.push(found.node);
      at += found.length;
    } else {
      plain += text[at];
      at += 1;
    }
  }
  if (plain) nodes.push(plain);
  return nodes;
}

function special(text, at, deep, names) {
  if (!"`*_~<[\\h".includes(text[at])) return null;
  if (text[at] === "h" && at > 0 && /\w/.test(text[at - 1])) return null;
  if (text[at] === "_" && at > 0 && /\w/.test(text[at - 1])) return null;
  const rest = text.slice(at);
  for (const [pattern, build] of INLINE) {
    const match = pattern.exec(rest);
    if (match) return { node: build(match, deep + 1, names), length: match[0].length };
  }
  return null;
}

function mention(text) {
  return el("span", { class: "mention" }, text);
}

function link(href, text) {
  return el("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, text);
}

function moment(seconds, style) {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return "(a time)";
  const shown = style === "R" ? ago(seconds) : date.toLocaleString([], STYLES[style ?? "f"]);
  return el("time", { datetime: date.toISOString(), title: date.toLocaleString() }, shown);
}

const STYLES = {
  t: { timeStyle: "short" },
  T: { timeStyle: "medium" },
  d: { dateStyle: "short" },
  D: { dateStyle: "long" },
  f: { dateStyle: "long", timeStyle: "short" },
  F: { dateStyle: "full", timeStyle: "short" },
};

const SPANS = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

function ago(seconds) {
  const away = Math.round(seconds - Date.now() / 1000);
  const [unit, size] = SPANS.find(([, span]) => Math.abs(away) >= span) ?? SPANS.at(-1);
  return new Intl.RelativeTimeFormat("en", { numeric: "auto" }).format(Math.trunc(away / size), unit);
}
