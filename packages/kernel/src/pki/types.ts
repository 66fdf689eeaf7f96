/** PEM of a certificate (with its chain) and its key; what a TLS listener needs. */
export interface TlsMaterial {
  readonly certificate: string;
  readonly key: string;
}

/** Who stands in a certificate. */
export interface CertificateSubject {
  commonName: string;
  /** `localhost`, `127.0.0.11`, `host.example`. */
  hosts?: readonly string[];
}
