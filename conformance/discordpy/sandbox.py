"""The sandbox as the checks see it: its control API, waiting with deadlines, and the report."""

import asyncio
import json
import os
import sys
import time
import urllib.parse

import aiohttp

BASE = os.environ.get('SANDBOX_URL', '')
DEADLINE_S = 15

if not BASE:
    sys.exit('expected SANDBOX_URL in the environment, such as http://127.0.0.1:7700')


async def call(method, path, body=None):
    async with aiohttp.ClientSession() as session:
        async with session.request(method, BASE + path, json=body) as response:
            text = await response.text()
            if response.status >= 400:
                raise AssertionError(f'{path}: {response.status} {text}')
            return json.loads(text) if text else None


async def say(text, person='ines', channel='general'):
    """A person types a line; gives its id."""
    body = {'platform': 'discord', 'person': person, 'channel': channel, 'text': text}
    return (await call('POST', '/sandbox/say', body))['id']


async def slash(text, person='ines', channel='general'):
    """A person uses a slash command; gives the interaction's id."""
    return (await call('POST', '/sandbox/slash', {'person': person, 'channel': channel, 'text': text}))['id']


async def autocomplete(name, option, value):
    """What the bot offers for an option that a person types."""
    body = {'person': 'ines', 'channel': 'general', 'name': name, 'option': option, 'value': value}
    return await call('POST', '/sandbox/autocomplete', body)


async def press(message, custom_id):
    """A person presses a button."""
    body = {'person': 'ines', 'channel': 'general', 'message': message, 'custom_id': custom_id}
    await call('POST', '/sandbox/press', body)


async def happen(what, **body):
    """Something happens to the gateway: reconnect, drop, invalidate and so on."""
    await call('POST', f'/sandbox/discord/{what}', body)


async def counter(name):
    return (await call('GET', '/sandbox/counters')).get(name, 0)


async def counted(name, at_least):
    """Waits until the sandbox counted this often."""
    query = urllib.parse.urlencode({'name': name, 'at_least': at_least, 'within_ms': DEADLINE_S * 1000})
    await call('GET', f'/sandbox/counters/wait?{query}')


async def eventually(what, ask):
    """Asks again and again until the answer is truthy."""
    until = time.monotonic() + DEADLINE_S
    while True:
        answer = await ask()
        if answer:
            return answer
        if time.monotonic() > until:
            raise AssertionError(f'{what}: not within {DEADLINE_S} s')
        await asyncio.sleep(0.02)


async def line(what, fits, channel='general'):
    """Waits for the newest line in the history that fits."""
    async def ask():
        lines = await call('GET', f'/sandbox/history?platform=discord&channel={channel}')
        return next((one for one in reversed(lines) if fits(one)), None)
    return await eventually(what, ask)


async def in_time(what, waited):
    """The result, or a failure that says what did not come."""
    try:
        return await asyncio.wait_for(waited, DEADLINE_S)
    except asyncio.TimeoutError:
        raise AssertionError(f'{what} did not come within {DEADLINE_S} s') from None


def ok(what):
    """Says that a check passed."""
    print(f'ok - {what}', flush=True)


def equal(what, got, wanted):
    if got != wanted:
        raise AssertionError(f'{what}: expected {wanted!r}, got {got!r}')
