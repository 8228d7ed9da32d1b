// WebWire for browsers, on top of the WebAssembly that Rust was compiled to. `index.d.ts` describes it.

import init, { Core } from "./wasm/wwr_web.js";

const BINARY = 1;
const UTF8 = 2;
const UTF16 = 3;

/** How many signals wait for a loop that does not take them, and with how many bytes; one may always wait. */
const MOST_SIGNALS = 1024;
const MOST_BYTES = 4 << 20;

/** How long a request may take if nothing else is said, in milliseconds. */
const REQUEST_TIMEOUT = 60_000;

/** The longest time of a timer, in milliseconds. A longer one would ring at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

const decoders = {};
const decode = (encoding, bytes) =>
  (decoders[encoding] ??= new TextDecoder(encoding, { ignoreBOM: true })).decode(bytes);

let loading;
let loaded = false;

/** Loads the WebAssembly, once. */
export function load(source) {
  loading ??= start(source).then(
    () => {
      loaded = true;
    },
    (error) => {
      loading = undefined;
      throw new ConnectionError("not-loaded", `the client could not be loaded: ${error.message}`, NEVER_SENT);
    },
  );
  return loading;
}

async function start(source) {
  const url = new URL("./wasm/wwr_web_bg.wasm", import.meta.url);
  // Node does not fetch files.
  if (source === undefined && url.protocol === "file:") {
    const { readFile } = await import(/* @vite-ignore */ /* webpackIgnore: true */ "node:fs/promises");
    source = await readFile(url);
  }
  await init({ module_or_path: source ?? url });
}

export class WebWireError extends Error {
  constructor(code, message, { repeatable = false } = {}) {
    super(message);
    this.code = code;
    this.repeatable = repeatable;
  }
  get name() {
    return "WebWireError";
  }
}

export class RemoteError extends WebWireError {
  get name() {
    return "RemoteError";
  }
}

export class ServerError extends WebWireError {
  get name() {
    return "ServerError";
  }
}

export class TimeoutError extends WebWireError {
  get name() {
    return "TimeoutError";
  }
}

export class ConnectionError extends WebWireError {
  get name() {
    return "ConnectionError";
  }
}

export class ReplyError extends WebWireError {
  get name() {
    return "ReplyError";
  }
}

export class UsageError extends WebWireError {
  get name() {
    return "UsageError";
  }
}

const CLASSES = {
  "timed-out": TimeoutError,
  "internal-error": ServerError,
  shutdown: ServerError,
  "not-executed": ServerError,
  "session-not-found": ServerError,
  "max-session-connections": ServerError,
  "sessions-disabled": ServerError,
  "protocol-error": ServerError,
  "invalid-session": ServerError,
  "not-sent": ConnectionError,
  "connection-lost": ConnectionError,
  "not-connected": ConnectionError,
  backlogged: ConnectionError,
  "queue-full": ConnectionError,
  "too-many-requests": ConnectionError,
};

/** For what was never sent. */
const NEVER_SENT = { repeatable: true };

const closedTooEarly = () =>
  new ConnectionError("closed", "the client was closed before it was loaded", NEVER_SENT);

function failure(name, message, code, repeatable) {
  if (code !== undefined) return new RemoteError(code, message, { repeatable });
  return new (CLASSES[name] ?? UsageError)(name, message, { repeatable });
}

/** What the core throws was never sent. */
function attempt(call) {
  try {
    return call();
  } catch (error) {
    if (error instanceof Error) throw error;
    throw failure(error.code, error.message, undefined, true);
  }
}

function checked(name) {
  if (typeof name === "string") return name;
  throw new UsageError("invalid-name", "a name is a string", NEVER_SENT);
}

/** Text as UTF-16, little-endian; halves of surrogate pairs stay what they are. */
function utf16(text) {
  const bytes = new Uint8Array(text.length * 2);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < text.length; at += 1) view.setUint16(at * 2, text.charCodeAt(at), true);
  return bytes;
}

const ENCODINGS = [undefined, "utf-8", "utf-16"];

/** What JSON writes as it is: `JSON.stringify` makes `{}` of all other objects. */
const JSON_OBJECTS = ["Object", "Array", "String", "Number", "Boolean"];

const unwritable = (why) => new UsageError("unwritable", `the payload is no JSON: ${why}`, NEVER_SENT);

function json(payload, kind) {
  if (typeof payload === "object" && payload !== null && typeof payload.toJSON !== "function" && !JSON_OBJECTS.includes(kind)) {
    throw unwritable(kind === "Blob" || kind === "File" ? `send the bytes of a ${kind}: await blob.arrayBuffer()` : `it is a ${kind} without a toJSON`);
  }
  let text;
  try {
    text = JSON.stringify(payload);
  } catch (error) {
    throw unwritable(error.message);
  }
  if (text === undefined) throw unwritable(`it is a ${typeof payload}`);
  return text;
}

/** Returns text, or an encoding and bytes. */
function written(payload, encoding) {
  if (!ENCODINGS.includes(encoding)) {
    throw new UsageError("invalid-setting", "the encoding is utf-8 or utf-16", NEVER_SENT);
  }
  if (payload === undefined) return { encoding: BINARY, bytes: new Uint8Array() };
  if (ArrayBuffer.isView(payload)) {
    const { buffer, byteOffset, byteLength } = payload;
    return { encoding: BINARY, bytes: new Uint8Array(buffer, byteOffset, byteLength) };
  }
  // Buffers of another frame have a class of their own.
  const kind = Object.prototype.toString.call(payload).slice("[object ".length, -1);
  if (kind === "ArrayBuffer" || kind === "SharedArrayBuffer") return { encoding: BINARY, bytes: new Uint8Array(payload) };
  const text = typeof payload === "string" ? payload : json(payload, kind);
  if (encoding === "utf-16") return { encoding: UTF16, bytes: utf16(text) };
  return { text };
}

const read = (encoding, bytes) => {
  if (encoding === UTF16) return decode("utf-16le", bytes);
  if (encoding === UTF8) return decode("utf-8", bytes);
  // The memory is the core's.
  return bytes.slice();
};

function parsed(payload) {
  const text = typeof payload === "string" ? payload : decode("utf-8", payload);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ReplyError("unreadable", `the reply is no JSON: ${error.message}`);
  }
}

const BYTES = new TextEncoder();

const AS = {
  json: parsed,
  text: (payload) => (typeof payload === "string" ? payload : decode("utf-8", payload)),
  bytes: (payload) => (typeof payload === "string" ? BYTES.encode(payload) : payload),
};

/** The settings, of the types that the core expects. */
function settings(options) {
  for (const name of ["protocol", "subProtocol"]) {
    if (options[name] !== undefined && typeof options[name] !== "string") {
      throw new UsageError("invalid-setting", `wrong value of ${name}`, NEVER_SENT);
    }
  }
  let session = options.session ?? "memory";
  if (typeof session === "object") {
    const store = session;
    session = {
      load: () => {
        const key = store.load();
        return typeof key === "string" ? key : undefined;
      },
      save: (key) => store.save(key),
    };
  }
  return { ...options, session, answers: Boolean(options.answer) };
}

function event(type, properties) {
  return Object.assign(new Event(type), properties);
}

/** The clients that are or want to be connected. All others go when nobody holds them. */
const active = new Set();

/** What the core calls. Nothing of it throws. It does not hold its client. */
function sink(client, calls) {
  const held = new WeakRef(client);
  const entries = Object.entries(calls).map(([name, call]) => [
    name,
    (...told) => {
      const client = held.deref();
      if (client !== undefined) call(client, ...told);
    },
  ]);
  return Object.fromEntries(entries);
}

export class Client extends EventTarget {
  #core;
  #url;
  #options;
  #calls = new Map();
  #count = 0;
  #pending = 0;
  /** The questions that the application answers, and how it learns that nobody waits for the answer. */
  #questions = new Map();
  #session = null;
  #loops = new Set();
  /** The calls of `connect` that wait for the core. */
  #connecting = new Set();
  #broken;
  /** Ends the waits for the core. */
  #waits = new Set();

  constructor(url, options = {}) {
    super();
    this.#url = String(url);
    this.#options = settings(options);
    if (loaded) this.#begin();
    // Whoever connects or asks learns of errors.
    else load().then(() => this.#begin()).catch(() => {});
  }

  /** Creates the core, once. */
  #begin() {
    if (this.#core !== undefined || this.#broken !== undefined) return;
    try {
      this.#core = attempt(() => new Core(this.#url, this.#options, sink(this, Client.#told)));
    } catch (error) {
      this.#broken = error;
      throw error;
    }
  }

  async #loaded() {
    await load();
    this.#begin();
    if (this.#broken !== undefined) throw this.#broken;
    return this.#core;
  }

  /** Waits for the core as long as the caller does. */
  #ready({ timeout, signal } = {}) {
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      let timer;
      const ended = (settle) => (value) => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
        this.#waits.delete(close);
        settle(value);
      };
      const [fulfill, fail] = [ended(resolve), ended(reject)];
      const abort = () => fail(signal.reason);
      const close = () => fail(closedTooEarly());
      if (timeout !== undefined) {
        const late = () =>
          fail(new TimeoutError("timed-out", "the client was not loaded in time", NEVER_SENT));
        timer = setTimeout(late, Math.min(timeout, LONGEST_TIMER));
      }
      signal?.addEventListener("abort", abort, { once: true });
      this.#waits.add(close);
      this.#loaded().then(fulfill, fail);
    });
  }

  static #told = {
    replyText: (client, call, text) => client.#end(call)?.resolve(text),
    replyBytes: (client, call, encoding, bytes) => client.#end(call)?.resolve(read(encoding, bytes)),
    failed: (client, call, name, message, code, repeatable) =>
      client.#end(call)?.reject(failure(name, message, code, repeatable)),
    signalText: (client, name, text) => client.#signalled(name, text),
    signalBytes: (client, name, encoding, bytes) => client.#signalled(name, read(encoding, bytes)),
    questionText: (client, id, name, text) => client.#asked(id, name, text),
    questionBytes: (client, id, name, encoding, bytes) => client.#asked(id, name, read(encoding, bytes)),
    questionCancelled: (client, id) => client.#questions.get(id)?.abort(),
    connected: (client) => client.#tell(event("connect", { protocol: client.protocol })),
    disconnected: (client, reason, code, text, retryIn) =>
      client.#tell(event("disconnect", { reason, code, text, retryIn })),
    connectFailed: (client, name, message, retryIn) =>
      client.#tell(event("connecterror", { error: connectError(name, message), retryIn })),
    session: (client, how, key, created, lastLookup, info) => {
      client.#session = Object.freeze({
        key,
        created: new Date(created),
        lastLookup: new Date(lastLookup),
        info: info === undefined ? {} : JSON.parse(info),
      });
      client.#tell(event("session", { how, session: client.#session }));
    },
    noSession: (client, how, loss) => {
      client.#session = null;
      client.#tell(event("session", { how, session: null, loss }));
    },
  };

  /** Stays as long as it is or wants to be connected, also if nobody holds it. */
  #stay() {
    if (this.#core?.active) active.add(this);
    else active.delete(this);
  }

  #end(call) {
    const waiting = this.#calls.get(call);
    this.#calls.delete(call);
    return waiting;
  }

  #tell(event) {
    this.#stay();
    this.dispatchEvent(event);
  }

  #signalled(name, payload) {
    const signal = { name, payload };
    for (const loop of this.#loops) loop(signal);
    this.#tell(event("signal", signal));
  }

  async #asked(id, name, payload) {
    const controller = new AbortController();
    const { signal } = controller;
    this.#questions.set(id, controller);
    try {
      const answer = written(await this.#options.answer({ name, payload }, { signal }));
      const { encoding, bytes } =
        answer.text === undefined ? answer : { encoding: UTF8, bytes: BYTES.encode(answer.text) };
      this.#core.answer(id, encoding, bytes);
    } catch (error) {
      // What the handler did not mean for the server stays here.
      const meant = error instanceof RemoteError;
      // An application may have made it with a number.
      this.#core.refuse(id, meant ? String(error.code) : "", meant ? String(error.message) : "");
      const aborted = signal.aborted && error?.name === "AbortError";
      if (!meant && !aborted) (globalThis.reportError ?? console.error)(error);
    } finally {
      this.#questions.delete(id);
    }
  }

  /** Begins a call of the core, and waits for its outcome. */
  #call(begin, signal) {
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const call = ++this.#count;
      this.#calls.set(call, { resolve, reject });
      let number;
      try {
        number = attempt(() => begin(call));
        this.#stay();
      } catch (error) {
        this.#calls.delete(call);
        return reject(error);
      }
      if (signal === undefined || !this.#calls.has(call)) return undefined;
      const abort = () => {
        if (this.#end(call) === undefined) return;
        if (number !== undefined) this.#core.cancel(number);
        reject(signal.reason);
      };
      signal.addEventListener("abort", abort, { once: true });
      const done = (settle) => (value) => {
        signal.removeEventListener("abort", abort);
        settle(value);
      };
      this.#calls.set(call, { resolve: done(resolve), reject: done(reject) });
      return undefined;
    });
  }

  async connect({ signal } = {}) {
    signal?.throwIfAborted();
    const waiting = {};
    this.#connecting.add(waiting);
    let core;
    try {
      // At once if that is possible: a request may be made right behind this.
      core = this.#core ?? (await this.#ready({ signal }));
      if (!this.#connecting.has(waiting)) throw closedTooEarly();
    } finally {
      this.#connecting.delete(waiting);
    }
    await this.#call((call) => core.connect(call), signal).catch((error) => {
      throw error instanceof WebWireError ? connectError(error.code, error.message) : error;
    });
  }

  request(name, payload, options = {}) {
    return this.#counted(() => this.#request(name, payload, options));
  }

  /** Counts a request until it has its outcome. */
  async #counted(request) {
    this.#pending += 1;
    try {
      return await request();
    } finally {
      this.#pending -= 1;
    }
  }

  async #request(name, payload, { timeout, signal, encoding, as }) {
    const { text, encoding: number, bytes } = written(payload, encoding);
    checked(name);
    if (as !== undefined && AS[as] === undefined) {
      throw new UsageError("invalid-setting", "as is json, text or bytes", NEVER_SENT);
    }
    const { core, limit } = this.#at(timeout) ?? (await this.#within(timeout, signal));
    const reply = await this.#call(
      (call) =>
        text === undefined
          ? core.requestBytes(call, name, number, bytes, limit)
          : core.requestText(call, name, text, limit),
      signal,
    );
    return as === undefined ? reply : AS[as](reply);
  }

  /** The core and how long a call may take, if it can begin at once. */
  #at(timeout) {
    return this.#core && { core: this.#core, limit: timeout ?? undefined };
  }

  /** Waits for the core. What that takes is no more left for the call. */
  async #within(timeout, signal) {
    const whole = timeout ?? this.#options.requestTimeout ?? REQUEST_TIMEOUT;
    const begun = performance.now();
    const core = await this.#ready({ timeout: whole, signal });
    return { core, limit: whole - (performance.now() - begun) };
  }

  signal(name, payload, { encoding } = {}) {
    const { text, encoding: number, bytes } = written(payload, encoding);
    checked(name);
    const core = this.#core;
    if (core === undefined) throw new ConnectionError("not-connected", "not connected", NEVER_SENT);
    attempt(() =>
      text === undefined ? core.signalBytes(name, number, bytes) : core.signalText(name, text),
    );
  }

  signals({ name, signal } = {}) {
    const queue = [];
    let bytes = 0;
    let missed = 0;
    let waiters = [];
    let over = false;
    const wake = () => {
      const woken = waiters;
      waiters = [];
      for (const waiter of woken) waiter();
    };
    const take = (one) => {
      if (name !== undefined && one.name !== name) return;
      const size = one.payload.length;
      if (queue.length > 0 && (queue.length >= MOST_SIGNALS || bytes + size > MOST_BYTES)) {
        missed += 1;
        return;
      }
      queue.push(missed > 0 ? { ...one, missed } : one);
      bytes += size;
      missed = 0;
      wake();
    };
    const end = () => {
      over = true;
      this.#loops.delete(take);
      signal?.removeEventListener("abort", end);
      wake();
    };
    if (signal?.aborted) over = true;
    else {
      this.#loops.add(take);
      signal?.addEventListener("abort", end);
    }
    return {
      next: async () => {
        while (queue.length === 0 && !over) {
          await new Promise((resolve) => waiters.push(resolve));
        }
        const value = queue.shift();
        if (value === undefined) return { value, done: true };
        bytes -= value.payload.length;
        return { value, done: false };
      },
      return: async (value) => {
        end();
        queue.length = 0;
        return { value, done: true };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  restoreSession(key, options = {}) {
    return this.#counted(() => this.#restoreSession(key, options));
  }

  async #restoreSession(key, { timeout, signal }) {
    if (typeof key !== "string") throw new UsageError("no-key", "the key of a session is a string", NEVER_SENT);
    const { core, limit } = this.#at(timeout) ?? (await this.#within(timeout, signal));
    await this.#call((call) => core.restoreSession(call, key, limit), signal);
    return this.#session;
  }

  closeSession(options = {}) {
    return this.#counted(() => this.#closeSession(options));
  }

  async #closeSession({ timeout, signal }) {
    const { core, limit } = this.#at(timeout) ?? (await this.#within(timeout, signal));
    await this.#call((call) => core.closeSession(call, limit), signal);
  }

  close() {
    this.#connecting.clear();
    for (const close of this.#waits) close();
    this.#core?.close();
    this.#stay();
  }

  [Symbol.dispose ?? Symbol.for("Symbol.dispose")]() {
    this.close();
  }

  get session() {
    return this.#session;
  }

  get status() {
    return this.#core?.status ?? (this.#connecting.size > 0 ? "connecting" : "idle");
  }

  get pendingRequests() {
    return this.#pending;
  }

  get protocol() {
    return this.#core?.protocol ?? "unknown";
  }
}

const connectError = (name, message) => {
  const Class = name === "timed-out" ? TimeoutError : ConnectionError;
  return new Class(name, message, NEVER_SENT);
};

export async function connect(url, options) {
  const client = new Client(url, options);
  try {
    await client.connect({ signal: options?.signal });
  } catch (error) {
    client.close();
    throw error;
  }
  return client;
}
