import { WeftError } from '@weft/kernel/errors';

/**
 * What an errno means here (brief teapot 2.2). 404 is not used to hide 403: the kernel's own answer is passed on.
 * `EXDEV` says that a folder below the area's root is a file system of its own, which an area cannot span.
 */
export function toFileError(error: unknown): unknown {
  if (!(error instanceof Error) || !('code' in error)) return error;
  switch (error.code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return new WeftError('not-found', 'not-found', 'There is no such file or collection.', {
        cause: error,
      });
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new WeftError(
        'forbidden',
        'permission-denied',
        'The file system refuses this to the local account.',
        { cause: error },
      );
    case 'ELOOP':
      return new WeftError('forbidden', 'symbolic-link', 'Symbolic links are not followed.', {
        cause: error,
      });
    case 'ENXIO':
      return new WeftError('forbidden', 'special-file', 'Only regular files and collections are served.', {
        cause: error,
      });
    case 'EEXIST':
    case 'ENOTEMPTY':
      return new WeftError('conflict', 'exists', 'Something of that name exists.', { cause: error });
    case 'EISDIR':
      return new WeftError('conflict', 'is-collection', 'A collection has that name.', { cause: error });
    case 'EXDEV':
      return new WeftError(
        'conflict',
        'other-file-system',
        'The folder lies on another file system than its storage area.',
        {
          cause: error,
        },
      );
    case 'ENOSPC':
    case 'EDQUOT':
      return new WeftError(
        'exhausted',
        'insufficient-storage',
        'The storage is full or its quota is used up.',
        { cause: error },
      );
    case 'EFBIG':
      return new WeftError(
        'too-large',
        'file-too-large',
        'The file system does not hold files of that size.',
        { cause: error },
      );
    case 'ENAMETOOLONG':
    case 'EINVAL':
      return new WeftError('invalid', 'invalid-path', 'The file system does not accept that name.', {
        cause: error,
      });
    case 'EBUSY':
    case 'EAGAIN':
    case 'ESTALE':
    case 'EMFILE':
    case 'ENFILE':
    case 'ETXTBSY':
      return new WeftError('unavailable', 'storage-busy', 'The file system is busy; try again.', {
        cause: error,
      });
    default:
      return error;
  }
}

/** Runs a file operation and gives its failure the domain's words. */
export async function withFileErrors<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw toFileError(error);
  }
}

export function hasErrno(error: unknown, ...codes: readonly string[]): boolean {
  return (
    error instanceof Error && 'code' in error && typeof error.code === 'string' && codes.includes(error.code)
  );
}
