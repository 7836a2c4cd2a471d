#!/usr/bin/env bash
# The binary, the network, files: real clients, hostile input, the MIME corpora, and a short kill -9
# loop. Builds the release binary; client libraries go to target/blackbox.
#   tests/blackbox.sh [ROUNDS]    rounds of kill -9, 25 unless told
set -euo pipefail
cd "$(dirname "$0")/.."
rounds="${1:-25}"

cargo build --release --quiet
export ANGARIUM="$PWD/target/release/angarium"

box=target/blackbox
mkdir -p "$box"
if [[ ! -x $box/venv/bin/python ]]; then
    python3 -m venv "$box/venv"
fi
"$box/venv/bin/python" -c 'import aioimaplib' 2>/dev/null || "$box/venv/bin/pip" install --quiet 'aioimaplib==2.0.1'
[[ -d $box/node_modules/imapflow ]] || npm install --silent --no-audit --no-fund --prefix "$box" 'imapflow@1' >/dev/null

ulimit -n "$(ulimit -Hn)"
passed=0
for suite in tests/clients/test_*.py; do
    echo "--- $suite"
    timeout 900 "$box/venv/bin/python" "$suite"
    passed=$((passed + 1))
done
echo "--- kill -9, $rounds rounds"
timeout 1200 "$box/venv/bin/python" tests/crash/kill_loop.py --rounds "$rounds" --rounds-per-store 25
passed=$((passed + 1))
echo "$passed passed, 0 failed"
