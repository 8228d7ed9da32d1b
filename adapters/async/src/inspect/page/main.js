// The page: asks the server again and again, and shows the answers.

import { addMessages, filterMessages, nextMessage, startMessages, stopMessages } from './messages.js';
import { EVERY, Failure, ask, keepToken, takeToken, tell } from './server.js';
import { element, find, foreign } from './elements.js';
import { bytes, count, duration, oneLine, rate, setText } from './show.js';
import { bytesOf, ratesOf, showTotals, signalsOf } from './totals.js';

/** How often at least it is asked while it does not answer. */
const SELDOM = 10_000;

/** How many rows a list shows at most. */
const ROWS = 200;

/**
 * @typedef {'connections' | 'sessions' | 'groups'} ListName
 *
 * @typedef {object} Column
 * @property {string} label
 * @property {string} [sort] What the server calls it.
 * @property {boolean} [down] Whether the highest comes first when it is chosen.
 * @property {string} style Classes of its cells.
 * @property {(row: any, cell: HTMLElement) => (Node | string)[]} content
 */

/** @type {{list: ListName, sort: Record<ListName, string>, down: Record<ListName, boolean>, group: string | null, session: string | null, paused: boolean, failures: number, chosen: number | null, ended: boolean}} */
const state = {
  list: 'connections',
  sort: { connections: 'id', sessions: 'id', groups: 'name' },
  down: { connections: false, sessions: false, groups: false },
  group: null,
  session: null,
  paused: false,
  failures: 0,
  chosen: null,
  ended: false,
};

/** What connections had counted before, for rates. @type {Map<number, {at: number, requests: number, signals: number, bytes: number, rates: {requests: number, signals: number, bytes: number}}>} */
let before = new Map();

/** The session of the chosen connection. @type {string | null} */
let chosenSession = null;

/** Where the focus was before the detail was opened. @type {string | null} */
let opener = null;

let timer = 0;
let asking = false;
let again = false;

/** @param {number | undefined} value @param {(value: number) => string} [as] */
const perSecond = (value, as = rate) => element('small', 'line', value === undefined ? '' : `${as(value)}/s`);

/** @type {Record<ListName, Column[]>} */
const columns = {
  connections: [
    {
      label: 'Connection',
      sort: 'id',
      style: 'first whole',
      content: (row) => {
        const open = element('button', 'open', `#${row.id}`);
        open.type = 'button';
        open.id = `open-${row.id}`;
        open.dataset.row = '';
        const marks = [];
        if (row.slow) {
          const mark = element('span', 'tag warn', 'slow');
          mark.title = 'It reads more slowly than the server sends';
          marks.push(' ', mark);
        }
        if (row.state !== 'open') {
          marks.push(' ', element('span', 'tag', row.state));
        }
        return [open, ...marks];
      },
    },
    { label: 'Peer', sort: 'peer', style: 'mono', content: (row) => [foreign(row.peer)] },
    { label: 'Speaks', sort: 'dialect', style: 'extra', content: (row) => [row.dialect] },
    { label: 'Age', sort: 'age', down: true, style: 'number extra', content: (row) => [duration(row.age_ms)] },
    {
      label: 'Session',
      sort: 'session',
      style: 'session',
      content: (row, cell) => {
        cell.classList.toggle('none', row.session === undefined);
        if (row.session === undefined) {
          return [];
        }
        const info = element('small', 'line', foreign(oneLine(row.session.public).slice(0, 60)));
        return [foreign(row.session.id, 'mono'), info];
      },
    },
    {
      label: 'Groups',
      style: 'groups',
      content: (row, cell) => {
        cell.classList.toggle('none', row.groups.length === 0);
        const shown = row.groups.slice(0, 3).map((/** @type {string} */ name) => foreign(name, 'tag'));
        const more = row.group_count - shown.length;
        return more > 0 ? [...shown, element('small', '', `+${count(more)}`)] : shown;
      },
    },
    { label: 'Requests', sort: 'requests', down: true, style: 'number', content: (row) => [count(row.traffic.requests), perSecond(before.get(row.id)?.rates.requests)] },
    { label: 'Signals', sort: 'signals', down: true, style: 'number', content: (row) => [count(signalsOf(row.traffic)), perSecond(before.get(row.id)?.rates.signals)] },
    { label: 'Bytes', sort: 'bytes', down: true, style: 'number', content: (row) => [bytes(bytesOf(row.traffic)), perSecond(before.get(row.id)?.rates.bytes, bytes)] },
    { label: 'Running', sort: 'handlers', down: true, style: 'number extra', content: (row) => [count(row.handlers)] },
    { label: 'Queued', sort: 'queued', down: true, style: 'number extra', content: (row) => [bytes(row.queued_bytes)] },
  ],
  sessions: [
    { label: 'Session', sort: 'id', style: 'first mono', content: (row) => [narrow(row.id, () => showConnections(null, row.id))] },
    { label: 'Public information', style: 'whole', content: (row) => [foreign(oneLine(row.public) || '–')] },
    { label: 'Created', sort: 'created', down: true, style: '', content: (row) => [row.created.replace('T', ' ').replace(/\.\d+/, '')] },
    { label: 'Connections', sort: 'connections', down: true, style: 'number', content: (row) => [count(row.connection_count)] },
    { label: 'Which', style: 'whole', content: (row) => links(row.connections, row.connection_count) },
  ],
  groups: [
    { label: 'Group', sort: 'name', style: 'first whole', content: (row) => [narrow(row.name, () => showConnections(row.name, null))] },
    { label: 'Members', sort: 'members', down: true, style: 'number', content: (row) => [count(row.members)] },
    { label: 'Which', style: 'whole', content: (row) => links(row.connections, row.members) },
  ],
};

/** @type {Record<ListName, string>} */
const nothing = {
  connections: 'No client is connected.',
  sessions: 'No connection has a session.',
  groups: 'No connection is in a group.',
};

/** Remembers which value of a session or group a button is for. @param {string} text @param {() => void} act */
function narrow(text, act) {
  const button = element('button', 'open', foreign(text));
  button.type = 'button';
  button.id = `narrow-${state.list}-${text}`;
  button.dataset.row = '';
  button.addEventListener('click', act);
  return button;
}

/** @param {number[]} ids @param {number} total */
function links(ids, total) {
  const shown = ids.flatMap((id) => {
    const link = element('button', 'link', `#${id}`);
    link.type = 'button';
    link.addEventListener('click', (/** @type {Event} */ event) => {
      event.stopPropagation();
      choose(id);
    });
    return [link, ' '];
  });
  const more = total - ids.length;
  return more > 0 ? [...shown, element('small', '', `and ${count(more)} more`)] : shown;
}

// Asking

/** Asks now, and then again and again. */
async function poll() {
  if (asking) {
    again = true;
    return;
  }
  clearTimeout(timer);
  asking = true;
  again = false;
  try {
    await refresh();
    state.failures = 0;
    banner('');
    mark(state.paused ? 'paused' : 'live');
  } catch (failure) {
    fail(failure);
  }
  asking = false;
  if (again) {
    poll();
  } else {
    plan();
  }
}

/** Plans the next time. Nobody is asked while nobody looks. */
function plan() {
  clearTimeout(timer);
  if (!state.paused && !document.hidden && find('login').hidden) {
    timer = setTimeout(poll, Math.min(EVERY * (1 + state.failures), SELDOM));
  }
}

async function refresh() {
  const list = state.list;
  const query = {
    filter: find('filter').value,
    sort: state.sort[list],
    order: state.down[list] ? 'descending' : 'ascending',
    rows: ROWS,
    group: list === 'connections' ? state.group : null,
    session: list === 'connections' ? state.session : null,
  };
  const chosen = state.chosen;
  const [overview, table, detail] = await Promise.all([
    ask('overview'),
    ask(list, query),
    chosen === null || state.ended ? null : ask(`connections/${chosen}`, { from: nextMessage() }).catch(gone),
  ]);
  find('login').hidden = true;
  find('page').hidden = false;
  find('pause').hidden = false;
  showTotals(overview);
  if (list === state.list) {
    showTable(table);
  }
  if (detail !== null && chosen === state.chosen) {
    showDetail(detail);
  }
}

/** A chosen connection that is not there any more is no failure of the server. @param {Failure} failure */
function gone(failure) {
  if (failure.status !== 404 && failure.status !== 429) {
    throw failure;
  }
  state.ended = failure.status === 404;
  stopMessages(state.ended ? 'This connection has ended. What you see is the last of it.' : failure.message, state.ended);
  find('close-connection').hidden = state.ended;
  find('close-session').hidden ||= state.ended;
  return null;
}

/** @param {unknown} failure */
function fail(failure) {
  if (!(failure instanceof Failure)) {
    throw failure;
  }
  if (failure.status === 401) {
    showLogin();
    return;
  }
  state.failures += 1;
  mark('gone');
  banner(`${failure.message} What you see is not new. Trying again.`);
}

/** @param {string} text */
function banner(text) {
  const at = find('banner');
  setText(at, text);
  at.hidden = text === '';
}

/** @param {'live' | 'paused' | 'gone' | 'locked'} what */
function mark(what) {
  const at = find('state');
  at.dataset.state = what;
  setText(at, { live: 'live', paused: 'paused', gone: 'no answer', locked: 'locked' }[what]);
}

function showLogin() {
  const wasHidden = find('login').hidden;
  const given = sessionStorage.length > 0 && find('token').value !== '';
  find('page').hidden = true;
  find('pause').hidden = true;
  find('login').hidden = false;
  setText(find('login-error'), given ? 'This is not the token.' : '');
  banner('');
  mark('locked');
  if (wasHidden || given) {
    find('token').focus();
  }
}

// Lists

/** @param {import('./server.js').Table<any>} table */
function showTable(table) {
  if (state.list === 'connections') {
    const counted = new Map();
    for (const row of table.rows) {
      const now = { at: table.at_ms, requests: row.traffic.requests, signals: signalsOf(row.traffic), bytes: bytesOf(row.traffic) };
      const then = before.get(row.id);
      if (then !== undefined) {
        counted.set(row.id, { ...now, rates: ratesOf(then, now) });
      } else {
        // What it has done until now is no rate.
        counted.set(row.id, { ...now, rates: { requests: undefined, signals: undefined, bytes: undefined } });
      }
    }
    before = counted;
  }
  const body = find('rows');
  const focused = document.activeElement?.id;
  const known = new Map([...body.children].map((row) => [row.dataset.key, row]));
  const rows = table.rows.map((row) => {
    const key = `${state.list} ${row.id ?? row.name}`;
    const shown = known.get(key) ?? element('tr');
    fill(shown, key, row);
    return shown;
  });
  if (rows.length !== body.children.length || rows.some((row, index) => body.children[index] !== row)) {
    body.replaceChildren(...rows);
  }
  if (focused && document.activeElement?.id !== focused) {
    document.getElementById(focused)?.focus({ preventScroll: true });
  }
  const narrowed = find('filter').value !== '' || state.group !== null || state.session !== null;
  find('table').hidden = rows.length === 0;
  const empty = find('empty');
  empty.hidden = rows.length > 0;
  setText(empty, narrowed ? 'Nothing matches. Shorten the search.' : nothing[state.list]);
  const parts = [`${count(rows.length)} of ${count(table.matched)}`];
  if (table.matched !== table.total) {
    parts.push(`of all ${count(table.total)}`);
  }
  setText(find('count'), rows.length === table.total ? `all ${count(table.total)}` : parts.join(', '));
}

/** @param {HTMLElement} shown @param {string} key @param {any} row */
function fill(shown, key, row) {
  const described = JSON.stringify(row) + JSON.stringify(before.get(row.id)?.rates ?? null);
  shown.classList.toggle('chosen', state.list === 'connections' && row.id === state.chosen);
  if (shown.dataset.key === key && shown.dataset.described === described) {
    return;
  }
  shown.dataset.key = key;
  shown.dataset.described = described;
  shown.setAttribute('role', 'row');
  const focused = document.activeElement !== null && shown.contains(document.activeElement) ? document.activeElement.id : '';
  shown.replaceChildren(
    ...columns[state.list].map((column) => {
      const cell = element('td', column.style);
      cell.setAttribute('role', 'cell');
      cell.dataset.label = column.label;
      cell.append(...column.content(row, cell));
      return cell;
    }),
  );
  if (focused !== '') {
    document.getElementById(focused)?.focus({ preventScroll: true });
  }
}

function showHead() {
  const list = state.list;
  const sorted = state.sort[list];
  const down = state.down[list];
  find('head').replaceChildren(
    ...columns[list].map((column) => {
      const kept = column.style.split(' ').filter((style) => style === 'number' || style === 'extra');
      const head = element('th', kept.join(' '));
      head.setAttribute('role', 'columnheader');
      head.scope = 'col';
      if (column.sort === undefined) {
        head.append(element('span', '', column.label));
        return head;
      }
      const sorts = column.sort === sorted;
      const arrow = element('span', '', sorts ? (down ? ' ↓' : ' ↑') : '');
      arrow.ariaHidden = 'true';
      const button = element('button', '', column.label, arrow);
      button.type = 'button';
      button.id = `sort-${list}-${column.sort}`;
      button.addEventListener('click', () => sortBy(column.sort ?? '', sorts ? !down : column.down === true));
      if (sorts) {
        head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      }
      head.append(button);
      return head;
    }),
  );
  const choices = columns[list].filter((column) => column.sort !== undefined);
  find('sort').replaceChildren(...choices.map((column) => new Option(column.label, column.sort, false, column.sort === sorted)));
  setText(find('order'), down ? 'Descending' : 'Ascending');
  find('order').setAttribute('aria-pressed', String(down));
}

/** @param {string} sort @param {boolean} down */
function sortBy(sort, down) {
  const focused = document.activeElement?.id;
  state.sort[state.list] = sort;
  state.down[state.list] = down;
  showHead();
  if (focused) {
    document.getElementById(focused)?.focus();
  }
  poll();
}

/** @param {ListName} list */
function showList(list) {
  if (state.list !== list) {
    state.list = list;
    find('rows').replaceChildren();
    find('filter').value = '';
  }
  for (const name of ['connections', 'sessions', 'groups']) {
    const tab = find(`tab-${name}`);
    tab.setAttribute('aria-selected', String(name === list));
    tab.tabIndex = name === list ? 0 : -1;
  }
  find('list').setAttribute('aria-labelledby', `tab-${list}`);
  find('filter').placeholder = {
    connections: 'Peer, session, group, path …',
    sessions: 'Session or public information',
    groups: 'Name of a group',
  }[list];
  showChips();
  showHead();
  poll();
}

/** Shows the connections of a group or of a session. @param {string | null} group @param {string | null} session */
function showConnections(group, session) {
  state.group = group;
  state.session = session;
  showList('connections');
  find('tab-connections').focus();
}

/** What the connections are narrowed to, with a way out. */
function showChips() {
  const narrowed = state.list === 'connections' ? [['group', state.group], ['session', state.session]] : [];
  const chips = narrowed.filter(([, name]) => name !== null).map(([what, name]) => {
    const chip = element('button', 'chip', `${what} `, foreign(name ?? ''), ' ×');
    chip.type = 'button';
    chip.ariaLabel = `Show all connections, not only those of the ${what} ${name}`;
    chip.addEventListener('click', () => showConnections(null, null));
    return chip;
  });
  find('chips').replaceChildren(...chips);
}

// The chosen connection

/** @param {number} id */
function choose(id) {
  opener = document.activeElement?.id ?? null;
  state.chosen = id;
  state.ended = false;
  startMessages();
  find('facts').replaceChildren();
  setText(find('detail-title'), `Connection #${id}`);
  find('close-connection').hidden = false;
  find('close-session').hidden = true;
  find('detail').hidden = false;
  find('page').classList.add('open');
  for (const row of find('rows').children) {
    row.classList.toggle('chosen', row.dataset.key === `connections ${id}`);
  }
  find('detail-title').focus();
  poll();
}

function leave() {
  if (state.chosen === null) {
    return;
  }
  const id = state.chosen;
  state.chosen = null;
  find('detail').hidden = true;
  find('page').classList.remove('open');
  for (const row of find('rows').children) {
    row.classList.remove('chosen');
  }
  const back = document.getElementById(opener ?? '') ?? document.getElementById(`open-${id}`) ?? find(`tab-${state.list}`);
  back.focus();
}

/** @param {{at_ms: number, connection: import('./server.js').Connection, messages: import('./server.js').Message[], next: number}} detail */
function showDetail(detail) {
  const { connection } = detail;
  const { traffic } = connection;
  chosenSession = connection.session?.id ?? null;
  find('close-session').hidden = chosenSession === null;
  /** @type {[string, Node | string][]} */
  const facts = [
    ['Peer', foreign(connection.peer, 'mono')],
    ['Speaks', `${connection.dialect}${connection.tls ? ', with TLS' : ''}${connection.sub_protocol === undefined ? '' : `, sub-protocol ${connection.sub_protocol}`}`],
    ['State', `${connection.state}, for ${duration(connection.age_ms)}, last heard ${duration(connection.silent_ms)} ago`],
    ['Path', foreign(connection.path, 'mono')],
  ];
  if (connection.socket !== connection.peer) {
    facts.push(['Proxy', foreign(connection.socket, 'mono')]);
  }
  if (connection.user_agent !== undefined) {
    facts.push(['Agent', foreign(connection.user_agent)]);
  }
  if (connection.session !== undefined) {
    facts.push(['Session', foreign(connection.session.id, 'mono')], ['Public', foreign(oneLine(connection.session.public) || '–')]);
  }
  if (connection.group_count > 0) {
    const more = connection.group_count - connection.groups.length;
    facts.push(['Groups', foreign(connection.groups.join(', ') + (more > 0 ? ` and ${count(more)} more` : ''))]);
  }
  facts.push(
    ['Requests', `${count(traffic.requests)}: ${count(traffic.replied)} replied, ${count(traffic.failed)} failed, ${count(traffic.internal)} internal errors, ${count(connection.handlers)} running`],
    ['Signals', `${count(traffic.signals_received)} in, ${count(traffic.signals_sent)} out, ${count(traffic.signals_dropped)} dropped`],
    ['Bytes', `${bytes(traffic.bytes_received)} in, ${bytes(traffic.bytes_sent)} out, ${bytes(connection.queued_bytes)} waiting`],
  );
  if (connection.slow) {
    facts.push(['Slow', element('span', 'tag warn', `${count(traffic.stalls)} stalls`)]);
  }
  find('facts').replaceChildren(...facts.flatMap(([name, value]) => [element('dt', '', name), element('dd', '', value)]));
  addMessages(detail.messages, detail.next);
}

/**
 * @param {string} title @param {string} text @param {string} yes
 * @returns {Promise<boolean>}
 */
function confirmed(title, text, yes) {
  const dialog = find('confirm');
  setText(find('confirm-title'), title);
  setText(find('confirm-text'), text);
  setText(find('confirm-yes'), yes);
  dialog.returnValue = '';
  dialog.showModal();
  find('confirm-no').focus();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

/** @param {Promise<unknown>} told */
async function carryOut(told) {
  try {
    await told;
  } catch (failure) {
    if (!(failure instanceof Failure)) {
      throw failure;
    }
    banner(failure.message);
    return;
  }
  poll();
}

async function closeConnection() {
  const id = state.chosen;
  const sure = await confirmed(`Close connection #${id}?`, 'Running handlers end first and their replies are sent. The client may connect again.', 'Close the connection');
  if (sure) {
    await carryOut(tell(`connections/${id}/close`));
  }
}

async function closeSession() {
  const [connection, session] = [state.chosen, chosenSession];
  const sure = await confirmed(`Close session ${session}?`, 'It is destroyed, and all its connections are closed. Its user has to log in again.', 'Close the session');
  if (sure) {
    await carryOut(tell('session/close', { connection, session }));
  }
}

// Keys and clicks

/** Moves the focus between the rows. @param {KeyboardEvent} event */
function moveInRows(event) {
  const steps = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity };
  const step = steps[/** @type {keyof typeof steps} */ (event.key)];
  if (step === undefined) {
    return;
  }
  const all = [...find('rows').querySelectorAll('[data-row]')];
  const row = document.activeElement?.closest('tr');
  const at = all.findIndex((button) => button.closest('tr') === row);
  const next = Math.min(Math.max(at + step, 0), all.length - 1);
  if (all.length > 0) {
    event.preventDefault();
    all[next].focus();
  }
}

/** Moves between the tabs. @param {KeyboardEvent} event */
function moveInTabs(event) {
  /** @type {ListName[]} */
  const names = ['connections', 'sessions', 'groups'];
  const at = names.indexOf(state.list);
  const to = { ArrowRight: (at + 1) % 3, ArrowLeft: (at + 2) % 3, Home: 0, End: 2, ArrowDown: -1 }[event.key];
  if (to === undefined) {
    return;
  }
  event.preventDefault();
  if (to === -1) {
    find('rows').querySelector('[data-row]')?.focus();
    return;
  }
  showList(names[to]);
  find(`tab-${names[to]}`).focus();
}

function setPaused(/** @type {boolean} */ paused) {
  state.paused = paused;
  const button = find('pause');
  setText(button, paused ? 'Go on' : 'Pause');
  button.setAttribute('aria-pressed', String(paused));
  mark(paused ? 'paused' : 'live');
  if (paused) {
    clearTimeout(timer);
  } else {
    poll();
  }
}

function listen() {
  /** @type {ListName[]} */
  const lists = ['connections', 'sessions', 'groups'];
  for (const list of lists) {
    find(`tab-${list}`).addEventListener('click', () => showList(list));
  }
  document.querySelector('.tabs')?.addEventListener('keydown', (event) => moveInTabs(/** @type {KeyboardEvent} */ (event)));
  find('list').addEventListener('keydown', moveInRows);
  find('rows').addEventListener('click', (/** @type {MouseEvent} */ event) => {
    const row = /** @type {Element} */ (event.target).closest('tr');
    const selects = String(getSelection()) !== '';
    const [list, id] = (row?.dataset.key ?? '').split(' ');
    if (list === 'connections' && row !== null && !selects) {
      row.querySelector('button')?.focus({ preventScroll: true });
      choose(Number(id));
    }
  });
  find('sort').addEventListener('change', () => {
    const sort = find('sort').value;
    const column = columns[state.list].find((one) => one.sort === sort);
    sortBy(sort, column?.down === true);
  });
  find('order').addEventListener('click', () => sortBy(state.sort[state.list], !state.down[state.list]));
  find('filter').addEventListener('input', poll);
  find('filter').addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => {
    if (event.key === 'ArrowDown') {
      event.preventDefault();
      find('rows').querySelector('[data-row]')?.focus();
    }
  });
  find('message-filter').addEventListener('input', filterMessages);
  find('pause').addEventListener('click', () => setPaused(!state.paused));
  find('detail-close').addEventListener('click', leave);
  find('close-connection').addEventListener('click', closeConnection);
  find('close-session').addEventListener('click', closeSession);
  find('login-form').addEventListener('submit', (/** @type {Event} */ event) => {
    event.preventDefault();
    keepToken(find('token').value);
    poll();
  });
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && !find('confirm').open && !event.defaultPrevented) {
      leave();
    }
  });
  document.addEventListener('visibilitychange', () => (document.hidden ? clearTimeout(timer) : state.paused || poll()));
  // The address with a token may be opened in a tab that shows the page already.
  addEventListener('hashchange', () => {
    takeToken();
    poll();
  });
}

takeToken();
listen();
showList('connections');
