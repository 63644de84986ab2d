// The sandbox as the checks see it: its control API, waiting with deadlines, and the report.

const BASE = need('SANDBOX_URL');
const DEADLINE_MS = 15_000;

/** A setting that the caller gives. */
export function need(name) {
  const value = process.env[name];
  if (!value) {
    console.error(`expected ${name} in the environment, such as host:port of a running sandbox`);
    process.exit(1);
  }
  return value;
}

/** `host:port` of an address, with or without its scheme. */
export const hostAndPort = name => need(name).replace(/^[a-z]+:\/\//, '').replace(/\/$/, '');

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
export const say = async (person, channel, text) =>
  (await post('/sandbox/say', { platform: 'twitch', person, channel, text })).id;

/** Something happens on the local Twitch: raid, subscribe, reconnect, drop and so on. */
export const happen = (what, body = {}) => post(`/sandbox/twitch/${what}`, body);

export const history = channel =>
  call(`/sandbox/history?platform=twitch&channel=${encodeURIComponent(channel)}`);

export const counters = () => call('/sandbox/counters');

/** Waits until the sandbox counted this often. */
export const counted = (name, atLeast) =>
  call(`/sandbox/counters/wait?name=${encodeURIComponent(name)}&at_least=${atLeast}&within_ms=${DEADLINE_MS}`);

/** The result of a promise, or a failure that says what did not come in time. */
export async function inTime(what, promise, ms = DEADLINE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

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

/** Says that a check passed. */
export const ok = what => console.log(`ok - ${what}`);

export function equal(what, got, wanted) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`${what}: expected ${b}, got ${a}`);
}

/** Runs the checks and ends the process with their verdict. */
export async function run(checks) {
  try {
    await checks();
    process.exit(0);
  } catch (error) {
    console.error(`not ok - ${error?.stack ?? error}`);
    console.error(JSON.stringify(await counters().catch(() => null)));
    process.exit(1);
  }
}
