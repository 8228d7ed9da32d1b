// The connection of this tab and its session: connecting, the network cut and mended, logging in and out.

import { setCut } from './network.js';
import { pretty, shown } from './payload.js';
import { element, find, foreign } from './elements.js';
import { log } from './show.js';

/** Where the choice is kept whether tabs share a session. */
const SHARED = 'wwr-playground shared';

/** How often the time until the next attempt is shown, in milliseconds. */
const COUNTDOWN = 200;

/** What the reasons of the client mean. */
const REASONS = new Map([
  ['connection-lost', 'the connection was lost'],
  ['closed-by-server', 'the server has closed the connection'],
  ['silent', 'the server was silent for too long'],
  ['closed', 'closed'],
]);

/** @type {any} The module of the client. */
let wwr;

/** Calls for what the browser has stored, which it may refuse. @template T @param {() => T} call */
function stored(call) {
  try {
    return call();
  } catch {
    return null;
  }
}

/** @type {any} */
let client = null;

/** When the client tries again. @type {number | null} */
let nextAttempt = null;

let isCut = false;

/** Returns the client. @returns {any} */
export const current = () => client;

/** Returns what the connection speaks. */
export const protocol = () => client?.protocol ?? 'unknown';

/** @param {any} module */
export function start(module) {
  wwr = module;
  find('shared').checked = stored(() => localStorage.getItem(SHARED)) !== 'no';
  find('connection').addEventListener('submit', (/** @type {Event} */ event) => {
    event.preventDefault();
    client === null ? connect() : disconnect();
  });
  find('cut').addEventListener('click', () => {
    isCut = !isCut;
    find('cut').setAttribute('aria-pressed', String(isCut));
    find('cut').textContent = isCut ? 'Mend the network' : 'Cut the network';
    log(isCut ? 'network cut' : 'network mended', null);
    setCut(isCut);
  });
  find('login').addEventListener('submit', (/** @type {Event} */ event) => {
    event.preventDefault();
    ask('login', { user: find('user').value });
  });
  find('log-out').addEventListener('click', logOut);
  find('shared').addEventListener('change', () => {
    stored(() => localStorage.setItem(SHARED, find('shared').checked ? 'yes' : 'no'));
    if (client !== null) {
      disconnect();
      connect();
    }
  });
  addEventListener('storage', (event) => {
    const isKey = event.key?.startsWith('wwr ') && event.newValue;
    if (isKey && find('shared').checked && client !== null && client.session === null) {
      client.restoreSession(event.newValue).catch((/** @type {Error} */ error) => failed('restoring the session', error));
    }
  });
  setInterval(showState, COUNTDOWN);
  connect();
}

function connect() {
  const { protocol, host } = location;
  const path = find('path').value.trim();
  const url = `${protocol === 'https:' ? 'wss' : 'ws'}://${host}${path.startsWith('/') ? path : `/${path}`}`;
  let made;
  try {
    made = new wwr.Client(url, { session: find('shared').checked ? 'local' : 'session' });
  } catch (error) {
    failed('connecting', /** @type {Error} */ (error));
    return;
  }
  client = made;
  listen(made);
  // Later attempts are told of as events.
  made.connect().catch(() => {});
  showState();
}

function disconnect() {
  // What it says of its end is said here.
  const left = client;
  client = null;
  left?.close();
  nextAttempt = null;
  log('disconnected', null);
  showState();
}

/** @param {any} made */
function listen(made) {
  const on = (/** @type {string} */ type, /** @type {(event: any) => void} */ act) =>
    made.addEventListener(type, (/** @type {any} */ event) => {
      // One that was left has nothing to say.
      if (made === client) {
        act(event);
        showState();
      }
    });
  on('connect', () => {
    nextAttempt = null;
    log('connected', null, element('p', 'note', `protocol ${made.protocol}`));
  });
  on('disconnect', ({ reason, code, text, retryIn }) => {
    waits(retryIn);
    const by = code === undefined ? '' : `, code ${code}`;
    log('disconnected', null, element('p', 'note', (REASONS.get(reason) ?? reason) + by + (text ? `: ${text}` : '')));
  });
  on('connecterror', ({ error, retryIn }) => {
    waits(retryIn);
    log('not connected', null, element('p', 'note', error.message));
  });
  on('session', ({ how, session, loss }) => {
    const info = session === null ? [] : [shown(JSON.stringify(session.info))];
    log(`session ${how}`, loss ?? null, ...info);
  });
  on('signal', ({ name, payload }) => log('signal', name, shown(payload)));
}

/** @param {number | undefined} retryIn In milliseconds. */
function waits(retryIn) {
  nextAttempt = retryIn === undefined ? null : Date.now() + retryIn;
}

/** Ends the session: of this connection, or of all tabs that share it. */
function logOut() {
  find('shared').checked && client?.session ? ask('kick', client.session.key) : ask('logout');
}

/** Asks for something of the session, with its outcome in the list. @param {string} name @param {unknown} payload */
async function ask(name, payload = undefined) {
  try {
    await client?.request(name, payload, { timeout: 10_000 });
  } catch (error) {
    failed(name, /** @type {Error} */ (error));
  }
}

/** @param {string} what @param {any} error */
function failed(what, error) {
  log('failed', what, element('p', 'error', foreign(error.code ?? error.name, 'name'), ` ${error.message}`));
}

function showState() {
  const status = client?.status ?? 'idle';
  const isLive = status === 'connected';
  const wait = nextAttempt === null ? null : Math.max(0, nextAttempt - Date.now()) / 1000;
  const state = isLive ? `connected, ${client.protocol}` : client === null ? 'not connected' : 'connecting';
  setText(find('state'), state);
  find('state').dataset.state = isLive ? 'live' : client === null ? 'idle' : 'gone';
  setText(find('connection-note'), isLive || wait === null ? '' : wait === 0 ? 'Trying again now.' : `Trying again in ${Math.ceil(wait)} s.`);
  setText(find('connect'), client === null ? 'Connect' : 'Disconnect');
  find('path').disabled = client !== null;
  const session = client?.session ?? null;
  // A client that comes back still has its session; one that has left has none.
  find('log-in').disabled = !isLive || session !== null;
  find('log-out').disabled = !isLive || session === null;
  showSession(session);
}

/** @type {any} */
let shownSession;

/** @param {any} session */
function showSession(session) {
  if (session === shownSession) {
    return;
  }
  shownSession = session;
  const facts = session === null ? [['now', 'no session']] : [['info', pretty(JSON.stringify(session.info))], ['key', session.key], ['created', session.created.toLocaleString('en-GB')]];
  find('session-facts').replaceChildren(...facts.flatMap(([name, value]) => [element('dt', '', name), element('dd', name, foreign(value))]));
}

/** Sets a text only if it has changed, so that it is read out once. @param {Element} at @param {string} text */
function setText(at, text) {
  if (at.textContent !== text) {
    at.textContent = text;
  }
}
