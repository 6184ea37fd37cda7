#!/bin/bash
# Exim under the benchmark, from its unpacked package in $PEERS/exim. It insists on its compiled-in configuration path,
# which lies in the benchmark's private /etc.
set -eu
S=$STATE/exim; E=$PEERS/exim/usr/sbin/exim4; C=/etc/exim4/exim4.conf
export LD_LIBRARY_PATH=$PEERS/exim/usr/lib/x86_64-linux-gnu
case $1 in
start)
	getent passwd Debian-exim >/dev/null || {
		echo 'Debian-exim:x:8103:8103::/nonexistent:/usr/sbin/nologin' >>/etc/passwd
		echo 'Debian-exim:x:8103:' >>/etc/group
	}
	mkdir -p "$S/spool" "$S/log" /etc/exim4; chmod 755 "$S"
	chown -R Debian-exim:Debian-exim "$S/spool" "$S/log"
	port=$SINK_PORT; route="driver = manualroute; route_list = * $SINK_HOST; transport = relay"
	[ "$MODE" != dns ] || { port=25; route="driver = dnslookup; transport = relay"; }
	{
	cat <<-X
	exim_path = $E
	spool_directory = $S/spool
	log_file_path = $S/log/%slog
	pid_file_path = $S/exim.pid
	primary_hostname = mta.bench.test
	local_interfaces = 127.0.0.1
	daemon_smtp_ports = $PORT
	keep_environment = LD_LIBRARY_PATH
	rfc1413_hosts =
	host_lookup =
	message_size_limit = 100M
	recipients_max = 2000
	acl_smtp_rcpt = accept
	acl_smtp_data = accept
	smtp_enforce_sync = false
	smtp_accept_max = 1000
	smtp_accept_max_per_connection = 0
	smtp_accept_queue_per_connection = 0
	smtp_connect_backlog = 1024
	split_spool_directory = true
	remote_max_parallel = 50
	queue_run_max = 50
	X
	if [ -n "${TLS_CERT:-}" ]; then
		printf 'tls_advertise_hosts = *\ntls_certificate = %s\ntls_privatekey = %s\n' "$TLS_CERT" "$TLS_CERT"
	else
		echo 'tls_advertise_hosts ='
	fi
	[ "$MODE" != hold ] || echo "queue_only"
	printf 'begin routers\ndeep:\n'
	printf 'domains = deep.test\ndriver = manualroute\nroute_list = * 127.0.0.3\ntransport = dead\nout:\n'
	echo "$route" | tr ';' '\n'
	printf 'begin transports\n'
	for t in "relay $port" "dead 2599"; do
		printf '%s:\ndriver = smtp\nport = %s\nallow_localhost\nmax_rcpt = 1000\n' "${t% *}" "${t#* }"
		printf 'hosts_avoid_tls = *\nhosts_try_dane =\ndnssec_request_domains =\n'
	done
	printf 'begin retry\n* * F,2h,15m; G,16h,1h,1.5; F,4d,6h\n'
	} >$C
	chmod 644 $C
	"$E" -bd -q30m ;;
stop) kill "$(cat "$S/exim.pid")" 2>/dev/null || true ;;
wipe) rm -rf "$S" ;;
list) exec "$E" -bp ;;
version) "$E" -C /dev/null -bV 2>/dev/null | sed -n 's/^Exim version \([^ ]*\).*/Exim \1/p' ;;
sync) echo "three fsyncs a message before 250" ;;
esac
