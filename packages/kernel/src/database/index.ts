export { lastRestore, restoreBackup } from './backup/restore-backup.ts';
export { type BackupSummary, writeBackup } from './backup/write-backup.ts';
export { type DatabaseConnection, type DatabaseTarget, describeTarget, errorCode } from './connection.ts';
export { copyField, quoteIdentifier } from './copy-rows.ts';
export { SERVER_ACCOUNT } from './embedded/account.ts';
export { installedBinaries } from './embedded/binaries.ts';
export {
  type EmbeddedOptions,
  type EmbeddedPostgres,
  embeddedConnection,
  startEmbeddedPostgres,
} from './embedded/start.ts';
export * from './migrate.ts';
export * from './open-database.ts';
export * from './types.ts';
export * from './wake-ups.ts';
