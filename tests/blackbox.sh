#!/usr/bin/env bash
# The binary, the network, files: real clients, real filters, other mail servers, hostile input, the MIME corpora,
# the system calls of the durable path, and two short kill -9 loops. Builds the release binary; client libraries go
# to target/blackbox.
#   tests/blackbox.sh [ROUNDS]    rounds of kill -9, 25 unless told
set -euo pipefail
cd "$(dirname "$0")/.."
rounds="${1:-25}"

cargo build --release --quiet
target="${CARGO_TARGET_DIR:-target}"
export ANGARIUM="$target/release/angarium"
cargo build --release --quiet -p filter --example filter-drive
export FILTER_DRIVE="$target/release/examples/filter-drive"

box="$target/blackbox"
mkdir -p "$box"
[[ -x $box/venv/bin/python ]] || python3 -m venv "$box/venv"
"$box/venv/bin/python" -c 'import aioimaplib' 2>/dev/null || "$box/venv/bin/pip" install --quiet 'aioimaplib==2.0.3'
[[ -d $box/node_modules/imapflow ]] || npm install --silent --no-audit --no-fund --prefix "$box" 'imapflow@1' >/dev/null
"$box/venv/bin/python" -c 'import yaml, dns, nacl, authres, publicsuffix2' 2>/dev/null ||
    "$box/venv/bin/pip" install --quiet 'PyYAML==6.*' 'dnspython==2.*' 'PyNaCl==1.*' 'authres==1.*' 'publicsuffix2==2.*'
cargo build --quiet -p mailauth --example probe
# The newest mail-parser carries the most messages; its code is not used, so its compiler does not matter.
cargo info --quiet mail-parser@1.0.1 >/dev/null 2>&1 || echo "mail-parser 1.0.1 cannot be had: its corpus is left out"

ulimit -n "$(ulimit -Hn)"
passed=0
for suite in tests/clients/test_*.py tests/filter/test_*.py tests/exchange/test_*.py tests/mailauth/test_*.py tests/strace/test_*.py; do
    [[ -e $suite ]] || continue
    echo "--- $suite"
    timeout 900 "$box/venv/bin/python" -W ignore "$suite"
    passed=$((passed + 1))
done
echo "--- signed zones"
timeout 300 cargo test --quiet -p runtime --test dns_signed -- --ignored
passed=$((passed + 1))
echo "--- SRS of others"
timeout 300 cargo test --quiet -p dsn --test foreign -- --ignored
passed=$((passed + 1))
if [[ -x perf-scripts/bench-smoke.sh ]]; then
    echo "--- bench smoke"
    timeout 600 bash perf-scripts/bench-smoke.sh
    passed=$((passed + 1))
fi
echo "--- kill -9, $rounds rounds"
timeout $((rounds * 10 + 120)) "$box/venv/bin/python" -W ignore tests/crash/kill_loop.py --rounds "$rounds" --rounds-per-store 25
passed=$((passed + 1))
echo "--- kill -9 while mail goes through, $rounds rounds"
timeout $((rounds * 10 + 120)) "$box/venv/bin/python" -W ignore tests/crash/relay_loop.py --rounds "$rounds" --rounds-per-store 25
passed=$((passed + 1))
echo "$passed passed, 0 failed"
