// The requests of the page.

/** How often the server is asked, in milliseconds. */
export const EVERY = 2000;

/**
 * @typedef {object} Traffic
 * @property {number} requests
 * @property {number} replied
 * @property {number} failed
 * @property {number} internal
 * @property {number} lost
 * @property {number} refused
 * @property {number} panics
 * @property {number} signals_received
 * @property {number} signals_sent
 * @property {number} signals_dropped
 * @property {number} ignored
 * @property {number} bytes_received
 * @property {number} bytes_sent
 * @property {number} stalls
 *
 * @typedef {{id: string, created: string, public: Record<string, unknown>}} Identity
 *
 * @typedef {object} Connection
 * @property {number} id
 * @property {string} peer
 * @property {string} socket
 * @property {string} path
 * @property {string} [user_agent]
 * @property {string} [sub_protocol]
 * @property {boolean} tls
 * @property {string} dialect
 * @property {number} age_ms
 * @property {number} silent_ms
 * @property {Identity} [session]
 * @property {string[]} groups
 * @property {number} group_count
 * @property {Traffic} traffic
 * @property {number} handlers
 * @property {number} queued_bytes
 * @property {boolean} slow
 * @property {'open' | 'closing' | 'ended'} state
 *
 * @typedef {Identity & {connections: number[], connection_count: number}} Session
 * @typedef {{name: string, members: number, connections: number[]}} Group
 *
 * @typedef {object} Message
 * @property {number} number
 * @property {number} at
 * @property {'received' | 'sent'} direction
 * @property {string} kind
 * @property {string} [request]
 * @property {string} [name]
 * @property {number} length
 * @property {{encoding: string, form: 'json' | 'text' | 'hex' | 'note', text: string, length: number, cut: boolean}} [payload]
 * @property {string} [error]
 *
 * @typedef {object} Overview
 * @property {number} at_ms
 * @property {string | null} address
 * @property {boolean} shutting_down
 * @property {number} connections
 * @property {number} opened
 * @property {Record<string, number>} by_dialect
 * @property {number} sessions
 * @property {number} groups
 * @property {Traffic} traffic
 * @property {number} handlers
 * @property {number} queued_bytes
 * @property {number} refused
 * @property {Record<string, number>} refusals
 * @property {number} sessions_created
 * @property {number} sessions_restored
 * @property {number} sessions_not_found
 * @property {number} store_pending
 * @property {number} store_failed
 * @property {NodeOfCluster | null} cluster
 */

/**
 * How a node of a cluster stands.
 * @typedef {object} NodeOfCluster
 * @property {string} name
 * @property {string} state
 * @property {string[]} nodes
 * @property {number} alive
 * @property {number} entered
 * @property {number} lost
 * @property {number} messages_sent
 * @property {number} messages_received
 */

/**
 * @template Row
 * @typedef {{at_ms: number, rows: Row[], matched: number, total: number}} Table
 */

/** Where the token is kept, for this tab. */
const KEPT = 'wwr-inspect-token';

/** How long an answer may take, in milliseconds. */
const TIMEOUT = 8000;

/** An answer with an error. `status` is 0 if there was no answer. */
export class Failure extends Error {
  /** @param {number} status @param {string} reason */
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

/** Takes the token out of the address, so that it is neither seen nor kept in the history. */
export function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (token !== null) {
    sessionStorage.setItem(KEPT, token);
    history.replaceState(null, '', location.pathname + location.search);
  }
}

/** @param {string} token */
export function keepToken(token) {
  sessionStorage.setItem(KEPT, token);
}

/**
 * @param {string} path
 * @param {Record<string, string | number | null>} [query] What is null is left out.
 * @returns {Promise<any>}
 */
export async function ask(path, query) {
  return request('GET', path, query);
}

/**
 * @param {string} path
 * @param {Record<string, string | number | null>} [query]
 * @returns {Promise<any>}
 */
export async function tell(path, query) {
  return request('POST', path, query);
}

/**
 * @param {string} method
 * @param {string} path
 * @param {Record<string, string | number | null>} [query]
 */
async function request(method, path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null);
  const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
  /** @type {Record<string, string>} */
  const headers = { 'wwr-inspect': '1' };
  const token = sessionStorage.getItem(KEPT);
  if (token !== null) {
    headers.authorization = `Bearer ${token}`;
  }
  let response;
  let answer;
  try {
    response = await fetch(`api/${path}?${search}`, {
      method,
      headers,
      cache: 'no-store',
      credentials: 'same-origin',
      redirect: 'error',
      signal: AbortSignal.timeout(TIMEOUT),
    });
    answer = await response.json();
  } catch {
    throw new Failure(0, 'The server does not answer.');
  }
  if (!response.ok) {
    throw new Failure(response.status, answer.error ?? `status ${response.status}`);
  }
  return answer;
}
