import { mkdirSync } from 'node:fs';
import path from 'node:path';
import type { FastifyInstance } from 'fastify';
import type { output, ZodType } from 'zod';
import packageJson from '../../package.json' with { type: 'json' };
import { authenticate, createTokenSource, type TokenSource } from '../auth/index.ts';
import { EXIT_CONFIGURATION, readConfiguredFile, Secret } from '../config/index.ts';
import { migrateAll } from '../database/index.ts';
import { describeError, ExitError, WeftError } from '../errors/index.ts';
import { registerEventRoutes } from '../events/index.ts';
import { createListener, openApiDocument } from '../http/index.ts';
import type { Group, SharedPort } from '../processes/index.ts';
import { type Logger, printTogether } from '../telemetry/index.ts';
import type { Component, ComponentContext, ListenerDefinition } from './component.ts';
import type { Daemon } from './daemon.ts';
import { startDeliveries } from './event-deliveries.ts';
import { openProcess, type ProcessBase } from './process-base.ts';
import type { Settings } from './settings.ts';

export type Role = 'services' | 'mover';

/** A component with its parsed configuration; made by `configured`, which keeps the two types together. */
export interface ConfiguredComponent {
  readonly name: Component['name'];
  readonly migrations: string;
  prepare(base: ProcessBase): Promise<void>;
  /** Puts what it has opened into `opened` at once, so that it can be closed when another one fails. */
  listen(base: ProcessBase, opened: RunningListener[]): Promise<void>;
  startDaemons(base: ProcessBase, role: Role, started: Daemon[]): Promise<void>;
}

export interface RunningListener {
  readonly component: string;
  readonly name: string;
  readonly url: string;
  readonly app: FastifyInstance;
  /** Where several processes share the port: resolves when no new connection comes to this one any more. */
  leave(): Promise<void>;
}

export interface RunningComponents {
  readonly listeners: readonly RunningListener[];
  /** Stops daemons, drains listeners, closes the database. */
  stop(): Promise<void>;
}

/** Binds a component to its configuration. */
export function configured<Schema extends ZodType>(
  component: Component<Schema>,
  config: output<Schema>,
): ConfiguredComponent {
  const contexts = new WeakMap<ProcessBase, ComponentContext<output<Schema>>>();
  const contextOf = (base: ProcessBase) => {
    let context = contexts.get(base);
    if (!context) {
      context = createContext(base, component.name, config);
      contexts.set(base, context);
    }
    return context;
  };
  return {
    name: component.name,
    migrations: component.migrations,
    prepare: async (base) => component.prepare?.(contextOf(base)),
    listen: async (base, opened) => {
      const definitions = await component.listeners(contextOf(base));
      await all(definitions, async (definition) => {
        opened.push(await openListener(base, component.name, definition));
      });
    },
    startDaemons: async (base, role, started) => {
      const mine = component.daemons.filter((daemon) => (daemon.role ?? 'services') === role);
      await all(mine, async (daemon) => {
        started.push(await daemon.start(contextOf(base)));
      });
    },
  };
}

/**
 * Runs components in this process: opens the database, migrates, provisions, listens, and starts the daemons of `role`.
 * The `mover` role runs daemons only. Resolves when every listener answers. `migrated` says that a supervisor has
 * brought the database up to date already.
 *
 * @throws {ExitError} with a distinct code: 69 database unreachable, 71 port taken, 78 configuration.
 */
export async function startComponents(
  settings: Settings,
  components: readonly ConfiguredComponent[],
  role: Role,
  options: { migrated?: boolean } = {},
): Promise<RunningComponents> {
  const { base, close } = await openProcess(settings, {
    log: components.map(({ name }) => name).join('+'),
    application: `weft-${role}`,
  });
  base.siblings.answer(METRICS, () => base.metrics.registry.getMetricsAsJSON());
  const listeners: RunningListener[] = [];
  const daemons: Daemon[] = [];
  const stop = async () => {
    await Promise.all(listeners.map(({ leave }) => leave()));
    await Promise.all(daemons.map((daemon) => daemon.stop()));
    await Promise.all(listeners.map(({ app }) => app.close()));
    await close();
  };
  try {
    if (!options.migrated)
      await migrateAll(
        base.database,
        Object.fromEntries(components.map(({ name, migrations }) => [name, migrations])),
      );
    if (role === 'services') {
      await all(components, (component) => component.prepare(base));
      await all(components, (component) => component.listen(base, listeners));
    }
    await all(components, (component) => component.startDaemons(base, role, daemons));
    if (role === 'services')
      daemons.push(
        ...startDeliveries(
          base,
          components.map(({ name }) => name),
        ),
      );
  } catch (error) {
    await stop();
    throw error;
  }
  return { listeners, stop };
}

/** Does `work` for all at once; waits for every one before the first failure is told, so that none goes on alone. */
async function all<Item>(items: readonly Item[], work: (item: Item) => Promise<unknown>): Promise<void> {
  const results = await Promise.allSettled(items.map(work));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

function createContext<Config>(
  base: ProcessBase,
  name: Component['name'],
  config: Config,
): ComponentContext<Config> {
  const dataFolder = path.join(base.settings.data_folder, name);
  mkdirSync(dataFolder, { recursive: true, mode: 0o700 });
  const log = base.log.child({ component: name });
  return {
    config,
    database: base.database,
    wakeUps: base.wakeUps,
    verifier: base.verifier,
    tokens: tokenSourceOf(base, name, log),
    fetch: base.fetch,
    outgoing: base.outgoing,
    secrets: base.secrets,
    siblings: base.siblings,
    log,
    metrics: base.metrics,
    dataFolder,
  };
}

function tokenSourceOf(base: ProcessBase, name: string, log: Logger): TokenSource {
  const credentials = base.settings.credentials[name];
  if (!credentials) return missingCredentials(name);
  const clientSecret =
    credentials.client_secret ??
    (credentials.client_secret_file === undefined
      ? undefined
      : new Secret(
          readConfiguredFile(`credentials.${name}.client_secret_file`, credentials.client_secret_file)
            .toString('utf8')
            .trim(),
        ));
  if (!clientSecret) return missingCredentials(name);
  return createTokenSource({
    credentials: { issuer: credentials.issuer, clientId: credentials.client_id, clientSecret },
    fetch: base.fetch,
    log,
  });
}

/** A component without credentials works until it has to call another one. */
function missingCredentials(name: string): TokenSource {
  const refuse = async () => {
    throw new WeftError(
      'unavailable',
      'no-credentials',
      `No credentials.${name} in the configuration, so no token can be had.`,
    );
  };
  return { own: refuse, exchange: refuse, refresh: refuse };
}

async function openListener(
  base: ProcessBase,
  component: Component['name'],
  definition: ListenerDefinition,
): Promise<RunningListener> {
  const { database, wakeUps, metrics, clientCertificates, siblings } = base;
  if (definition.options?.requestClientCertificate && !clientCertificates) {
    throw new ExitError(
      EXIT_CONFIGURATION,
      `${component} asks for client certificates at ${definition.url}, but nothing says whom to trust. ` +
        'Mend: client_certificates: { authorities_folder: /etc/grid-security/certificates }',
    );
  }
  const app = createListener({
    ...definition.options,
    ...(clientCertificates ? { clientCertificates: clientCertificates.at(definition.url) } : {}),
    log: base.log.child({ component, listener: definition.name }),
    tls: base.certificate,
  });
  app.get('/.weft/health', async () => ({ status: 'ok', component, listener: definition.name }));
  app.get('/.weft/ready', async (_request, reply) => {
    const ready = await database.ping();
    // Their tokens of before go on being good for two days: no reason to take this process out of service.
    const degraded = base.verifier.unreachableIssuers();
    return reply
      .code(ready ? 200 : 503)
      .send({ ready, component, ...(degraded.length === 0 ? {} : { degraded }) });
  });
  app.get('/.weft/metrics', async (_request, reply) =>
    reply.type(metrics.registry.contentType).send(await printMetrics(base)),
  );
  app.get('/.weft/openapi.json', async () =>
    openApiDocument(app, {
      title: `Weft ${component} (${definition.name})`,
      version: packageJson.version,
      url: definition.url,
    }),
  );
  const { events } = definition;
  if (events) {
    registerEventRoutes(app, {
      database,
      wakeUps,
      component,
      visible: events,
      authenticate: (request) => authenticate(request, base.verifier, [definition.url]),
    });
  }
  await definition.routes(app);
  try {
    const leave = await listen(app, siblings, definition);
    return { component, name: definition.name, url: definition.url, app, leave };
  } catch (cause) {
    throw new ExitError(
      71,
      `${component} cannot listen on ${definition.host}:${definition.port}: ${describeError(cause)}. ` +
        'Mend: choose other ports with --port-base, or listen.port in the configuration.',
      { cause },
    );
  }
}

async function listen(
  app: FastifyInstance,
  siblings: Group,
  { host, port }: ListenerDefinition,
): Promise<() => Promise<void>> {
  if (siblings.count === 1) {
    await app.listen({ host, port });
    return async () => undefined;
  }
  let shared: SharedPort | undefined;
  app.addHook('preClose', async () => shared?.drain());
  await app.ready();
  shared = await siblings.listen(app.server, { host, port });
  return shared.leave;
}

const METRICS = 'metrics';

/** Of all processes that share the port, whichever was asked. */
async function printMetrics({ siblings, metrics: { registry } }: ProcessBase): Promise<string> {
  if (siblings.count === 1) return registry.metrics();
  return printTogether(await siblings.ask(METRICS, null), siblings.count);
}
