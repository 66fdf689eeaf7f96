export { type DeliveryOptions, startDelivery } from './delivery/start-delivery.ts';
export { type Subscription, subscriptionSchema } from './delivery/subscription.ts';
export { emission, emit, eventChannel } from './emit.ts';
export { type EventRouteOptions, registerEventRoutes } from './event-routes.ts';
export { followEvents } from './follow-events.ts';
export { createEventParser, type EventFrame } from './parse-event-stream.ts';
export * from './types.ts';
