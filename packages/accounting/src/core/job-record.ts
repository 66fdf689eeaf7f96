import type { RecordError } from '../db/schema.ts';
import { readFqan } from './community.ts';
import { FieldError, isAbsent, readBenchmark, readCount, readText, readTime } from './field-values.ts';
import type { RawMessage, RawRecord } from './read-message.ts';

/** A job record with everything that is derived from its text; `None` stands for texts that were not given. */
export interface JobRow {
  readonly site: string;
  readonly local_job_id: string;
  readonly submit_host: string;
  readonly machine_name: string;
  readonly queue: string;
  readonly local_user_id: string;
  readonly global_user_name: string;
  readonly fqan: string;
  readonly vo: string;
  readonly vo_group: string;
  readonly vo_role: string;
  readonly wall_duration: number;
  readonly cpu_duration: number;
  readonly processors: number;
  readonly node_count: number;
  readonly start_time: Date;
  readonly end_time: Date;
  readonly infrastructure_description: string;
  readonly infrastructure_type: string;
  readonly memory_real: number | null;
  readonly memory_virtual: number | null;
  readonly service_level_type: string;
  readonly service_level: number;
  readonly benchmarks: Readonly<Record<string, number>>;
}

export const JOB_MESSAGE = 'APEL-individual-job-message';

/** Accepted and ignored (brief accounting 2.4). */
const IGNORED = new Set(['UpdateTime', 'SubmitHostType']);
const KNOWN = new Set([
  ...[
    'Site',
    'SubmitHost',
    'MachineName',
    'Queue',
    'LocalJobId',
    'LocalUserId',
    'GlobalUserName',
    'FQAN',
    'VO',
    'VOGroup',
  ],
  ...['VORole', 'WallDuration', 'CpuDuration', 'Processors', 'NodeCount', 'StartTime', 'EndTime'],
  ...[
    'InfrastructureDescription',
    'InfrastructureType',
    'MemoryReal',
    'MemoryVirtual',
    'ServiceLevelType',
    'ServiceLevel',
  ],
]);
/** A null value of these stays as it was written. */
const KEPT_WHEN_NULL = new Set(['VO', 'VOGroup', 'VORole']);

/** Lower case → as shown. Preference, when a record has several: first listed first. */
const BENCHMARKS = new Map([
  ['hepscore23', 'HEPscore23'],
  ['hepspec', 'HEPSPEC'],
  ['si2k', 'si2k'],
]);
/** The benchmark of a record that names none. */
const CUSTOM = 'custom';
const LARGEST_PROCESSORS = 2_147_483_647;
/** Clocks of batch systems may be ahead; a job cannot have ended further in the future (upstream's rule). */
const FUTURE_MILLISECONDS = 2 * 24 * 3600 * 1000;

/** Reads every record of a job message; rows count only when there are no errors. */
export function readJobRecords(message: RawMessage, now: Date): { rows: JobRow[]; errors: RecordError[] } {
  const errors = [...message.errors];
  const rows: JobRow[] = [];
  for (const record of message.records) {
    const reader = new RecordReader(record, errors);
    const row = readJob(reader, message.version === 'v0.4', now);
    if (row !== undefined) rows.push(row);
  }
  return { rows, errors: errors.sort((one, other) => one.line - other.line) };
}

/** Takes fields out of one record and collects what is wrong with them. */
class RecordReader {
  readonly #record: RawRecord;
  readonly #errors: RecordError[];
  failed = false;

  constructor(record: RawRecord, errors: RecordError[]) {
    this.#record = record;
    this.#errors = errors;
    for (const [key, { line }] of record.fields) {
      if (!KNOWN.has(key) && !IGNORED.has(key)) this.fail('is not a field of job records', key, line);
    }
  }

  fail(message: string, key: string | null, line = this.#record.line): void {
    this.failed = true;
    this.#errors.push({ record: this.#record.number, line, key, message });
  }

  /** The value of a field, `undefined` when it is absent or wrong. */
  optional<Value>(key: string, read: (value: string) => Value): Value | undefined {
    const field = this.#record.fields.get(key);
    if (field === undefined || (isAbsent(field.value) && !KEPT_WHEN_NULL.has(key))) return undefined;
    try {
      return read(field.value);
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      this.fail(error.message, key, field.line);
      return undefined;
    }
  }

  required<Value>(key: string, read: (value: string) => Value): Value | undefined {
    const field = this.#record.fields.get(key);
    if (field === undefined || isAbsent(field.value)) this.fail('is missing', key, field?.line);
    return this.optional(key, read);
  }

  text(key: string, longest?: number): string {
    return this.optional(key, (value) => readText(value, longest)) || 'None';
  }
}

function readJob(reader: RecordReader, severalBenchmarks: boolean, now: Date): JobRow | undefined {
  const site = reader.required('Site', readText);
  const localJobId = reader.required('LocalJobId', readText);
  const wallDuration = reader.required('WallDuration', readCount);
  const cpuDuration = reader.required('CpuDuration', readCount);
  const startTime = reader.required('StartTime', readTime);
  const endTime = reader.required('EndTime', readTime);
  if (startTime !== undefined && endTime !== undefined && endTime < startTime)
    reader.fail('is before StartTime', 'EndTime');
  if (endTime !== undefined && endTime.getTime() > now.getTime() + FUTURE_MILLISECONDS) {
    reader.fail('is more than two days in the future', 'EndTime');
  }

  const fqan = reader.optional('FQAN', readText);
  const stated = { vo: reader.text('VO'), group: reader.text('VOGroup'), role: reader.text('VORole') };
  const community = fqan === undefined ? stated : readFqan(fqan);
  const benchmarks = severalBenchmarks ? readBenchmarks(reader) : readSingleBenchmark(reader);
  const preferred = [...BENCHMARKS.keys()].find((type) => benchmarks[type] !== undefined);

  const row = {
    submit_host: reader.text('SubmitHost'),
    machine_name: reader.text('MachineName'),
    queue: reader.text('Queue'),
    local_user_id: reader.text('LocalUserId'),
    global_user_name: reader.text('GlobalUserName'),
    fqan: fqan ?? 'None',
    vo: community.vo,
    vo_group: community.group,
    vo_role: community.role,
    processors: reader.optional('Processors', (value) => readCount(value, LARGEST_PROCESSORS)) ?? 0,
    node_count: reader.optional('NodeCount', (value) => readCount(value, LARGEST_PROCESSORS)) ?? 0,
    infrastructure_description: reader.text('InfrastructureDescription', 100),
    infrastructure_type: reader.text('InfrastructureType', 20),
    memory_real: reader.optional('MemoryReal', readCount) ?? null,
    memory_virtual: reader.optional('MemoryVirtual', readCount) ?? null,
    service_level_type: preferred ?? CUSTOM,
    service_level: preferred === undefined ? 1 : (benchmarks[preferred] ?? 1),
    benchmarks,
  };
  if (reader.failed || site === undefined || localJobId === undefined) return undefined;
  if (wallDuration === undefined || cpuDuration === undefined) return undefined;
  if (startTime === undefined || endTime === undefined) return undefined;
  return {
    ...row,
    site,
    local_job_id: localJobId,
    wall_duration: wallDuration,
    cpu_duration: cpuDuration,
    start_time: startTime,
    end_time: endTime,
  };
}

/** `ServiceLevelType` and `ServiceLevel`: both or neither (brief accounting 2.4). */
function readSingleBenchmark(reader: RecordReader): Record<string, number> {
  const type = reader.optional('ServiceLevelType', (value) => readText(value).toLowerCase());
  const level = reader.optional('ServiceLevel', readBenchmark);
  if (reader.failed || (type === undefined && level === undefined)) return {};
  if (type === undefined || level === undefined) {
    reader.fail('needs ServiceLevelType and ServiceLevel both, or neither', 'ServiceLevel');
    return {};
  }
  if (type === CUSTOM) return {};
  if (!BENCHMARKS.has(type)) {
    reader.fail(`is none of ${[...BENCHMARKS.values()].join(', ')}`, 'ServiceLevelType');
    return {};
  }
  return { [type]: level };
}

/** Version 0.4: `ServiceLevel: {hepspec: 11.4, HEPscore23: 15.3}`. */
function readBenchmarks(reader: RecordReader): Record<string, number> {
  const read = (value: string) => {
    const inside = /^\{(.*)\}$/.exec(value)?.[1];
    if (inside === undefined) throw new FieldError('is not of the form {HEPscore23: 15.3, hepspec: 11.4}');
    const benchmarks: Record<string, number> = {};
    for (const entry of inside.split(',').filter((each) => each.trim() !== '')) {
      const [, name = '', level = ''] = /^\s*([^:]+?)\s*:\s*([^:]+?)\s*$/.exec(entry) ?? [];
      const type = name.toLowerCase();
      if (!BENCHMARKS.has(type))
        throw new FieldError(`"${name.slice(0, 40)}" is none of ${[...BENCHMARKS.values()].join(', ')}`);
      if (Object.hasOwn(benchmarks, type)) throw new FieldError(`names ${name} twice`);
      benchmarks[type] = readBenchmark(level);
    }
    return benchmarks;
  };
  return reader.optional('ServiceLevel', read) ?? {};
}
