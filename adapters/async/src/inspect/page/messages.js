// The messages of the chosen connection.

import { element, find, foreign, time } from './elements.js';
import { bytes, count, setText } from './show.js';

/** How many messages are shown. */
const MOST_MESSAGES = 100;

/** Those that are shown. @type {import('./server.js').Message[]} */
let messages = [];

/** How many were recorded. */
let recorded = 0;

/** Whether no more will come. */
let ended = false;

/** Shows another connection, whose messages will come. */
export function startMessages() {
  messages = [];
  recorded = 0;
  ended = false;
  find('messages').replaceChildren();
  setText(find('messages-note'), 'The next messages will be shown here.');
}

/** Returns the number of the next message. */
export const nextMessage = () => recorded;

/** Says why no more come. @param {string} why @param {boolean} forEver */
export function stopMessages(why, forEver) {
  ended = forEver;
  setText(find('messages-note'), why);
}

/** Shows more of them. @param {import('./server.js').Message[]} more @param {number} next */
export function addMessages(more, next) {
  if (next < recorded) {
    // A new recording has begun.
    messages = [];
    find('messages').replaceChildren();
  }
  recorded = next;
  messages = [...messages, ...more].slice(-MOST_MESSAGES);
  find('messages').prepend(...more.slice(-MOST_MESSAGES).reverse().map(showMessage));
  while (find('messages').children.length > messages.length) {
    find('messages').lastElementChild.remove();
  }
  filterMessages();
}

/** @param {import('./server.js').Message} message */
function showMessage(message) {
  const { payload } = message;
  const received = message.direction === 'received';
  const line = element('div', 'line', element('span', 'direction', received ? '→ in' : '← out'), element('span', 'kind', message.kind));
  line.firstElementChild.ariaLabel = message.direction;
  if (message.name !== undefined) {
    line.append(foreign(message.name === '' ? '(no name)' : message.name, 'name'));
  }
  if (message.request !== undefined) {
    line.append(element('span', 'fact', `id ${message.request}`));
  }
  const at = time(message.at);
  at.dateTime = new Date(message.at).toISOString();
  line.append(element('span', 'fact length', bytes(message.length)), at);
  const item = element('li', message.direction, line);
  if (message.error !== undefined) {
    item.append(element('p', 'error', message.error));
  }
  if (payload !== undefined && payload.text !== '') {
    item.append(element('pre', payload.form, payload.text));
    if (payload.cut) {
      item.append(element('p', 'note', `The payload has ${bytes(payload.length)}. This is its beginning.`));
    }
  }
  return item;
}

/** Shows those that have the text which is searched for. */
export function filterMessages() {
  const wanted = find('message-filter').value.trim().toLowerCase();
  let shown = 0;
  for (const item of find('messages').children) {
    item.hidden = wanted !== '' && !item.textContent.toLowerCase().includes(wanted);
    shown += item.hidden ? 0 : 1;
  }
  if (ended) {
    return;
  }
  const all = messages.length;
  const kept = recorded > all ? `The last ${count(all)} of ${count(recorded)} since you opened this` : `${count(all)} since you opened this`;
  const text = all === 0 ? 'Nothing was sent since you opened this.' : `${kept}, the newest first. Keys of sessions are not shown.`;
  setText(find('messages-note'), wanted === '' ? text : `${count(shown)} of ${count(all)} match.`);
}
