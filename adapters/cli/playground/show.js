// Elements, times, and the list of what happens. Texts become text nodes and nothing else.

/** How many entries the list keeps. */
const MOST = 200;

const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3 });

/** @param {string} id @returns {any} */
export function find(id) {
  const element = document.getElementById(id);
  if (element === null) {
    throw new Error(`no element ${id}`);
  }
  return element;
}

/**
 * @param {string} name
 * @param {string} style Its classes.
 * @param {...(Node | string)} content
 * @returns {any}
 */
export function element(name, style = '', ...content) {
  const made = document.createElement(name);
  if (style !== '') {
    made.className = style;
  }
  made.append(...content);
  return made;
}

/** A text that somebody else has chosen, kept in its place. @param {string} text @param {string} style */
export function foreign(text, style = '') {
  return element('bdi', `foreign ${style}`.trim(), text);
}

/** @param {number} milliseconds Since 1970. */
export function time(milliseconds) {
  return element('time', '', clock.format(milliseconds));
}

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
