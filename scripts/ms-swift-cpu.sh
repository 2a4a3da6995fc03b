#!/usr/bin/env bash
# Makes in FOLDER what it takes to train with the real ms-swift on any machine, without a GPU and without the network
# afterwards: `venv` (ms-swift of a pinned version, and torch), `model` (a tiny random Qwen3) and `data/train.jsonl`.
#
#     scripts/ms-swift-cpu.sh FOLDER [VERSION]
#
# What is there already is kept. Needs uv, or pip to get it. Half a minute and 6 GB, of which a cache of uv on the same
# disk shares most.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?usage: scripts/ms-swift-cpu.sh FOLDER [VERSION]}
version=${2:-4.6.0}
mkdir -p "$folder"
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
    HF_HUB_OFFLINE=1 CUDA_VISIBLE_DEVICES='' "$folder/venv/bin/python" "$here/../crates/server/src/demo/tiny_model.py" "$folder"
fi
echo "ms-swift $version in $folder"
