"""ask-as-teapot.py INSTANCE SITE APIKEY CA ISSUER SUBJECT: the look-up as Teapot sends it. Prints status and body as JSON."""

import hashlib
import json
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request

instance, site, apikey, authority, issuer, subject = sys.argv[1:]
url = (
    f"{instance}/api/v1/target/{site}/mapping/issuer/{hashlib.sha1(issuer.encode()).hexdigest()}"
    f"/user/{urllib.parse.quote_plus(subject)}?apikey={apikey}"
)
context = ssl.create_default_context(cafile=authority)
try:
    with urllib.request.urlopen(url, timeout=20, context=context) as answer:
        print(json.dumps({"status": answer.status, "body": json.load(answer)}))
except urllib.error.HTTPError as error:
    print(json.dumps({"status": error.code, "body": json.load(error)}))
