import * as fs from 'node:fs';
import { promisify } from 'node:util';

/**
 * Promises over plain descriptors. `FileHandle` would do the same with two more allocations a call, and its garbage
 * collection closes descriptors behind our back.
 */
export const openDescriptor = promisify(fs.open);
export const closeDescriptor = promisify(fs.close);
export const syncFile = promisify(fs.fsync);
export const syncFileData = promisify(fs.fdatasync);
export const changeMode = promisify(fs.fchmod);
export const changeOwner = promisify(fs.fchown);
export const changeTimes = promisify(fs.futimes);

export function statDescriptor(descriptor: number): Promise<fs.BigIntStats> {
  return new Promise((resolve, reject) => {
    fs.fstat(descriptor, { bigint: true }, (error, stats) => (error ? reject(error) : resolve(stats)));
  });
}

/** Reads until `buffer` is full or the file ends; returns the number of bytes. */
export function readAt(descriptor: number, buffer: Uint8Array, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    let filled = 0;
    const step = () => {
      fs.read(descriptor, buffer, filled, buffer.length - filled, position + filled, (error, bytes) => {
        if (error) return reject(error);
        filled += bytes;
        if (bytes === 0 || filled === buffer.length) return resolve(filled);
        step();
      });
    };
    step();
  });
}

/** Writes all of `buffer`, however many calls the kernel wants for it. */
export function writeAt(descriptor: number, buffer: Uint8Array, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let written = 0;
    const step = () => {
      if (written === buffer.length) return resolve();
      fs.write(descriptor, buffer, written, buffer.length - written, position + written, (error, bytes) => {
        if (error) return reject(error);
        written += bytes;
        step();
      });
    };
    step();
  });
}
