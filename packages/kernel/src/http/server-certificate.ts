import { createPrivateKey, X509Certificate } from 'node:crypto';
import { type FSWatcher, readFileSync, watch } from 'node:fs';
import path from 'node:path';
import { describeError, WeftError } from '../errors/index.ts';
import type { TlsMaterial } from '../pki/index.ts';
import type { Logger } from '../telemetry/index.ts';

/** The certificate of the listeners of one process, read again when its files change. */
export interface ServerCertificate {
  current(): TlsMaterial;
  /** Calls back after a change; returns the unsubscribe function. */
  onChange(callback: (material: TlsMaterial) => void): () => void;
  close(): void;
}

export interface ServerCertificateFiles {
  readonly certificateFile: string;
  readonly keyFile: string;
}

/** Renewal tools write certificate and key one after the other: both must have come to rest. */
const SETTLE_MILLISECONDS = 250;
/** Where the system tells of no change (network file systems, mounted secrets), files are looked at this often. */
const LOOK_MILLISECONDS = 60_000;

/**
 * Reads certificate and key, and follows them: after a renewal new connections get the new certificate, without a restart.
 * A pair that does not belong together, or that cannot be read, leaves the old one in place and is logged.
 *
 * @throws {WeftError} `invalid`/`tls-material` when the pair is no good at the start.
 */
export function openServerCertificate(files: ServerCertificateFiles, log: Logger): ServerCertificate {
  let material = readPair(files);
  const callbacks = new Set<(material: TlsMaterial) => void>();

  const look = () => {
    try {
      const fresh = readPair(files);
      if (fresh.certificate === material.certificate && fresh.key === material.key) return;
      material = fresh;
      for (const callback of callbacks) callback(fresh);
      const { subject, validTo } = new X509Certificate(fresh.certificate);
      log.info({ subject, validTo }, 'the server certificate was renewed');
    } catch (error) {
      log.warn(
        { reason: describeError(error) },
        'the new server certificate cannot be used; the old one stays',
      );
    }
  };

  let settling: NodeJS.Timeout | undefined;
  const changed = () => {
    clearTimeout(settling);
    settling = setTimeout(look, SETTLE_MILLISECONDS);
  };
  // Folders, not files: renewal replaces the files, and mounted secrets are links that move.
  const folders = new Set([files.certificateFile, files.keyFile].map((file) => path.dirname(file)));
  const watchers: FSWatcher[] = [];
  for (const folder of folders) {
    try {
      const watcher = watch(folder, { persistent: false }, changed);
      watcher.on('error', (error) =>
        log.debug({ reason: describeError(error) }, 'a folder is no longer watched'),
      );
      watchers.push(watcher);
    } catch (error) {
      log.debug({ reason: describeError(error) }, 'a folder cannot be watched; it is looked at now and then');
    }
  }
  const timer = setInterval(look, LOOK_MILLISECONDS);
  timer.unref();

  return {
    current: () => material,
    onChange(callback) {
      callbacks.add(callback);
      return () => callbacks.delete(callback);
    },
    close() {
      clearTimeout(settling);
      clearInterval(timer);
      for (const watcher of watchers) watcher.close();
    },
  };
}

function readPair({ certificateFile, keyFile }: ServerCertificateFiles): TlsMaterial {
  const certificate = readFileSync(certificateFile, 'utf8');
  const key = readFileSync(keyFile, 'utf8');
  let belong: boolean;
  try {
    belong = new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key));
  } catch (cause) {
    throw new WeftError('invalid', 'tls-material', `${certificateFile} or ${keyFile} is not PEM`, { cause });
  }
  if (!belong)
    throw new WeftError('invalid', 'tls-material', `${keyFile} is not the key of ${certificateFile}`);
  return { certificate, key };
}
