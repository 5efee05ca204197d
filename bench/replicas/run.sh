#!/usr/bin/env bash
# Three servers behind HAProxy and behind nginx, under load, while replicas restart, die,
# freeze or are full: `bench/replicas/run.sh [--seconds S] [--only haproxy/http/restart]`.
# Needs Debian's haproxy and nginx, and PyPI once. As root, every server has a network
# namespace of its own; otherwise they listen on 127.0.0.11 to 13. All traffic stays on
# this machine. RESNET is the binary.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD/bench/replicas
work=${WORK:-$PWD/target/replicas}
export RESNET=${RESNET:-$PWD/target/release/resnet} WORK=$work PYTHONDONTWRITEBYTECODE=1

skip() { echo "skipped: replicas: $*"; exit 0; }
for tool in python3 haproxy nginx ip; do
    command -v "$tool" > /dev/null || PATH=$PATH:/usr/sbin command -v "$tool" > /dev/null || skip "$tool is not installed"
done
export PATH=$PATH:/usr/sbin:/sbin
[ -x "$RESNET" ] || { echo "there is no $RESNET; run cargo build --release"; exit 1; }
mkdir -p "$work"
if ! cmp --silent "$here/requirements.txt" "$work/installed.txt"; then
    python3 -m venv --clear "$work/venv" || skip "python3 has no venv module"
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt" \
        || skip "PyPI cannot be reached"
    cp "$here/requirements.txt" "$work/installed.txt"
fi

# One namespace with a bridge for the clients and the balancer, one for each replica.
names=(a b c)
remove() { for name in lb "${names[@]}"; do ip netns delete "resnet-$name" 2> /dev/null || true; done; }
if ip netns add resnet-lb 2> /dev/null; then
    trap remove EXIT
    ip -n resnet-lb link set lo up
    ip -n resnet-lb link add replicas type bridge
    ip -n resnet-lb address add 10.77.0.1/24 dev replicas
    ip -n resnet-lb link set replicas up
    for number in 0 1 2; do
        name=${names[number]}
        ip netns add "resnet-$name"
        ip -n "resnet-$name" link set lo up
        ip -n resnet-lb link add "to-$name" type veth peer name eth0 netns "resnet-$name"
        ip -n resnet-lb link set "to-$name" master replicas up
        ip -n "resnet-$name" address add "10.77.0.$((11 + number))/24" dev eth0
        ip -n "resnet-$name" link set eth0 up
    done
    NETWORK=10.77.0 ip netns exec resnet-lb "$work/venv/bin/python" "$here/scenarios.py" "$@"
else
    NETWORK=127.0.0 "$work/venv/bin/python" "$here/scenarios.py" "$@"
fi
