#!/bin/bash
# Postfix under the benchmark, from its unpacked package in $PEERS/postfix, settings tuned for throughput.
set -eu
S=$STATE/postfix; C=$S/etc; R=$PEERS/postfix
export LD_LIBRARY_PATH=$R/usr/lib/postfix MAIL_CONFIG=$C
case $1 in
start)
	getent passwd postfix >/dev/null || {
		echo 'postfix:x:8101:8101::/nonexistent:/usr/sbin/nologin' >>/etc/passwd
		printf 'postfix:x:8101:\npostdrop:x:8102:\n' >>/etc/group
	}
	mkdir -p "$C" "$S/spool" "$S/lib"; chown postfix "$S/lib"; chmod 755 "$S"
	for d in active bounce corrupt defer deferred flush hold incoming private saved trace; do
		mkdir -p -m 700 "$S/spool/$d"; chown postfix "$S/spool/$d"
	done
	mkdir -p "$S/spool/pid" "$S/spool/public" "$S/spool/maildrop"
	chown postfix:postdrop "$S/spool/public" "$S/spool/maildrop"; chmod 2710 "$S/spool/public"; chmod 1730 "$S/spool/maildrop"
	# Debian's list of services; the only changes are our port and no chroot.
	sed -E "s/^smtp( +inet)/127.0.0.1:$PORT\1/; s/^([a-z0-9:.]+ +(inet|unix|unix-dgram|fifo|pass) +[-yn] +[-yn] +)[-y] /\1n /" \
		"$R/usr/share/postfix/master.cf.dist" >"$C/master.cf"
	cat >"$C/main.cf" <<-X
	compatibility_level = 3.6
	queue_directory = $S/spool
	data_directory = $S/lib
	daemon_directory = $R/usr/lib/postfix/sbin
	command_directory = $R/usr/sbin
	shlib_directory = $R/usr/lib/postfix
	meta_directory = $R/etc/postfix
	import_environment = LD_LIBRARY_PATH MAIL_CONFIG
	export_environment = LD_LIBRARY_PATH MAIL_CONFIG
	myhostname = mta.bench.test
	mydestination =
	mynetworks = 127.0.0.0/8
	alias_maps =
	alias_database =
	local_recipient_maps =
	inet_interfaces = 127.0.0.1
	inet_protocols = ipv4
	smtp_bind_address = 127.0.0.1
	message_size_limit = 104857600
	smtpd_recipient_limit = 2000
	default_process_limit = 250
	in_flow_delay = 0
	default_destination_concurrency_limit = 100
	initial_destination_concurrency = 50
	qmgr_message_active_limit = 50000
	qmgr_message_recipient_limit = 50000
	smtp_destination_recipient_limit = 1000
	smtpd_peername_lookup = no
	smtp_tls_security_level = none
	max_use = 1000
	X
	[ "$MODE" = dns ] || echo "relayhost = [$SINK_HOST]:$SINK_PORT" >>"$C/main.cf"
	case $MODE in
	hold) echo "smtpd_client_restrictions = check_client_access static:HOLD" ;;
	deep) echo "transport_maps = inline:{deep.test=smtp:[127.0.0.3]:2599}" ;;
	esac >>"$C/main.cf"
	[ -z "${EXTRA:-}" ] || printf '%s\n' "$EXTRA" >>"$C/main.cf"
	[ -z "${TLS_CERT:-}" ] || printf 'smtpd_tls_security_level = may\nsmtpd_tls_chain_files = %s\n' "$TLS_CERT" >>"$C/main.cf"
	"$R/usr/lib/postfix/sbin/master" -d -c "$C" </dev/null >"$S/out" 2>&1 & ;;
stop) kill "$(tr -d ' ' <"$S/spool/pid/master.pid")" 2>/dev/null || true ;;
wipe) rm -rf "$S" ;;
list) exec "$R/usr/sbin/postqueue" -c "$C" -p ;;
list-json) exec "$R/usr/sbin/postqueue" -c "$C" -j ;;
desk)
	case $2 in
	hold-all) exec "$R/usr/sbin/postsuper" -c "$C" -h ALL ;;
	release-all) exec "$R/usr/sbin/postsuper" -c "$C" -H ALL ;;
	esac ;;
version) echo "Postfix $("$R/usr/sbin/postconf" -dh mail_version 2>/dev/null)" ;;
sync) echo "fsync of each message's file before 250" ;;
esac
