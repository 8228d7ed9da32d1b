// What the whole server does: its totals, and the curves of their rates.

import { EVERY } from './server.js';
import { element, find } from './elements.js';
import { bytes, count, duration, rate, setText, sparkline } from './show.js';

/** How many values a curve has: five minutes. */
const MOST_VALUES = 150;

/** How many values fill its width at least: one minute. */
const FEWEST_VALUES = 30;

/** @type {{at: number, requests: number, signals: number, bytes: number} | null} */
let totalsBefore = null;

/** @type {{requests: number[], bytes: number[]}} */
const curves = { requests: [], bytes: [] };

/** @param {import('./server.js').Traffic} traffic */
export const signalsOf = (traffic) => traffic.signals_received + traffic.signals_sent;
/** @param {import('./server.js').Traffic} traffic */
export const bytesOf = (traffic) => traffic.bytes_received + traffic.bytes_sent;

/** @param {import('./server.js').Overview} overview */
export function showTotals(overview) {
  setText(find('address'), overview.address === null ? '' : `server on ${overview.address}`);
  const { traffic } = overview;
  const now = { at: overview.at_ms, requests: traffic.requests, signals: signalsOf(traffic), bytes: bytesOf(traffic) };
  const rates = totalsBefore === null ? null : ratesOf(totalsBefore, now);
  if (rates !== null) {
    curves.requests = [...curves.requests, rates.requests].slice(-MOST_VALUES);
    curves.bytes = [...curves.bytes, rates.bytes].slice(-MOST_VALUES);
  }
  totalsBefore = now;
  const dialects = Object.entries(overview.by_dialect).map(([dialect, number]) => `${count(number)} × ${dialect}`);
  const errors = traffic.failed + traffic.internal + traffic.lost;
  const refusals = Object.entries(overview.refusals).sort((one, other) => other[1] - one[1]);
  const cards = [
    total('Connections', count(overview.connections), [dialects.join(', '), `${count(overview.opened)} since the start`]),
    total('Sessions', count(overview.sessions), [`${count(overview.sessions_created)} created, ${count(overview.sessions_restored)} restored`]),
    total('Groups', count(overview.groups), []),
    curve('Requests', rates === null ? '–' : rate(rates.requests), '/s', [`${count(traffic.requests)} in all`, `${count(errors)} without a reply`], curves.requests),
    curve('Traffic', rates === null ? '–' : bytes(rates.bytes), '/s', [`${bytes(traffic.bytes_received)} in`, `${bytes(traffic.bytes_sent)} out`], curves.bytes),
    total('Handlers', count(overview.handlers), traffic.panics > 0 ? [`${count(traffic.panics)} panicked`] : []),
    total('Queued', bytes(overview.queued_bytes), [`${count(traffic.stalls)} stalls, ${count(traffic.signals_dropped)} signals dropped`]),
    total('Refused', count(overview.refused), refusals.slice(0, 3).map(([reason, number]) => `${count(number)} × ${reason.replaceAll('_', ' ')}`)),
  ];
  if (overview.cluster !== null) {
    cards.unshift(nodeOf(overview.cluster));
  }
  if (overview.shutting_down) {
    cards.unshift(total('State', 'shutting down', [], 'strip warn'));
  }
  find('totals').replaceChildren(...cards);
  setText(find('tab-connections'), `Connections (${count(overview.connections)})`);
  setText(find('tab-sessions'), `Sessions (${count(overview.sessions)})`);
  setText(find('tab-groups'), `Groups (${count(overview.groups)})`);
}

/** How each state is told. */
const STATES = new Map([
  ['member', ''],
  ['confirms', 'confirms its sessions'],
  ['away', 'the engine does not answer'],
  ['outside', 'takes no part'],
  ['retired', 'has left'],
]);

/** @param {import('./server.js').NodeOfCluster} node */
function nodeOf(node) {
  const state = STATES.get(node.state) ?? node.state;
  const more = node.alive > node.nodes.length ? ` and ${count(node.alive - node.nodes.length)} more` : '';
  const others = node.alive === 1 && node.nodes[0] === node.name ? 'alone in its cluster' : `${count(node.alive)} alive: ${node.nodes.join(', ')}${more}`;
  const nodes = node.alive === 0 ? '' : others;
  const signals = `signals: ${count(node.messages_sent)} to other nodes, ${count(node.messages_received)} from them`;
  return total('Node', node.name, [state, nodes, signals], node.state === 'member' ? 'node strip' : 'node strip warn');
}

/** @param {string} label @param {string} value @param {string[]} more @param {string} style */
function total(label, value, more, style = '') {
  const lines = more.filter((line) => line !== '').map((line) => element('dd', 'more', line));
  return element('div', `total ${style}`.trim(), element('dt', '', label), element('dd', 'value', value), ...lines);
}

/** @param {string} label @param {string} value @param {string} unit @param {string[]} more @param {number[]} values */
function curve(label, value, unit, more, values) {
  const card = total(label, value, more, 'wide');
  card.querySelector('.value').append(element('small', '', ` ${unit}`));
  // One that has just begun is not squeezed into a corner.
  const most = Math.max(values.length, FEWEST_VALUES);
  const described = `${label} a second in the last ${duration(most * EVERY)}`;
  card.append(element('dd', 'spark', sparkline(values, most, described)));
  return card;
}

/**
 * @param {{at: number, requests: number, signals: number, bytes: number}} then
 * @param {{at: number, requests: number, signals: number, bytes: number}} now
 */
export function ratesOf(then, now) {
  const seconds = (now.at - then.at) / 1000;
  // The server may have been started anew.
  const of = (/** @type {number} */ was, /** @type {number} */ is) => (seconds > 0 && is >= was ? (is - was) / seconds : 0);
  return { requests: of(then.requests, now.requests), signals: of(then.signals, now.signals), bytes: of(then.bytes, now.bytes) };
}
