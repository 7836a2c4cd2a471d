#!/usr/bin/env bash
# Instructions and allocations of sessions, parsers and the store (bench/counts), this checkout beside the commit before it.
# No figure fails anything: what grew is for whoever reads it to judge.
#   perf-scripts/counts.sh               what stands in this folder, beside HEAD (or HEAD~1 when nothing is changed)
#   perf-scripts/counts.sh COMMIT        beside another commit
# The commit's figures are kept in the target folder, by its name and the name of this machine's compiler: it is built once.
set -euo pipefail
cd "$(dirname "$0")/.."

target="${CARGO_TARGET_DIR:-$PWD/target}"
mkdir -p "$target/counts"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT

say() { printf 'counts.sh: %s\n' "$*" >&2; }

# The commit to compare with; nothing when there is none.
before() {
    if [[ $# -gt 0 ]]; then
        git rev-parse --verify --quiet "$1^{commit}" || { say "no commit is called $1"; exit 64; }
    elif [[ -n "$(git status --porcelain --untracked-files=no)" ]]; then
        git rev-parse --verify --quiet HEAD || true
    else
        git rev-parse --verify --quiet "HEAD~1^{commit}" || true
    fi
}

# measure FOLDER FILE: builds the checkout in FOLDER and measures it into FILE, which exists only if that went well.
measure() {
    (cd "$1" && CARGO_TARGET_DIR="$target" cargo build --quiet --release -p angarium-counts)
    "$target/release/angarium-counts" measure >"$2.new"
    mv "$2.new" "$2"
}

# keep COMMIT FILE: the figures of a commit, from an earlier run or from a copy of it in a temporary folder.
keep() {
    local commit="$1" file="$2"
    [[ ! -s $file ]] || return 0
    if ! git cat-file -e "$commit:bench/counts/Cargo.toml" 2>/dev/null; then
        say "commit ${commit:0:12} has no bench/counts: there is nothing to compare with"
        return 1
    fi
    say "building commit ${commit:0:12}"
    git archive "$commit" | tar -x -C "$folder"
    measure "$folder" "$file" || { say "commit ${commit:0:12} cannot be measured"; return 1; }
}

commit="$(before "$@")"
compiler="$(rustc --version | cksum | cut -d' ' -f1)"
old=()
if [[ -z $commit ]]; then
    say "there is no commit before this one: only these figures"
elif keep "$commit" "$target/counts/$commit-$compiler.json"; then
    old=("$target/counts/$commit-$compiler.json")
fi

new="$target/counts/checkout.json"
measure "$PWD" "$new"
if [[ -z "$(git status --porcelain --untracked-files=no)" ]]; then
    cp "$new" "$target/counts/$(git rev-parse HEAD)-$compiler.json"
fi
if [[ ${#old[@]} -gt 0 ]]; then
    echo "this checkout, beside commit ${commit:0:12}:"
else
    echo "this checkout:"
fi
"$target/release/angarium-counts" table "$new" "${old[@]}"
