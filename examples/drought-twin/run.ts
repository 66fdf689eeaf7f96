#!/usr/bin/env node
// The tour of the example twin: what `npm start` runs once everything is up. It is a client like any other, knows the stable
// commands and the components' public protocols only, and every step may be done again: killed at any moment and started
// again, it carries on from what is there and ends with the same numbers.

import { readArguments, type TourArguments, USAGE } from './src/arguments.ts';
import { openInstance } from './src/instance.ts';
import { type Scene, setScene } from './src/scene.ts';
import { bringData } from './src/steps/bring-data.ts';
import { checkAccounting } from './src/steps/check-accounting.ts';
import { checkWarnings } from './src/steps/check-warnings.ts';
import { deployTwin, type Launch } from './src/steps/deploy-twin.ts';
import { registerObservations } from './src/steps/register-observations.ts';
import { type Pod, runJob } from './src/steps/run-job.ts';
import { uploadObservations } from './src/steps/upload-observations.ts';
import { whoIsWho } from './src/steps/who-is-who.ts';
import { createTour } from './src/tour.ts';

const EX_USAGE = 64;
const EX_UNAVAILABLE = 69;

let args: TourArguments;
try {
  args = readArguments(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n${USAGE}\n`);
  process.exit(EX_USAGE);
}

let scene: Scene;
try {
  scene = setScene(await openInstance(args.weft, args.data), args);
} catch (error) {
  process.stderr.write(
    `No instance to talk to in ${args.data}: ${error instanceof Error ? error.message : error}\n`,
  );
  process.exit(EX_UNAVAILABLE);
}

const tour = createTour({
  // Step 1, starting everything, belongs to whoever started the tour.
  firstStep: 2,
  logCommand: (component) => `./weft logs ${component === 'storage' ? '' : 'services '}--data ${args.data}`,
  jsonFile: args.json,
});
let launch: Launch | undefined;
let pods: Pod[] = [];
let folder: string | undefined;
const launched = (): Launch => {
  if (launch === undefined) throw new Error('the twin was not deployed');
  return launch;
};

await tour.step('Users and tokens', 'identity', (step) => whoIsWho(scene, step));
await tour.step('Observations arrive at the observatory', 'storage', (step) =>
  uploadObservations(scene, step),
);
await tour.step('The datalake learns of them', 'datalake', (step) => registerObservations(scene, step));
await tour.step('alice deploys the twin; a site is chosen', 'orchestrator', async (step) => {
  launch = await deployTwin(scene, step);
});
await tour.step('The data go to the chosen site', 'transfer', (step) => bringData(scene, launched(), step));
await tour.step('The job runs there', 'compute', async (step) => {
  pods = await runJob(scene, launched(), step);
});
await tour.step('Warnings are published, and compared', 'datalake', async (step) => {
  folder = await checkWarnings(scene, pods, step);
});
await tour.step('The job is accounted for', 'accounting', (step) => checkAccounting(scene, launched(), step));

if (folder !== undefined) {
  const { endpoints, sites } = scene.instance;
  process.stdout.write(
    [
      `The drought outlook, issued ${args.issue}:  ${folder}/map-${args.issue}.svg`,
      `The warning table:  ${folder}/drought-${args.issue}.csv`,
      '',
      `datalake  ${endpoints.datalake}    transfers  ${endpoints.transfer}    orchestrator  ${endpoints.orchestrator}`,
      `accounting  ${endpoints.accounting}    issuer  ${endpoints.issuer}`,
      ...sites.map(
        ({ name, storage, compute }) => `${name}  ${storage}${compute === undefined ? '' : `  ${compute}`}`,
      ),
      '',
      '',
    ].join('\n'),
  );
}
process.exitCode = tour.finish();
