# What the examples of the guide use; `. docs/guide/functions.sh` brings it into a shell.

# Where the mesh is, and whose commands are meant.
export KINEMESH_URL=http://127.0.0.1:8080
PATH=$PWD/.venv/bin:$PATH

# `field KEY.KEY…` prints one value of the JSON on standard input; `jq -r .KEY.KEY` does the same.
field() {
    python3 -c 'import functools, json, sys
value = json.load(sys.stdin)
for key in sys.argv[1].split("."):
    value = value[int(key)] if isinstance(value, list) else value[key]
print(json.dumps(value) if isinstance(value, (dict, list, bool, type(None))) else value)' "$1"
}

# `ended URL KEY` waits until the job at a URL is over, by the field that says so; fails if the job did.
ended() {
    local state
    for _ in $(seq 1200); do
        state=$(curl -sf "$1" | field "$2") || return
        case ${state,,} in
            succeeded | completed | complete) return 0 ;;
            failed | cancelled) curl -s "$1" >&2; return 1 ;;
        esac
        sleep 0.25
    done
    return 1
}

# `address SERVICE` is where a service of the mesh on this machine speaks gRPC, as `kinemesh status` shows it.
address() { kinemesh status --json | field "servers.$1.address"; }

# `call [--data JSON] ADDRESS/SERVICE/METHOD` calls by gRPC; `grpcurl -plaintext` does the same.
call() { buf curl --http2-prior-knowledge --protocol grpc "$@"; }
