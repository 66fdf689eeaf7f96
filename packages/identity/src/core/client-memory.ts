import type { Client } from './clients.ts';

/** Clients as they were last read. What is decided on one of them must be confirmed: see `AuditLog.recordIfUnchanged`. */
export interface ClientMemory {
  recall(id: string): Client | undefined;
  remember(client: Client): void;
  forget(id: string): void;
}

const CLIENTS = 5000;

/** Holds the clients that were used last. */
export function createClientMemory(): ClientMemory {
  const clients = new Map<string, Client>();
  return {
    recall: (id) => clients.get(id),
    remember(client) {
      clients.delete(client.id);
      clients.set(client.id, client);
      const oldest = clients.size > CLIENTS ? clients.keys().next() : undefined;
      if (oldest !== undefined && !oldest.done) clients.delete(oldest.value);
    },
    forget: (id) => void clients.delete(id),
  };
}
