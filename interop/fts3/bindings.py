"""Drives the Python bindings of the fts3 client: whoami, submit, status of several jobs, cancel. Prints JSON lines."""

import json
import sys
import time

import fts3.rest.client.easy as fts3
from fts3.rest.client.exceptions import NotFound, Unauthorized

endpoint, capath, token, source_token, destination_token, source, destination = sys.argv[1:]


def say(what, **facts):
    print(json.dumps({"what": what, **facts}), flush=True)


context = fts3.Context(endpoint, fts_access_token=token, capath=capath)
who = fts3.whoami(context)
say("whoami", vos=who["vos"], delegation_id=who["delegation_id"], method=who["method"])


def job(name, **params):
    transfer = fts3.new_transfer(
        source,
        destination + name,
        metadata={"name": name},
        source_token=source_token,
        destination_token=destination_token,
    )
    return fts3.new_job([transfer], verify_checksum="both", metadata={"issuer": "interop"}, **params)


job_id = fts3.submit(context, job("bindings"))
deadline = time.time() + 180
while fts3.get_job_status(context, job_id)["job_state"] not in ("FINISHED", "FAILED", "FINISHEDDIRTY", "CANCELED"):
    if time.time() > deadline:
        raise SystemExit("the job did not end")
    time.sleep(0.1)
status = fts3.get_job_status(context, job_id, list_files=True)
say(
    "status",
    job_state=status["job_state"],
    metadata=status["job_metadata"],
    files=[(f["file_state"], f["reason"], f["file_metadata"]) for f in status["files"]],
)

again = fts3.submit(context, job("again"))
several = fts3.get_jobs_statuses(context, [job_id, again])
say("several", ids=sorted(entry["job_id"] for entry in several) == sorted([job_id, again]))

say("list", listed=isinstance(fts3.list_jobs(context, vo=who["vos"][0]), list))
say("cancel", state=fts3.cancel(context, job_id))

try:
    fts3.get_job_status(context, "00000000-0000-0000-0000-000000000001")
except NotFound as error:
    say("missing", message=str(error))

try:
    fts3.whoami(fts3.Context(endpoint, fts_access_token=token[:-8] + "AAAAAAAA", capath=capath))
except Unauthorized as error:
    say("forged", message=str(error))
