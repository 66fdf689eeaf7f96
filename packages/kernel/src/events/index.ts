export { emit } from './emit.ts';
export { type EventRouteOptions, registerEventRoutes } from './event-routes.ts';
export { followEvents } from './follow-events.ts';
export { createEventParser, type EventFrame } from './parse-event-stream.ts';
export * from './types.ts';
