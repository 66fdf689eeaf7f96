import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type JobRecord, printJobMessage } from '../client.ts';
import type { JobRow } from './job-record.ts';
import { judgeMessage } from './judge-message.ts';

const now = new Date('2026-11-22T12:00:00Z');

function judge(text: string | Uint8Array, publishers?: { signer: string; sites: string[] }[]) {
  const body = typeof text === 'string' ? new TextEncoder().encode(text) : text;
  return judgeMessage(body, 'compute', { publishers }, now);
}

function rowsOf(text: string): readonly JobRow[] {
  const verdict = judge(text);
  if (verdict.state !== 'loaded') throw new Error(verdict.reason);
  return verdict.rows;
}

const required: Record<string, string> = {
  Site: 'hpc',
  LocalJobId: '42',
  WallDuration: '100',
  CpuDuration: '90',
  StartTime: '1795341600',
  EndTime: '1795341700',
};

/** A message of one record: the required fields, changed. */
function job(changes: Record<string, string | undefined> = {}, version = 'v0.3'): string {
  const lines = Object.entries({ ...required, ...changes }).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}: ${value}`],
  );
  return `APEL-individual-job-message: ${version}\n${lines.join('\n')}\n%%\n`;
}

describe('a job message is accepted', () => {
  test('with the fields that must be there, everything else as upstream fills it', () => {
    expect(rowsOf(job())).toEqual([
      expect.objectContaining({
        site: 'hpc',
        local_job_id: '42',
        wall_duration: 100,
        start_time: new Date('2026-11-22T10:00:00Z'),
        submit_host: 'None',
        vo: 'None',
        processors: 0,
        memory_real: null,
        service_level_type: 'custom',
        service_level: 1,
      }),
    ]);
  });

  test.each([
    ['without the last %%', job().replace('%%\n', '')],
    ['with line ends of Windows', job().replaceAll('\n', '\r\n')],
    ['with blank lines and blanks around keys', job().replace('LocalJobId: 42', '\n   LocalJobId  :   42  ')],
    ['with a byte order mark', `\uFEFF${job()}`],
    ['with fields that are ignored', job({ UpdateTime: 'x', SubmitHostType: 'y' })],
    ['with a repeated key, the last of which counts', job().replace('Site: hpc', 'LocalJobId: 1\nSite: hpc')],
    ['with trailing empty records', `${job()}%%\n\n%%\n`],
  ])('%s', (_, text) => {
    expect(rowsOf(text)).toHaveLength(1);
    expect(rowsOf(text)[0]?.local_job_id).toBe('42');
  });

  test('when a value contains %% or colons', () => {
    const [row] = rowsOf(job({ SubmitHost: 'ce.example.org:9619/ce%%x:y' }));
    expect(row?.submit_host).toBe('ce.example.org:9619/ce%%x:y');
  });

  test('with times in ISO 8601, any zone', () => {
    const [row] = rowsOf(job({ StartTime: '2026-11-22T10:00:00Z', EndTime: '2026-11-22T12:00:00+01:00' }));
    expect(row?.end_time.toISOString()).toBe('2026-11-22T11:00:00.000Z');
  });

  test('with null values, which mean absent except for VO, VOGroup and VORole', () => {
    const [row] = rowsOf(job({ MemoryReal: 'None', Queue: 'null', VO: 'NULL', FQAN: 'none' }));
    expect(row).toMatchObject({ memory_real: null, queue: 'None', vo: 'NULL' });
  });

  test('with one benchmark, or in v0.4 with several, of which HEPscore23 counts', () => {
    expect(rowsOf(job({ ServiceLevelType: 'Si2K', ServiceLevel: '2975.0' }))[0]).toMatchObject({
      service_level_type: 'si2k',
      service_level: 2975,
    });
    const [row] = rowsOf(job({ ServiceLevel: '{hepspec: 11.4, HEPscore23: 15.3}' }, 'v0.4'));
    expect(row).toMatchObject({
      service_level_type: 'hepscore23',
      service_level: 15.3,
      benchmarks: { hepspec: 11.4, hepscore23: 15.3 },
    });
    expect(rowsOf(job({}, 'v0.4'))[0]?.service_level_type).toBe('custom');
  });

  test.each([
    ['/atlas/uk/Role=production/Capability=NULL', 'atlas', '/atlas/uk', 'Role=production'],
    ['/drought', 'drought', '/drought', 'None'],
    ['/drought/Role=NULL;/other', 'drought', '/drought', 'Role=NULL'],
    ['vo.example.eu', 'vo.example.eu', 'None', 'None'],
    ['urn:geant:example.eu:group:atlas:uk:role=admin#aai.example.eu', 'atlas', '/atlas/uk', 'role=admin'],
  ])('%s names community, group and role, and wins over VO', (FQAN, vo, group, role) => {
    expect(rowsOf(job({ FQAN, VO: 'ignored' }))[0]).toMatchObject({
      fqan: FQAN,
      vo,
      vo_group: group,
      vo_role: role,
    });
  });
});

describe('a message is rejected as a whole, with the record, line and field of each error', () => {
  test.each([
    ['Site', undefined, /Site: is missing/],
    ['LocalJobId', 'None', /LocalJobId: is missing/],
    ['WallDuration', '-1', /WallDuration: "-1" is not a whole number/],
    ['CpuDuration', '10.5', /CpuDuration/],
    ['CpuDuration', '99999999999999999999', /CpuDuration: .* is larger than/],
    ['Processors', '1e9', /Processors/],
    ['EndTime', '1795341599', /EndTime: is before StartTime/],
    ['EndTime', '1795700000', /EndTime: is more than two days in the future/],
    ['StartTime', '2026-02-31T00:00:00Z', /StartTime: .* is not a time/],
    ['StartTime', '2026-11-22 10:00:00', /StartTime: .* is not a time/],
    ['StartTime', 'NaN', /StartTime/],
    ['Site', 'x'.repeat(256), /Site: longer than 255/],
    ['Site', 'a\u0000b', /Site: has a control character/],
    ['InfrastructureType', 'x'.repeat(21), /InfrastructureType: longer than 20/],
    ['Colour', 'blue', /Colour: is not a field/],
    ['ServiceLevelType', 'HS06', /ServiceLevel: needs ServiceLevelType and ServiceLevel both/],
    ['ServiceLevel', '10', /both, or neither/],
  ])('%s: %s', (key, value, reason) => {
    const verdict = judge(job({ [key]: value }));
    expect(verdict).toMatchObject({
      state: 'rejected',
      type: 'APEL-individual-job-message v0.3',
      reason: expect.stringMatching(reason),
    });
  });

  test.each([
    ['HS06 as benchmark', job({ ServiceLevelType: 'HS06', ServiceLevel: '10' }), /is none of HEPscore23/],
    ['a plain number in v0.4', job({ ServiceLevel: '10' }, 'v0.4'), /is not of the form/],
    ['a benchmark twice in v0.4', job({ ServiceLevel: '{si2k: 1, Si2k: 2}' }, 'v0.4'), /twice/],
    [
      'a line without a colon',
      job().replace('Site: hpc', 'Site hpc'),
      /record 1, line 2: a line without "Key: value"/,
    ],
    ['no records', 'APEL-individual-job-message: v0.3\n%%\n', /no records/],
    ['nothing', '', /no header/],
    ['no version', 'APEL-individual-job-message\n', /no header/],
    ['another type', 'APEL-cloud-message: v0.4\nVMUUID: 1\n', /not stored here yet/],
    [
      'a type that does not exist',
      'APEL-lunch-message: v0.1\n',
      /There is no message type APEL-lunch-message/,
    ],
    ['XML', '<?xml version="1.0"?><x/>', /XML/],
    ['bytes that are no UTF-8', Uint8Array.of(0xff, 0xfe), /UTF-8/],
  ])('%s', (_, text, reason) => {
    expect(judge(text)).toMatchObject({ state: 'rejected', reason: expect.stringMatching(reason) });
  });

  test('the second record spoils the message; every error is listed', () => {
    const text = `${job()}Site: hpc\nLocalJobId: 43\nWallDuration: x\n%%\n`;
    const verdict = judge(text);
    expect(verdict).toMatchObject({ state: 'rejected', reason: expect.stringMatching(/^record 2/) });
    const errors = verdict.state === 'rejected' ? verdict.errors : [];
    expect(errors.map(({ record, line, key }) => [record, line, key])).toEqual([
      [2, 9, 'CpuDuration'],
      [2, 9, 'StartTime'],
      [2, 9, 'EndTime'],
      [2, 11, 'WallDuration'],
    ]);
  });
});

test('a sender that is bound to sites cannot speak for others', () => {
  const publishers = [{ signer: 'compute', sites: ['HPC', 'cloud'] }];
  expect(judge(job({ Site: 'hpc ' }), publishers).state).toBe('loaded');
  expect(judge(job({ Site: 'moon' }), publishers)).toMatchObject({
    state: 'quarantined',
    reason: expect.stringMatching(/moon/),
  });
  expect(judge(job(), [{ signer: 'other', sites: ['*'] }])).toMatchObject({ state: 'quarantined' });
  expect(judge(job(), [{ signer: 'compute', sites: ['*'] }]).state).toBe('loaded');
});

describe('whatever comes in', () => {
  test('bytes of any kind get a verdict, never an exception', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) =>
        ['loaded', 'rejected'].includes(judge(bytes).state),
      ),
      { numRuns: 500 },
    );
  });

  test('lines that look like records get a verdict, and errors point into the message', () => {
    const line = fc.oneof(
      fc.constantFrom(
        '%%',
        '',
        ':',
        'Site',
        'ServiceLevel: {',
        'EndTime: 9999999999',
        'StartTime: 0001-01-01T00:00:00Z',
        'FQAN: //role=',
      ),
      fc
        .tuple(fc.constantFrom(...Object.keys(required), 'FQAN', 'Processors'), fc.string({ maxLength: 30 }))
        .map((pair) => pair.join(': ')),
      fc.string({ maxLength: 40 }),
    );
    const message = fc
      .array(line, { maxLength: 40 })
      .map((lines) => `APEL-individual-job-message: v0.4\n${lines.join('\n')}`);
    fc.assert(
      fc.property(message, (text) => {
        const verdict = judge(text);
        if (verdict.state === 'loaded') return;
        for (const error of verdict.errors)
          expect(error.line).toBeLessThanOrEqual(text.split(/\r?\n/).length);
      }),
      { numRuns: 500 },
    );
  });

  test('what the client prints is read back as it was', () => {
    const name = fc
      .string({ minLength: 1, maxLength: 60, unit: 'grapheme' })
      .map((text) => `n${text.replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, '').trim()}`);
    const record: fc.Arbitrary<JobRecord> = fc.record(
      {
        Site: name,
        LocalJobId: name,
        WallDuration: fc.nat(),
        CpuDuration: fc.nat(),
        StartTime: fc.integer({ min: 0, max: 1_700_000_000 }).map((seconds) => new Date(seconds * 1000)),
        EndTime: fc
          .integer({ min: 1_700_000_000, max: 1_795_000_000 })
          .map((seconds) => new Date(seconds * 1000)),
        GlobalUserName: name,
        Processors: fc.nat(10_000),
      },
      { requiredKeys: ['Site', 'LocalJobId', 'WallDuration', 'CpuDuration', 'StartTime', 'EndTime'] },
    );
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 5 }), (records) => {
        const rows = rowsOf(printJobMessage(records));
        expect(
          rows.map((row) => [row.site, row.local_job_id, row.wall_duration, row.end_time, row.processors]),
        ).toEqual(
          records.map((each) => [
            each.Site,
            each.LocalJobId,
            each.WallDuration,
            each.EndTime,
            each.Processors ?? 0,
          ]),
        );
      }),
      { numRuns: 200 },
    );
  });
});
