// Numbers and what is drawn.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });

/** Sets a text only if it has changed, so that selections stay. @param {Element} at @param {string} text */
export function setText(at, text) {
  if (at.textContent !== text) {
    at.textContent = text;
  }
}

/** @param {number} number */
export function count(number) {
  return whole.format(number);
}

/** @param {number} number A rate for each second. */
export function rate(number) {
  return number >= 1000 ? whole.format(number) : short.format(Math.round(number * 10) / 10);
}

/** @param {number} number */
export function bytes(number) {
  let unit = 0;
  while (number >= 1000 && unit < 4) {
    number /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? whole.format(number) : short.format(number)} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][unit]}`;
}

/** @param {number} milliseconds */
export function duration(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  const parts = [
    [Math.floor(seconds / 86400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ];
  const first = parts.findIndex(([number]) => Number(number) > 0);
  if (first === -1) {
    return '0 s';
  }
  return parts.slice(first, first + 2).filter(([number]) => Number(number) > 0).map((part) => part.join(' ')).join(' ');
}

/**
 * The public information of a session, in one line.
 * @param {Record<string, unknown>} info
 */
export function oneLine(info) {
  const fields = Object.entries(info);
  return fields.map(([name, value]) => `${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`).join(', ');
}

/**
 * A curve of the last values, the newest at the right.
 * @param {number[]} values
 * @param {number} most How many values fill the width.
 * @param {string} label
 */
export function sparkline(values, most, label) {
  const svg = (/** @type {string} */ name, /** @type {Record<string, string>} */ attributes) => {
    const made = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [attribute, value] of Object.entries(attributes)) {
      made.setAttribute(attribute, value);
    }
    return made;
  };
  const drawing = svg('svg', { viewBox: '0 0 100 40', preserveAspectRatio: 'none', role: 'img', 'aria-label': label });
  drawing.append(svg('path', { class: 'base', d: 'M0 39.5H100' }));
  const highest = Math.max(...values, 1e-9);
  const points = values.map((value, index) => {
    const x = 100 - ((values.length - 1 - index) * 100) / (most - 1);
    return `${x.toFixed(2)} ${(39 - (value / highest) * 36).toFixed(2)}`;
  });
  if (points.length > 1) {
    const left = points[0].split(' ')[0];
    drawing.append(
      svg('path', { class: 'area', d: `M${left} 39.5L${points.join('L')}L100 39.5Z` }),
      svg('path', { class: 'stroke', d: `M${points.join('L')}` }),
    );
  }
  return drawing;
}
