#!/bin/sh
# Runs the server as the official image does: POSTGRES_PASSWORD, POSTGRES_USER, POSTGRES_DB, POSTGRES_HOST_AUTH_METHOD
# and POSTGRES_INITDB_ARGS in the environment, the server's own options as arguments. The image holds a cluster with the
# default settings, so that nothing but the server has to start unless POSTGRES_INITDB_ARGS asks for another.
set -eu

# The cluster that the image holds has this file until its first start.
fresh=$PGDATA/fresh

make_cluster() {
    mkdir -p "$PGDATA"
    chown postgres: "$PGDATA"
    chmod 700 "$PGDATA"
    # Arguments are words for initdb.
    # shellcheck disable=SC2086
    gosu postgres initdb --username=postgres --no-sync --auth-local=trust --auth-host=trust ${1-} > /dev/null
    echo "listen_addresses = '*'" >> "$PGDATA/postgresql.conf"
    touch "$fresh"
}

set_up() {
    if [ -z "${POSTGRES_PASSWORD-}" ] && [ "${POSTGRES_HOST_AUTH_METHOD-}" != trust ]; then
        echo 'Set POSTGRES_PASSWORD, or POSTGRES_HOST_AUTH_METHOD=trust to do without.' >&2
        exit 1
    fi
    user=${POSTGRES_USER-postgres}
    database=${POSTGRES_DB-$user}
    {
        if [ "$user" != postgres ]; then
            echo "CREATE ROLE \"$user\" SUPERUSER LOGIN;"
        fi
        if [ -n "${POSTGRES_PASSWORD-}" ]; then
            echo "ALTER ROLE \"$user\" PASSWORD '$(printf %s "$POSTGRES_PASSWORD" | sed "s/'/''/g")';"
        fi
        if [ "$database" != postgres ]; then
            echo "CREATE DATABASE \"$database\";"
        fi
    } > /tmp/first.sql
    if [ -s /tmp/first.sql ]; then
        # A server for nobody but us: one statement a line, as single-user mode reads them.
        gosu postgres postgres --single -D "$PGDATA" postgres < /tmp/first.sql > /dev/null
    fi
    rm /tmp/first.sql
    case $(cat "$PGDATA/PG_VERSION") in
        9.* | 1[0-3]) method=md5 ;;
        *) method=scram-sha-256 ;;
    esac
    echo "host all all all ${POSTGRES_HOST_AUTH_METHOD:-$method}" >> "$PGDATA/pg_hba.conf"
    rm "$fresh"
}

case "${1-postgres}" in
    --make-cluster)
        make_cluster
        exit
        ;;
    postgres) shift $(($# > 0)) ;;
    -*) ;;
    *) exec "$@" ;;
esac

if [ -e "$fresh" ] && [ -n "${POSTGRES_INITDB_ARGS-}" ]; then
    find "$PGDATA" -mindepth 1 -delete
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    make_cluster "${POSTGRES_INITDB_ARGS-}"
fi
if [ -e "$fresh" ]; then
    set_up
fi
mkdir -p /var/run/postgresql
chown postgres: /var/run/postgresql
exec gosu postgres postgres -D "$PGDATA" "$@"
