import { fastify } from 'fastify';
import { injectFaults } from './inject-faults.ts';
import { listen } from './listen.ts';
import { type EventSource, tellEvents } from './tell-events.ts';

interface CreateBody {
  pod: {
    metadata: { uid: string; name: string; namespace: string; annotations: Record<string, string> };
    spec: { containers: { args: string[]; env: { name: string; value: string }[] }[] };
  };
  configmaps: { data: Record<string, string> }[];
}

/** An interLink API with the state page of ours, over HTTP; pods end when a test says so. */
export interface FakeSite {
  readonly url: string;
  /** Every body that came to `/create`, in order. */
  readonly created: CreateBody[];
  readonly deleted: string[];
  state: { drained: boolean; slots: number; running: number; queued: number };
  /** Phase and exit code that every pod shows. Default: succeeded. */
  outcome: { phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed'; exitCode?: number; reason?: string };
  /** Status with which `/create` is answered, when set. */
  refuses: number | undefined;
  /** Share of requests that fail: half of them before they had an effect, half after it (the answer is lost). */
  faults: number;
  readonly tokens: string[];
  close(): Promise<void>;
}

export async function startFakeSite(slots: number, events?: EventSource): Promise<FakeSite> {
  const app = fastify();
  const fake = {
    url: '',
    created: [] as CreateBody[],
    deleted: [] as string[],
    state: { drained: false, slots, running: 0, queued: 0 },
    outcome: { phase: 'Succeeded' } as FakeSite['outcome'],
    refuses: undefined as number | undefined,
    faults: 0,
    tokens: [] as string[],
    close: async () => await app.close(),
  };
  app.addHook('onRequest', async (request) => {
    fake.tokens.push(String(request.headers.authorization).replace('Bearer ', ''));
  });
  tellEvents(app, 'compute', events);
  injectFaults(app, () => fake.faults);
  app.get('/.weft/api/v1/site', async () => ({
    site: 'fake',
    node: 'vn-fake',
    backend: 'sandbox',
    confinement: 'none',
    rse: null,
    staging_in: 0,
    staging_out: 0,
    drained_reason: null,
    drained_at: null,
    median_wait_seconds: null,
    failure_rate: null,
    finished: 0,
    cpus: 1,
    memory_bytes: 1,
    images: [],
    observed_at: new Date().toISOString(),
    ...fake.state,
  }));
  app.post<{ Body: CreateBody }>('/create', async ({ body }, reply) => {
    if (fake.refuses !== undefined) return await reply.code(fake.refuses).send('sbatch: error: no');
    fake.created.push(body);
    return { PodUID: body.pod.metadata.uid, PodJID: String(4_000 + fake.created.length) };
  });
  app.post<{ Body: { metadata: { uid: string } }[] }>('/status', async ({ body }) => {
    const wanted = new Set(body.map(({ metadata }) => metadata.uid));
    const { phase, exitCode, reason } = fake.outcome;
    return fake.created
      .filter(({ pod }) => wanted.has(pod.metadata.uid))
      .map(({ pod }) => ({
        name: pod.metadata.name,
        namespace: pod.metadata.namespace,
        UID: pod.metadata.uid,
        JID: '4001',
        phase,
        ...(reason === undefined ? {} : { reason }),
        containers: [
          {
            name: 'job',
            state:
              phase === 'Succeeded' || phase === 'Failed'
                ? { terminated: { exitCode: exitCode ?? 0, startedAt: null, finishedAt: null } }
                : phase === 'Running'
                  ? { running: { startedAt: null } }
                  : { waiting: { reason: 'Queued' } },
          },
        ],
      }));
  });
  app.post('/getLogs', async () => 'gap 2011-02: climdiv-pcpn-2011-03.csv\n');
  app.post<{ Body: { metadata: { uid: string } } }>('/delete', async ({ body }) => {
    fake.deleted.push(body.metadata.uid);
    return 'deleted';
  });
  fake.url = await listen(app);
  return fake;
}
