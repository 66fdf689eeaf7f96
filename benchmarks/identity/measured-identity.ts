import { z } from 'zod';
import { endProgram, startProgram } from '../program.ts';
import type { Target } from './http-load.ts';

const helloSchema = z.object({
  issuer: z.int(),
  alise: z.int(),
  authority: z.string(),
  client: z.object({ id: z.string(), secret: z.string() }),
  apiKey: z.string(),
});

/** The identity component in a process of its own. */
export interface MeasuredIdentity {
  /** Of the service; the database is below it. */
  readonly pid: number;
  readonly issuer: Target;
  readonly alise: Target;
  readonly authority: string;
  readonly client: { readonly id: string; readonly secret: string };
  readonly apiKey: string;
  stop(): Promise<void>;
}

export async function startMeasuredIdentity(
  folder: string,
  options: { users?: number; aliseDatabase?: string },
): Promise<MeasuredIdentity> {
  const { child, hello } = await startProgram('packages/identity/test/measure-server.ts', [
    folder,
    JSON.stringify(options),
  ]);
  const { issuer, alise, ...rest } = helloSchema.parse(hello);
  const { authority } = rest;
  return {
    ...rest,
    pid: child.pid ?? 0,
    issuer: { port: issuer, authority },
    alise: { port: alise, authority },
    stop: () => endProgram(child),
  };
}
