#!/bin/bash
# Mansio under the benchmark: the tree's own release build, default settings but for the parallel sessions to one next hop.
set -eu
S=$STATE/mansio; C=$S/mansio.conf
case $1 in
start)
	mkdir -p "$S/state" "$S/run"; chown nobody "$S/state" "$S/run"; chmod 755 "$S"
	{
	cat <<-X
	hostname = "mta.bench.test"
	user = "nobody"
	state_dir = "$S/state"
	run_dir = "$S/run"
	log { to = "stderr" level = "info" }
	relay_from = { "127.0.0.0/8" }
	dns { servers = { "127.0.0.1:53" } }
	retry { plan = { "${RETRY:-2h}" } }
	limits { message_size = "100M" recipients = 2000 sessions_per_client = ${SESSIONS_PER_CLIENT:-1000} connections_per_lane = ${LANE_CONNECTIONS:-50} }
	X
	tls=none
	if [ -n "${TLS_CERT:-}" ]; then
		cp "$TLS_CERT" "$S/cert.pem"; chown nobody "$S/cert.pem"
		echo "tls { certificate = \"$S/cert.pem\" key = \"$S/cert.pem\" }"; tls=opportunistic
	fi
	echo "listen smtp { address = \"127.0.0.1:$PORT\" tls = \"$tls\" }"
	case $MODE in
	hold) echo 'route "*" { via = "hold" }' ;;
	dns) echo 'route "*" { via = "mx" }' ;;
	*) echo "route \"*\" { via = \"relay:[$SINK_HOST]:$SINK_PORT\" }" ;;
	esac
	[ -z "${EXTRA:-}" ] || printf '%s\n' "$EXTRA"
	[ "$MODE" != deep ] || echo 'route "deep.test" { via = "relay:[127.0.0.3]:2599" }'
	} >"$C"
	"$BUILD/mansiod" -c "$C" </dev/null >>"$S/log" 2>&1 &
	echo $! >"$S/pid" ;;
stop) kill "$(cat "$S/pid")" 2>/dev/null || true ;;
wipe) rm -rf "$S" ;;
fill) mkdir -p "$S/state"; shift; "$BUILD/tests/queue_fill" "$S/state/queue" "$@" >&2; chown -R nobody "$S/state" ;;
list) exec "$BUILD/mailq" -c "$C" ;;
list-json) exec "$BUILD/queuectl" -c "$C" --json list ;;
desk) shift
	case $1 in
	hold-all) exec "$BUILD/queuectl" -c "$C" hold --yes all ;;
	hold) exec "$BUILD/queuectl" -c "$C" hold --yes "$2" ;;
	*) exec "$BUILD/queuectl" -c "$C" "$@" ;;
	esac ;;
version) "$BUILD/mansiod" -V ;;
sync) echo "data sync and synced meta write of one LMDB commit for all that came meanwhile, before 250" ;;
esac
