import { json } from './answers.ts';
import { publicRoute } from './router.ts';

/** The release of the original whose dialect this is; clients only show it. */
const DIALECT = '41.0.0';

export const pingRoutes = [
  publicRoute('GET', '/ping', () => json({ version: DIALECT, implementation: 'weft' })),
];
