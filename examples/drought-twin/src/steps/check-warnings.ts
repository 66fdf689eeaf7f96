import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createStorageClient, type StorageClient } from '@weft/storage/client';
import { z } from 'zod';
import { adler32, sha256 } from '../observations.ts';
import { fileSchema, openRucio, type Rucio, ruleSchema } from '../rucio.ts';
import { pathOf, SCOPE, type Scene } from '../scene.ts';
import { type Step, StepFailure } from '../tour.ts';
import { EXPECTED_WARNINGS, readWarnings } from '../warnings.ts';
import type { Pod } from './run-job.ts';

const COPY_SECONDS = 120;

/** The warnings are a dataset, at the site that made them and at the observatory, with the published numbers. */
export async function checkWarnings(scene: Scene, pods: readonly Pod[], step: Step): Promise<string> {
  const { instance, warning, arguments: args } = scene;
  const { datalake: url } = instance.endpoints;
  const [pod] = pods;
  if (pod === undefined) throw new StepFailure('the deployment has no pod', 'orchestrator');
  const { site } = pod;
  const alice = openRucio(url, instance.tokens('alice', url));
  const listed = await alice.readAll(fileSchema, `/dids/${SCOPE}/${warning}/files`);
  const files = [...outputsOf(pod, warning, listed)].map(([output, file]) => ({ ...file, output }));
  const names = files.map(({ output }) => output);
  const table = `drought-${args.issue}.csv`;
  const map = `map-${args.issue}.svg`;
  step.check(
    `${SCOPE}:${warning} holds the table, the map, series and how they were made`,
    [table, map, 'run.json'].every((output) => names.includes(output)),
    `${names.length} files`,
  );
  await followArchiveRule(alice, instance.site('observatory').rse, scene, step);

  const at = (site: string): StorageClient => {
    const { storage } = instance.site(site);
    return createStorageClient({ url: storage, fetch, token: instance.tokens('alice', storage) });
  };
  const [made, archive] = [at(site), at('observatory')];
  const outputs = new Map<string, Buffer>();
  for (const { name, output, adler32: expected } of files) {
    const [one, other] = await Promise.all([made, archive].map((storage) => download(storage, pathOf(name))));
    if (one === undefined || other === undefined || !one.equals(other) || adler32(one) !== expected) {
      step.check(`${name} is the same at ${site} and at the observatory`, false);
      continue;
    }
    outputs.set(output, one);
  }
  step.equal(
    `files identical at ${site}, at the observatory and in the catalogue`,
    outputs.size,
    files.length,
    'storage',
  );

  const content = (output: string): Buffer => {
    const bytes = outputs.get(output);
    if (bytes === undefined) throw new StepFailure(`there is no ${output} among the outputs`, 'compute');
    return bytes;
  };
  checkNumbers(content(table).toString('utf8'), args.issue, step);
  checkProvenance(content('run.json').toString('utf8'), scene, pods, step);
  return writeToDataFolder(outputs, scene);
}

/**
 * What the pod left, by the names that it gave: `run.json` is `warning-2010-12.run.json` in the datalake, or, where an earlier
 * run had made that one otherwise, `warning-2010-12.run.<pod>.json`.
 */
function outputsOf<File extends { readonly name: string }>(
  pod: Pod,
  dataset: string,
  files: readonly File[],
): Map<string, File> {
  const outputs = new Map<string, File>();
  const own = `.${pod.uid.slice(0, 8)}.`;
  const ofAnyPod = /\.[0-9a-f]{8}(?=\.[a-z]+$)/;
  for (const file of [...files].sort((a, b) => a.name.localeCompare(b.name))) {
    const output = file.name.slice(dataset.length + 1).replace(ofAnyPod, '');
    if (file.name.includes(own) || (!ofAnyPod.test(file.name) && !outputs.has(output)))
      outputs.set(output, file);
  }
  return outputs;
}

/** The rule that brings the warnings to the observatory: the template's, or else alice makes one. */
async function followArchiveRule(alice: Rucio, rse: string, { warning }: Scene, step: Step): Promise<void> {
  const find = async () => {
    const rules = await alice.readAll(ruleSchema, `/dids/${SCOPE}/${warning}/rules`);
    return rules.find((rule) => rule.rse_expression.includes(rse));
  };
  if ((await find()) === undefined) {
    await alice.change('POST', '/rules/', {
      dids: [{ scope: SCOPE, name: warning }],
      copies: 1,
      rse_expression: rse,
      account: 'alice',
    });
    step.note(`alice made a rule for ${rse}`);
  }
  const deadline = Date.now() + COPY_SECONDS * 1000;
  for (;;) {
    const rule = await find();
    if (rule?.state === 'OK') {
      step.check(`a copy is at ${rse}`, true, `rule ${rule.id}, ${rule.locks_ok_cnt} locks OK`);
      return;
    }
    if (Date.now() > deadline) {
      throw new StepFailure(
        `the rule at ${rse} is ${rule?.state ?? 'gone'} after ${COPY_SECONDS} s: ${rule?.error ?? 'no error given'}`,
        'transfer',
      );
    }
    await sleep(200);
  }
}

async function download(storage: StorageClient, path: string): Promise<Buffer> {
  return Buffer.from(await (await storage.get(path)).arrayBuffer());
}

function checkNumbers(csv: string, issue: string, step: Step): void {
  const warnings = readWarnings(csv);
  step.equal('divisions', warnings.length, 344);
  const count = (level: string) => warnings.filter((each) => each.level === level).length;
  const counts = `${count('watch')} watch, ${count('warning')} warning, ${count('severe')} severe`;
  const expected = EXPECTED_WARNINGS[issue];
  if (expected === undefined) {
    step.note(`${counts} (no published numbers for ${issue})`);
    return;
  }
  step.equal(
    'warnings',
    counts,
    `${expected.watch} watch, ${expected.warning} warning, ${expected.severe} severe`,
  );
  const transPecos = warnings.find(({ division }) => division === '4105');
  for (const [name, value, wanted, tolerance] of [
    ['SPI-6', transPecos?.spi6, expected.spi6, 0.0005],
    ['probability of drought in three months', transPecos?.p, expected.p, 0.0001],
    ['median', transPecos?.median, expected.median, 0.0005],
  ] as const) {
    // The table has four decimals, the published numbers three or four.
    const close = value !== undefined && Math.abs(value - wanted) <= tolerance + 1e-9;
    step.check(`4105 Trans Pecos, ${name}`, close, `${value} (published: ${wanted})`);
  }
}

const runSchema = z.object({
  pod_uid: z.string().nullable(),
  inputs: z.array(z.object({ name: z.string(), sha256: z.string() })),
});

/** The job says what it was made from: exactly the files that were stored in the beginning. */
function checkProvenance(json: string, { files }: Scene, pods: readonly Pod[], step: Step): void {
  const run = runSchema.parse(JSON.parse(json));
  step.check(
    'run.json names the pod',
    pods.some(({ uid }) => uid === run.pod_uid),
    run.pod_uid ?? 'none',
  );
  const known = new Map(files.map(({ name, bytes }) => [name, sha256(bytes)]));
  step.check(
    'it was made from the observations that were uploaded',
    run.inputs.length === files.length && run.inputs.every((input) => known.get(input.name) === input.sha256),
    `${run.inputs.length} inputs with their SHA-256`,
  );
}

/** @returns the folder with the outputs */
function writeToDataFolder(
  outputs: ReadonlyMap<string, Buffer>,
  { arguments: { data, issue } }: Scene,
): string {
  const folder = join(data, 'drought', issue);
  mkdirSync(folder, { recursive: true });
  for (const [name, bytes] of outputs) {
    const temporary = join(folder, `.${name}.tmp`);
    writeFileSync(temporary, bytes, { flush: true });
    renameSync(temporary, join(folder, name));
  }
  return folder;
}
