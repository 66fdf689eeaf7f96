import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { readArguments } from '../src/arguments.ts';
import type { Instance } from '../src/instance.ts';
import { hashedName, setScene } from '../src/scene.ts';
import { createTour, StepFailure } from '../src/tour.ts';
import { readWarnings } from '../src/warnings.ts';

let folder: string;
let printed: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tour-'));
  printed = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += text;
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

const tourIn = (jsonFile?: string) =>
  createTour({ firstStep: 2, logCommand: (component) => `see ${component}`, jsonFile });

describe('the tour', () => {
  test('counts what holds, and ends well when everything does', async () => {
    const tour = tourIn(join(folder, 'report.json'));
    await tour.step('First', 'storage', async (step) => {
      step.note('something was done');
      step.equal('one', 1, 1);
      step.check('two', true, 'detail');
    });
    expect(tour.finish()).toBe(0);
    expect(printed).toMatch(/^2 {2}First$/m);
    expect(printed.trimEnd().split('\n').at(-1)).toBe('2 passed, 0 failed');
    const report = JSON.parse(readFileSync(join(folder, 'report.json'), 'utf8'));
    expect(report).toMatchObject({
      passed: 2,
      failed: 0,
      steps: [{ number: 2, checks: [{ name: 'one' }, { name: 'two' }] }],
    });
  });

  test('goes on within a step after a claim that does not hold, and names step, component and log', async () => {
    const tour = tourIn();
    await tour.step('First', 'storage', async (step) => {
      step.equal('sum', 3, 4);
      step.check('else', false, '', 'transfer');
    });
    await tour.step('Second', 'datalake', async (step) => step.check('fine', true));
    expect(tour.finish()).toBe(1);
    expect(printed).toMatch(/✗ sum: 3, not 4\n.*step 2, storage; log: see storage/);
    expect(printed).toMatch(/✗ else\n.*step 2, transfer; log: see transfer/);
    expect(printed).toMatch(/✓ fine/);
    expect(printed).toMatch(/1 passed, 2 failed\n$/);
  });

  test('breaks off at an exception; what depends on it is not tried', async () => {
    const tour = tourIn();
    const later = vi.fn();
    await tour.step('First', 'orchestrator', async () => {
      throw new StepFailure('compute does not answer', 'compute');
    });
    await tour.step('Second', 'datalake', later);
    expect(tour.finish()).toBe(1);
    expect(later).not.toHaveBeenCalled();
    expect(printed).toMatch(/step 2, compute/);
    expect(printed).toMatch(/3 {2}Second: not tried/);
    expect(printed).toMatch(/0 passed, 1 failed\n$/);
  });

  test('that checked nothing is no success', () => {
    expect(tourIn().finish()).toBe(1);
  });
});

describe('what the tour is told', () => {
  test('where the instance is, and which month', () => {
    expect(readArguments(['--weft', '/w', '--data', '/d', '--drain', 'hpc'])).toEqual({
      weft: '/w',
      data: '/d',
      issue: '2010-12',
      drain: 'hpc',
      json: undefined,
    });
  });

  test.each([
    [[]],
    [['--weft', 'w', '--data', 'd', '--issue', '2010-11']],
    [['--weft', 'w', '--data', 'd', '--issue', '2011-13']],
  ])('refuses %j', (argv) => {
    expect(() => readArguments(argv)).toThrow(RangeError);
  });
});

const nobody = () => {
  throw new Error('there is no instance in this test');
};
const noInstance: Instance = {
  endpoints: {
    datalake: '',
    transfer: '',
    identity: '',
    issuer: '',
    orchestrator: '',
    accounting: '',
    sites: {},
    ca: '',
  },
  sites: [],
  site: nobody,
  tokens: nobody,
  requireComponent: nobody,
};

test('files lie where Rucio looks for them', () => {
  expect(hashedName('test', 'f1')).toBe('test/a1/62/f1');
});

test('later issues add the months that have arrived since, and leave the history alone', () => {
  const scene = setScene(noInstance, readArguments(['--weft', 'w', '--data', 'd', '--issue', '2011-02']));
  expect(scene.live.files.map(({ name }) => name)).toEqual(
    ['2010-12', '2011-01', '2011-02'].map((month) => `climdiv-pcpn-${month}.csv`),
  );
  expect(scene.history.files).toHaveLength(116);
  expect(scene.files).toHaveLength(120);
});

test('warning tables are read whatever stands in a name', () => {
  const [quoted, plain] = readWarnings(
    'header\n4805,"Powder, Little Missouri, Tongu",0.1,0.2,0.3,0.4,0.5,0.6,0.7,-1,-2,-3,watch\n4105,Trans Pecos,1,2,3,4,5,6,7,8,9,10,none\n',
  );
  expect(quoted).toEqual({ division: '4805', level: 'watch', spi6: 0.3, p: 0.7, median: -3 });
  expect(plain).toEqual({ division: '4105', level: 'none', spi6: 3, p: 7, median: 10 });
});
