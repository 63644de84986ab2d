// Draws one line of chat: who, what, the quote above it, embeds, buttons, reactions, latency.

import { el, append } from "./dom.js";
import { markdown } from "./markdown.js";

const HUES = 6;
const FAIR_US = 100_000;
const SLOW_US = 1_000_000;
const QUOTE_LENGTH = 120;
const MOST_EMBEDS = 10;
const MOST_FIELDS = 25;
const MOST_ROWS = 5;
const MOST_BUTTONS = 5;

/** The colour word of an author: own ones for the people of the sandbox, one of six hues for others. */
export function tone(author) {
  if (author.role === "bot") return "bot";
  if (author.role === "owner" || author.role === "moderator") return author.role;
  const name = author.name.toLowerCase();
  if (name === "ines" || name === "noor") return name;
  let sum = 0;
  for (const letter of name) sum = (sum * 31 + letter.codePointAt(0)) % 9973;
  return `hue-${sum % HUES}`;
}

/** `840 µs`, `3.2 ms`, `1.4 s`. */
export function span(microseconds) {
  if (microseconds < 1000) return `${Math.round(microseconds)} µs`;
  if (microseconds < 1_000_000) {
    const ms = microseconds / 1000;
    return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  }
  return `${(microseconds / 1_000_000).toFixed(1)} s`;
}

/** The element of one line. `context`: { platform, find(id), names, press(line, button, node), choose(line, menu, node), follows }. */
export function drawLine(line, context) {
  const { platform } = context;
  const bot = line.author.role === "bot";
  const follows = Boolean(context.follows);
  const classes = ["msg", bot && "bot", line.ephemeral && "whisper", follows && "follows"];
  const node = el("article", { class: classes.filter(Boolean).join(" "), "data-id": line.id });
  const quoted = line.heading ?? (line.reply_to && context.find(line.reply_to));
  if (quoted) node.append(quote(quoted));
  if (!follows) {
    const letter = [...line.author.name][0]?.toUpperCase() ?? "?";
    node.append(el("span", { class: `avatar disc-${tone(line.author)}`, "aria-hidden": "true" }, letter));
  }
  const body = el("div", { class: "body" });
  if (!follows) body.append(meta(line, platform, bot), " ");
  append(body, [text(line, platform, context.names), latency(line, platform === "twitch")]);
  append(body, list(line.embeds).slice(0, MOST_EMBEDS).map((one) => embed(one, context.names)));
  const rows = list(line.components).slice(0, MOST_ROWS);
  if (rows.length > 0) body.append(el("div", { class: "rows" }, rows.map((row) => buttons(row, line, context))));
  if (line.ephemeral) body.append(el("p", { class: "note" }, "Only the person who asked sees this"));
  node.append(body);
  return node;
}

/** Puts a reaction under a line, or counts one that is there. */
export function react(node, emoji) {
  let holder = node.querySelector(".reactions");
  if (!holder) {
    holder = el("div", { class: "reactions" });
    node.querySelector(".body").append(holder);
  }
  for (const pill of holder.children) {
    if (pill.dataset.emoji !== emoji) continue;
    pill.dataset.count = String(Number(pill.dataset.count) + 1);
    pill.textContent = `${emoji} ${pill.dataset.count}`;
    return;
  }
  holder.append(el("span", { class: "reaction", "data-emoji": emoji, "data-count": "1" }, `${emoji} 1`));
}

/** A remark of the platform itself, between the lines. */
export function drawNotice(words) {
  return el("p", { class: isThinking(words) ? "notice thinking" : "notice" }, words);
}

/** A deferred answer is announced in these words; the answer itself comes as a line. */
export function isThinking(words) {
  return words.endsWith("is thinking…");
}

function quote(quoted) {
  if (typeof quoted === "string") return el("div", { class: "quote" }, el("span", {}, quoted));
  const words = [...quoted.text.replace(/\s+/g, " ")].slice(0, QUOTE_LENGTH).join("");
  return el(
    "div",
    { class: "quote" },
    el("span", { class: `who tone-${tone(quoted.author)}` }, quoted.author.name),
    el("span", {}, words || "(no text)"),
  );
}

function meta(line, platform, bot) {
  const at = new Date(line.at_ms);
  const time = el(
    "time",
    { datetime: at.toISOString(), title: at.toLocaleString() },
    at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }),
  );
  const who = el("span", { class: `who tone-${tone(line.author)}` }, line.author.name);
  const badge = badgeOf(line.author.role, platform);
  const parts = platform === "twitch" ? [time, badge, who] : [who, badge, time, latency(line, true)];
  return el("div", { class: bot ? "meta meta-bot" : "meta" }, parts);
}

const BADGES = {
  discord: { owner: "owner", moderator: "moderator", bot: "BOT" },
  twitch: { owner: "broadcaster", moderator: "mod", bot: "bot" },
};

function badgeOf(role, platform) {
  const words = BADGES[platform][role];
  return words ? el("span", { class: `badge badge-${role}` }, words) : null;
}

function text(line, platform, names) {
  if (!line.text) return null;
  return el("div", { class: "text" }, platform === "discord" ? markdown(line.text, names) : line.text);
}

function latency(line, here) {
  if (!here || line.latency_us === null || line.latency_us === undefined) return null;
  const speed = line.latency_us >= SLOW_US ? " pill-slow" : line.latency_us >= FAIR_US ? " pill-fair" : "";
  const words = span(line.latency_us);
  return el("span", { class: `pill${speed}`, title: `answered after ${words}` }, words);
}

function list(value) {
  return Array.isArray(value) ? value : [];
}

function embed(data, names) {
  const node = el("div", { class: "embed" });
  if (Number.isInteger(data.color) && data.color > 0) {
    node.style.setProperty("--bar", `#${(data.color & 0xffffff).toString(16).padStart(6, "0")}`);
  }
  if (data.author?.name) node.append(el("p", { class: "embed-author" }, String(data.author.name)));
  if (data.title) {
    const linked = typeof data.url === "string" && /^https?:\/\//.test(data.url);
    const title = String(data.title);
    node.append(el("h3", {}, linked ? el("a", { href: data.url, target: "_blank", rel: "noopener noreferrer nofollow" }, title) : markdown(title, names)));
  }
  if (data.description) node.append(el("div", { class: "text" }, markdown(String(data.description), names)));
  const fields = list(data.fields).slice(0, MOST_FIELDS);
  if (fields.length > 0) {
    const draw = (field) =>
      el(
        "div",
        { class: field.inline ? "inline" : null },
        el("dt", {}, markdown(String(field.name ?? ""), names)),
        el("dd", { class: "text" }, markdown(String(field.value ?? ""), names)),
      );
    node.append(el("dl", { class: "fields" }, fields.map(draw)));
  }
  const foot = [data.footer?.text, stamp(data.timestamp)].filter(Boolean).join(" · ");
  if (foot) node.append(el("p", { class: "embed-foot" }, foot));
  return node;
}

function stamp(iso) {
  const at = iso ? new Date(iso) : null;
  return at && !Number.isNaN(at.getTime()) ? at.toLocaleString([], { dateStyle: "short", timeStyle: "short" }) : null;
}

function buttons(row, line, context) {
  const inner = list(row.components ?? [row]).slice(0, MOST_BUTTONS);
  return el("div", { class: "row" }, inner.map((one) => button(one, line, context)));
}

const BUTTON = 2;
const STRING_SELECT = 3;
const LINK_STYLE = 5;

function button(data, line, context) {
  const words = [data.emoji?.name, data.label].filter(Boolean).join(" ") || data.placeholder || "…";
  if (data.type === STRING_SELECT) return choice(data, line, context);
  if (data.type !== BUTTON) {
    return el("button", { type: "button", class: "press", disabled: true, title: "only buttons and text menus can be used here" }, words);
  }
  if (data.style === LINK_STYLE) {
    const href = /^https?:\/\//.test(data.url ?? "") ? data.url : null;
    return el("a", { class: "press", href, target: "_blank", rel: "noopener noreferrer nofollow" }, `${words} ↗`);
  }
  const node = el("button", { type: "button", class: `press press-${Number(data.style) || 2}`, disabled: Boolean(data.disabled) }, words);
  node.addEventListener("click", () => context.press(line, data, node));
  return node;
}

function choice(data, line, context) {
  const first = el("option", { value: "", selected: true, disabled: true }, data.placeholder || "Choose…");
  const options = list(data.options).slice(0, MOST_FIELDS).map((one) => el("option", { value: one.value }, one.label));
  const node = el("select", { class: "press", disabled: Boolean(data.disabled), "aria-label": data.placeholder || "Choose" }, first, options);
  node.addEventListener("change", () => context.choose(line, data, node));
  return node;
}
