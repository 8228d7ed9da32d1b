// The messages of this connection with their parts. The server decodes them, as `wwr decode` does.

import { toHex } from './payload.js';
import { element, find, time } from './elements.js';
import { clear, prepend } from './show.js';

/** How long messages are collected before they are sent to be decoded, in milliseconds. */
const COLLECTED = 120;

/** Within what the server takes at once. */
const MOST_LINES = 64;
const MOST_BYTES = 100 * 1024;

/** How many messages wait to be decoded; they are not kept for longer than they are shown. */
const MOST_WAITING = 200;

/** @typedef {{ bytes: Uint8Array, protocol: () => string, entry: any }} Waiting */

/** @type {Waiting[]} */
let waiting = [];

let isDecoding = false;
let isPaused = false;
let seen = 0;

/**
 * Shows a message.
 * @param {import('./network.js').Frame} frame
 * @param {() => string} protocol What the connection speaks, once that is known.
 */
export function show(frame, protocol) {
  seen += 1;
  find('frames-count').textContent = `${seen}`;
  if (isPaused) {
    return;
  }
  const entry = element(
    'li',
    frame.sent ? 'sent' : 'received',
    element('p', 'line', element('span', 'direction', frame.sent ? '↑ sent' : '↓ received'), element('span', 'title', `${frame.bytes.length} bytes`), time(frame.at)),
  );
  find('frames-empty').hidden = true;
  prepend(find('frames'), entry);
  if (frame.bytes.length > MOST_BYTES) {
    entry.append(element('p', 'nothing', 'too long to be decoded here'));
    return;
  }
  const named = frame.protocol === 'wwr.1' ? () => 'wwr.1' : protocol;
  waiting.push({ bytes: frame.bytes, protocol: named, entry });
  waiting = waiting.slice(-MOST_WAITING);
  if (!isDecoding) {
    isDecoding = true;
    setTimeout(decodeAll, COLLECTED);
  }
}

async function decodeAll() {
  while (waiting.length > 0) {
    const protocol = known(waiting[0].protocol());
    const taken = [];
    let bytes = 0;
    while (waiting.length > 0 && taken.length < MOST_LINES && known(waiting[0].protocol()) === protocol) {
      bytes += waiting[0].bytes.length;
      if (taken.length > 0 && bytes > MOST_BYTES) {
        break;
      }
      taken.push(/** @type {Waiting} */ (waiting.shift()));
    }
    await decode(protocol, taken).catch(() => taken.forEach(({ entry }) => entry.append(element('p', 'nothing', 'the server is not there to decode it'))));
  }
  isDecoding = false;
}

/** A client that is not connected yet speaks as those of the field do. @param {string} protocol */
const known = (protocol) => (['1.4', '1.5', '2.0', 'wwr.1'].includes(protocol) ? protocol : '1.4');

/** @param {string} protocol @param {Waiting[]} taken */
async function decode(protocol, taken) {
  const body = taken.map(({ bytes }) => `${toHex(bytes)}\n`).join('');
  const answer = await fetch(`playground/decode?protocol=${protocol}`, { method: 'POST', body });
  const text = await answer.text();
  // A message ends with an empty line, and has none within.
  const parts = answer.ok ? text.split('\n\n') : [];
  taken.forEach(({ entry }, at) => {
    const [title, ...lines] = (parts[at] ?? text).trim().split('\n');
    // It is counted from 1 in each answer.
    entry.querySelector('.title').textContent = title.replace(/^message \d+: /, '');
    if (lines.length > 0) {
      entry.append(element('pre', 'parts', lines.join('\n')));
    }
  });
}

export function start() {
  const [list, parts, pause] = [find('frames'), find('parts'), find('pause')];
  parts.addEventListener('change', () => list.classList.toggle('short', !parts.checked));
  // On a phone, one line of each is enough at first.
  parts.checked = !matchMedia('(max-width: 760px)').matches;
  list.classList.toggle('short', !parts.checked);
  pause.addEventListener('click', () => {
    isPaused = !isPaused;
    pause.setAttribute('aria-pressed', String(isPaused));
    pause.textContent = isPaused ? 'Go on' : 'Pause';
  });
  find('clear-frames').addEventListener('click', () => clear(list, find('frames-empty')));
}
