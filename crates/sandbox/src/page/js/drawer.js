// The drawer "Break something": one-off troubles, switches that stay, and what was counted.

import { el, byId } from "./dom.js";
import { get, post, put } from "./api.js";

const COUNTS_EVERY_MS = 2000;

/** Wires the drawer. `shared`: { channel(platform) } */
export function drawer(shared) {
  const node = byId("drawer");
  const opener = byId("drawer-open");
  const said = byId("drawer-said");
  const body = byId("drawer-body");
  let built = false;

  async function run(words, action) {
    try {
      await action();
      said.classList.remove("bad");
      said.textContent = words;
    } catch (error) {
      said.classList.add("bad");
      said.textContent = error.message;
    }
  }

  const knob = (label, words, action, wide = false) =>
    el("button", { type: "button", class: wide ? "knob wide" : "knob", onclick: () => run(words, action) }, label);

  function toggle(label, platform, on, off) {
    const input = el("input", { type: "checkbox", role: "switch", "data-platform": platform, "data-knob": Object.keys(on)[0] });
    input.addEventListener("change", () =>
      run(input.checked ? `${label}: on` : `${label}: off`, () => put(`/sandbox/${platform}/faults`, input.checked ? on : off)),
    );
    return el("label", { class: "switch" }, label, input);
  }

  function slowness(label, platform, knobName) {
    const steps = [[0, "none"], [200, "0.2 s"], [1000, "1 s"], [4000, "4 s"]];
    const select = el("select", { "data-platform": platform, "data-knob": knobName }, steps.map(([ms, words]) => el("option", { value: ms }, words)));
    select.addEventListener("change", () =>
      run(`${label}: ${select.selectedOptions[0].textContent}`, () => put(`/sandbox/${platform}/faults`, { [knobName]: Number(select.value) })),
    );
    return el("label", { class: "switch" }, label, select);
  }

  function section(platform, title, ...knobs) {
    return el("section", { class: `knobs knobs-${platform}` }, el("h3", {}, title), el("div", { class: "knob-grid" }, knobs));
  }

  function build() {
    built = true;
    const on = (path, body = {}) => () => post(`/sandbox/${path}`, body);
    const here = (path, body = {}) => () => post(`/sandbox/twitch/${path}`, { channel: shared.channel("twitch"), ...body });
    body.append(
      section(
        "discord",
        "Discord",
        knob("Cut the connections", "Every gateway connection was cut.", on("discord/drop")),
        knob("Ask to reconnect", "Every client was asked to reconnect (opcode 7).", on("discord/reconnect")),
        knob("Invalidate sessions", "Every session is invalid now (opcode 9).", on("discord/invalidate", { resumable: false })),
        knob("Close with 4000", "Every connection was closed with 4000, unknown error.", on("discord/close", { code: 4000 })),
        knob("429 storm", "The next 20 requests are answered with 429.", () =>
          put("/sandbox/discord/faults", { rest_status: { status: 429, count: 20, retry_after_ms: 500 } })),
        knob("500 storm", "The next 20 requests are answered with 500.", () =>
          put("/sandbox/discord/faults", { rest_status: { status: 500, count: 20 } })),
        toggle("Leave heartbeats unanswered", "discord", { mute_heartbeat_acks: true }, { mute_heartbeat_acks: false }),
        toggle("Refuse new connections", "discord", { refuse_connections: true }, { refuse_connections: false }),
        slowness("Slow answers", "discord", "rest_slow_ms"),
      ),
      section(
        "twitch",
        "Twitch",
        knob("Cut the connections", "Every chat connection was cut.", on("twitch/drop")),
        knob("Ask to reconnect", "Every client was told RECONNECT.", on("twitch/reconnect")),
        knob("Raid of 250", "250 raiders arrive.", here("raid", { viewers: 250 })),
        knob("Subscribe", "Ines subscribed.", here("subscribe", { person: "ines" })),
        knob("Gift 5 subs", "Olive gave five subscriptions.", here("gift", { person: "olive", count: 5 })),
        knob("Announce", "An announcement was made.", here("announce", { person: "max", text: "Harbour lights are on." })),
        knob("Time out Noor", "Noor is timed out for 30 s.", here("timeout", { login: "noor", seconds: 30 })),
        knob("Clear the chat", "The chat was cleared.", here("clear")),
        knob("Go live", "The channel is live.", here("live", { live: true })),
        knob("Go offline", "The channel is offline.", here("live", { live: false })),
        toggle("Leave PING unanswered", "twitch", { mute_pong: true }, { mute_pong: false }),
        slowness("Slow answers", "twitch", "delay_ms"),
      ),
      section(
        "both",
        "Both",
        knob("Busy harbour: 20 lines/s", "A captured chat plays for half a minute.", on("replay", { platform: "both", rate: 20, count: 600 })),
        knob("Quiet again", "The captured chat has stopped.", on("replay/stop")),
        knob("Mend everything", "Every knob is back where it belongs.", mend, true),
      ),
      counts(),
    );
  }

  async function mend() {
    await Promise.all([post("/sandbox/discord/mend"), post("/sandbox/twitch/mend"), post("/sandbox/replay/stop")]);
    await readKnobs();
  }

  async function readKnobs() {
    const [discord, twitch] = await Promise.all([get("/sandbox/discord/faults"), get("/sandbox/twitch/faults")]);
    const all = { discord, twitch };
    for (const field of body.querySelectorAll("[data-knob]")) {
      const value = all[field.dataset.platform][field.dataset.knob];
      if (field.type === "checkbox") field.checked = Boolean(value);
      else field.value = String(value ?? 0);
    }
  }

  function counts() {
    const table = el("table", {}, el("tbody"));
    const details = el("details", { class: "counts" }, el("summary", {}, "What was counted"), table);
    async function refresh() {
      if (!details.open || node.inert) return;
      const all = await get("/sandbox/counters").catch(() => null);
      if (all) {
        const row = ([name, count]) => el("tr", {}, el("td", {}, name), el("td", {}, count.toLocaleString()));
        table.tBodies[0].replaceChildren(...Object.entries(all).filter(([, count]) => count > 0).map(row));
      }
      setTimeout(refresh, COUNTS_EVERY_MS);
    }
    details.addEventListener("toggle", refresh);
    return details;
  }

  function open() {
    if (!built) build();
    node.inert = false;
    node.classList.add("open");
    opener.setAttribute("aria-expanded", "true");
    byId("drawer-title").focus();
    run("", readKnobs);
  }

  function close() {
    if (node.inert) return;
    node.inert = true;
    node.classList.remove("open");
    opener.setAttribute("aria-expanded", "false");
    opener.focus();
  }

  opener.addEventListener("click", () => (node.inert ? open() : close()));
  byId("drawer-close").addEventListener("click", close);
  document.addEventListener("keydown", (event) => event.key === "Escape" && !event.defaultPrevented && close());
}
