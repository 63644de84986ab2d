// tmi.js against the sandbox. Only its endpoint is set; `skipUpdatingEmotesets` keeps it from asking
// an address of Twitch that is gone for good.

import tmi from 'tmi.js';
import { counted, equal, eventually, happen, history, hostAndPort, inTime, ok, run, say } from './twitch.mjs';

const [server, port] = hostAndPort('SANDBOX_IRC_WS').split(':');
const CHANNEL = 'vigie_demo';
const QUIET = 'quiet_corner';

const next = (client, event, fits = () => true) =>
  inTime(
    `the event ${event}`,
    new Promise(resolve => {
      const listen = (...values) => {
        if (!fits(...values)) return;
        client.removeListener(event, listen);
        resolve(values);
      };
      client.on(event, listen);
    }),
  );

function connectTo(identity, channels) {
  return new tmi.Client({
    options: { skipUpdatingEmotesets: true },
    connection: { server, port: Number(port), secure: false, reconnect: true },
    identity,
    channels,
    logger: { setLevel() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {}, fatal() {} },
  });
}

async function wrongToken() {
  const client = connectTo({ username: 'vigie_bot', password: 'oauth:wrong' }, []);
  client.reconnect = false;
  const refused = await client.connect().then(
    () => 'connected',
    reason => String(reason),
  );
  equal('a wrong token', refused, 'Login authentication failed');
  ok('a wrong token is refused in words that tmi.js knows');
}

async function talk(client, round) {
  const heard = next(client, 'message', (_channel, _tags, text) => text === `hello ${round}`);
  const id = await say('ines', CHANNEL, `hello ${round}`);
  const [channel, tags, , self] = await heard;
  equal('the channel', channel, `#${CHANNEL}`);
  equal('the id', tags.id, id);
  equal('the author', [tags.username, tags['display-name'], tags['user-id']], ['ines', 'Ines', '600100400']);
  equal('the badges', tags.badges, { subscriber: '3' });
  equal('own line', self, false);
  ok(`a line is received (${round})`);

  // tmi.js has no call for replies, so its raw line with a client tag carries the parent.
  await client.raw(`@reply-parent-msg-id=${id} PRIVMSG #${CHANNEL} :hello yourself ${round}`);
  const line = await eventually('the reply', async () =>
    (await history(CHANNEL)).find(line => line.text === `hello yourself ${round}`),
  );
  equal('the parent', line.reply_to, id);
  equal('the author', line.author.name, 'vigie_bot');
  ok(`a reply arrives under its parent (${round}), after ${(line.latency_us / 1000).toFixed(1)} ms`);
}

async function events(client) {
  const raided = next(client, 'raided');
  await happen('raid', { channel: CHANNEL, viewers: 42 });
  const [channel, name, viewers] = await raided;
  equal('the raid', [channel, name, viewers], [`#${CHANNEL}`, 'North_Pier', 42]);

  const subscribed = next(client, 'subscription');
  await happen('subscribe', { channel: CHANNEL, person: 'noor' });
  equal('the subscriber', (await subscribed)[1], 'Noor');

  const resubscribed = next(client, 'resub');
  await happen('resub', { channel: CHANNEL, person: 'ines', months: 5, text: 'still here' });
  const [, who, , text, state] = await resubscribed;
  equal('the resub', [who, text, state['msg-param-cumulative-months']], ['Ines', 'still here', '5']);

  const gifted = next(client, 'subgift');
  await happen('gift', { channel: CHANNEL, person: 'max', to: 'noor' });
  const [, giver, , receiver] = await gifted;
  equal('the gift', [giver, receiver], ['Max', 'Noor']);

  const deleted = next(client, 'messagedeleted');
  const id = await say('ines', CHANNEL, 'to be deleted');
  await happen('delete', { channel: CHANNEL, message: id });
  const [, author, gone, tags] = await deleted;
  equal('the deletion', [author, gone, tags['target-msg-id']], ['ines', 'to be deleted', id]);

  const timedOut = next(client, 'timeout');
  await happen('timeout', { channel: CHANNEL, login: 'noor', seconds: 60 });
  const [, login, , seconds] = await timedOut;
  equal('the time-out', [login, seconds], ['noor', 60]);

  const cleared = next(client, 'clearchat');
  await happen('clear', { channel: CHANNEL });
  equal('the cleared channel', (await cleared)[0], `#${CHANNEL}`);
  ok('raid, sub, resub, gift, deletion, time-out and clear become events');
}

async function refusals(client) {
  const dead = next(client, 'notice', (_channel, id) => id === 'unrecognized_cmd');
  await client.raw(`PRIVMSG #${CHANNEL} :/timeout noor 60`);
  await dead;

  await client.join(QUIET);
  const tooFast = next(client, 'notice', (_channel, id) => id === 'msg_ratelimit');
  await client.say(QUIET, 'one');
  await client.say(QUIET, 'two');
  equal('the channel of the refusal', (await tooFast)[0], `#${QUIET}`);
  await client.part(QUIET);

  const nowhere = await client.join('nowhere_at_all').then(
    () => 'joined',
    reason => reason,
  );
  equal('a channel that is not there', nowhere, 'msg_channel_suspended');
  ok('a dead command, a line too fast and a missing channel are refused as tmi.js expects');
}

await run(async () => {
  await wrongToken();

  const client = connectTo({ username: 'vigie_bot', password: 'oauth:sandbox-token' }, [CHANNEL]);
  const joined = next(client, 'join', (_channel, _name, self) => self);
  const room = next(client, 'roomstate');
  await inTime('the login', client.connect());
  ok('logged in');
  await joined;
  equal('the room', (await room)[1]['room-id'], '700100100');
  ok('joined, and told of the room');
  await inTime('PONG', client.ping());
  ok('a ping is answered');

  await talk(client, 'at first');
  equal('moderator', client.isMod(CHANNEL, 'vigie_bot'), true);
  ok('knows from its own state that it is moderator');
  await events(client);
  await refusals(client);

  let again = next(client, 'join', (channel, _name, self) => self && channel === `#${CHANNEL}`);
  await happen('reconnect');
  await again;
  await talk(client, 'after RECONNECT');

  again = next(client, 'join', (channel, _name, self) => self && channel === `#${CHANNEL}`);
  await happen('drop');
  await again;
  await talk(client, 'after a cut connection');

  await counted('twitch.irc.login', 3);
  await client.disconnect();
});
