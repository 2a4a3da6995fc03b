"""What ms-swift makes of configs: a list of [name, text] in JSON on the standard input, a line of JSON for each."""
import json
import os
import sys
import tempfile

from swift.cli.main import parse_yaml_args


def said(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, 'w', encoding='utf-8', newline='') as file:
        file.write(text)
    argv = [path]
    parse_yaml_args(argv)
    if argv == [path]:
        raise ValueError('the config is empty')
    groups = []
    for word in argv:
        if word in FLAGS:
            groups.append([word[2:]])
        else:
            groups[-1].append(word)
    for group in groups:
        if group[0] == 'columns' and len(group) == 2 and group[1][:1] == '{':
            group[1] = json.dumps(json.loads(group[1]), ensure_ascii=False, separators=(',', ':'))
        json.dumps(group, ensure_ascii=False).encode()
    return groups


FLAGS = ['--' + name for name in ('columns', 'rope_scaling', 'system', 'stop_words', 'bf16', 'seed', 'learning_rate')]

with tempfile.TemporaryDirectory() as folder:
    for name, text in json.load(sys.stdin):
        try:
            line = {'argv': said(folder, name, text)}
        except Exception as error:
            line = {'error': type(error).__name__}
        print(json.dumps(line))
