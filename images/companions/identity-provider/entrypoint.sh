#!/bin/sh
# Runs the portal and a web server in front of it. SIGHUP reads /etc/idp/config.json again.
set -eu
umask 007

start() {
    python3 /configure.py
    chown www-data: /var/lib/lemonldap-ng/conf/lmConf-1.json
    rm -rf /var/lib/lemonldap-ng/cache/*
    llng-fastcgi-server --foreground --proc 2 --user www-data --group www-data &
    portal=$!
}

stop() {
    kill "$portal"
    wait "$portal" || true
}

mkdir -p /run/llng-fastcgi-server
chown www-data: /run/llng-fastcgi-server
start
nginx -g 'daemon off;' &
web=$!
trap 'stop; start' HUP
trap 'stop; kill $web; exit 0' TERM INT
echo ready
while kill -0 "$web" 2> /dev/null; do
    wait "$web" || true
done
