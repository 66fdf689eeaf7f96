/** The originals check no methods, and clients of all ages use different ones (brief interlink 2.0). */
export const EVERY_METHOD = ['GET', 'POST', 'PUT', 'DELETE'];
