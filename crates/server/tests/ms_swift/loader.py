"""What the loader that ms-swift has installed makes of files of data.

Reads lines of JSON with `name` and `bytes` (in hex), and writes each with `rows` or `error`. Each is loaded in a process of its
own: of some files the loader dies.
"""
import json
import os
import sys
import tempfile

import datasets
import datasets.packaged_modules.csv.csv
import datasets.packaged_modules.json.json
import datasets.packaged_modules.text.text

datasets.disable_progress_bars()
datasets.utils.logging.set_verbosity(60)


def load(folder, name, content):
    path = os.path.join(folder, name)
    with open(path, 'wb') as file:
        file.write(bytes.fromhex(content))
    # As `_load_dataset_path` of ms-swift.
    ending = os.path.splitext(path)[1].lstrip('.')
    loader = {'jsonl': 'json', 'txt': 'text'}.get(ending) or ending
    options = {'na_filter': False} if loader == 'csv' else {}
    try:
        cache = os.path.join(folder, 'cache')
        return {'rows': len(datasets.load_dataset(loader, data_files=path, split='train', cache_dir=cache, **options))}
    except Exception as error:
        return {'error': type(error).__name__}


def apart(folder, name, content):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, json.dumps(load(folder, name, content)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, 'rb') as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(said) if said else {'error': f'killed by signal {status & 127}'}


for line in sys.stdin:
    line = json.loads(line)
    with tempfile.TemporaryDirectory() as folder:
        line = {'name': line['name'], 'bytes': line['bytes'], **apart(folder, line['name'], line['bytes'])}
    print(json.dumps(line), flush=True)
