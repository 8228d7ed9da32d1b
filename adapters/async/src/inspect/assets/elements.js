// Elements and times, for all pages. Texts become text nodes and nothing else.

const times = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3 });

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
  const made = element('bdi', `foreign ${style}`.trim(), text);
  made.title = text;
  return made;
}

/** @param {number} milliseconds Since 1970. */
export function time(milliseconds) {
  return element('time', '', times.format(milliseconds));
}
