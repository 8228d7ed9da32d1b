// Payloads: from what is typed, and to what is shown.

import { element } from './elements.js';

/** How far values are moved to the right. */
const DEEPEST = 40;

/** How much of a payload is shown. */
const MOST_TEXT = 32 * 1024;
const MOST_BYTES = 2 * 1024;

/** How many bytes a line of a dump has. */
const WIDTH = 16;

/**
 * Returns what the client is to send.
 * @param {string} text @param {string} encoding
 * @returns {{ payload: string | Uint8Array, options: { encoding?: 'utf-16' } }}
 */
export function typed(text, encoding) {
  switch (encoding) {
    case 'json':
      if (text.trim() !== '') {
        JSON.parse(text);
      }
      return { payload: text, options: {} };
    case 'utf-16':
      return { payload: text, options: { encoding } };
    case 'hex':
      return { payload: fromHex(text), options: {} };
    default:
      return { payload: text, options: {} };
  }
}

/** @param {string} text */
function fromHex(text) {
  const digits = text.replaceAll(/\s+/g, '');
  const wrong = digits.search(/[^0-9a-f]/i);
  if (wrong !== -1) {
    throw new Error(`“${String.fromCodePoint(digits.codePointAt(wrong) ?? 0)}” is no hexadecimal digit`);
  }
  if (digits.length % 2 !== 0) {
    throw new Error('a byte has two hexadecimal digits, and the last has one');
  }
  return Uint8Array.from({ length: digits.length / 2 }, (_, at) => Number.parseInt(digits.slice(at * 2, at * 2 + 2), 16));
}

/** @param {Uint8Array} bytes */
export function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Shows a payload that was sent or received. @param {string | Uint8Array} payload @param {string} style */
export function shown(payload, style = '') {
  if (payload.length === 0) {
    return element('p', 'nothing', 'no payload');
  }
  if (typeof payload !== 'string') {
    return element('pre', `hex ${style}`.trim(), dump(payload));
  }
  const text = pretty(payload);
  const more = text.length - MOST_TEXT;
  return element('pre', style, more > 0 ? `${text.slice(0, MOST_TEXT)}\n… and ${more} more` : text);
}

/** @param {Uint8Array} bytes */
function dump(bytes) {
  const lines = [];
  for (let at = 0; at < Math.min(bytes.length, MOST_BYTES); at += WIDTH) {
    const line = bytes.subarray(at, at + WIDTH);
    const hex = Array.from(line, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const letters = Array.from(line, (byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '.')).join('');
    lines.push(`${at.toString(16).padStart(4, '0')}  ${hex.padEnd(WIDTH * 3)} ${letters}`);
  }
  if (bytes.length > MOST_BYTES) {
    lines.push(`… and ${bytes.length - MOST_BYTES} more bytes`);
  }
  return lines.join('\n');
}

/** Gives each value of a JSON text a line. Its numbers and texts stay what they are. @param {string} text */
export function pretty(text) {
  if (!/^\s*[[{]/.test(text) || text.length > MOST_TEXT) {
    return text;
  }
  try {
    JSON.parse(text);
  } catch {
    return text;
  }
  let depth = 0;
  // Deeper values stay where they are: otherwise a short text makes a very long one.
  const line = () => `\n${'  '.repeat(Math.min(depth, DEEPEST))}`;
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/g) ?? [];
  return tokens.reduce((made, token, at) => {
    const isEmpty = /[[{]/.test(tokens[at - 1] ?? '') && tokens[at - 1]?.length === 1;
    switch (token) {
      case '[':
      case '{':
        depth += 1;
        return made + token + (/^[\]}]$/.test(tokens[at + 1] ?? '') ? '' : line());
      case ']':
      case '}':
        depth -= 1;
        return made + (isEmpty ? '' : line()) + token;
      case ',':
        return made + token + line();
      case ':':
        return `${made}: `;
      default:
        return made + token;
    }
  }, '');
}
