export type ComponentName =
  | 'identity'
  | 'storage'
  | 'transfer'
  | 'datalake'
  | 'compute'
  | 'orchestrator'
  | 'accounting';
