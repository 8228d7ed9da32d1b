/// <reference lib="esnext.disposable" />

/**
 * What a request or a signal carries: text, bytes, or any value that JSON can express. Nothing means no bytes. Objects
 * that JSON would write as `{}` are refused: a `Map`, a `Set`, a `Promise`, a `Blob` (send `await blob.arrayBuffer()`).
 */
export type Payload =
  | string
  | ArrayBuffer
  | SharedArrayBuffer
  | ArrayBufferView
  | JsonValue
  | undefined;

/** A value that `JSON.stringify` writes. Objects may have a `toJSON`. */
export type JsonValue = null | boolean | number | string | readonly unknown[] | object;

/**
 * How text is sent. Servers answer in an encoding of their choice. Half a surrogate pair is sent as U+FFFD in UTF-8 and as
 * it is in UTF-16; received ones are U+FFFD.
 */
export type TextEncoding = "utf-8" | "utf-16";

/** What came: text of UTF-8 or UTF-16 as a string, binary as bytes. */
export type Received = string | Uint8Array;

/**
 * How the client is connected: not asked to be; just connecting; connected; pausing before another attempt; closed.
 */
export type Status = "idle" | "connecting" | "connected" | "waiting" | "closed";

/** What the server speaks, as far as it is known. */
export type Protocol = "1.4" | "1.5" | "2.0" | "wwr.1" | "unknown";

/** A session: state of the application on the server that outlives connections. */
export interface Session {
  /** A secret: whoever has it can use the session. */
  readonly key: string;
  readonly created: Date;
  readonly lastLookup: Date;
  /** What the server's application tells of it. */
  readonly info: Readonly<Record<string, unknown>>;
}

/** Keeps the key of the session. Neither method has to work: if one throws, the session ends with the page. */
export interface SessionStore {
  /**
   * Returns the key that is kept, if any. Called when the client is created, and when its session has ended: a key that
   * somebody else has put there meanwhile stays.
   */
  load(): string | null | undefined;
  /** Keeps this key in place of any other; `undefined` is for none any more. */
  save(key: string | undefined): void;
}

/** Settings. All times are in milliseconds. */
export interface ClientOptions {
  /**
   * Where the key of the session is kept: `"memory"` (until the page is left), `"session"` (`sessionStorage`: this tab),
   * `"local"` (`localStorage`: all tabs of the origin, and after they are closed), or a store of your own.
   * Default: `"memory"`.
   */
  session?: "memory" | "session" | "local" | SessionStore;
  /** Which versions to speak. Default: `"auto"`, whatever the server speaks. */
  protocol?: "auto" | "1.4" | "1.5" | "2.0";
  /** The name of the application's own protocol, which servers of 2.0 and wwr.1 have to have as well. */
  subProtocol?: string;
  /** Whether to connect again by itself. Default: true. */
  reconnect?: boolean;
  /** How long a request may take, with the wait for the WebAssembly and for a connection. Default: 60000. */
  requestTimeout?: number;
  /** How long opening the WebSocket may take. Default: 5000. */
  connectTimeout?: number;
  /** How long the preflight may take. Default: 10000. */
  preflightTimeout?: number;
  /** The pause after the first failure, which doubles up to `maxBackoff`. Default: 500. */
  initialBackoff?: number;
  /** The longest pause. Default: 30000. */
  maxBackoff?: number;
  /** How many requests may be without an outcome. Default: 65536. */
  maxPendingRequests?: number;
  /** How many bytes of requests wait for a connection. Default: 1 MiB. */
  maxQueuedBytes?: number;
  /** The longest message that is read, in bytes. A longer one ends the connection. Default: 16 MiB. */
  maxMessageSize?: number;
  /** Codes of close frames after which the client does not connect again by itself. Default: none. */
  finalCloseCodes?: readonly number[];
  /** Whether to offer wwr.1, which servers of this project speak. Default: true. */
  wwr1?: boolean;
  /** Trust that the server speaks the version that is set, and do without the preflight. Default: false. */
  skipPreflight?: boolean;
  /**
   * Answers questions of the server (wwr.1), up to 64 at once. A `RemoteError` that it throws is told to the server;
   * anything else becomes an internal error there, and is reported here. `signal` is aborted when the server does not wait
   * for the answer any more. A handler that ignores that counts among the 64 until it has ended.
   */
  answer?(question: Signal, context: { readonly signal: AbortSignal }): Payload | Promise<Payload>;
}

export interface RequestOptions {
  /**
   * How long it may take, in milliseconds, with the wait for the WebAssembly and for a connection. Default: that of the
   * client.
   */
  timeout?: number;
  /** Cancels it. The promise is rejected with the signal's reason. */
  signal?: AbortSignal;
  /** How a string or JSON is sent. Default: `"utf-8"`. */
  encoding?: TextEncoding;
}

/** A message of the server, with its name. */
export interface Signal {
  readonly name: string;
  readonly payload: Received;
  /** How many signals before it a slow loop has missed. */
  readonly missed?: number;
}

export interface SignalEvent extends Event, Signal {
  readonly type: "signal";
}

export interface ConnectEvent extends Event {
  readonly type: "connect";
  readonly protocol: Protocol;
}

/**
 * Why a connection ended: the network failed; the server closed it; the application did; nothing was heard for too long;
 * the server asked too much; the server turned out not to suit.
 */
export type DisconnectReason =
  | "connection-lost"
  | "closed-by-server"
  | "closed"
  | "silent"
  | "too-many-questions"
  | "incompatible";

/**
 * Why a session could not be resumed: the server does not know it; it has no sessions; it refused; its answer was no
 * session; every attempt failed.
 */
export type SessionLoss = "session-not-found" | "sessions-disabled" | "refused" | "invalid-session" | "gave-up";

export interface DisconnectEvent extends Event {
  readonly type: "disconnect";
  readonly reason: DisconnectReason;
  /** The code of the server's close frame. */
  readonly code?: number;
  /** The text of the server's close frame. */
  readonly text?: string;
  /** How soon the client connects again by itself, in milliseconds, if it does. */
  readonly retryIn?: number;
}

export interface ConnectErrorEvent extends Event {
  readonly type: "connecterror";
  readonly error: WebWireError;
  /** How soon the client tries again by itself, in milliseconds, if it does. */
  readonly retryIn?: number;
}

export interface SessionEvent extends Event {
  readonly type: "session";
  /** What happened to it: `"updated"` means its info or key, `"lost"` that it could not be resumed. */
  readonly how: "created" | "updated" | "restored" | "closed" | "lost";
  /** The session that is held now. */
  readonly session: Session | null;
  /** Why it was lost. */
  readonly loss?: SessionLoss;
}

export interface ClientEvents {
  connect: ConnectEvent;
  disconnect: DisconnectEvent;
  connecterror: ConnectErrorEvent;
  session: SessionEvent;
  signal: SignalEvent;
}

/**
 * A client of one server. It keeps itself connected: a lost connection is opened again after a pause, at once when the
 * network is back or somebody looks at the page again. Requests that are made meanwhile wait.
 *
 * From `connect` until `close`, it stays also if nobody holds it. Before and after, it is an object like any other.
 */
export class Client extends EventTarget {
  /**
   * Does not connect yet. `url` is of `ws`, `wss`, `http` or `https`, or relative to the page.
   * @throws {UsageError} at once, or when it is used if the WebAssembly is not {@link load}ed: `invalid-url`,
   * `invalid-setting`, `mixed-content`.
   */
  constructor(url: string | URL, options?: ClientOptions);

  /**
   * Connects, and turns automatic reconnection on again after `close`. What is called without waiting for it waits
   * itself.
   * @throws {ConnectionError | TimeoutError} if the first attempt fails. The client goes on trying, unless `retryIn` of
   * the event `connecterror` is undefined. So it does if `signal` ends the wait once the WebAssembly is loaded: only
   * `close` ends the attempts.
   */
  connect(options?: { signal?: AbortSignal }): Promise<void>;

  /** Makes a request, and returns the reply: a string if it is text, bytes if it is binary. */
  request(name: string, payload?: Payload, options?: RequestOptions): Promise<Received>;
  /** Makes a request whose reply is read as JSON. */
  request<T = unknown>(name: string, payload: Payload, options: RequestOptions & { as: "json" }): Promise<T>;
  /** Makes a request whose reply is read as text. */
  request(name: string, payload: Payload, options: RequestOptions & { as: "text" }): Promise<string>;
  /** Makes a request whose reply is read as bytes; those of text are UTF-8. */
  request(name: string, payload: Payload, options: RequestOptions & { as: "bytes" }): Promise<Uint8Array>;

  /**
   * Sends a signal. Signals never wait.
   * @throws {ConnectionError} `not-connected`, `backlogged`.
   */
  signal(name: string, payload?: Payload, options?: { encoding?: TextEncoding }): void;

  /**
   * The signals of the server from now on, all or those of one name, for `for await`. A loop that does not take them
   * keeps 1024, and no more than 4 MiB of them; the next one says how many it has `missed`. It ends with `break`, or with
   * the abort signal after what had come before. Without a loop, call `return()` when no more are wanted: until then, or
   * until the client itself is gone, an iterator that nobody uses any more keeps as many.
   */
  signals(options?: { name?: string; signal?: AbortSignal }): AsyncIterableIterator<Signal>;

  /** Asks the server for the session of this key. The client holds it then. */
  restoreSession(key: string, options?: Pick<RequestOptions, "timeout" | "signal">): Promise<Session>;

  /** Closes the session. Without a connection the client only forgets it. */
  closeSession(options?: Pick<RequestOptions, "timeout" | "signal">): Promise<void>;

  /**
   * Closes the connection, or ends the attempts to get one. The session is kept, and resumed by the next `connect`. A
   * client that is not used any more has to be closed.
   */
  close(): void;

  /** The same, for `using client = await connect(...)`. */
  [Symbol.dispose](): void;

  /** The session that is held. It survives connections. */
  readonly session: Session | null;
  readonly status: Status;
  readonly protocol: Protocol;
  /** How many requests have no outcome yet, `restoreSession` and `closeSession` included. */
  readonly pendingRequests: number;

  addEventListener<Type extends keyof ClientEvents>(
    type: Type,
    listener: ((event: ClientEvents[Type]) => void) | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<Type extends keyof ClientEvents>(
    type: Type,
    listener: ((event: ClientEvents[Type]) => void) | null,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

/** Creates a client and connects it. If the first attempt fails, the client is closed. */
export function connect(url: string | URL, options?: ClientOptions & { signal?: AbortSignal }): Promise<Client>;

/**
 * Loads the WebAssembly, once. Clients do that themselves; a page that wants errors of the constructor at once calls it
 * first. `source` is for those who keep it elsewhere than beside the module: a URL, a response, bytes or a module.
 */
export function load(source?: string | URL | Response | BufferSource | WebAssembly.Module): Promise<void>;

/** What all errors of this module are. */
export class WebWireError extends Error {
  constructor(code: string, message?: string, options?: { repeatable?: boolean });
  /** A short name for programs, which stays the same. */
  readonly code: string;
  /** Whether the server has not handled the request, so that repeating it does nothing twice. */
  readonly repeatable: boolean;
}

/** The application on the server answered with an error of its own: its code and its message. */
export class RemoteError extends WebWireError {}

export type ServerErrorCode =
  | "internal-error"
  | "shutdown"
  | "not-executed"
  | "session-not-found"
  | "max-session-connections"
  | "sessions-disabled"
  | "protocol-error"
  | "invalid-session";

/** The server did not do it. */
export class ServerError extends WebWireError {
  readonly code: ServerErrorCode;
}

/** It took too long. If it is `repeatable`, the request was never sent. */
export class TimeoutError extends WebWireError {
  readonly code: "timed-out";
}

/** Of requests and signals. */
export type RequestFailureCode =
  | "not-connected"
  | "not-sent"
  | "connection-lost"
  | "queue-full"
  | "too-many-requests"
  | "backlogged";

/** Of connecting. */
export type ConnectFailureCode =
  | "dial-failed"
  | "unavailable"
  | "probe-failed"
  | "not-webwire"
  | "incompatible-version"
  | "incompatible-sub-protocol"
  | "no-accept-conf"
  | "not-accept-conf"
  | "connection-lost"
  | "closed-by-server"
  | "closed";

/** There is no connection, or it was lost. `not-loaded`: the WebAssembly could not be loaded. */
export class ConnectionError extends WebWireError {
  readonly code: RequestFailureCode | ConnectFailureCode | "not-loaded";
}

export type UsageErrorCode =
  | "invalid-name"
  | "empty-request"
  | "unreadable-signal"
  | "unwritable"
  | "odd-utf-16"
  | "too-large"
  | "session-held"
  | "no-key"
  | "invalid-url"
  | "invalid-setting"
  | "mixed-content";

/** The call is wrong; nothing was sent. */
export class UsageError extends WebWireError {
  readonly code: UsageErrorCode;
}

/** The server has handled the request, but its reply is not the JSON that `as` asked for. */
export class ReplyError extends WebWireError {
  readonly code: "unreadable";
}
