import { describeError } from '../src/errors/index.ts';
import { createLogger } from '../src/telemetry/index.ts';
import { SHARED_SERVER, startTestServer } from '../src/testing/test-server.ts';

/**
 * One PostgreSQL for all files of a test run, with a database for each: on two cores initdb and start cost more than most
 * tests. Nobody waits for it here, so a run of unit tests alone is not held up.
 */
export default async function setup(): Promise<(() => Promise<void>) | undefined> {
  if ((process.env.WEFT_TEST_DATABASE_URL ?? '') !== '') return undefined;
  const { dataFolder, started } = await startTestServer(createLogger({ name: 'test', level: 'silent' }));
  process.env[SHARED_SERVER] = dataFolder;
  started.catch((error: unknown) =>
    console.error(`The PostgreSQL of the tests does not start: ${describeError(error)}`),
  );
  return async () => {
    const server = await started.catch(() => undefined);
    await server?.stop();
  };
}
