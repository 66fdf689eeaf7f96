import { WeftError } from '@weft/kernel/errors';
import { requireAdmin } from '../core/accounts/rights.ts';
import { getDid } from '../core/catalogue/dids.ts';
import {
  getRequest,
  getRequestHistory,
  type ListedRequest,
  listRequests,
} from '../core/conveyor/read-requests.ts';
import { printId } from '../core/names.ts';
import { printDate } from '../core/records/print.ts';
import { loadTopology } from '../core/rses/topology.ts';
import { json, lines } from './answers.ts';
import { type IssuedCall, route } from './router.ts';

const optionalId = (id: string | null) => (id === null ? null : printId(id));

function record(request: ListedRequest): Record<string, unknown> {
  return {
    id: printId(request.id),
    request_type: request.request_type,
    scope: request.scope,
    name: request.name,
    dest_rse_id: printId(request.rse_id),
    source_rse_id: optionalId(request.source_rse_id),
    dest_rse: request.dest_rse,
    source_rse: request.source_rse,
    state: request.state,
    external_id: request.external_id,
    external_host: request.external_host,
    retry_count: request.retry_count,
    err_msg: request.err_msg,
    previous_attempt_id: optionalId(request.previous_attempt_id),
    rule_id: optionalId(request.rule_id),
    activity: request.activity,
    account: request.account,
    priority: request.priority,
    bytes: request.bytes,
    md5: request.md5,
    adler32: request.adler32,
    dest_url: request.dest_url,
    requested_at: printDate(request.requested_at),
    submitted_at: printDate(request.submitted_at),
    started_at: printDate(request.started_at),
    transferred_at: printDate(request.transferred_at),
  };
}

const keyOf = async ({ lake, path }: IssuedCall) => {
  const did = await getDid(lake.database.sql, { scope: path('scope'), name: path('name') });
  const rse = (await loadTopology(lake.database.sql)).byName(path('rse'));
  return { didId: did.id, rseId: rse.id };
};

const LETTERS: Readonly<Record<string, string>> = { Q: 'QUEUED', G: 'SUBMITTING', S: 'SUBMITTED' };

/** Brief rucio-daemons 2.3. */
export const requestRoutes = [
  route('GET', '/requests/:scope/:name/:rse', async (call) => {
    const { didId, rseId } = await keyOf(call);
    return json(record(await getRequest(call.lake.database.sql, didId, rseId)));
  }),

  route('GET', '/requests/history/:scope/:name/:rse', async (call) => {
    requireAdmin(call.issuer, 'see the history of requests');
    const { didId, rseId } = await keyOf(call);
    return lines((await getRequestHistory(call.lake.database.sql, didId, rseId)).map(record));
  }),

  route('GET', '/requests/list', async ({ issuer, lake, query }) => {
    requireAdmin(issuer, 'list requests');
    const [source, destination, states] = [
      query.get('src_rse'),
      query.get('dst_rse'),
      query.get('request_states'),
    ];
    if (!source || !destination || !states) {
      throw new WeftError('invalid', 'MissingParameter', 'src_rse, dst_rse and request_states are needed.');
    }
    const topology = await loadTopology(lake.database.sql);
    const rows = await listRequests(lake.database.sql, {
      sourceId: topology.byName(source).id,
      destinationId: topology.byName(destination).id,
      states: states.split(',').map((letter) => LETTERS[letter] ?? letter),
    });
    return lines(rows.map(record));
  }),
];
