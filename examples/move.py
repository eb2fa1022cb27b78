"""Imports users, presets and LoRAs from the older server that these routes come from (A1111_discord_bot).

    python3 examples/move.py data http://127.0.0.1:3000

`data` is its folder with sessions.json, presets.json and loras.json. Imported users belong to the access key
(STABLEQUEUE_KEY and STABLEQUEUE_SECRET), or to this machine. Each run adds the presets, so run it once.
"""
import json
import os
import sys
from urllib.parse import quote

from client import Client

# Fields that people write; all others come from servers and files.
LORA_FIELDS = ('name', 'tags', 'trigger_words', 'strength_range', 'description', 'thumbnail', 'civitai_id')


def read(folder, name):
    try:
        with open(os.path.join(folder, name), encoding='utf-8') as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, url = sys.argv[1:]
    client = Client(url, os.environ.get('STABLEQUEUE_KEY'), os.environ.get('STABLEQUEUE_SECRET'))
    sessions, presets = read(folder, 'sessions.json'), read(folder, 'presets.json')
    for user in sorted({*sessions, *presets}):
        body = {'session': sessions.get(user, {}), 'presets': presets.get(user, {})}
        attempt(user, lambda: client.call('POST', '/sessions/%s/import' % quote(user, safe=''), body)['message'])
    for lora in read(folder, 'loras.json').get('loras', []):
        known = {name: lora[name] for name in LORA_FIELDS if lora.get(name)}
        path = '/loras/' + quote(lora['filename'], safe='')
        attempt(lora['filename'], lambda: client.call('PATCH', path, known)['name'])


def attempt(name, call):
    """Reports a user that cannot be imported, and continues with the others."""
    try:
        print('%s: %s' % (name, call()))
    except RuntimeError as error:
        print('%s was not imported: %s' % (name, error))


if __name__ == '__main__':
    main()
