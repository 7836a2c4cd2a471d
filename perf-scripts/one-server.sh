# What measure.sh and knobs.sh share; they source it. One server at a time, its data in $folder/data, and nothing of
# either left at the end.

folder="$(mktemp -d)"
server=""

stop() {
    if [[ -n $server ]] && kill -0 "$server" 2>/dev/null; then
        kill -TERM "$server"
        wait "$server" || true
    fi
    server=""
    rm -rf "$folder/data"
}
trap 'stop; rm -rf "$folder"' EXIT
