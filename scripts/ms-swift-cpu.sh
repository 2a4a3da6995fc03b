#!/usr/bin/env bash
# Makes in FOLDER what it takes to train with the real ms-swift on any machine, without a GPU and without the network
# afterwards: `venv` (ms-swift of a pinned version, and torch), `model` (a tiny random Qwen3) and `data/train.jsonl`.
#
#     scripts/ms-swift-cpu.sh FOLDER [VERSION]
#
# What is there already is kept. Needs uv, or pip to get it. Half a minute and 6 GB, of which a cache of uv on the same
# disk shares most.
set -euo pipefail
folder=${1:?usage: scripts/ms-swift-cpu.sh FOLDER [VERSION]}
version=${2:-4.6.0}
mkdir -p "$folder/data"
folder=$(cd "$folder" && pwd)

if ! command -v uv >/dev/null; then
    python3 -m venv "$folder/tools"
    "$folder/tools/bin/pip" install --quiet uv
    PATH="$folder/tools/bin:$PATH"
fi

if [ "$(cat "$folder/venv/made" 2>/dev/null)" != "$version" ]; then
    rm -rf "$folder/venv"
    uv venv --quiet --python "${SWIFTHOOK_TEST_PYTHON:-3.11}" "$folder/venv"
    uv pip install --quiet --python "$folder/venv/bin/python" --compile-bytecode "ms-swift==$version" torch
    echo "$version" >"$folder/venv/made"
fi

if [ ! -e "$folder/model/made" ]; then
    rm -rf "$folder/model"
    HF_HUB_OFFLINE=1 CUDA_VISIBLE_DEVICES='' "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

folder = Path(sys.argv[1])
specials = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', '<think>', '</think>']
vocabulary = {byte: number for number, byte in enumerate(sorted(ByteLevel.alphabet()))}
tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
tokenizer.add_special_tokens(specials)
template = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    '{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}')
fast = PreTrainedTokenizerFast(
    tokenizer_object=tokenizer, eos_token='<|im_end|>', pad_token='<|endoftext|>', chat_template=template,
    model_max_length=256)
torch.manual_seed(42)
config = Qwen3Config(
    vocab_size=len(fast), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, head_dim=16, max_position_embeddings=256, tie_word_embeddings=True,
    eos_token_id=fast.eos_token_id, pad_token_id=fast.pad_token_id, bos_token_id=None)
Qwen3ForCausalLM(config).save_pretrained(folder / 'model')
fast.save_pretrained(folder / 'model')
with open(folder / 'data' / 'train.jsonl', 'w') as rows:
    for number in range(64):
        messages = [{'role': 'user', 'content': f'What is {number} plus one?'},
                    {'role': 'assistant', 'content': f'It is {number + 1}.'}]
        rows.write(json.dumps({'messages': messages}) + '\n')
(folder / 'model' / 'made').touch()
PYTHON
fi
echo "ms-swift $version in $folder"
