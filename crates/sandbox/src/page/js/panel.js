// One channel on the page: its head, its bounded list of lines, its message box.

import { el, drawing } from "./dom.js";
import { get, post } from "./api.js";
import { composer } from "./composer.js";
import { drawLine, drawNotice, isThinking, react } from "./message.js";

const MOST_LINES = 200;
const NEAR_BOTTOM_PX = 60;
const FOLLOW_MS = 180_000;
/** More lines than this in a second are not read aloud one by one. */
const LOUD_LINES = 8;

const KINDS = {
  discord: {
    title: "Discord",
    glyph: ["M7.5 3 L5.5 17 M14.5 3 L12.5 17 M3.5 7.5 H17 M3 12.5 H16.5"],
    hint: "Nothing said yet",
    words: "Say something as one of the four, or start with a slash.",
    tries: ["!ping", "/help", "/ping"],
  },
  twitch: {
    title: "Twitch",
    glyph: ["M10 10 h.01", "M6.2 13.8 a5.4 5.4 0 0 1 0 -7.6 M13.8 6.2 a5.4 5.4 0 0 1 0 7.6", "M3.6 16.4 a9 9 0 0 1 0 -12.8 M16.4 3.6 a9 9 0 0 1 0 12.8"],
    hint: "The chat is quiet",
    words: "Whatever you type here reaches every bot in the channel.",
    tries: ["!ping", "!help", "!about"],
  },
};

const LIGHTHOUSE = ["M33 34 L31 62 H49 L47 34 Z", "M31 34 H49 M34 34 V25 H46 V34 M32 25 L40 18 L48 25 Z", "M32.4 45 H47.6 M31.6 54 H48.4", "M30 27 L8 21 M30 32 L8 38 M50 27 L72 21 M50 32 L72 38", "M12 68 q7 -4 14 0 t14 0 t14 0 t14 0"];

export class Panel {
  /** `shared`: { person(), names, bots } */
  constructor(platform, template, shared) {
    this.platform = platform;
    this.shared = shared;
    this.kind = KINDS[platform];
    this.channel = null;
    this.lines = new Map();
    this.nodes = new Map();
    this.queue = [];
    this.held = null;
    this.unseen = 0;
    this.recent = [];
    this.thoughts = [];
    this.build(template);
  }

  build(template) {
    const root = template.content.cloneNode(true).querySelector(".panel");
    root.id = this.platform;
    root.classList.add(`panel-${this.platform}`);
    root.setAttribute("aria-labelledby", `${this.platform}-title`);
    root.querySelector(".glyph").append(drawing("0 0 20 20", ...this.kind.glyph));
    const title = root.querySelector("h2");
    title.id = `${this.platform}-title`;
    title.textContent = this.kind.title;
    this.root = root;
    this.log = root.querySelector(".log");
    this.log.classList.add("settled");
    this.select = root.querySelector("select");
    this.hint = root.querySelector(".hint");
    this.newer = root.querySelector(".newer");
    this.composer = composer(root.querySelector(".composer"), {
      id: this.platform,
      commands: () => this.commands,
      reload: () => this.loadCommands().catch((error) => this.composer.complain(error.message)),
      autocomplete: (ask) => this.autocomplete(ask),
      send: (text) => this.send(text),
    });
    this.commands = [];
    this.setBots([]);
    this.select.addEventListener("change", () => this.open(this.select.value));
    this.newer.addEventListener("click", () => this.toBottom());
    this.log.addEventListener("scroll", () => this.atBottom() && this.sawAll(), { passive: true });
    new ResizeObserver(() => this.stuck && this.toBottom()).observe(this.log);
    this.stuck = true;
  }

  /** What to try first, or what is missing. */
  drawHintCard(anyBot) {
    const tries = this.kind.tries.map((text) =>
      el("button", { type: "button", class: "try", onclick: () => this.composer.fill(text) }, text),
    );
    this.hint.replaceChildren(
      drawing("0 0 80 80", ...LIGHTHOUSE),
      el("h3", {}, this.kind.hint),
      el("p", {}, anyBot ? this.kind.words : ["No bot is here yet. ", el("code", {}, "cargo xtask demo"), ` starts one, or point yours at ${location.origin}.`]),
      el("div", { class: "tries" }, tries),
    );
  }

  /** Fills the channel chooser; `groups` is [{ label, channels: [{ id, name }] }]. */
  setChannels(groups) {
    const sign = this.platform === "discord" ? "# " : "";
    const option = (one) => el("option", { value: one.id }, sign + one.name);
    this.select.replaceChildren(
      ...groups.map(({ label, channels }) =>
        groups.length > 1 ? el("optgroup", { label }, channels.map(option)) : channels.map(option),
      ).flat(),
    );
    this.names = new Map(groups.flatMap(({ channels }) => channels.map((one) => [one.id, one.name])));
    for (const [id, name] of this.names) this.shared.names.set(id, name);
    const still = this.channel && this.names.has(this.channel) ? this.channel : groups[0]?.channels[0]?.id;
    if (still) this.select.value = still;
    return still;
  }

  /** Shows a channel from its history. Items that arrive meanwhile wait their turn. */
  async open(channel) {
    this.channel = channel;
    this.held = [];
    const name = this.names.get(channel) ?? channel;
    const where = this.platform === "discord" ? `#${name}` : name;
    this.log.setAttribute("aria-label", `Messages in ${where}`);
    this.greet();
    const [history] = await Promise.all([
      get("/sandbox/history", { platform: this.platform, channel }),
      this.loadCommands(),
    ]);
    if (this.channel !== channel) return;
    this.reset(history);
    const held = this.held;
    this.held = null;
    held.forEach((item) => this.take(item));
  }

  /** The message box says who speaks where. */
  greet() {
    const person = this.shared.person();
    if (!person || !this.channel) return;
    const name = this.names.get(this.channel) ?? this.channel;
    this.composer.setPlaceholder(`Message ${this.platform === "discord" ? "#" : ""}${name} as ${person.name}`);
    const disc = this.root.querySelector(".box-who");
    disc.className = `box-who avatar disc-${person.tone}`;
    disc.textContent = person.name[0];
  }

  async loadCommands() {
    if (this.platform !== "discord") return;
    this.commands = await get("/sandbox/commands", { channel: this.channel });
  }

  autocomplete({ name, option, value }) {
    return post("/sandbox/autocomplete", { person: this.shared.person().id, channel: this.channel, name, option, value: value.trim() });
  }

  async send(text) {
    const who = { person: this.shared.person().id, channel: this.channel };
    this.stuck = true;
    if (this.platform === "discord" && text.startsWith("/")) {
      await post("/sandbox/slash", { ...who, text });
    } else {
      await post("/sandbox/say", { platform: this.platform, ...who, text });
    }
  }

  press(line, button, node) {
    return this.use("/sandbox/press", line, button, node, {});
  }

  choose(line, menu, node) {
    return this.use("/sandbox/discord/select", line, menu, node, { values: [node.value] });
  }

  async use(path, line, component, node, more) {
    node.setAttribute("aria-busy", "true");
    try {
      await post(path, { person: this.shared.person().id, channel: this.channel, message: line.id, custom_id: component.custom_id, ...more });
    } catch (error) {
      this.composer.complain(error.message);
    } finally {
      node.removeAttribute("aria-busy");
    }
  }

  /** Takes an item of the feed; drawing waits for the next frame, so that a flood costs one paint. */
  take(item) {
    const channel = item.channel ?? item.line?.channel;
    if (channel !== this.channel) return false;
    if (this.held) {
      this.held.push(item);
      return true;
    }
    this.queue.push(item);
    if (this.queue.length > MOST_LINES * 2) this.queue = this.queue.slice(-MOST_LINES);
    if (this.queue.length === 1) requestAnimationFrame(() => this.flush());
    return true;
  }

  flush() {
    const items = this.queue;
    this.queue = [];
    const follow = this.stuck || this.atBottom();
    this.hush(items.length);
    let added = 0;
    for (const item of items) added += this.show(item);
    this.trim();
    this.hint.hidden = this.log.childElementCount > 0;
    if (follow) this.toBottom();
    else if (added > 0) {
      this.unseen += added;
      this.newer.textContent = this.unseen === 1 ? "1 new line ↓" : `${Math.min(this.unseen, MOST_LINES)} new lines ↓`;
      this.newer.hidden = false;
    }
  }

  show(item) {
    switch (item.type) {
      case "message":
        return this.put(item.line);
      case "edited":
        return this.put(item.line);
      case "deleted":
        this.strike(item.id);
        return 0;
      case "reaction": {
        const node = this.nodes.get(item.id);
        if (node) react(node, item.emoji);
        return 0;
      }
      case "notice":
        this.log.append(drawNotice(item.text));
        if (isThinking(item.text)) this.thoughts.push(this.log.lastElementChild);
        this.last = null;
        return 1;
      default:
        return 0;
    }
  }

  /** Adds a line, or draws it anew where it stands. */
  put(line) {
    const old = this.nodes.get(line.id);
    const follows = old ? old.classList.contains("follows") : this.follows(line);
    const node = drawLine(line, {
      platform: this.platform,
      names: this.shared.names,
      find: (id) => this.lines.get(id),
      press: (...all) => this.press(...all),
      choose: (...all) => this.choose(...all),
      follows,
    });
    this.lines.set(line.id, line);
    this.nodes.set(line.id, node);
    this.shared.names.set(line.author.id, line.author.name);
    if (old) {
      const reactions = old.querySelector(".reactions");
      if (reactions) node.querySelector(".body").append(reactions);
      node.classList.add("edited");
      old.replaceWith(node);
      return 0;
    }
    if (line.author.role === "bot") this.thoughts.shift()?.remove();
    this.log.append(node);
    this.last = line;
    return 1;
  }

  follows(line) {
    const last = this.last;
    return Boolean(
      this.platform === "discord" && last && last.author.id === line.author.id && !line.heading && !line.reply_to &&
      !line.ephemeral && !last.ephemeral && line.author.role !== "bot" && line.at_ms - last.at_ms < FOLLOW_MS,
    );
  }

  strike(id) {
    const node = this.nodes.get(id);
    if (!node) return;
    node.classList.add("gone");
    const body = node.querySelector(".body");
    body.append(el("p", { class: "note" }, "deleted"));
  }

  reset(history) {
    this.lines.clear();
    this.nodes.clear();
    this.last = null;
    this.queue = [];
    this.thoughts = [];
    this.log.replaceChildren();
    this.log.classList.add("settled");
    this.log.setAttribute("aria-busy", "true");
    for (const line of history.slice(-MOST_LINES)) this.put(line);
    this.hint.hidden = this.log.childElementCount > 0;
    this.toBottom();
    requestAnimationFrame(() => {
      this.log.classList.remove("settled");
      this.log.removeAttribute("aria-busy");
    });
  }

  trim() {
    while (this.log.childElementCount > MOST_LINES) {
      const node = this.log.firstElementChild;
      const id = node.dataset.id;
      if (id && this.nodes.get(id) === node) {
        this.nodes.delete(id);
        this.lines.delete(id);
      }
      node.remove();
    }
    this.thoughts = this.thoughts.filter((node) => node.isConnected);
  }

  /** A flood is not read aloud; a conversation is. */
  hush(count) {
    const now = performance.now();
    this.recent = this.recent.filter((entry) => now - entry.at < 1000);
    this.recent.push({ at: now, count });
    const loud = this.recent.reduce((sum, entry) => sum + entry.count, 0) > LOUD_LINES;
    this.log.setAttribute("aria-live", loud ? "off" : "polite");
    this.log.classList.toggle("settled", loud);
  }

  atBottom() {
    return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < NEAR_BOTTOM_PX;
  }

  toBottom() {
    this.log.scrollTop = this.log.scrollHeight;
    this.sawAll();
  }

  sawAll() {
    this.unseen = 0;
    this.newer.hidden = true;
  }

  setBots(bots) {
    const node = this.root.querySelector(".bots");
    const chips = bots.map((bot) =>
      el("span", { class: bot.online ? "presence online" : "presence" }, bot.name, el("span", { class: "vh" }, bot.online ? " is online" : " is offline")),
    );
    this.drawHintCard(bots.length > 0);
    node.replaceChildren(...(chips.length > 0 ? chips : [el("span", { class: "presence" }, "no bot yet")]));
  }
}
