import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readObservations } from '../payload/drought.mjs';
import { adler32, historyFiles, monthlyFile, outlineFile, sha256 } from '../src/observations.ts';

const payload = fileURLToPath(new URL('../payload/drought.mjs', import.meta.url));
let root: string;
let input: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'drought-'));
  input = join(root, 'in');
  await mkdir(input);
  for (const { name, bytes } of [...historyFiles('2010-12'), monthlyFile('2010-12'), outlineFile()]) {
    await writeFile(join(input, name), bytes);
  }
});
afterAll(() => rm(root, { recursive: true }));

interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

function run(args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [payload, ...args],
      { env: { ...process.env, ...env } },
      (_, stdout, stderr) => {
        resolve({ code: child.exitCode, stdout, stderr });
      },
    );
  });
}

const update = (out: string, ...more: string[]) => [
  'update',
  '--in',
  input,
  '--out',
  join(root, out),
  ...more,
];

describe('files of the observatory', () => {
  test('116 yearly files and the month that arrives', () => {
    const history = historyFiles('2010-12');
    expect(history).toHaveLength(116);
    expect(history.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBe(2_025_836);
    const of1934 = history.find(({ name }) => name === 'climdiv-pcpn-1934.csv');
    expect(of1934?.bytes.length).toBe(17_200);
    expect(adler32(of1934?.bytes ?? new Uint8Array())).toBe('f0be1225');
    const arrived = monthlyFile('2010-12');
    expect(arrived.bytes.length).toBe(3_041);
    expect(adler32(arrived.bytes)).toBe('f5674d0b');
    expect(sha256(arrived.bytes)).toBe('34e42bbc1b9ef78b515dac5f626cf472a06c1e06d984fcd8b7a75391d05e5f10');
  });

  test('Adler-32 of nothing is 1', () => {
    expect(adler32(new Uint8Array())).toBe('00000001');
    expect(adler32(Buffer.from('Wikipedia'))).toBe('11e60398');
  });
});

describe('update', () => {
  test('writes the table, the map, six series and what it was made from', async () => {
    const journal = join(root, 'journal');
    const environment = { DROUGHT_JOURNAL: journal, WEFT_POD_UID: 'pod-1', WEFT_JOB_ID: '42' };
    const outcome = await run(update('first', '--issue', '2010-12'), environment);
    expect(outcome.stderr).toBe('');
    expect(outcome.code).toBe(0);
    expect(outcome.stdout).toContain('progress 43/344');
    expect(outcome.stdout).toContain('2010-12: 18 watch, 3 warning, 2 severe');
    const out = join(root, 'first');
    const names = await readdir(out);
    const series = ['0806', '2003', '2004', '4105', '4109', '4110'].map((code) => `series-${code}.svg`);
    expect(names.sort()).toEqual(['drought-2010-12.csv', 'map-2010-12.svg', 'run.json', ...series]);

    const table = (await readFile(join(out, 'drought-2010-12.csv'), 'utf8')).trimEnd().split('\n');
    expect(table).toHaveLength(345);
    expect(table.find((line) => line.startsWith('4105'))).toMatch(
      /^4105,Trans Pecos,.*,0\.3987,.*,0\.7184,.*,-1\.7435,watch$/,
    );
    expect(table.slice(1)).toEqual(table.slice(1).sort());

    const record = JSON.parse(await readFile(join(out, 'run.json'), 'utf8'));
    expect(record).toMatchObject({
      issue: '2010-12',
      levels: { watch: 18, warning: 3, severe: 2 },
      job: '42',
      pod_uid: 'pod-1',
    });
    expect(record.inputs).toHaveLength(118);
    expect(record.payload_sha256).toBe(
      createHash('sha256')
        .update(await readFile(payload))
        .digest('hex'),
    );

    const lines = (await readFile(journal, 'utf8'))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.map(({ uid, event }) => [uid, event])).toEqual([
      ['pod-1', 'started'],
      ['pod-1', 'completed'],
    ]);

    const map = await readFile(join(out, 'map-2010-12.svg'), 'utf8');
    expect(map).toContain('role="img" aria-labelledby="title description"');
    expect(map).toContain('18 on watch, 3 on warning, 2 severe');
    expect(map.match(/fill="url\(#severe\)" d=/g)).toHaveLength(2);
  });

  test('gives the same bytes again, whatever portions and order the months came in', async () => {
    const other = join(root, 'other-in');
    await mkdir(other);
    const text = await readFile(new URL('../data/climdiv-pcpn.csv', import.meta.url), 'utf8');
    const [header = '', ...lines] = text.trimEnd().split('\n');
    const known = lines.slice(0, 1392);
    await writeFile(join(other, 'late.csv'), `${[header, ...known.slice(700).reverse()].join('\r\n')}\r\n`);
    await writeFile(join(other, 'early.csv'), `${[header, ...known.slice(0, 800)].join('\n')}\n`);
    await cp(join(input, 'divisions.topojson'), join(other, 'divisions.topojson'));
    const outcome = await run(['update', '--in', other, '--out', join(root, 'other'), '--issue', 'latest']);
    expect(outcome.code).toBe(0);
    await run(update('again', '--issue', '2010-12'));
    for (const name of ['drought-2010-12.csv', 'map-2010-12.svg', 'series-4105.svg']) {
      const [one, two] = await Promise.all(
        ['again', 'other'].map((folder) => readFile(join(root, folder, name))),
      );
      expect(one?.equals(two ?? Buffer.alloc(0))).toBe(true);
    }
  });

  test('without outlines there is no map, and a warning', async () => {
    const bare = join(root, 'bare');
    await cp(input, bare, { recursive: true });
    await rm(join(bare, 'divisions.topojson'));
    const outcome = await run(['update', '--in', bare, '--out', join(root, 'bare-out'), '--issue', 'latest']);
    expect(outcome.code).toBe(0);
    expect(outcome.stderr).toMatch(/no map/);
    expect(await readdir(join(root, 'bare-out'))).not.toContain('map-2010-12.svg');
  });

  test('a month that is not there yet: 65, and nothing is written', async () => {
    const outcome = await run(update('gap', '--issue', '2011-02'));
    expect(outcome.code).toBe(65);
    expect(outcome.stderr.trim().split('\n')).toEqual([expect.stringContaining('gap: month 2011-01')]);
    await expect(readdir(join(root, 'gap'))).rejects.toThrow(/ENOENT/);
  });

  test.each([
    { args: [], code: 64, says: /say one of: update, hindcast, merge/ },
    { args: ['update', '--in', 'x'], code: 64, says: /needs --out/ },
    { args: ['update', '--bogus', 'x'], code: 64, says: /bogus/ },
    {
      args: ['update', '--in', '/nowhere', '--out', '/nowhere', '--issue', 'latest'],
      code: 66,
      says: /input folder/,
    },
    { args: ['merge', '--in', tmpdir(), '--out', '/nowhere'], code: 66, says: /no hindcast/ },
  ])('$args: exit code $code', async ({ args, code, says }) => {
    const outcome = await run(args);
    expect(outcome.code).toBe(code);
    expect(outcome.stderr).toMatch(says);
  });

  test('an output folder that cannot be made: 74', async () => {
    const outcome = await run(['update', '--in', input, '--out', join(payload, 'sub'), '--issue', 'latest']);
    expect(outcome.code).toBe(74);
  });
});

test('SIGTERM ends a hindcast after the division in hand, with 143 and no output', async () => {
  const all = join(root, 'all');
  await mkdir(all);
  await cp(new URL('../data/climdiv-pcpn.csv', import.meta.url), join(all, 'all.csv'));
  const child = spawn(process.execPath, [
    payload,
    'hindcast',
    '--in',
    all,
    '--out',
    join(root, 'stopped'),
    '--divisions',
    '0:344',
  ]);
  for await (const chunk of child.stdout) {
    if (String(chunk).includes('progress')) break;
  }
  child.kill('SIGTERM');
  const [code] = await once(child, 'exit');
  expect(code).toBe(143);
  await expect(readdir(join(root, 'stopped'))).rejects.toThrow(/ENOENT/);
});

test('a hindcast does not depend on how the divisions were split', async () => {
  const all = join(root, 'whole');
  await mkdir(all);
  await cp(new URL('../data/climdiv-pcpn.csv', import.meta.url), join(all, 'all.csv'));
  const results: unknown[] = [];
  for (const borders of [
    [0, 344],
    [0, 86, 172, 258, 344],
    [0, 1, 50, 51, 200, 201, 300, 344],
  ]) {
    const parts = join(root, `parts-${borders.length}`);
    for (const [i, from] of borders.slice(0, -1).entries()) {
      const outcome = await run([
        'hindcast',
        '--in',
        all,
        '--out',
        parts,
        '--divisions',
        `${from}:${borders[i + 1]}`,
      ]);
      expect(outcome).toMatchObject({ code: 0 });
    }
    expect(await run(['merge', '--in', parts, '--out', parts])).toMatchObject({ code: 0 });
    results.push(JSON.parse(await readFile(join(parts, 'skill.json'), 'utf8')));
  }
  expect(results[1]).toEqual(results[0]);
  expect(results[2]).toEqual(results[0]);

  const incomplete = join(root, 'parts-5');
  await rm(join(incomplete, 'hindcast-086-172.json'));
  const outcome = await run(['merge', '--in', incomplete, '--out', incomplete]);
  expect(outcome.code).toBe(65);
  expect(outcome.stderr).toMatch(/hindcast-172-258.json/);
});

describe('observations that cannot be right are refused, with file and month', () => {
  const history = historyFiles('2010-12').map(({ name, bytes }) => ({
    name,
    text: Buffer.from(bytes).toString(),
  }));
  const replace = (name: string, change: (text: string) => string) =>
    history.map((file) => (file.name === name ? { name, text: change(file.text) } : file));
  const of1934 = 'climdiv-pcpn-1934.csv';

  test.each([
    ['a gap', () => history.filter(({ name }) => name !== of1934), /gap: month 1934-01/],
    ['a truncated file', () => replace(of1934, (text) => text.slice(0, -5)), /1934\.csv: truncated/],
    [
      'a truncated line',
      () => replace(of1934, (text) => `${text.slice(0, -9)}\n`),
      /1934\.csv: month 1934-12 has 34\d values/,
    ],
    ['no lines', () => replace(of1934, () => ''), /1934\.csv: truncated/],
    [
      'another column',
      () => replace(of1934, (text) => text.replace('0101', '0199')),
      /1934\.csv: its columns differ/,
    ],
    [
      'no header',
      () => replace(of1934, (text) => text.slice(text.indexOf('\n') + 1)),
      /1934\.csv: the first line/,
    ],
    [
      'a negative total',
      () => replace(of1934, (text) => text.replace(/,\d+\n$/, ',-5\n')),
      /1934\.csv: month 1934-12: value 344/,
    ],
    [
      'a month 13',
      () => replace(of1934, (text) => text.replace('1934-12', '1934-13')),
      /1934\.csv: "1934-13" is not a month/,
    ],
    [
      'months that disagree',
      () => [...history, { name: 'b.csv', text: history[0]?.text.replace(/\d\n$/, '999\n') ?? '' }],
      /b\.csv: month 1895-12 differs from climdiv-pcpn-1895\.csv/,
    ],
    ['a record that ends too early', () => history.slice(0, 50), /calibration/],
  ])('%s', (_, files, message) => {
    expect(() => readObservations(files())).toThrow(message);
  });

  test('overlapping months that agree, line ends of Windows and a byte order mark are fine', () => {
    const again = replace(of1934, (text) => `\uFEFF${text.replaceAll('\n', '\r\n')}`);
    const plain = readObservations(history);
    const other = readObservations([...again, ...history.slice(0, 3)]);
    expect(other.last).toBe(plain.last);
    expect(other.totals[5]).toEqual(plain.totals[5]);
  });
});
