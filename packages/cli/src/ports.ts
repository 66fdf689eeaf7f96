/**
 * Where each listener stands (DESIGN "Listeners"): its offset from `--port-base`, and its port without it. The defaults are
 * the ports that users of the originals expect.
 */
export interface Ports {
  readonly dashboard: number;
  readonly issuer: number;
  readonly siteIssuer: number;
  readonly identity: number;
  readonly accounting: number;
  readonly orchestrator: number;
  readonly transfer: number;
  readonly transferMonitor: number;
  readonly datalake: number;
  readonly stomp: number;
  storage(siteIndex: number): number;
  interlink(siteIndex: number): number;
  kubelet(siteIndex: number): number;
}

export function portsOf(base: number | undefined): Ports {
  const at = (offset: number, fallback: number) => (base === undefined ? fallback : base + offset);
  return {
    dashboard: at(0, 9000),
    issuer: at(1, 8440),
    siteIssuer: at(2, 8441),
    identity: at(3, 8442),
    accounting: at(4, 8443),
    orchestrator: at(5, 8445),
    transfer: at(6, 8446),
    transferMonitor: at(7, 8449),
    datalake: at(8, 8450),
    stomp: at(9, 61614),
    storage: (siteIndex) => at(10 + siteIndex, 8081 + siteIndex),
    interlink: (siteIndex) => at(30 + siteIndex, 3000 + siteIndex),
    kubelet: (siteIndex) => at(50 + siteIndex, 10250 + siteIndex),
  };
}
