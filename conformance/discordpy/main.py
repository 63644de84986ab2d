"""discord.py against the sandbox: login, lines, slash commands, buttons, rate limits, reconnect and
resume, over both compressed transports. Only its endpoint settings are used: the base of its REST
routes and the address of its gateway."""

import asyncio
import logging
import os
import subprocess
import sys
import time
import traceback

TRANSPORTS = ['zstd-stream', 'zlib-stream']
TOKEN = 'sandbox-token'


def run_each():
    """discord.py chooses its transport when it is loaded, so each one is a process of its own."""
    for transport in TRANSPORTS:
        code = subprocess.run([sys.executable, '-u', __file__, transport]).returncode
        if code != 0:
            sys.exit(f'not ok - discord.py over {transport}')


if __name__ == '__main__' and len(sys.argv) == 1:
    run_each()
    sys.exit(0)

TRANSPORT = sys.argv[1]
if TRANSPORT == 'zlib-stream':
    # It takes zlib where there is no zstd.
    sys.modules['zstandard'] = None
    sys.modules['compression.zstd'] = None

import discord  # noqa: E402
import yarl  # noqa: E402
from discord import app_commands  # noqa: E402

from sandbox import (  # noqa: E402
    BASE, autocomplete, call, counted, counter, equal, eventually, happen, in_time, line, ok, press, say, slash,
)

discord.http.Route.BASE = f'{BASE}/api/v10'
discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(f'{BASE.replace("http", "ws", 1)}/gateway')


class Button(discord.ui.View):
    @discord.ui.button(label='Go', custom_id='go')
    async def go(self, interaction, _button):
        await interaction.response.edit_message(content=f'pressed over {TRANSPORT}', view=None)


class Bot(discord.Client):
    """Answers lines and commands, and remembers what it heard."""

    def __init__(self):
        intents = discord.Intents.default()
        intents.members = True
        intents.message_content = True
        super().__init__(intents=intents)
        self.heard = []
        self.resumes = 0
        self.tree = app_commands.CommandTree(self)
        add_commands(self.tree)

    async def on_message(self, message):
        self.heard.append(message.content)
        if not message.author.bot and message.content.startswith('!echo '):
            await message.reply(message.content[6:])

    async def on_resumed(self):
        self.resumes += 1

    def channel(self, name):
        return discord.utils.get(self.guilds[0].channels, name=name)


def add_commands(tree):
    @tree.command(name='echo', description='Says it again')
    @app_commands.describe(text='what to say', to='to whom', tone='how')
    async def echo(interaction, text: str, to: discord.Member = None, tone: str = None):
        await interaction.response.send_message(f'{text} to {to.name if to else "all"}')

    @echo.autocomplete('tone')
    async def tones(_interaction, current):
        return [app_commands.Choice(name=f'{current}lm', value='calm')]

    @tree.command(name='slow', description='Takes its time')
    async def slow(interaction):
        await interaction.response.defer()
        await interaction.edit_original_response(content=f'worth the wait over {TRANSPORT}')
        await interaction.followup.send(f'and more over {TRANSPORT}')

    @tree.command(name='button', description='Shows a button')
    async def button(interaction):
        await interaction.response.send_message(f'press over {TRANSPORT}', view=Button())

    @tree.command(name='secret', description='Is for one person')
    async def secret(interaction):
        await interaction.response.send_message(f'psst over {TRANSPORT}', ephemeral=True)
        equal('the original', (await interaction.original_response()).content, f'psst over {TRANSPORT}')


async def login(bot):
    await in_time('READY', bot.wait_until_ready())
    used = discord.utils._ActiveDecompressionContext.COMPRESSION_TYPE
    equal('the transport', used, TRANSPORT)
    equal('the bot', [bot.user.name, bot.user.bot], ['Vigie', True])
    guild = bot.guilds[0]
    equal('the guild', [guild.name, guild.member_count, len(guild.members)], ['Vigie Harbour', 5, 5])
    equal('the owner', (await bot.application_info()).owner.name, 'olive')
    ok(f'logged in over {TRANSPORT}, with guild, members and owner')


async def talk(bot, when):
    text = f'ahoy {when} over {TRANSPORT}'
    heard = bot.wait_for('message', check=lambda message: message.content == f'!echo {text}', timeout=15)
    heard = asyncio.ensure_future(heard)
    await asyncio.sleep(0)
    asked = await say(f'!echo {text}')
    message = await heard
    equal('the line', [str(message.id), message.author.display_name, message.guild.name],
          [asked, 'Ines', 'Vigie Harbour'])
    reply = await line('the reply', lambda one: one['text'] == text)
    equal('the reply', [reply['reply_to'], reply['author']['role']], [asked, 'bot'])
    ok(f'a line is received and answered ({when}), after {reply["latency_us"] / 1000:.1f} ms')


async def messages(bot):
    embed = discord.Embed(title='Tide', colour=0x2F8F6F).add_field(name='high', value='12:00')
    message = await bot.channel('general').send('first', embed=embed)
    equal('the embed', message.embeds[0].fields[0].value, '12:00')
    equal('the edit', (await message.edit(content='second')).content, 'second')
    await message.add_reaction('👍')
    read = await bot.channel('general').fetch_message(message.id)
    equal('read back', [read.content, read.reactions[0].emoji, read.reactions[0].me], ['second', '👍', True])
    listed = [one async for one in bot.channel('general').history(limit=3)]
    equal('listed', listed[0].id, message.id)
    await message.delete()
    ok('messages are sent with embeds, edited, reacted to, read and deleted')

    with open(__file__, 'rb') as file:
        sent = await bot.channel('bots').send('a file', file=discord.File(file, 'main.py'))
    equal('the file', [sent.attachments[0].filename, sent.attachments[0].size],
          ['main.py', os.path.getsize(__file__)])
    ok('a file is sent')

    user = bot.get_user(int(bot.guilds[0].get_member_named('ines').id))
    equal('a direct message', (await user.send('between us')).content, 'between us')
    ok('a direct message is sent')


async def refusals(bot):
    async def code(waited):
        try:
            await waited
        except discord.HTTPException as error:
            return error.code
        return 'done'
    equal('empty', await code(bot.channel('general').send(' ')), 50006)
    equal('too long', await code(bot.channel('general').send('x' * 2001)), 50035)
    equal('not allowed', await code(bot.channel('announcements').send('x')), 50013)
    equal('hidden', await code(bot.fetch_channel(bot.channel('staff').id)), 50001)
    equal('unknown', await code(bot.fetch_channel(1)), 10003)
    ok("what is wrong is refused with Discord's codes")


async def slash_commands(bot):
    bot.tree.copy_global_to(guild=bot.guilds[0])
    equal('registered', len(await bot.tree.sync(guild=bot.guilds[0])), 4)
    ok('slash commands are registered')

    text = f'hello over {TRANSPORT}'
    asked = await slash(f'/echo text:{text} to:max')
    answer = await line('the answer', lambda one: one['text'] == f'{text} to max')
    equal('the answer', [answer['reply_to'], answer['heading']], [asked, '/echo by Ines'])
    ok(f'a slash command is answered, after {answer["latency_us"] / 1000:.1f} ms')

    choices = await autocomplete('echo', 'tone', 'ca')
    equal('choices', [(one['name'], one['value']) for one in choices], [('calm', 'calm')])
    ok('an option is completed')

    await slash('/slow')
    await line('the edit', lambda one: one['text'] == f'worth the wait over {TRANSPORT}')
    await line('the follow-up', lambda one: one['text'] == f'and more over {TRANSPORT}')
    ok('an answer is deferred, edited in and followed up')

    await slash('/button')
    shown = await line('the button', lambda one: one['text'] == f'press over {TRANSPORT}')
    await press(shown['id'], 'go')
    await line('the update', lambda one: one['id'] == shown['id'] and one['text'].startswith('pressed'))
    ok('a button updates its message')

    await slash('/secret')
    secret = await line('the secret', lambda one: one['text'] == f'psst over {TRANSPORT}')
    equal('ephemeral', secret['ephemeral'], True)
    ok('an answer is for one person only')


async def members_and_roles(bot):
    guild = bot.guilds[0]
    asked = await in_time('the members', guild.query_members(query='no', limit=1))
    equal('asked for over the gateway', [member.name for member in asked], ['noor'])
    noor = guild.get_member_named('noor')
    regulars = discord.utils.get(guild.roles, name='Regulars')
    await noor.add_roles(regulars)
    equal('the role', regulars in (await guild.fetch_member(noor.id)).roles, True)
    await noor.remove_roles(regulars)
    ok('members are asked for and given a role')


async def rate_limits(bot):
    before, began = await counter('discord.rest.429'), time.monotonic()
    await asyncio.gather(*(bot.channel('bots').send(f'burst {n}') for n in range(8)))
    equal('a wait for the bucket', time.monotonic() - began > 1, True)
    ok(f'a burst gets through, with {await counter("discord.rest.429") - before} answers of 429')


async def reconnects(bot):
    started, cut = await counter('discord.gateway.identify'), await counter('discord.gateway.disconnect')

    async def resumed(times):
        await eventually(f'resume {times}', lambda: asyncio.sleep(0, bot.resumes >= times))
    await happen('reconnect')
    await resumed(1)
    await talk(bot, 'after op 7')
    ok('op 7 leads to a resume')

    await happen('drop')
    await counted('discord.gateway.disconnect', cut + 2)
    missed = [f'missed {n} over {TRANSPORT}' for n in (1, 2, 3)]
    for text in missed:
        await say(text)
    await resumed(2)
    await talk(bot, 'after a cut connection')
    equal('what was missed', [text for text in bot.heard if text.startswith('missed')], missed)
    equal('identified meanwhile', await counter('discord.gateway.identify') - started, 0)
    ok('a cut connection is resumed, with exactly what was missed')

    ready = asyncio.ensure_future(bot.wait_for('ready', timeout=30))
    await asyncio.sleep(0)
    await happen('invalidate', resumable=False)
    await ready
    await talk(bot, 'after op 9')
    ok('an invalid session is replaced by a new one')


async def check():
    bot = Bot()
    async with bot:
        running = asyncio.ensure_future(bot.start(TOKEN))
        checks = asyncio.ensure_future(all_checks(bot))
        await asyncio.wait([running, checks], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        await checks
    ok(f'logged out over {TRANSPORT}')


async def all_checks(bot):
    while not bot.is_ready():
        await asyncio.sleep(0.01)
    await login(bot)
    await talk(bot, 'at first')
    await slash_commands(bot)
    # What goes over REST is the same for each transport.
    if TRANSPORT == TRANSPORTS[0]:
        await messages(bot)
        await refusals(bot)
        await members_and_roles(bot)
        await rate_limits(bot)
    await reconnects(bot)


async def main():
    discord.utils.setup_logging(level=logging.ERROR)
    try:
        await asyncio.wait_for(check(), 120)
    except BaseException:
        traceback.print_exc()
        print(await call('GET', '/sandbox/counters'), file=sys.stderr)
        sys.exit(1)


asyncio.run(main())
