// The message box: sending, recalling earlier lines, and the completion popup.

import { el } from "./dom.js";
import { complete, suggest, valueItems } from "./complete.js";

const MOST_RECALLED = 50;
const ASK_PAUSE_MS = 120;

/** Wires a form. `options`: { id, commands(), reload(), autocomplete(ask), send(text) } */
export function composer(form, options) {
  const input = form.querySelector("input");
  const popup = form.querySelector(".popup");
  const list = form.querySelector(".popup-list");
  const hint = form.querySelector(".popup-hint");
  const problem = form.querySelector(".problem");
  let items = [];
  let active = -1;
  let chosen = false;
  let asked = 0;
  let timer = null;
  let sent = [];
  let recalled = null;

  input.id = `${options.id}-line`;
  list.id = `${options.id}-choices`;
  input.setAttribute("aria-controls", list.id);

  function close() {
    clearTimeout(timer);
    asked += 1;
    items = [];
    active = -1;
    popup.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function show(next, words) {
    items = next;
    active = items.length > 0 ? 0 : -1;
    chosen = false;
    hint.replaceChildren(...words.flatMap(drawHint));
    list.replaceChildren(...items.map(drawItem));
    popup.hidden = items.length === 0 && words.length === 0;
    input.setAttribute("aria-expanded", String(!popup.hidden && items.length > 0));
    mark();
  }

  function drawHint(word, index) {
    const name = el("b", { class: word.now ? "now" : null }, word.word);
    return [index > 0 ? "  " : "", name, word.detail ? ` ${word.detail}` : ""];
  }

  function drawItem(item, index) {
    const node = el("div", { class: "choice", role: "option", id: `${list.id}-${index}` }, el("b", {}, item.label), el("span", {}, item.detail));
    node.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      accept(index);
    });
    return node;
  }

  function mark() {
    [...list.children].forEach((node, index) => node.setAttribute("aria-selected", String(index === active)));
    const node = list.children[active];
    if (!node) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", node.id);
    node.scrollIntoView({ block: "nearest" });
  }

  function refresh() {
    const text = input.value;
    // A bot may have registered other commands since.
    if (text === "/") options.reload().then(() => input.value === text && offer(text));
    offer(text);
  }

  function offer(text) {
    const found = suggest(text, options.commands());
    clearTimeout(timer);
    asked += 1;
    show(found.items, found.hint);
    if (!found.ask) return;
    const mine = asked;
    timer = setTimeout(async () => {
      try {
        const values = await options.autocomplete(found.ask);
        if (mine === asked) show(valueItems(found.ask.head, "", values), found.hint);
      } catch (error) {
        if (mine === asked) show([], [...found.hint, { word: "", now: false, detail: `no suggestions: ${error.message}` }]);
      }
    }, ASK_PAUSE_MS);
  }

  function accept(index) {
    const item = items[index];
    if (!item) return;
    input.value = item.text;
    input.setSelectionRange(item.text.length, item.text.length);
    input.focus();
    refresh();
  }

  function recall(step) {
    if (sent.length === 0) return;
    const at = recalled === null ? sent.length : recalled;
    const next = Math.max(0, Math.min(sent.length, at + step));
    recalled = next === sent.length ? null : next;
    input.value = recalled === null ? "" : sent[recalled];
    close();
    requestAnimationFrame(() => input.setSelectionRange(input.value.length, input.value.length));
  }

  /** Enter fills in a value, or whatever was chosen by arrow; a line that is whole is sent. */
  function entersSuggestion() {
    const item = items[active];
    if (!item || item.text.trim() === input.value.trim()) return false;
    return item.value || chosen || !complete(input.value, options.commands());
  }

  const keys = {
    ArrowDown: () => (items.length > 0 ? move(1) : recall(1)),
    ArrowUp: () => (items.length > 0 && recalled === null ? move(-1) : recall(-1)),
    Tab: () => accept(active),
    Escape: () => close(),
    Enter: () => accept(active),
  };

  function move(step) {
    active = (active + step + items.length) % items.length;
    chosen = true;
    mark();
  }

  input.addEventListener("keydown", (event) => {
    if (event.isComposing || event.altKey || event.ctrlKey || event.metaKey) return;
    const open = !popup.hidden && items.length > 0;
    const wanted = {
      ArrowDown: open || recalled !== null,
      ArrowUp: open || recalled !== null || input.value === "",
      Tab: open && !event.shiftKey,
      Escape: !popup.hidden,
      Enter: open && entersSuggestion(),
    }[event.key];
    if (!wanted) return;
    event.preventDefault();
    if (event.key === "Escape") event.stopPropagation();
    keys[event.key]();
  });
  input.addEventListener("input", () => {
    recalled = null;
    problem.hidden = true;
    refresh();
  });
  input.addEventListener("focus", () => input.value.startsWith("/") && refresh());
  input.addEventListener("blur", close);

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!text) return;
    close();
    sent = [...sent.filter((one) => one !== text), text].slice(-MOST_RECALLED);
    recalled = null;
    input.value = "";
    problem.hidden = true;
    try {
      await options.send(text);
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
      if (!input.value) input.value = text;
    }
  });

  return {
    fill(text) {
      input.value = text;
      input.focus();
      refresh();
    },
    complain(words) {
      problem.textContent = words;
      problem.hidden = false;
    },
    setPlaceholder(words) {
      input.placeholder = words;
      input.setAttribute("aria-label", words);
    },
  };
}
