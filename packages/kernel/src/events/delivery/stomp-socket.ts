import { type ConnectionOptions, connect } from 'node:tls';
import { type IStompSocket, StompSocketState } from '@stomp/stompjs';

/** A TLS connection with the face of a WebSocket, which is what the STOMP client speaks through. */
export function openStompSocket(url: string, options: ConnectionOptions): IStompSocket {
  const { hostname, port } = new URL(url);
  const tls = connect({ ...options, host: hostname, port: Number(port), servername: hostname });
  let state = StompSocketState.CONNECTING;
  const socket: IStompSocket = {
    url,
    onopen: undefined,
    onmessage: undefined,
    onerror: undefined,
    onclose: undefined,
    get readyState() {
      return state;
    },
    send: (data) => {
      if (typeof data === 'string') tls.write(data);
      else if (ArrayBuffer.isView(data))
        tls.write(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      else throw new TypeError('STOMP frames are text or bytes');
    },
    close: () => {
      state = StompSocketState.CLOSING;
      tls.end();
    },
    terminate: () => {
      state = StompSocketState.CLOSING;
      tls.destroy();
    },
  };
  tls.on('secureConnect', () => {
    state = StompSocketState.OPEN;
    socket.onopen?.();
  });
  tls.on('data', (data: Buffer) => {
    socket.onmessage?.({ data: data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength) });
  });
  tls.on('error', (error) => socket.onerror?.(error));
  tls.on('close', () => {
    state = StompSocketState.CLOSED;
    socket.onclose?.({ code: 1006, reason: 'closed', wasClean: false });
  });
  return socket;
}
