// What can follow what was typed in the Discord box: commands, subcommands, options and values.
// Pure: text and commands in, suggestions out. The sandbox itself reads the finished line.

const SUB = 1;
const GROUP = 2;
const BOOLEAN = 5;
const MOST = 25;

/**
 * Suggestions for the end of `text`.
 * Returns { items: [{ label, detail, text, value }], hint: [{ word, now, detail }], ask }, where `ask` names
 * an option whose values the bot completes itself: { name, option, value, head }.
 */
export function suggest(text, commands) {
  const nothing = { items: [], hint: [], ask: null };
  if (!text.startsWith("/")) return nothing;
  const words = text.slice(1).split(" ");
  if (words.length === 1) return { ...nothing, items: commandItems(words[0], commands) };

  const command = commands.find((one) => one.name === words[0]);
  if (!command) return nothing;
  const path = [command.name];
  let level = command;
  let used = 1;
  while (hasSubs(level)) {
    const word = words[used] ?? "";
    const next = level.options.find((one) => one.name === word);
    if (!next || used === words.length - 1) return { ...nothing, items: subItems(path, word, level) };
    path.push(word);
    level = next;
    used += 1;
  }
  return optionSuggestions(path, words.slice(used).join(" "), level.options ?? []);
}

/** Whether the line may be sent as it stands: all required options are there. */
export function complete(text, commands) {
  const words = text.trim().slice(1).split(" ");
  let level = commands.find((one) => one.name === words[0]);
  if (!level) return false;
  let used = 1;
  while (hasSubs(level)) {
    level = level.options.find((one) => one.name === words[used]);
    if (!level) return false;
    used += 1;
  }
  const options = level.options ?? [];
  const rest = words.slice(used).join(" ");
  const given = split(rest, options);
  const alone = options.filter((one) => one.required).length === 1 && given.length === 0 && rest.trim() !== "";
  return alone || options.every((one) => !one.required || given.some((have) => have.name === one.name && have.value.trim()));
}

function hasSubs(level) {
  return (level.options ?? []).some((one) => one.type === SUB || one.type === GROUP);
}

function commandItems(typed, commands) {
  const wanted = typed.toLowerCase();
  return commands
    .filter((one) => (one.type ?? 1) === 1 && one.name.includes(wanted))
    .sort((a, b) => b.name.startsWith(wanted) - a.name.startsWith(wanted) || a.name.localeCompare(b.name))
    .slice(0, MOST)
    .map((one) => ({
      label: `/${one.name}`,
      detail: one.description ?? "",
      text: `/${one.name}${lead(one)}`,
    }));
}

function subItems(path, typed, level) {
  return level.options
    .filter((one) => (one.type === SUB || one.type === GROUP) && one.name.startsWith(typed.toLowerCase()))
    .slice(0, MOST)
    .map((one) => ({
      label: `/${[...path, one.name].join(" ")}`,
      detail: one.description ?? "",
      text: `/${[...path, one.name].join(" ")}${lead(one)}`,
    }));
}

/** What is filled in after a name: its first required option, a blank if anything may follow. */
function lead(level) {
  const options = level.options ?? [];
  const first = options.find((one) => one.required && one.type !== SUB && one.type !== GROUP);
  if (first) return ` ${first.name}:`;
  return options.length > 0 ? " " : "";
}

function optionSuggestions(path, rest, options) {
  const head = `/${path.join(" ")} `;
  const given = split(rest, options);
  const last = given.at(-1);
  const used = new Set(given.map((one) => one.name));
  const hint = options.map((one) => ({
    word: one.required ? one.name : `${one.name}?`,
    now: one.name === last?.name,
    detail: one.name === last?.name ? one.description ?? "" : "",
  }));
  const free = options.filter((one) => !used.has(one.name));
  if (!last) {
    // Text before any option name is not an error while there is nothing to mistake it for.
    return { items: optionItems(head, rest, free), hint, ask: null };
  }
  const option = options.find((one) => one.name === last.name);
  const before = head + rest.slice(0, last.from);
  if (last.value.trim() && last.value.endsWith(" ")) {
    return { items: optionItems(head + rest, "", free), hint, ask: null };
  }
  const values = option.type === BOOLEAN ? [{ name: "true", value: true }, { name: "false", value: false }] : option.choices ?? [];
  const items = valueItems(before, last.value, values);
  const ask = option.autocomplete ? { name: path.join(" "), option: option.name, value: last.value, head: before } : null;
  return { items, hint, ask };
}

function optionItems(head, typed, options) {
  const word = typed.trim().toLowerCase();
  return options
    .filter((one) => one.name.startsWith(word))
    .slice(0, MOST)
    .map((one) => ({ label: `${one.name}:`, detail: one.description ?? "", text: `${head}${one.name}:` }));
}

/** Values, as the bot offered or declared them, that fit what was typed. */
export function valueItems(head, typed, values) {
  const word = typed.trim().toLowerCase();
  return values
    .filter((one) => String(one.name).toLowerCase().includes(word) || String(one.value).toLowerCase().includes(word))
    .slice(0, MOST)
    .map((one) => ({
      label: String(one.name),
      detail: String(one.value) === String(one.name) ? "" : String(one.value),
      value: true,
      text: `${head}${one.value}`,
    }));
}

/** `text:hello there loud:true` as [{ name, value, from }], where `from` is where the value starts. */
function split(rest, options) {
  const marks = [];
  for (const { name } of options) {
    for (let at = rest.indexOf(`${name}:`); at !== -1; at = rest.indexOf(`${name}:`, at + 1)) {
      if (at === 0 || rest[at - 1] === " ") {
        marks.push({ name, at, from: at + name.length + 1 });
        break;
      }
    }
  }
  marks.sort((a, b) => a.at - b.at);
  return marks.map((mark, index) => ({
    name: mark.name,
    from: mark.from,
    value: rest.slice(mark.from, marks[index + 1]?.at ?? rest.length),
  }));
}
