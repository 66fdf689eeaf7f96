/** The program of a peer cannot be had on this machine; the message says what was tried. */
export class PeerUnavailable extends Error {
  override readonly name = 'PeerUnavailable';
}
