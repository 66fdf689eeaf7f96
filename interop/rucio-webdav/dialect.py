"""Rucio's own WebDAV protocol class, method by method, against one storage. Prints one JSON line a step."""

import json
import logging
import os
import sys
import warnings
from urllib.parse import urlparse

warnings.filterwarnings('ignore')
logging.disable(logging.WARNING)

from rucio.common import exception  # noqa: E402
from rucio.rse import rsemanager  # noqa: E402
from rucio.rse.protocols.webdav import Default  # noqa: E402

url, token, folder = sys.argv[1:]
rsemanager.CLIENT_MODE = True
rsemanager.SERVER_MODE = False
parsed = urlparse(url)


def open_protocol(auth_token):
    attributes = {
        'auth_token': auth_token,
        'scheme': 'https',
        'hostname': parsed.hostname,
        'port': parsed.port,
        'prefix': parsed.path,
        'extended_attributes': None,
    }
    settings = {'rse': 'OURS', 'id': '0', 'sign_url': None, 'deterministic': False}
    return Default(attributes, settings)


def tell(step, value):
    print(json.dumps({'step': step, 'value': value}), flush=True)


def refusal(step, work):
    try:
        tell(step, f'no refusal: {work()}')
    except exception.RucioException as error:
        tell(step, type(error).__name__)


ours = open_protocol(token)
ours.connect({'auth_type': 'token', 'cert': None})
tell('connect', 'done')

source = os.path.join(folder, 'source')
temporary = ours.path2pfn('scope/ab/cd/file.rucio.upload')
final = ours.path2pfn('scope/ab/cd/file')
tell('exists before', ours.exists(final))
ours.put(source, temporary)
tell('exists after put', ours.exists(temporary))
tell('stat', ours.stat(temporary)['filesize'])
ours.rename(temporary, final)
tell('exists under its name', [ours.exists(temporary), ours.exists(final)])
ours.get(final, os.path.join(folder, 'copy'))
with open(source, 'rb') as one, open(os.path.join(folder, 'copy'), 'rb') as other:
    tell('the same bytes', one.read() == other.read())
tell('ls', [os.path.basename(name) for name in ours.ls(ours.path2pfn('scope/ab/cd'))])
ours.rename(final, ours.path2pfn('scope/ef/gh/file'))
final = ours.path2pfn('scope/ef/gh/file')
tell('rename into folders that were not there', ours.exists(final))
total, unused = ours.get_space_usage()
tell('space', int(total) >= int(unused) > 0)
refusal('get of nothing', lambda: ours.get(ours.path2pfn('scope/nothing'), os.path.join(folder, 'none')))
refusal('rename of nothing', lambda: ours.rename(ours.path2pfn('scope/nothing'), ours.path2pfn('scope/else')))
refusal('delete of nothing', lambda: ours.delete(ours.path2pfn('scope/nothing')))
ours.delete(final)
tell('exists after delete', ours.exists(final))
ours.mkdir(ours.path2pfn('scope'))
ours.close()

stranger = open_protocol('no-token')
refusal('connect with a bad token', lambda: stranger.connect({'auth_type': 'token', 'cert': None}))
