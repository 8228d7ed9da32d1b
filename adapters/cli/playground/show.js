// The list of what happens.

import { element, find, foreign, time } from './elements.js';

/** How many entries the list keeps. */
const MOST = 200;

/** Puts an entry first, and drops the oldest. @param {HTMLElement} list @param {HTMLElement} entry */
export function prepend(list, entry) {
  list.prepend(entry);
  while (list.children.length > MOST) {
    list.lastElementChild?.remove();
  }
}

/** @param {Element} list @param {Element} empty What is shown in its place. */
export function clear(list, empty) {
  list.replaceChildren();
  empty.toggleAttribute('hidden', false);
}

/**
 * Adds an entry to what happens. Returns it, for what becomes of it.
 * @param {string} kind
 * @param {string | null} name
 * @param {...(Node | string)} content
 */
export function log(kind, name, ...content) {
  const head = element('p', 'line', element('span', 'kind', kind), ...(name === null ? [] : [foreign(name, 'name')]), time(Date.now()));
  const entry = element('li', kind.replaceAll(' ', '-'), head, ...content);
  find('log-empty').hidden = true;
  prepend(find('log'), entry);
  return entry;
}
