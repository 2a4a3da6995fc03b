"""Makes in FOLDER `model`, a tiny random Qwen3 that trains on any CPU, and `data/train.jsonl`, 64 rows for it.

    python tiny_model.py FOLDER

With the Python of an environment that has ms-swift. Nothing is fetched.
"""

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
(folder / 'data').mkdir(exist_ok=True)
with open(folder / 'data' / 'train.jsonl', 'w') as rows:
    for number in range(64):
        messages = [{'role': 'user', 'content': f'What is {number} plus one?'},
                    {'role': 'assistant', 'content': f'It is {number + 1}.'}]
        rows.write(json.dumps({'messages': messages}) + '\n')
(folder / 'model' / 'made').touch()
