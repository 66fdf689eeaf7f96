# verify.py ISSUER AUDIENCE TOKEN: what flaat makes of a token, as JSON. Exit code 1: refused.
import json
import sys

from flaat import BaseFlaat
from flaat.exceptions import FlaatException

issuer, audience, token = sys.argv[1:]
flaat = BaseFlaat()
flaat.set_trusted_OP_list([issuer])
flaat.set_request_timeout(10)
try:
    infos = flaat.get_user_infos_from_access_token(token)
    flaat._reject_unusable_user_infos(infos)
except FlaatException as error:
    print(json.dumps({"refused": str(error)}))
    sys.exit(1)
if infos is None:
    print(json.dumps({"refused": "no user infos"}))
    sys.exit(1)
checked = infos.access_token_info is not None and infos.access_token_info.verification is not None
print(json.dumps({"issuer": infos.issuer, "subject": infos.subject, "verified": checked, "userinfo": infos.user_info}))
