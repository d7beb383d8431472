"""Kills the process that it runs at a moment, or holds its background updates, as the ending of a leg demands.

Inside the process there is no race: what a log line tells is over when somebody reads it.
"""

import json
import logging
import os
import runpy
import signal
import sys
import threading

TOLD = json.loads(os.environ["UPGRADES_HOOK"])
KILL = TOLD.get("kill")
NOTED = "INSERT INTO applied_schema_deltas"


def say(text):
    sys.stderr.write("upgrades: %s\n" % text)
    sys.stderr.flush()


def strike(moment):
    say("killed at " + moment)
    os.kill(os.getpid(), signal.SIGKILL)


def come(moment):
    """The event has come; only the first time counts."""
    global KILL
    KILL = None
    if TOLD["after"]:
        timer = threading.Timer(TOLD["after"] / 1000.0, strike, [moment])
        timer.daemon = True
        timer.start()
    else:
        strike(moment)


def about_to_execute(statement, parameters):
    if statement.startswith(NOTED) and parameters:
        delta = parameters[0][1]
        say("delta " + delta)
        if KILL and "delta" in KILL and delta.startswith(KILL["delta"]):
            come("delta=" + delta)


class Cursor(object):
    """A cursor that tells what it is about to execute."""

    def __init__(self, inner):
        object.__setattr__(self, "inner", inner)

    def execute(self, statement, *parameters):
        about_to_execute(statement, parameters)
        return self.inner.execute(statement, *parameters)

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def __setattr__(self, name, value):
        setattr(self.inner, name, value)

    def __iter__(self):
        return iter(self.inner)


def watch_deltas():
    import synapse.storage.prepare_database as prepare

    upgrade = prepare._upgrade_existing_database
    prepare._upgrade_existing_database = lambda cur, *rest, **named: upgrade(Cursor(cur), *rest, **named)


def watch_updates():
    from twisted.internet.defer import Deferred

    import synapse.storage.background_updates as updates

    updater = getattr(updates, "BackgroundUpdater", None) or updates.BackgroundUpdateStore
    original = updater._do_background_update
    hold, batches, held = TOLD.get("hold"), {}, []

    def do(self, *rest):
        name = rest[0] if isinstance(rest[0], str) else self._current_background_update
        if hold is not None and sum(batches.values()) >= hold:
            say("held")
            held.append(Deferred())
            return held[-1]
        batches[name] = batches.get(name, 0) + 1
        say("update %s, batch %d" % (name, batches[name]))
        if KILL and KILL.get("update") == name and KILL.get("batch") == batches[name]:
            come("update=%s,batch=%d" % (name, batches[name]))
        return original(self, *rest)

    updater._do_background_update = do
    end = updater._end_background_update

    def done(self, update_name):
        say("update %s, done" % update_name)
        if KILL and KILL.get("update") == update_name and "batch" not in KILL:
            come("update=%s,done" % update_name)
        return end(self, update_name)

    updater._end_background_update = done
    if hold or (KILL and KILL.get("batch", 1) > 1):
        # Few rows make many batches only if batches are small.
        updater.MINIMUM_BACKGROUND_BATCH_SIZE = updater.DEFAULT_BACKGROUND_BATCH_SIZE = 1
        updates.BackgroundUpdatePerformance.average_items_per_ms = lambda self: None

        async def one(*rest):
            return 1

        updater._default_batch_size = updater._min_batch_size = one


def watch_log():
    original = logging.Logger.callHandlers

    def call(self, record):
        original(self, record)
        if KILL and KILL["log"] in record.getMessage():
            come("log=" + json.dumps(KILL["log"]))

    logging.Logger.callHandlers = call


if KILL == {}:
    come("ms=%d" % TOLD["after"])
elif KILL and "log" in KILL:
    watch_log()
watch_deltas()
watch_updates()
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
