'use strict';
// What every part of the page uses: the data, the theme, elements, number texts, the tooltip.

const errors = [];
window.onerror = (message, source, line) => {
  errors.push(`${message} (line ${line})`);
  document.documentElement.dataset.errors = String(errors.length);
  const box = document.getElementById('script-errors');
  box.hidden = false;
  box.textContent = `This page met an error: ${errors.join('; ')}`;
};
document.documentElement.dataset.errors = '0';

const data = JSON.parse(document.getElementById('run-data').textContent);
const redrawOnTheme = [];

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  for (const redraw of redrawOnTheme) redraw();
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim() || '#888';
}

// An element with attributes and children; text children are escaped by the DOM.
function element(tag, attributes = {}, ...children) {
  const svg = ['svg', 'g', 'rect', 'line', 'path', 'circle', 'text', 'title', 'tspan'].includes(tag);
  const node = svg ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'tip') attachTip(node, value);
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function body(id) {
  return document.querySelector(`#${id} .body`);
}

const round = (x, digits = 0) => Number(x).toLocaleString('en-US', { minimumFractionDigits: digits,
  maximumFractionDigits: digits });
const percent = (x, digits = 0) => `${round(100 * x, digits)}%`;
const cyclesText = (cycles) => `${round(cycles)} cycles`;
const usText = (cycles) => `${round(cycles / data.summary.clock_mhz, cycles < 100000 ? 2 : 1)} µs`;

function bytesText(count) {
  for (const unit of ['B', 'KiB', 'MiB']) {
    if (count < 1024) return `${unit === 'B' ? round(count) : round(count, 1)} ${unit}`;
    count /= 1024;
  }
  return `${round(count, 1)} GiB`;
}

const pipeColour = (pipe) => `var(--${pipe.split('.').pop()})`;
const pipeName = (pipe) => `${pipe.startsWith('aic') ? 'AIC' : 'AIV'} ${pipe.split('.').pop()}`;

const tip = document.getElementById('tip');

function showTip(x, y, lines) {
  tip.replaceChildren(...lines.map((line, i) => element('div', i === 0 ? { style: 'font-weight:600' } : {}, line)));
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const left = x + 14 + box.width > window.innerWidth ? x - box.width - 10 : x + 14;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.min(y + 12, window.innerHeight - box.height - 4)}px`;
}

function hideTip() {
  tip.hidden = true;
}

function attachTip(node, lines) {
  node.addEventListener('mousemove', (event) => showTip(event.clientX, event.clientY, lines));
  node.addEventListener('mouseleave', hideTip);
}

function legend(entries) {
  return element('div', { class: 'legend' }, ...entries.map(([name, fill]) =>
    element('span', {}, element('i', { style: `background:${fill}` }), name)));
}
