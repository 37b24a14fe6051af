#!/bin/sh
# Everything, on real stores. Needs Rust, a C compiler, a crates registry, a Redis server, which
# tools/redis-server finds or fetches, and a DynamoDB server, which tools/dynamodb-server builds; ends
# with "N passed, 0 failed".
set -eu
cd "$(dirname "$0")"

target=${CARGO_TARGET_DIR:-target}
log=$target/test-log
tools=$target/tools
cargo_deny_version=0.20.2
mkdir -p "$log" "$tools"
rm -f "$log"/*.txt
export CARGO_TERM_COLOR=never

finish() {
    status=$?
    cat "$log"/*.txt 2>/dev/null | awk -v status="$status" '
        /^test result:/ { passed += $4; failed += $6; ignored += $8 }
        END {
            if (status != 0 && failed == 0) failed = 1
            if (ignored) printf "%d ignored\n", ignored
            printf "%d passed, %d failed\n", passed, failed
        }'
    exit "$status"
}
trap finish EXIT

# Runs a command under a heading, and shows what it says, but for what went well, only if it fails.
number=0
step() {
    title=$1
    shift
    number=$((number + 1))
    out=$log/$(printf '%02d' "$number").txt
    printf '%-64s' "$title"
    began=$(date +%s)
    if "$@" >"$out" 2>&1; then
        printf 'ok  %4d s\n' "$(($(date +%s) - began))"
    else
        printf 'FAILED\n\n'
        grep -vE '^ *(Compiling|Checking|Running|Doc-tests|Finished) |^test .* (ok|ignored.*)$|^test result: ok|^running |^$' "$out" || :
        printf '\nall of it: %s\n' "$out"
        exit 1
    fi
}

# Of every crate with all features, and of the facade with fewer: a link to what a feature adds
# resolves only with it.
documentation() {
    export RUSTDOCFLAGS="-D warnings"
    cargo doc --locked --workspace --all-features --no-deps || return 1
    for features in "" sqlite redis redis,dynamo; do
        cargo doc --locked -p world --no-deps --no-default-features --features "$features" || return 1
    done
}

quickstart() {
    cargo run --locked --quiet --example quickstart >"$log/quickstart.out"
    cat "$log/quickstart.out"
    [ "$(tail -n 1 "$log/quickstart.out")" = "every finished step ran exactly once" ]
}

redis_server() {
    TEST_REDIS_SERVER=$(tools/redis-server) && export TEST_REDIS_SERVER && "$TEST_REDIS_SERVER" --version
}

dynamodb_server() { TEST_DYNAMODB_SERVER=$(tools/dynamodb-server) && export TEST_DYNAMODB_SERVER; }

formatting() {
    cargo fmt --all --check && cargo fmt --manifest-path tools/dynamodb/Cargo.toml --check
}

# What the conformance suites have proven, a line each.
proven() {
    awk '/ conformance$/ { suite = $1 }
        /^all  / { cases = $2; seeds = $5; calls = $6; faults = $7 }
        /^rules proven:/ {
            printf "  %s: %s, %d cases, %d seeds, %d store calls, %d faults\n", suite, $0, cases, seeds, calls, faults
        }
        /broken worlds caught$/ { print "  " $0 }' "$out"
}

deny() { cargo deny --all-features --locked "$@"; }

step "formatting" formatting
step "lints" cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
step "a Redis server for the tests" redis_server
step "a DynamoDB server for the tests" dynamodb_server
step "tests and documentation's examples, all features" \
    cargo test --locked --workspace --all-features --no-fail-fast
proven
step "the facade without features" cargo test --locked -p world --lib --no-default-features
step "the facade with sqlite" cargo test --locked -p world --lib --no-default-features --features sqlite
step "the facade with redis and dynamo" \
    cargo test --locked -p world --lib --no-default-features --features redis,dynamo
step "documentation" documentation
step "quickstart: two kills" quickstart
step "the least Rust version" tools/msrv --check

PATH=$PATH:$PWD/$tools/bin
case $target in /*) PATH=$PATH:$tools/bin ;; esac
if ! command -v cargo-deny >/dev/null; then
    step "cargo-deny $cargo_deny_version, once" cargo install --quiet --locked --debug \
        --root "$tools" --target-dir "$tools/build" "cargo-deny@$cargo_deny_version"
    rm -rf "$tools/build"
fi
step "licences, duplicates and sources of dependencies" deny check licenses bans sources
step "the same of the DynamoDB server" deny --manifest-path tools/dynamodb/Cargo.toml \
    --config deny.toml check licenses bans sources
# The advisories are a git repository, which cannot be fetched from everywhere.
within=
if command -v timeout >/dev/null; then within="timeout 120"; fi
if $within cargo deny fetch db >"$log/fetch" 2>&1; then
    step "security advisories" deny --offline check advisories
else
    printf '%-64snot checked: their database cannot be fetched from here\n' "security advisories"
fi
