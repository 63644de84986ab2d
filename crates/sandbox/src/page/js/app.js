// The chat page: starts the two channels, the people, the feed and the drawer.

import { el, byId } from "./dom.js";
import { follow, get } from "./api.js";
import { drawer } from "./drawer.js";
import { tone } from "./message.js";
import { Panel } from "./panel.js";

const PLATFORMS = ["discord", "twitch"];
const REMEMBERED = "vigie-sandbox-person";

const shared = { names: new Map(), person: () => person, channel: (platform) => panels[platform].channel };
const panels = {};
const bots = new Map();
let person = null;

for (const platform of PLATFORMS) {
  panels[platform] = new Panel(platform, byId("panel"), shared);
  byId("panels").append(panels[platform].root);
}
tabs();
drawer(shared);

const feed = follow({
  onOpen: () => start().catch((error) => lost(`The sandbox is there, but: ${error.message}`)),
  onItem: take,
  onLost: () => lost("Lost sight of the sandbox. Looking for it…"),
});
byId("lost-retry").addEventListener("click", () => feed.retry());

/** Runs at every connection: what was missed is in the history. */
async function start() {
  const state = await get("/sandbox/state");
  byId("lost").hidden = true;
  document.body.classList.add("lit");
  drawPeople(state.people);
  bots.clear();
  state.bots.forEach(setBot);
  drawBots();
  await Promise.all(
    PLATFORMS.map((platform) => {
      const channel = panels[platform].setChannels(state.channels[platform]);
      return channel && panels[platform].open(channel);
    }),
  );
  document.body.dataset.ready = "true";
}

function lost(words) {
  byId("lost-text").textContent = words;
  byId("lost").hidden = false;
  document.body.classList.remove("lit");
}

function take(item) {
  if (item.type === "bot") {
    setBot(item);
    drawBots();
    return;
  }
  const panel = panels[item.platform];
  if (panel.take(item) && !panel.root.classList.contains("shown")) {
    byId(`tab-${item.platform}`).querySelector(".unread").hidden = false;
  }
}

function setBot(bot) {
  bots.set(`${bot.platform}/${bot.name}`, bot);
}

function drawBots() {
  for (const platform of PLATFORMS) {
    panels[platform].setBots([...bots.values()].filter((bot) => bot.platform === platform));
  }
}

function drawPeople(people) {
  if (person) return;
  const remembered = localStorage.getItem(REMEMBERED);
  const first = people.find((one) => one.id === remembered) ?? people.find((one) => one.role === "viewer") ?? people[0];
  const row = el("div", { class: "people-row" });
  for (const one of people) {
    one.tone = tone(one);
    const input = el("input", { type: "radio", name: "person", value: one.id, checked: one === first });
    input.addEventListener("change", () => speakAs(one));
    const words = el("span", {}, el("span", { class: `avatar disc-${one.tone}`, "aria-hidden": "true" }, one.name[0]), el("span", {}, el("b", {}, one.name), el("small", {}, one.role)));
    row.append(el("label", { class: "person" }, input, words));
  }
  byId("people").append(row);
  speakAs(first);
}

function speakAs(one) {
  person = one;
  localStorage.setItem(REMEMBERED, one.id);
  PLATFORMS.forEach((platform) => panels[platform].greet());
}

/** On a phone one channel is shown at a time. */
function tabs() {
  const show = (chosen, focus) => {
    for (const platform of PLATFORMS) {
      const tab = byId(`tab-${platform}`);
      const here = platform === chosen;
      tab.setAttribute("aria-selected", String(here));
      tab.tabIndex = here ? 0 : -1;
      if (here) tab.querySelector(".unread").hidden = true;
      if (here && focus) tab.focus();
      panels[platform].root.classList.toggle("shown", here);
      if (here) panels[platform].toBottom();
    }
  };
  PLATFORMS.forEach((platform, index) => {
    const tab = byId(`tab-${platform}`);
    tab.addEventListener("click", () => show(platform, false));
    tab.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft" || event.key === "ArrowRight") show(PLATFORMS[1 - index], true);
    });
  });
  show(PLATFORMS[0], false);
}
