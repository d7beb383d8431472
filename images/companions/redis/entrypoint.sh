#!/bin/sh
# `--option …` and `file.conf …` are for the server, as in the official image; without a word on it, anybody may connect.
set -eu
case "${1-redis-server}" in
    -* | *.conf) set -- redis-server "$@" ;;
esac
if [ "$1" = redis-server ]; then
    shift
    set -- redis-server "$@" --protected-mode no
fi
exec "$@"
