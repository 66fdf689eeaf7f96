import { WeftError } from '@weft/kernel/errors';
import { toHttpFailure } from '@weft/kernel/http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { authorise, mayDo } from '../core/authorise.ts';
import type { Caller } from '../core/caller.ts';
import { type Door, doorOf } from '../core/door.ts';
import { plainPath } from '../core/segments.ts';
import { type AskedFile, lookUpFiles } from '../core/tape/look-up-files.ts';
import { cancelFiles, deleteRequest, releaseFiles } from '../core/tape/release-files.ts';
import { type StageOwner, stageFiles } from '../core/tape/stage-files.ts';
import type { StageRequest } from '../core/tape/stage-requests.ts';
import type { TapeSystem } from '../core/tape/tape-system.ts';
import { identify } from './identify.ts';
import {
  archiveInfoAnswer,
  discoveryAnswer,
  diskSeconds,
  MAXIMUM_TAPE_BODY_BYTES,
  parseTapeBody,
  parseTapePath,
  pathsBody,
  requestAnswer,
  stageAnswer,
  stageBody,
} from './tape-bodies.ts';
import { readBody } from './xml.ts';

const BASE = '/api/v1';
const TAGS = ['tape'];

/** What a request of the tape interface works with. */
interface TapeExchange {
  readonly door: Door;
  readonly tape: TapeSystem;
  readonly caller: Caller;
  readonly owner: StageOwner;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** The WLCG tape REST interface, version 1, and where it is found; neither is there without a `tape` section. */
export function registerTapeRoutes(app: FastifyInstance, door: Door): void {
  const { tape } = door;
  if (!tape) return;
  const { config } = door;
  const describeDiscovery = {
    summary: 'Where the tape interface is',
    tags: TAGS,
    open: true,
    answers: { 200: { description: 'Endpoints', schema: discoveryAnswer } },
  };
  app.get('/.well-known/wlcg-tape-rest-api', { config: { describe: describeDiscovery } }, async () => ({
    sitename: tape.config.site_name ?? config.site,
    description: tape.config.description,
    endpoints: [{ uri: `${config.url}${BASE}`, version: 'v1', metadata: {} }],
  }));

  const handle = (work: (exchange: TapeExchange) => Promise<unknown>) => handler(door, tape, work);
  const done = { 200: { description: 'Done' } };
  app.post(
    `${BASE}/stage`,
    {
      config: {
        describe: {
          summary: 'Ask for files to be on disk',
          tags: TAGS,
          body: stageBody,
          answers: { 201: { description: 'Asked', schema: stageAnswer } },
        },
      },
    },
    handle(stage),
  );
  app.get(
    `${BASE}/stage/:id`,
    {
      config: {
        describe: {
          summary: 'How far a request is',
          tags: TAGS,
          answers: { 200: { description: 'The request', schema: requestAnswer } },
        },
      },
    },
    handle(poll),
  );
  app.delete(
    `${BASE}/stage/:id`,
    { config: { describe: { summary: 'Cancel and forget a request', tags: TAGS, answers: done } } },
    handle(forget),
  );
  app.post(
    `${BASE}/stage/:id/cancel`,
    { config: { describe: { summary: 'Cancel files', tags: TAGS, body: pathsBody, answers: done } } },
    handle(cancel),
  );
  app.post(
    `${BASE}/release/:id`,
    { config: { describe: { summary: 'Release files', tags: TAGS, body: pathsBody, answers: done } } },
    handle(release),
  );
  app.post(
    `${BASE}/archiveinfo`,
    {
      config: {
        describe: {
          summary: 'Where files lie',
          tags: TAGS,
          body: pathsBody,
          answers: { 200: { description: 'A locality or an error for each', schema: archiveInfoAnswer } },
        },
      },
    },
    handle(archiveInfo),
  );
}

/** Identifies the caller, acts as their local account, and prints errors as RFC 7807 whatever the caller accepts. */
function handler(door: Door, tape: TapeSystem, work: (exchange: TapeExchange) => Promise<unknown>) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    try {
      const caller = await identify(door, request);
      if (request.headers.expect !== undefined) reply.raw.writeContinue();
      const run = (own: Door) => {
        const owner = { issuer: caller.issuer, subject: caller.subject, account: own.account ?? '' };
        const seen =
          own.account !== undefined && caller.access ? { ...caller, account: own.account } : caller;
        return work({ door: own, tape, caller: seen, owner, request, reply });
      };
      return door.multiUser
        ? await door.multiUser.as(caller, (user) => run(doorOf(door, user)))
        : await run(door);
    } catch (error) {
      if (!(error instanceof WeftError) || error.status >= 500 || error.kind === 'unauthenticated')
        throw error;
      const { status, code, message } = toHttpFailure(error);
      return reply
        .code(status)
        .type('application/problem+json')
        .send(JSON.stringify({ type: 'about:blank', title: code, status, detail: message }));
    }
  };
}

async function stage({ door, tape, caller, owner, request, reply }: TapeExchange) {
  const { files } = parseTapeBody(stageBody, await readBody(request.raw, MAXIMUM_TAPE_BODY_BYTES));
  const { pin_seconds: usual, maximum_pin_seconds: most } = tape.config;
  const asked = files.map(({ path, diskLifetime }) => ({
    ...parseTapePath(path),
    diskSeconds: diskSeconds(diskLifetime, { usual, most }),
  }));
  requireStage(caller, asked);
  const id = await stageFiles({ ...door.context, tape, areas: door.areas }, owner, asked);
  return reply.code(201).header('location', `${door.config.url}${BASE}/stage/${id}`).send({ requestId: id });
}

async function poll(exchange: TapeExchange) {
  const found = await findRequest(exchange);
  for (const { path } of found.files) requirePoll(exchange.caller, parsePlain(path));
  return {
    id: found.id,
    createdAt: found.createdAt.getTime(),
    ...(found.startedAt ? { startedAt: found.startedAt.getTime() } : {}),
    ...(found.completedAt ? { completedAt: found.completedAt.getTime() } : {}),
    files: found.files.map(({ asked, state, startedAt, finishedAt, error }) => ({
      path: asked,
      // In place of `state`: gfal2 looks for this first, and spells one of the states in its own way.
      onDisk: state === 'COMPLETED',
      ...(startedAt ? { startedAt: startedAt.getTime() } : {}),
      ...(finishedAt ? { finishedAt: finishedAt.getTime() } : {}),
      ...(state === 'CANCELLED' ? { error: 'The request was cancelled.' } : {}),
      ...(error === undefined ? {} : { error }),
    })),
  };
}

async function cancel(exchange: TapeExchange) {
  const found = await findRequest(exchange);
  const asked = await readPaths(exchange);
  requireStage(exchange.caller, asked);
  const files = asked.map(withPlainPath);
  const known = new Set(found.files.map(({ path }) => path));
  const unknown = files.find(({ path }) => !known.has(path));
  if (unknown)
    throw new WeftError(
      'invalid',
      'not-in-request',
      `${unknown.path} is not in the request; nothing was cancelled.`,
    );
  await cancelFiles(meansOf(exchange), exchange.owner, found, files);
  return exchange.reply.send();
}

async function forget(exchange: TapeExchange) {
  const found = await findRequest(exchange);
  requireStage(
    exchange.caller,
    found.files.map(({ path }) => parsePlain(path)),
  );
  await deleteRequest(meansOf(exchange), exchange.owner, found);
  return exchange.reply.send();
}

async function release(exchange: TapeExchange) {
  const asked = await readPaths(exchange);
  requireStage(exchange.caller, asked);
  // gfal2 makes up an id when it has none, so that an unknown one is no error.
  const found = await exchange.tape.requests.find(idOf(exchange), exchange.owner.account);
  await releaseFiles(meansOf(exchange), exchange.owner, found, asked.map(withPlainPath));
  return exchange.reply.send();
}

async function archiveInfo(exchange: TapeExchange) {
  const { door, tape, caller } = exchange;
  const asked = await readPaths(exchange);
  const readable = asked.filter((file) => mayPoll(caller, file));
  const found = new Map(
    (await lookUpFiles(tape, door.areas, readable)).map(({ asked: path, locality, error }) => [
      path,
      { path, ...(locality === undefined ? {} : { locality }), ...(error === undefined ? {} : { error }) },
    ]),
  );
  return asked.map(({ asked: path }) => found.get(path) ?? { path, error: 'Permission denied' });
}

const meansOf = ({ door, tape }: TapeExchange) => ({
  database: door.context.database,
  tape,
  areas: door.areas,
});

/** @throws {WeftError} `not-found`: also for requests of another local account. */
async function findRequest(exchange: TapeExchange): Promise<StageRequest> {
  const found = await exchange.tape.requests.find(idOf(exchange), exchange.owner.account);
  if (found) return found;
  throw new WeftError('not-found', 'no-such-request', 'There is no such request.');
}

function idOf({ request }: TapeExchange): string {
  const { params } = request;
  return params !== null && typeof params === 'object' && 'id' in params ? String(params.id) : '';
}

async function readPaths({ request }: TapeExchange): Promise<AskedFile[]> {
  const { paths } = parseTapeBody(pathsBody, await readBody(request.raw, MAXIMUM_TAPE_BODY_BYTES));
  return paths.map(parseTapePath);
}

function withPlainPath({ segments }: AskedFile) {
  return { path: plainPath(segments), segments };
}

function parsePlain(path: string): AskedFile {
  return { asked: path, segments: path.split('/').filter((name) => name !== '') };
}

function requireStage(caller: Caller, files: readonly AskedFile[]): void {
  for (const { segments } of files) authorise(caller, 'stage', { path: segments });
}

/** Whoever may look at a file may know where it lies. */
function mayPoll(caller: Caller, { segments }: AskedFile): boolean {
  return mayDo(caller, 'poll', segments) || mayDo(caller, 'stat', segments);
}

function requirePoll(caller: Caller, file: AskedFile): void {
  if (!mayPoll(caller, file)) authorise(caller, 'poll', { path: file.segments });
}
