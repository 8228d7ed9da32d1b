// The form for requests and signals.

import { current } from './connection.js';
import { shown, typed } from './payload.js';
import { element, find, foreign } from './elements.js';
import { log } from './show.js';

/** How long a reply may take: longer than the request `sleep`. */
const TIMEOUT = 70_000;

/** What fills the form: label, name, encoding, payload. */
const EXAMPLES = [
  ['echo', 'echo', 'text', 'Grüße 🦊'],
  ['to all tabs', 'broadcast', 'json', '{"text":"hello 👋","from":"a tab"}'],
  ['a signal back', 'signal-me', 'utf-16', 'Γειά σου 𝄞'],
  ['bytes', 'echo', 'hex', '00 ff f0 9f a6 8a'],
  ['who am I', 'whoami', 'text', ''],
  ['a second', 'sleep', 'text', '1000'],
  ['an error', 'error', 'text', 'NO_TEA the pot is empty'],
  ['close me', 'close', 'text', ''],
];

/** @param {{ requests: string[] }} about */
export function start(about) {
  find('names').append(...about.requests.filter((name) => name !== '').map((name) => Object.assign(element('option'), { value: name })));
  find('examples').append(...EXAMPLES.map(([label, ...example]) => {
    const button = Object.assign(element('button', 'chip', label), { type: 'button' });
    button.addEventListener('click', () => fill(example));
    return button;
  }));
  fill(EXAMPLES[0].slice(1));
  find('send').addEventListener('submit', (/** @type {Event} */ event) => {
    event.preventDefault();
    send(request);
  });
  find('send-signal').addEventListener('click', () => send(signal));
  find('payload').addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      send(request);
    }
  });
  find('clear-log').addEventListener('click', () => {
    find('log').replaceChildren();
    find('log-empty').hidden = false;
  });
}

/** @param {string[]} example */
function fill([name, encoding, payload]) {
  find('name').value = name;
  find('encoding').value = encoding;
  find('payload').value = payload;
  find('send-error').textContent = '';
}

/** @param {(name: string, payload: string | Uint8Array, options: object) => void} way */
function send(way) {
  const error = find('send-error');
  error.textContent = '';
  if (current() === null) {
    error.textContent = 'There is no connection. Connect first.';
    return;
  }
  try {
    const { payload, options } = typed(find('payload').value, find('encoding').value);
    way(find('name').value, payload, options);
  } catch (thrown) {
    error.textContent = `${/** @type {Error} */ (thrown).message}.`;
  }
}

/** @param {string} name @param {string | Uint8Array} payload @param {object} options */
async function request(name, payload, options) {
  const outcome = element('span', 'outcome', 'waiting');
  const entry = log('request', name, shown(payload, 'sent'));
  entry.querySelector('.line').append(outcome);
  const began = performance.now();
  const took = () => `${(performance.now() - began).toFixed(1)} ms`;
  try {
    const reply = await current().request(name, payload, { ...options, timeout: TIMEOUT });
    outcome.textContent = took();
    entry.append(element('p', 'note', 'reply'), shown(reply));
  } catch (thrown) {
    const { code, name, message } = /** @type {any} */ (thrown);
    outcome.textContent = took();
    entry.classList.add('failed');
    entry.append(element('p', 'error', foreign(code ?? name, 'name'), ' ', foreign(message)));
  }
}

/** @param {string} name @param {string | Uint8Array} payload @param {object} options */
function signal(name, payload, options) {
  current().signal(name, payload, options);
  log('signal sent', name, shown(payload, 'sent'));
}
