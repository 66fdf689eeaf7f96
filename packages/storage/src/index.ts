import { fileURLToPath } from 'node:url';
import type { Principal } from '@weft/kernel/auth';
import { defineComponent } from '@weft/kernel/component';
import type { CloudEvent } from '@weft/kernel/events';
import { z } from 'zod';
import { accessFields } from './api/access-log.ts';
import { printError } from './api/errors.ts';
import { WEBDAV_METHODS } from './api/methods.ts';
import { registerRoutes, serve } from './api/routes.ts';
import { storageConfig } from './config.ts';
import { mayDo } from './core/authorise.ts';
import type { Door } from './core/door.ts';
import { openDoor } from './core/open-door.ts';
import { operateTape } from './daemons/operate-tape.ts';

export { type StorageConfig, storageConfig, storageSection } from './config.ts';
export { examineStorage } from './core/self-test/examine-storage.ts';

/** WebDAV and HTTP third-party copy on storage that a site already has. One process serves one instance. */
export const storage = defineComponent({
  name: 'storage',
  config: storageConfig,
  migrations: fileURLToPath(new URL('./db/migrations', import.meta.url)),
  daemons: [],
  async listeners(context) {
    const door = await openDoor(context);
    const { config } = context;
    return [
      {
        name: `door-${config.site}`,
        host: config.listen.host,
        port: config.listen.port,
        url: config.url,
        events: (principal, event) => maySee(door, principal, event),
        options: {
          rawBodies: true,
          rawTargets: true,
          deferContinue: true,
          logFields: accessFields,
          requestClientCertificate: config.client_certificates,
          methods: WEBDAV_METHODS.map((name) => ({ name, hasBody: false })),
          printError: (error, request, reply) => {
            reply.hijack();
            printError(error, request.raw, reply.raw, { log: request.log, basic: config.app_passwords });
          },
          printNotFound: (request, reply) => {
            reply.hijack();
            return serve(door, request, reply);
          },
        },
        routes: (app) => {
          registerRoutes(app, door);
          // Its work is of this instance, hence done by the processes that serve the instance.
          const drives = door.tape && operateTape(context, door.tape, door.accessFiles);
          app.addHook('preClose', async () => drives?.stop());
        },
      },
    ];
  },
});

export default storage;

const eventData = z.object({ site: z.string(), account: z.string().optional(), path: z.string() });

/** Events of this site, about paths that the caller may read; in multi-user mode, of the caller's own account. */
function maySee({ config, multiUser, access }: Door, principal: Principal, event: CloudEvent): boolean {
  const data = eventData.safeParse(event.data);
  if (!data.success || data.data.site !== config.site) return false;
  if (multiUser && data.data.account !== multiUser.accountOf(principal)) return false;
  const segments = data.data.path.split('/').filter((segment) => segment !== '');
  return mayDo(access ? access.enter(principal) : principal, 'read-data', segments);
}
