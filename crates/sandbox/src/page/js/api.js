// Speaks to the sandbox that serves this page: requests, and the live feed with its own reconnect.

const FIRST_RETRY_MS = 400;
const LONGEST_RETRY_MS = 5000;

async function request(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Error("the sandbox does not answer; is it still running?");
  }
  const text = await response.text();
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch {
    answer = null;
  }
  if (!response.ok) throw new Error(answer?.error ?? `the sandbox answered ${response.status}`);
  return answer;
}

export const get = (path, query = {}) => {
  const string = new URLSearchParams(query).toString();
  return request("GET", string ? `${path}?${string}` : path);
};
export const post = (path, body = {}) => request("POST", path, body);
export const put = (path, body = {}) => request("PUT", path, body);

/** Follows the feed for ever. `onOpen` runs at every (re)connection, before any item. */
export function follow({ onOpen, onItem, onLost }) {
  let source = null;
  let timer = null;
  let wait = FIRST_RETRY_MS;

  function connect() {
    clearTimeout(timer);
    source?.close();
    source = new EventSource("/sandbox/feed");
    source.addEventListener("open", () => {
      wait = FIRST_RETRY_MS;
      onOpen();
    });
    source.addEventListener("message", (event) => onItem(JSON.parse(event.data)));
    // Items were missed because this page was too slow: start again from the history.
    source.addEventListener("missed", () => onOpen());
    source.addEventListener("error", lost);
  }

  function lost() {
    source.close();
    const pause = wait * (0.75 + Math.random() / 2);
    wait = Math.min(wait * 2, LONGEST_RETRY_MS);
    onLost(pause);
    timer = setTimeout(connect, pause);
  }

  connect();
  return { retry: connect };
}
