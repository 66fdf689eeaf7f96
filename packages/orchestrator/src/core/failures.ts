import { describeError, WeftError } from '@weft/kernel/errors';

/** Classes of brief 3.3. */
export type FailureClass =
  | 'USER_TEMPLATE'
  | 'AUTH'
  | 'QUOTA'
  | 'CAPACITY'
  | 'PROVIDER_DOWN'
  | 'TIMEOUT'
  | 'INTERNAL';

/** The attempt on this provider has failed; another provider may do better. */
export class ProviderFailure extends Error {
  override readonly name = 'ProviderFailure';
  readonly failureClass: FailureClass;

  constructor(failureClass: FailureClass, message: string) {
    super(message);
    this.failureClass = failureClass;
  }
}

/** The deployment has failed; no provider will do better. */
export class DeploymentFailure extends Error {
  override readonly name = 'DeploymentFailure';
  readonly failureClass: FailureClass;

  constructor(failureClass: FailureClass, message: string) {
    super(message);
    this.failureClass = failureClass;
  }
}

/**
 * Runs a call to a provider. What it refuses, it will refuse again: on to the next one (the original retries a refusal on
 * the same provider and then gives up, brief 3.3). What did not get through is worth another try.
 */
export async function onProvider<Result>(provider: string, call: () => Promise<Result>): Promise<Result> {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof WeftError) || error.kind === 'unavailable' || error.kind === 'upstream')
      throw error;
    throw new ProviderFailure(classOf(error), `${provider}: ${describeError(error)}`);
  }
}

/** Runs a call to the datalake. What it refuses is the same from every provider. */
export async function onDatalake<Result>(call: () => Promise<Result>): Promise<Result> {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof WeftError) || error.kind === 'unavailable' || error.kind === 'upstream')
      throw error;
    throw new DeploymentFailure(classOf(error), `datalake: ${describeError(error)}`);
  }
}

function classOf(error: WeftError): FailureClass {
  switch (error.kind) {
    case 'unauthenticated':
    case 'forbidden':
      return 'AUTH';
    case 'exhausted':
      return 'QUOTA';
    default:
      return 'USER_TEMPLATE';
  }
}
