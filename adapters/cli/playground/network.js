// The network as the client sees it: it can be watched and cut. This has to be there before the client.

const RealSocket = globalThis.WebSocket;
const realFetch = globalThis.fetch.bind(globalThis);

/** @type {Set<WatchedSocket>} */
const sockets = new Set();

let isCut = false;

/** @typedef {{ sent: boolean, bytes: Uint8Array, protocol: string, at: number }} Frame */

/** @type {(frame: Frame) => void} */
let watcher = () => {};

/** Calls a function for each message of each WebSocket. @param {(frame: Frame) => void} watch */
export function watch(watch) {
  watcher = watch;
}

/** Cuts the network, or mends it. @param {boolean} cut */
export function setCut(cut) {
  isCut = cut;
  if (cut) {
    for (const socket of [...sockets]) {
      socket.lose();
    }
  } else {
    // As a browser says it.
    globalThis.dispatchEvent(new Event('online'));
  }
}

/** @param {string | ArrayBuffer | ArrayBufferView} data */
function copied(data) {
  if (typeof data === 'string') {
    return new TextEncoder().encode(data);
  }
  // The sender may use its memory for something else.
  return ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice() : new Uint8Array(data.slice(0));
}

class WatchedSocket extends RealSocket {
  #lost = false;

  /** @param {string | URL} url @param {string | string[]} protocols */
  constructor(url, protocols = []) {
    super(url, protocols);
    sockets.add(this);
    this.addEventListener('message', (event) => {
      if (this.#lost) {
        event.stopImmediatePropagation();
      } else if (!(event.data instanceof Blob)) {
        this.#tell(false, event.data);
      }
    });
    // What comes after a loss is not heard of.
    this.addEventListener('close', (event) => {
      sockets.delete(this);
      if (this.#lost && event.isTrusted) {
        event.stopImmediatePropagation();
      }
    });
    if (isCut) {
      super.close();
    }
  }

  /** @param {any} data */
  send(data) {
    if (this.#lost) {
      return;
    }
    super.send(data);
    this.#tell(true, data);
  }

  /** Ends as a socket does whose network has gone: without a word of the server. */
  lose() {
    sockets.delete(this);
    if (this.readyState === RealSocket.OPEN) {
      this.#lost = true;
      super.close();
      this.dispatchEvent(new CloseEvent('close', { code: 1006, wasClean: false }));
    } else {
      super.close();
    }
  }

  /** @param {boolean} sent @param {any} data */
  #tell(sent, data) {
    watcher({ sent, bytes: copied(data), protocol: this.protocol, at: Date.now() });
  }
}

globalThis.WebSocket = WatchedSocket;
globalThis.fetch = (resource, options) => {
  const asks = options?.method ?? (resource instanceof Request ? resource.method : 'GET');
  return isCut && asks === 'WEBWIRE' ? Promise.reject(new TypeError('the network is cut')) : realFetch(resource, options);
};
