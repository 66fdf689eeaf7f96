export * from './diagnostics.ts';
export * from './evaluation.ts';
export * from './inputs.ts';
export { isList, isObject, type Json } from './located.ts';
export * from './service-template.ts';
export { bundledTypes } from './type-library.ts';
export { scalarUnit } from './units.ts';
