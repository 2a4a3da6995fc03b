#!/usr/bin/env bash
# Asks a real cluster, the one of KUBECONFIG, for what every launcher promises. It makes Jobs in the namespace of
# SWIFTHOOK_TEST_NAMESPACE (default), with two images that the cluster can pull:
#
#   SWIFTHOOK_TEST_TOOLS   has `swifthook-supervise`, linked so that it starts in the other one
#   SWIFTHOOK_TEST_IMAGE   has `sh` and `sleep`, by digest
set -euo pipefail
cd "$(dirname "$0")/.."

for name in KUBECONFIG SWIFTHOOK_TEST_TOOLS SWIFTHOOK_TEST_IMAGE; do
    [ -n "${!name:-}" ] || { echo "$name is not set: this needs a real cluster" >&2; exit 1; }
done
exec cargo test -p swifthook-launch --features kubernetes-cluster --test kubernetes_cluster --locked -- --test-threads=4
