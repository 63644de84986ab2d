// discord.js against the sandbox: login, lines, slash commands, buttons, rate limits, reconnect and
// resume. Only its endpoint setting is used: `rest.api`.

import {
  ActionRowBuilder, ApplicationCommandOptionType, ButtonBuilder, ButtonStyle, Client, DiscordAPIError,
  EmbedBuilder, Events, GatewayIntentBits, MessageFlags, Partials,
} from 'discord.js';
import {
  api, autocomplete, counted, counters, equal, eventually, happen, history, line, next, ok, press, run,
  say, slash,
} from './sandbox.mjs';

const TOKEN = 'sandbox-token';
const intents = [
  GatewayIntentBits.Guilds,
  GatewayIntentBits.GuildMembers,
  GatewayIntentBits.GuildMessages,
  GatewayIntentBits.GuildMessageReactions,
  GatewayIntentBits.DirectMessages,
  GatewayIntentBits.MessageContent,
];
const client = new Client({ intents, partials: [Partials.Channel], rest: { api } });
client.on(Events.Error, error => console.error(error));

/** The channel of a name in the only guild. */
const channel = name => client.guilds.cache.first().channels.cache.find(one => one.name === name);

async function login() {
  const ready = next(client, Events.ClientReady);
  await client.login(TOKEN);
  await ready;
  equal('the bot', [client.user.username, client.user.bot], ['Vigie', true]);
  const guild = client.guilds.cache.first();
  equal('the guild', [guild.name, guild.available, guild.memberCount], ['Vigie Harbour', true, 5]);
  equal('its channels', channel('general').isTextBased(), true);
  equal('the resume address', client.ws.shards.first().status, 0);
  const application = await client.application.fetch();
  equal('the owner', application.owner.username, 'olive');
  ok('logged in, with its guild, channels and owner');
}

/** The bot's only ways to answer lines. */
function answerLines() {
  client.on(Events.MessageCreate, async message => {
    if (message.author.bot || !message.content.startsWith('!echo ')) return;
    await message.reply(message.content.slice(6));
  });
}

async function talk(round) {
  const heard = next(client, Events.MessageCreate, message => message.content === `!echo ahoy ${round}`);
  const id = await say(`!echo ahoy ${round}`);
  const [message] = await heard;
  equal('the line', [message.id, message.author.globalName, message.guild.name], [id, 'Ines', 'Vigie Harbour']);
  equal('its member', message.member.displayName, 'Ines');
  const reply = await line('the reply', one => one.text === `ahoy ${round}`);
  equal('the reply', [reply.reply_to, reply.author.role], [id, 'bot']);
  ok(`a line is received and answered (${round}), after ${(reply.latency_us / 1000).toFixed(1)} ms`);
}

async function directMessages() {
  const ines = await client.users.fetch((await history()).find(one => one.author.name === 'Ines').author.id);
  const direct = await ines.createDM();
  const sent = await direct.send('between us');
  equal('a direct message', [sent.channel.isDMBased(), sent.content], [true, 'between us']);
  ok('a direct message is opened and sent');
}

async function messages() {
  const created = next(client, Events.MessageCreate, message => message.content === 'first');
  const embed = new EmbedBuilder().setTitle('Tide').setColor(0x2f8f6f).addFields({ name: 'high', value: '12:00' });
  const message = await channel('general').send({ content: 'first', embeds: [embed] });
  equal('the embed', message.embeds[0].fields[0].value, '12:00');
  equal('its own message comes by the gateway too', (await created)[0].id, message.id);

  const updated = next(client, Events.MessageUpdate, (_before, after) => after.id === message.id);
  await message.edit('second');
  equal('the edit', (await updated)[1].content, 'second');

  const reacted = next(client, Events.MessageReactionAdd, reaction => reaction.message.id === message.id);
  await message.react('👍');
  equal('the reaction', (await reacted)[0].emoji.name, '👍');

  const read = await channel('general').messages.fetch({ message: message.id, force: true });
  equal('read back', [read.content, read.reactions.cache.get('👍').count], ['second', 1]);

  const deleted = next(client, Events.MessageDelete, gone => gone.id === message.id);
  await message.delete();
  await deleted;
  ok('messages are sent with embeds, edited, reacted to, read and deleted');

  const once = { content: 'once', nonce: 'event-1:0', enforceNonce: true };
  const [one, two] = [await channel('bots').send(once), await channel('bots').send(once)];
  equal('the same nonce', one.id, two.id);
  ok('a nonce is enforced');
}

async function refusals() {
  const code = promise => promise.then(() => 'done', error => (error instanceof DiscordAPIError ? error.code : `${error}`));
  equal('empty', await code(channel('general').send({ content: ' ' })), 50006);
  equal('too long', await code(channel('general').send('x'.repeat(2001))), 50035);
  equal('not allowed', await code(channel('announcements').send('x')), 50013);
  equal('hidden', await code(client.channels.fetch(channel('staff').id, { force: true })), 50001);
  equal('unknown', await code(client.channels.fetch('1')), 10003);
  ok('what is wrong is refused with Discord\'s codes');
}

async function slashCommands() {
  const options = [
    { type: ApplicationCommandOptionType.String, name: 'text', description: 'what to say', required: true },
    { type: ApplicationCommandOptionType.User, name: 'to', description: 'to whom' },
    { type: ApplicationCommandOptionType.String, name: 'tone', description: 'how', autocomplete: true },
  ];
  const commands = await client.guilds.cache.first().commands.set([
    { name: 'echo', description: 'Says it again', options },
    { name: 'slow', description: 'Takes its time' },
    { name: 'button', description: 'Shows a button' },
    { name: 'secret', description: 'Is for one person' },
  ]);
  equal('registered', commands.size, 4);
  ok('slash commands are registered');

  client.on(Events.InteractionCreate, async interaction => {
    if (interaction.isAutocomplete()) {
      await interaction.respond([{ name: `${interaction.options.getFocused()}lm`, value: 'calm' }]);
    } else if (interaction.isButton()) {
      await interaction.update({ content: 'pressed', components: [] });
    } else if (interaction.commandName === 'echo') {
      const to = interaction.options.getUser('to');
      await interaction.reply(`${interaction.options.getString('text')} to ${to?.username ?? 'all'}`);
    } else if (interaction.commandName === 'slow') {
      await interaction.deferReply();
      await interaction.editReply('worth the wait');
      await interaction.followUp('and more');
    } else if (interaction.commandName === 'button') {
      const button = new ButtonBuilder().setCustomId('go').setLabel('Go').setStyle(ButtonStyle.Primary);
      const components = [new ActionRowBuilder().addComponents(button)];
      const { resource } = await interaction.reply({ content: 'press', components, withResponse: true });
      equal('the response', resource.message.content, 'press');
    } else {
      await interaction.reply({ content: 'psst', flags: MessageFlags.Ephemeral });
      equal('the original', (await interaction.fetchReply()).content, 'psst');
    }
  });

  const id = await slash('/echo text:ahoy to:max');
  const answer = await line('the answer', one => one.text === 'ahoy to max');
  equal('the answer', [answer.reply_to, answer.heading], [id, '/echo by Ines']);
  ok(`a slash command is answered, after ${(answer.latency_us / 1000).toFixed(1)} ms`);

  equal('choices', await autocomplete('echo', 'tone', 'ca'), [{ name: 'calm', value: 'calm' }]);
  ok('an option is completed');

  await slash('/slow');
  await line('the edit', one => one.text === 'worth the wait');
  await line('the follow-up', one => one.text === 'and more');
  ok('an answer is deferred, edited in and followed up');

  await slash('/button');
  const shown = await line('the button', one => one.text === 'press');
  await press(shown.id, 'go');
  await line('the update', one => one.id === shown.id && one.text === 'pressed');
  ok('a button updates its message');

  await slash('/secret');
  const secret = await line('the secret', one => one.text === 'psst');
  equal('ephemeral', secret.ephemeral, true);
  ok('an answer is for one person only');
}

async function membersAndRoles() {
  const guild = client.guilds.cache.first();
  const members = await guild.members.fetch();
  equal('members', members.size, 5);
  const noor = members.find(member => member.user.username === 'noor');
  const regulars = guild.roles.cache.find(role => role.name === 'Regulars');
  const updated = next(client, Events.GuildMemberUpdate, (_before, after) => after.id === noor.id);
  await noor.roles.add(regulars);
  equal('the role', (await updated)[1].roles.cache.has(regulars.id), true);
  await noor.roles.remove(regulars);
  const timedOut = await noor.timeout(60_000, 'a test');
  equal('timed out', timedOut.isCommunicationDisabled(), true);
  await noor.timeout(null);
  ok('members are listed, given a role and timed out');
}

async function rateLimits() {
  const before = (await counters())['discord.rest.429'] ?? 0;
  const began = Date.now();
  await Promise.all(Array.from({ length: 8 }, (_, n) => channel('bots').send(`burst ${n}`)));
  equal('a wait for the bucket', Date.now() - began > 1000, true);
  equal('429 answers', (await counters())['discord.rest.429'] ?? 0, before);
  ok('a burst waits for its bucket, without one 429');
}

async function reconnects() {
  const resumed = next(client, Events.ShardResume);
  await happen('reconnect');
  await resumed;
  await talk('after op 7');
  equal('identified', (await counters())['discord.gateway.identify'], 1);
  ok('op 7 leads to a resume');

  const heard = [];
  client.on(Events.MessageCreate, message => message.content.startsWith('missed') && heard.push(message.content));
  const resumedAgain = next(client, Events.ShardResume);
  await happen('drop');
  await counted('discord.gateway.disconnect', 2);
  for (const n of [1, 2, 3]) await say(`missed ${n}`);
  const [, replayed] = await resumedAgain;
  await talk('after a cut connection');
  equal('what was missed', heard, ['missed 1', 'missed 2', 'missed 3']);
  equal('replayed', replayed >= 3, true);
  equal('identified', (await counters())['discord.gateway.identify'], 1);
  ok('a cut connection is resumed, with exactly what was missed');

  const ready = next(client, Events.ShardReady);
  await happen('invalidate', { resumable: false });
  await ready;
  await eventually('the guild', () => client.guilds.cache.first()?.available);
  await talk('after op 9');
  ok('an invalid session is replaced by a new one');
}

await run(async () => {
  await login();
  answerLines();
  await talk('at first');
  await directMessages();
  await messages();
  await refusals();
  await slashCommands();
  await membersAndRoles();
  await rateLimits();
  await reconnects();
  await client.destroy();
});
