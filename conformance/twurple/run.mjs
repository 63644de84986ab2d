// twurple against the sandbox: chat over IRC, Helix, token refresh and EventSub over WebSocket. Only
// its endpoint settings are used: `hostName` of the chat client, and the port of a local mock for the
// rest, which it wants in the environment before it is loaded.

import {
  counted, counters, equal, eventually, happen, history, hostAndPort, inTime, need, ok, run, say,
} from './twitch.mjs';

process.env.TWURPLE_MOCK_API_PORT = new URL(need('SANDBOX_URL')).port;
const { ApiClient } = await import('@twurple/api');
const { RefreshingAuthProvider, StaticAuthProvider } = await import('@twurple/auth');
const { ChatClient } = await import('@twurple/chat');
const { EventSubWsListener } = await import('@twurple/eventsub-ws');

const CHANNEL = 'vigie_demo';
const CHANNEL_ID = '700100100';
const BOT_ID = '800100200';
const logger = { minLevel: 'critical' };

// twurple appends its own port, so ours is put in front of a query that takes it.
const hostName = `${hostAndPort('SANDBOX_IRC_WS')}/?`;

/** Collects what a listener is called with, and waits for one that fits. */
function inbox() {
  const seen = [];
  return {
    add: (...values) => seen.push(values),
    wait: (what, fits) => eventually(what, () => seen.find(values => fits(...values))),
  };
}

async function signIn() {
  const auth = new RefreshingAuthProvider({ clientId: 'sandbox-client', clientSecret: 'sandbox-secret' });
  const renewed = inbox();
  auth.onRefresh((userId, token) => renewed.add(userId, token));
  // Long expired, so that it has to be refreshed before anything else.
  const old = { accessToken: 'long-expired', refreshToken: 'sandbox-refresh', expiresIn: 1, obtainmentTimestamp: 1 };
  const userId = await inTime('the refreshed user', auth.addUserForToken(old, ['chat']));
  equal('the user of the token', userId, BOT_ID);
  const [, token] = await renewed.wait('a refresh', id => id === BOT_ID);
  if (token.refreshToken === 'sandbox-refresh') throw new Error('the refresh token was not rotated');
  ok('an expired token is refreshed, and its refresh token rotated');
  auth.addUser(CHANNEL_ID, {
    accessToken: 'sandbox-vigie_demo',
    refreshToken: 'sandbox-refresh-vigie_demo',
    scope: ['channel:read:subscriptions', 'moderator:read:followers'],
    expiresIn: null,
    obtainmentTimestamp: Date.now(),
  });
  return auth;
}

async function helix(api) {
  const user = await api.users.getUserByName(CHANNEL);
  equal('the user', [user.id, user.name], [CHANNEL_ID, CHANNEL]);
  const channel = await api.channels.getChannelInfoById(CHANNEL_ID);
  equal('the channel', channel.name, CHANNEL);
  equal('the stream before', await api.streams.getStreamByUserName(CHANNEL), null);
  await happen('live', { channel: CHANNEL, live: true });
  const stream = await api.streams.getStreamByUserName(CHANNEL);
  equal('the stream', [stream.userName, stream.type], [CHANNEL, 'live']);
  await happen('live', { channel: CHANNEL, live: false });
  ok('Helix: user, channel, stream');
}

async function helixSend(api, heard) {
  const parent = await say('ines', CHANNEL, 'a question');
  const sent = await api.asUser(BOT_ID, own =>
    own.chat.sendChatMessage(CHANNEL_ID, 'an answer', { replyParentMessageId: parent }),
  );
  equal('sent', sent.isSent, true);
  const line = (await history(CHANNEL)).find(line => line.id === sent.id);
  equal('the parent', line.reply_to, parent);
  await heard.wait('the answer in chat', (_channel, _user, text) => text === '@Ines an answer');

  const asApp = await api.chat.sendChatMessageAsApp(BOT_ID, CHANNEL_ID, 'as an app', { forSourceOnly: true });
  equal('sent as an app', asApp.isSent, true);
  ok('Helix: messages are sent as the user and as the application');

  await happen('timeout', { channel: 'quiet_corner', login: 'vigie_bot', seconds: 60 });
  const reason = await api
    .asUser(BOT_ID, own => own.chat.sendChatMessage('700100200', 'unheard'))
    .then(() => 'sent', error => error.code);
  await happen('unban', { channel: 'quiet_corner', login: 'vigie_bot' });
  equal('the drop reason', reason, 'user_timed_out');
  ok('Helix: a message that is dropped says why');
}

async function talk(chat, heard, round) {
  const id = await say('ines', CHANNEL, `hello ${round}`);
  const [channel, user, , message] = await heard.wait('the line', (_c, _u, text) => text === `hello ${round}`);
  equal('the line', [channel, user, message.id], [CHANNEL, 'ines', id]);
  equal('its author', [message.userInfo.userId, message.userInfo.displayName], ['600100400', 'Ines']);
  equal('its author is subscriber', message.userInfo.isSubscriber, true);
  ok(`a line is received (${round})`);
  await chat.say(CHANNEL, `hello yourself ${round}`, { replyTo: message });
  const line = await eventually('the reply', async () =>
    (await history(CHANNEL)).find(line => line.text === `hello yourself ${round}`),
  );
  equal('the parent', line.reply_to, id);
  ok(`a reply arrives under its parent (${round}), after ${(line.latency_us / 1000).toFixed(1)} ms`);
}

async function chatEvents(chat) {
  const [raids, subs, gifts, bans] = [inbox(), inbox(), inbox(), inbox()];
  chat.onRaid((...values) => raids.add(...values));
  chat.onResub((...values) => subs.add(...values));
  chat.onCommunitySub((...values) => gifts.add(...values));
  chat.onTimeout((...values) => bans.add(...values));
  await happen('raid', { channel: CHANNEL, viewers: 42 });
  await happen('resub', { channel: CHANNEL, person: 'ines', months: 5, text: 'still here' });
  await happen('gift', { channel: CHANNEL, person: 'max', count: 3 });
  await happen('timeout', { channel: CHANNEL, login: 'noor', seconds: 60 });
  const [, raider, raid] = await raids.wait('a raid', () => true);
  equal('the raid', [raider, raid.viewerCount], ['north_pier', 42]);
  const [, who, info] = await subs.wait('a resub', () => true);
  equal('the resub', [who, info.months, info.message], ['ines', 5, 'still here']);
  const [, giver, gift] = await gifts.wait('gifts', () => true);
  equal('the gifts', [giver, gift.count], ['max', 3]);
  const [, login, seconds] = await bans.wait('a time-out', () => true);
  equal('the time-out', [login, seconds], ['noor', 60]);
  ok('raid, resub, gifts and time-out become events');
}

async function eventSub(api) {
  const listener = new EventSubWsListener({ apiClient: api, logger });
  const [messages, raids, lives, follows, failures] = [inbox(), inbox(), inbox(), inbox(), inbox()];
  const created = inbox();
  listener.onSubscriptionCreateFailure((sub, error) => failures.add(sub.id, error));
  listener.onSubscriptionCreateSuccess(sub => created.add(sub.id));
  listener.onChannelChatMessage(CHANNEL_ID, BOT_ID, event => messages.add(event));
  listener.onChannelRaidTo(CHANNEL_ID, event => raids.add(event));
  listener.onStreamOnline(CHANNEL_ID, event => lives.add(event));
  listener.onChannelFollow(CHANNEL_ID, CHANNEL_ID, event => follows.add(event));
  listener.start();
  await counted('twitch.eventsub.subscribed', 4);
  ok('EventSub: welcomed and subscribed');

  const id = await say('max', CHANNEL, 'for EventSub');
  const [event] = await messages.wait('the message', event => event.messageId === id);
  equal('the message', [event.messageText, event.chatterName], ['for EventSub', 'max']);
  equal('its badges', event.badges.moderator, '1');
  await happen('raid', { channel: CHANNEL, viewers: 7 });
  const [raid] = await raids.wait('the raid', () => true);
  equal('the raid', raid.viewers, 7);
  await happen('live', { channel: CHANNEL, live: true });
  await lives.wait('the stream', live => live.broadcasterName === CHANNEL && live.type === 'live');
  await happen('follow', { channel: CHANNEL, person: 'noor' });
  await follows.wait('the follower', follow => follow.userName === 'noor');
  ok('EventSub: chat message, raid, stream and follow arrive');
  return { listener, messages };
}

/** The same subscriptions carry on after the sockets moved or were cut. */
async function eventSubGoesOn(messages, round) {
  const ids = [];
  const [event] = await eventually(`EventSub after ${round}`, async () => {
    ids.push(await say('max', CHANNEL, `EventSub after ${round}, try ${ids.length + 1}`));
    const fits = event => ids.includes(event.messageId);
    return inTime('one message', messages.wait('one message', fits), 500).catch(() => null);
  });
  if (!event.messageText.startsWith('EventSub after')) throw new Error(event.messageText);
  ok(`EventSub: goes on after ${round}`);
}

await run(async () => {
  const auth = await signIn();
  const api = new ApiClient({ authProvider: auth, logger });
  await helix(api);

  const chat = new ChatClient({
    authProvider: auth,
    channels: [CHANNEL],
    hostName,
    ssl: false,
    isAlwaysMod: true,
    requestMembershipEvents: true,
    logger,
  });
  const [heard, joins] = [inbox(), inbox()];
  chat.onMessage((...values) => heard.add(...values));
  chat.onJoin((...values) => joins.add(...values));
  chat.connect();
  await joins.wait('the join', (channel, user) => channel === CHANNEL && user === 'vigie_bot');
  ok('logged in and joined');
  await talk(chat, heard, 'at first');
  await chatEvents(chat);
  await helixSend(api, heard);
  const { listener, messages } = await eventSub(api);

  const logins = (await counters())['twitch.irc.login'];
  await happen('reconnect');
  await counted('twitch.irc.joined', 2);
  await counted('twitch.eventsub.taken_over', 2);
  await talk(chat, heard, 'after RECONNECT');
  await eventSubGoesOn(messages, 'session_reconnect');
  equal('subscriptions made', (await counters())['twitch.eventsub.subscribed'], 4);

  await happen('drop');
  await counted('twitch.irc.login', logins + 2);
  await counted('twitch.irc.joined', 3);
  await talk(chat, heard, 'after a cut connection');
  await counted('twitch.eventsub.subscribed', 8);
  await eventSubGoesOn(messages, 'a cut connection');

  await happen('revoke_token', { token: 'sandbox-vigie_demo' });
  const refused = new StaticAuthProvider('sandbox-client', 'sandbox-vigie_demo');
  const error = await new ApiClient({ authProvider: refused, logger }).users
    .getUserByName(CHANNEL)
    .then(() => 'answered', error => error.constructor.name);
  equal('a revoked token', error, 'InvalidTokenError');
  ok('a revoked token is refused');
  listener.stop();
  chat.quit();
});
