#!/bin/bash
# OpenSMTPD under the benchmark, from its unpacked package in $PEERS/opensmtpd. Spool and helper paths are compiled in;
# the benchmark's private /var/spool and /usr/libexec hold them.
set -eu
B=$PEERS/opensmtpd/usr/sbin; S=$STATE/opensmtpd; Q=/var/spool/smtpd
export LD_LIBRARY_PATH=$PEERS/opensmtpd/usr/lib/x86_64-linux-gnu
case $1 in
start)
	id=8104
	for u in opensmtpd opensmtpq; do
		getent passwd $u >/dev/null || {
			echo "$u:x:$id:$id::/nonexistent:/usr/sbin/nologin" >>/etc/passwd; echo "$u:x:$id:" >>/etc/group
		}
		id=$((id + 1))
	done
	mkdir -p "$S/spool" $Q /var/lib/opensmtpd/empty; chmod 755 "$S"
	mountpoint -q $Q || mount --bind "$S/spool" $Q
	mkdir -p $Q/{queue,purge,corrupt,offline,temporary,incoming}; chmod 711 $Q
	chown root:root $Q; chown opensmtpq:root $Q/{queue,purge,corrupt,temporary,incoming}
	chmod 700 $Q/{queue,purge,corrupt,temporary,incoming}
	chown root:opensmtpq $Q/offline; chmod 770 $Q/offline
	{
	[ -z "${TLS_CERT:-}" ] || printf 'pki bench cert "%s"\npki bench key "%s"\n' "$TLS_CERT" "$TLS_CERT"
	cat <<-X
	smtp max-message-size "100M"
	listen on 127.0.0.1 port $PORT hostname mta.bench.test ${TLS_CERT:+tls pki bench}
	smtp limit max-mails 1000000
	smtp limit max-rcpt 2000
	mta limit max-conn-per-host 100
	mta limit max-conn-per-route 100
	mta limit max-conn-per-source 500
	mta limit max-conn-per-relay 100
	mta limit max-conn-per-connector 500
	mta limit max-conn-per-domain 100
	mta limit conn-delay-host 0
	mta limit conn-delay-route 0
	mta limit conn-delay-source 0
	mta limit conn-delay-connector 0
	mta limit conn-delay-relay 0
	mta limit conn-delay-domain 0
	mta limit session-transaction-delay 0
	mta limit session-mail-max 1000
	scheduler limit max-inflight 20000
	scheduler limit max-evp-batch-size 1024
	scheduler limit max-msg-batch-size 1024
	X
	r=relay; [ "$MODE" = dns ] || r="relay host smtp://$SINK_HOST:$SINK_PORT"
	printf 'action "out" %s\naction "dead" relay host smtp://127.0.0.3:2599\n' "$r"
	printf 'match from any for domain deep.test action "dead"\nmatch from any for any action "out"\n'
	} >"$S/smtpd.conf"
	paused=; [ "$MODE" != hold ] || paused="-P mta"
	"$B/smtpd" -d -f "$S/smtpd.conf" $paused </dev/null >>"$S/log" 2>&1 &
	echo $! >"$S/pid" ;;
stop) kill "$(cat "$S/pid")" 2>/dev/null || true ;;
wipe) mountpoint -q $Q && umount $Q; rm -rf "$S" ;;
list) exec "$B/smtpctl" show queue ;;
version) "$B/smtpd" -h 2>&1 | sed -n 's/^version: //p' ;;
sync) echo "none before 250" ;;
esac
