#!/usr/bin/env bash
# Starts the pipeline in containers, waits until all of it is healthy, and says where to look.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: deploy.sh [options]

  --mode candles|ticks   candles (default): everything; ticks: trades and ratios, no candles
  --feed demo|real       demo (default): the bundled feed; real: the vendor's, with POLYGON_API_KEY in .env
  --symbol SYMBOL        a stock to follow; repeat it, or separate by commas (default: SYMBOLS in .env)
  --duration SECONDS     stop after so long; without it the pipeline goes on until you stop it
  --no-monitoring        without Prometheus and Grafana
  --build                build the image although there is one of this version
  --help                 show this

The data stays in volumes when the pipeline stops. The project's docs/deployment.md tells more.
TEXT
}

fail() { echo "deploy.sh: $*" >&2; exit 2; }
say() { echo "deploy.sh: $*"; }

mode=candles feed=demo symbols="" duration="" monitoring=yes build=no
while [ $# -gt 0 ]; do
  case "$1" in
    --mode | --feed | --symbol | --duration)
      [ $# -ge 2 ] || fail "$1 needs a value; see --help"
      case "$1" in
        --mode) mode="$2" ;;
        --feed) feed="$2" ;;
        --symbol) symbols="${symbols:+$symbols,}$2" ;;
        --duration) duration="$2" ;;
      esac
      shift 2
      ;;
    --no-monitoring) monitoring=no; shift ;;
    --build) build=yes; shift ;;
    -h | --help) usage; exit 0 ;;
    *) fail "unknown option $1; see --help" ;;
  esac
done
case "$mode" in candles | ticks) ;; *) fail "--mode is candles or ticks, not $mode" ;; esac
case "$feed" in demo | real) ;; *) fail "--feed is demo or real, not $feed" ;; esac
[[ -z "$symbols" || "$symbols" =~ ^[A-Z0-9.]+(,[A-Z0-9.]+)*$ ]] || fail "--symbol $symbols: stocks such as MARA or BRK.B"
[[ -z "$duration" || "$duration" =~ ^[1-9][0-9]*$ ]] || fail "--duration $duration: whole seconds, 1 or more"

cd "$(dirname "${BASH_SOURCE[0]}")"
root="$(cd ../.. && pwd)"

docker info >/dev/null 2>&1 || fail "no Docker engine answers: start it, or run without containers by \`make run\`"
if docker compose version >/dev/null 2>&1; then
  compose=(docker compose)
elif command -v docker-compose >/dev/null; then
  compose=(docker-compose)
else
  fail "Docker Compose 2 is needed: install Docker's compose plugin"
fi

random() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }
if [ ! -e .env ]; then
  # Nobody but its owner may read the passwords.
  (
    umask 077
    sed -e "s/^POSTGRES_PASSWORD=$/POSTGRES_PASSWORD=$(random)/" \
      -e "s/^GRAFANA_PASSWORD=$/GRAFANA_PASSWORD=$(random)/" .env.example >.env
  )
  say "made $PWD/.env with new passwords"
fi
setting() { sed -n "s/^$1=//p" .env | tail -n 1; }
if [ "$feed" = real ] && [ -z "${POLYGON_API_KEY:-$(setting POLYGON_API_KEY)}" ]; then
  fail "--feed real needs POLYGON_API_KEY in $PWD/.env"
fi

MARKET_VERSION="${MARKET_VERSION:-$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/pyproject.toml")}"
COMPOSE_PROFILES="$feed,$mode"
[ "$monitoring" = no ] || COMPOSE_PROFILES="$COMPOSE_PROFILES,monitoring"
export MARKET_VERSION COMPOSE_PROFILES
[ -z "$symbols" ] || export SYMBOLS="$symbols"

image="market-pipeline:$MARKET_VERSION"
if [ "$build" = yes ] || ! docker image inspect "$image" >/dev/null 2>&1; then
  say "building $image"
  revision="$(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)"
  docker build --quiet --tag "$image" --build-arg VERSION="$MARKET_VERSION" --build-arg REVISION="$revision" "$root"
fi

# Of an earlier run with other options something may still be there that is not wanted now.
wanted="$("${compose[@]}" config --services)"
for service in $("${compose[@]}" --profile '*' ps --all --services); do
  grep -qx "$service" <<<"$wanted" || "${compose[@]}" --profile '*' rm --stop --force "$service"
done

pause=""
stop() {
  [ -z "$pause" ] || kill "$pause" 2>/dev/null || true
  say "stopping; the data stays (to delete it: ${compose[*]} --profile '*' down --volumes)"
  "${compose[@]}" --profile '*' down
}
if [ -n "$duration" ]; then
  trap 'stop; exit 130' INT TERM
fi

began=$SECONDS
if ! "${compose[@]}" up --detach --no-build --wait --wait-timeout 300; then
  "${compose[@]}" ps --all
  fail "not everything became healthy; look with: ${compose[*]} logs SERVICE"
fi
say "healthy after $((SECONDS - began)) s, mode $mode, feed $feed"
"${compose[@]}" ps
port() { local named; named="$(setting "$1")"; echo "${!1:-${named:-$2}}"; }
say "Kafka:      127.0.0.1:$(port KAFKA_PORT 9092)"
say "database:   ${compose[*]} exec database psql -U market   (in $PWD), port $(port POSTGRES_PORT 5432)"
if [ "$monitoring" = yes ]; then
  say "Prometheus: http://127.0.0.1:$(port PROMETHEUS_PORT 9090)"
  say "Grafana:    http://127.0.0.1:$(port GRAFANA_PORT 3000)   (admin, GRAFANA_PASSWORD in .env)"
fi
if [ -z "$duration" ]; then
  say "to stop:    (cd $PWD && ${compose[*]} --profile '*' down)"
  exit 0
fi
say "stopping by itself after $duration s; Ctrl-C stops sooner"
sleep "$duration" &
pause=$!
wait "$pause"
trap - INT TERM
stop
