// The sandbox as the checks see it: its control API, waiting with deadlines, and the report.

const BASE = process.env.SANDBOX_URL;
const DEADLINE_MS = 15_000;

if (!BASE) {
  console.error('expected SANDBOX_URL in the environment, such as http://127.0.0.1:7700');
  process.exit(1);
}

/** Where discord.js finds the REST API; it learns everything else from there. */
export const api = `${BASE}/api`;

async function call(path, init) {
  const response = await fetch(BASE + path, init);
  const text = await response.text();
  if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

const post = (path, body) =>
  call(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

/** A person types a line; gives its id. */
export const say = async (text, person = 'ines', channel = 'general') =>
  (await post('/sandbox/say', { platform: 'discord', person, channel, text })).id;

/** A person uses a slash command; gives the interaction's id. */
export const slash = async (text, person = 'ines', channel = 'general') =>
  (await post('/sandbox/slash', { person, channel, text })).id;

/** What the bot offers for an option that a person types. */
export const autocomplete = (name, option, value) =>
  post('/sandbox/autocomplete', { person: 'ines', channel: 'general', name, option, value });

/** A person presses a button. */
export const press = (message, customId) =>
  post('/sandbox/press', { person: 'ines', channel: 'general', message, custom_id: customId });

/** Something happens to the gateway: reconnect, drop, invalidate and so on. */
export const happen = (what, body = {}) => post(`/sandbox/discord/${what}`, body);

export const history = (channel = 'general') =>
  call(`/sandbox/history?platform=discord&channel=${encodeURIComponent(channel)}`);

export const counters = () => call('/sandbox/counters');

/** Waits until the sandbox counted this often. */
export const counted = (name, atLeast) =>
  call(`/sandbox/counters/wait?name=${encodeURIComponent(name)}&at_least=${atLeast}&within_ms=${DEADLINE_MS}`);

/** Waits for a line in the history that fits. */
export const line = (what, fits, channel = 'general') =>
  eventually(what, async () => (await history(channel)).find(fits));

/** Asks again and again until the answer is truthy. */
export async function eventually(what, ask, ms = DEADLINE_MS) {
  const until = Date.now() + ms;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > until) throw new Error(`${what}: not within ${ms} ms`);
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}

/** The next time that an event comes, or a failure that says what did not come. */
export function next(emitter, event, fits = () => true) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => end(() => reject(new Error(`no ${event} within ${DEADLINE_MS} ms`))), DEADLINE_MS);
    const heard = (...values) => fits(...values) && end(() => resolve(values));
    const end = settle => {
      clearTimeout(late);
      emitter.off(event, heard);
      settle();
    };
    emitter.on(event, heard);
  });
}

/** Says that a check passed. */
export const ok = what => console.log(`ok - ${what}`);

export function equal(what, got, wanted) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`${what}: expected ${b}, got ${a}`);
}

/** Runs the checks and ends the process with their verdict. */
export async function run(checks) {
  process.on('unhandledRejection', error => fail(error));
  try {
    await checks();
    process.exit(0);
  } catch (error) {
    await fail(error);
  }
}

async function fail(error) {
  console.error(`not ok - ${error?.stack ?? error}`);
  console.error(JSON.stringify(await counters().catch(() => null)));
  process.exit(1);
}
