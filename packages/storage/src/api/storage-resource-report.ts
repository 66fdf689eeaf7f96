import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import packageJson from '../../package.json' with { type: 'json' };
import type { Door } from '../core/door.ts';
import { createSpaceReport, type Size, type SpaceReport } from '../core/space/space-report.ts';
import { identify } from './identify.ts';

const sizeSchema = z.strictObject({
  totalsize: z.int().describe('Bytes'),
  usedsize: z.int().describe('Bytes'),
});
const qualitySchema = z.enum(['development', 'testing', 'pre-production', 'production']);

/** The WLCG storage resource report, version 4.2, whose schema allows no key that it does not name (brief teapot 2.8). */
export const reportSchema = z.strictObject({
  storageservice: z.strictObject({
    name: z.string(),
    id: z.string(),
    servicetype: z.string(),
    implementation: z.string(),
    implementationversion: z.string(),
    qualitylevel: qualitySchema,
    latestupdate: z.int().describe('Seconds since 1970'),
    capabilities: z.array(z.string()),
    storagecapacity: z.strictObject({ online: sizeSchema, nearline: sizeSchema.optional() }),
    storageendpoints: z.array(
      z.strictObject({
        name: z.string(),
        endpointurl: z.string(),
        interfacetype: z.string(),
        interfaceversion: z.string(),
        capabilities: z.array(z.string()),
        qualitylevel: qualitySchema,
        assignedshares: z.array(z.string()),
      }),
    ),
    storageshares: z.array(
      z.strictObject({
        name: z.string(),
        timestamp: z.int(),
        ...sizeSchema.shape,
        path: z.array(z.string()),
        accesslatency: z.enum(['online', 'nearline']),
        retentionpolicy: z.enum(['replica', 'custodial']),
        servingstate: z.literal('open'),
        accessmode: z.array(z.string()),
        assignedendpoints: z.array(z.string()),
        vos: z.array(z.string()),
      }),
    ),
    datastores: z.array(z.never()),
  }),
});

/** `/srr.json` (or where the configuration says) and `/.weft/srr`. */
export function registerStorageResourceReport(app: FastifyInstance, door: Door): void {
  const { space_report: rules } = door.config;
  const report = createSpaceReport(door, rules.refresh_seconds);
  const describe = {
    summary: 'How much can be stored, and how much is (WLCG storage resource report)',
    tags: ['space'],
    open: rules.public,
    answers: { 200: { description: 'The report', schema: reportSchema } },
  };
  for (const path of new Set([rules.path, '/.weft/srr']))
    app.get(path, { config: { describe } }, async (request) => {
      if (!rules.public) await identify(door, request);
      return print(door, await report());
    });
}

const CAPABILITIES = ['data.access.flatfiles', 'data.transfer'];
const ALL = ['all'];

function print({ config }: Door, measured: SpaceReport): z.output<typeof reportSchema> {
  const { name = config.site, quality, vos } = config.space_report;
  const timestamp = Math.floor(measured.measuredAt.getTime() / 1000);
  return {
    storageservice: {
      name,
      id: new URL(config.url).host,
      servicetype: 'org.weft.storage',
      implementation: 'weft',
      implementationversion: packageJson.version,
      qualitylevel: quality,
      latestupdate: timestamp,
      capabilities: CAPABILITIES,
      storagecapacity: {
        online: printSize(measured.disk),
        ...(measured.tape ? { nearline: printSize(measured.tape) } : {}),
      },
      storageendpoints: [
        {
          name: `${name} WebDAV`,
          endpointurl: `${config.url}/`,
          interfacetype: 'DAV',
          interfaceversion: '1.1',
          capabilities: CAPABILITIES,
          qualitylevel: quality,
          assignedshares: ALL,
        },
      ],
      storageshares: config.areas.map((area, index) => ({
        name: area.name,
        timestamp,
        ...printSize(measured.areas[index] ?? { totalBytes: 0, usedBytes: 0 }),
        path: [area.path],
        accesslatency: area.tape ? 'nearline' : 'online',
        retentionpolicy: area.tape ? 'custodial' : 'replica',
        servingstate: 'open',
        accessmode: area.read_only ? ['read'] : ['read', 'write'],
        assignedendpoints: ALL,
        vos: [...vos],
      })),
      datastores: [],
    },
  };
}

function printSize({ totalBytes, usedBytes }: Size): z.output<typeof sizeSchema> {
  return { totalsize: totalBytes, usedsize: usedBytes };
}
