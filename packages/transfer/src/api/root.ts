import type { ComponentContext } from '@weft/kernel/component';
import type { FastifyInstance } from 'fastify';
import type { TransferConfig } from '../config.ts';
import { BASE_ID, uuid5 } from '../core/identifiers.ts';
import { callerOfRequest } from './callers.ts';

/** Version of the protocol that we speak; clients compare it (brief fts 2.2, 8.1 item 2). */
const API_VERSION = { major: 3, minor: 14, patch: 4 };

const JOB_LIST = '/jobs{?vo_name,user_dn,dlg_id,state_in}';

/** `GET /` and `GET /whoami`, which anybody may ask. */
export function rootRoutes(app: FastifyInstance, context: ComponentContext<TransferConfig>): void {
  app.get('/', async () => ({
    delegation: { major: 1, minor: 0, patch: 0 },
    api: API_VERSION,
    core: API_VERSION,
    schema: { major: 10, minor: 0, patch: 0 },
    _links: {
      curies: [{ name: 'fts', href: 'https://fts3-docs.web.cern.ch/fts3-docs/' }],
      'fts:whoami': { href: '/whoami', title: 'Check user certificate' },
      'fts:joblist': { href: JOB_LIST, title: 'List of active jobs', templated: true },
      'fts:job': {
        href: '/jobs/{id}',
        title: 'Job information',
        templated: true,
        hints: { allow: ['GET', 'DELETE'] },
      },
      'fts:jobsubmit': { href: '/jobs', hints: { allow: ['POST'], representations: ['fts:submitschema'] } },
    },
  }));

  app.get('/whoami', async (request) => {
    const caller = await callerOfRequest(context, request);
    if (caller === undefined) {
      return {
        user_dn: 'anon',
        dn: ['anon'],
        base_id: BASE_ID,
        voms_cred: [],
        vos: [],
        vos_id: [],
        roles: [],
        level: {},
        delegation_id: null,
        method: 'unauthenticated',
        is_root: false,
      };
    }
    return {
      user_dn: caller.userDn,
      dn: [caller.userDn],
      base_id: BASE_ID,
      voms_cred: caller.scopes,
      vos: [caller.vo],
      vos_id: [uuid5(BASE_ID, caller.vo)],
      roles: [],
      level: caller.transfer === 'none' ? {} : { transfer: caller.transfer === 'vo' ? 'vo' : '' },
      delegation_id: caller.delegationId,
      method: 'oauth2',
      is_root: false,
      oauth2_scope: caller.scopes.join(' '),
      wlcg_profile: '1.0',
    };
  });

  app.get('/whoami/certificate', async (_request, reply) =>
    reply.code(404).send({ status: '404 Not Found', message: 'No client certificate was presented' }),
  );
}
