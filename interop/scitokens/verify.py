# verify.py ISSUER AUDIENCE ACTION PATH TOKEN: whether the SciTokens library lets the token do that, as JSON.
import json
import sys

import scitokens

issuer, audience, action, path, raw = sys.argv[1:]
try:
    token = scitokens.SciToken.deserialize(raw, audience=audience)
    enforcer = scitokens.Enforcer(issuer, audience=audience)
    # Claims of RFC 9068 and of the WLCG profile: the library refuses tokens with claims that nobody registered.
    for claim in ("client_id", "wlcg.ver", "wlcg.groups", "preferred_username", "auth_time"):
        enforcer.add_validator(claim, lambda value: True)
    allowed = enforcer.test(token, action, path)
    print(json.dumps({"allowed": allowed, "subject": token["sub"], "reason": enforcer.last_failure}))
except Exception as error:
    print(json.dumps({"allowed": False, "refused": f"{type(error).__name__}: {error}"}))
