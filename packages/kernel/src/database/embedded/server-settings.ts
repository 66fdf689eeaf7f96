import { availableParallelism, totalmem } from 'node:os';

const MEBIBYTE = 1024 * 1024;

/**
 * Settings of the embedded server, given at every start, so that a new version of Weft changes them without touching the
 * cluster. They fit a machine of 2 GiB; what can use more memory is scaled by it.
 */
export function serverSettings(options: {
  socketFolder: string;
  durable: boolean;
}): Readonly<Record<string, string>> {
  const memory = totalmem() / MEBIBYTE;
  const durable = options.durable ? 'on' : 'off';
  return {
    listen_addresses: '',
    port: '5432',
    unix_socket_directories: options.socketFolder,
    unix_socket_permissions: '0700',
    // Our processes use at most 80; the rest is for an operator and for `weft backup`.
    max_connections: '90',
    password_encryption: 'scram-sha-256',

    fsync: durable,
    synchronous_commit: durable,
    full_page_writes: durable,
    // No replicas hang on this server: tables made and filled in one transaction skip the log.
    wal_level: 'minimal',
    max_wal_senders: '0',
    wal_compression: 'on',
    max_wal_size: '1GB',
    checkpoint_timeout: '10min',

    shared_buffers: '128MB',
    effective_cache_size: `${Math.max(256, Math.round(memory / 2))}MB`,
    work_mem: '8MB',
    maintenance_work_mem: `${Math.min(256, Math.max(32, Math.round(memory / 32)))}MB`,
    // Parallel workers meet in /dev/shm, which containers keep small, and gain nothing on few cores.
    max_parallel_workers_per_gather: availableParallelism() > 4 ? '2' : '0',
    max_logical_replication_workers: '0',

    jit: 'off',
    random_page_cost: '1.1',
    // Queues turn over fast and bulk loads are common: dead rows and stale statistics cost more than looking often.
    autovacuum_naptime: '15s',
    autovacuum_analyze_scale_factor: '0.05',
    autovacuum_vacuum_insert_scale_factor: '0.1',

    timezone: 'UTC',
    log_timezone: 'UTC',
    log_line_prefix: '%m [%p] %a ',
    log_min_duration_statement: '2s',
    log_parameter_max_length: '0',
    log_checkpoints: 'off',
    log_autovacuum_min_duration: '10s',
  };
}

/** `-c name=value` for each, as `postgres` and `initdb` take them. */
export function settingArguments(settings: Readonly<Record<string, string>>): string[] {
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}
