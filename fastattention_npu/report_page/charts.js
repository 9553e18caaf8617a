// Charts in SVG. Colours are CSS variables, so that a change of theme needs no redraw.

const CAUSES = { busy: 'busy', flag: 'waits for a flag', cross_core: 'waits for the other cores', barrier: 'barrier',
  issue: 'not issued yet', start: 'before its first work', end: 'after its last work', launch: 'launch' };

function text(x, y, content, attributes = {}) {
  return element('text', { x, y, ...attributes }, content);
}

// One stacked bar a pipe: what each cycle of the run was.
function pipeBars(rows, total) {
  const left = 128;
  const width = 1180;
  const height = 26;
  const svg = element('svg', { viewBox: `0 0 ${width} ${rows.length * height + 4}`, role: 'img' });
  rows.forEach((row, i) => {
    const y = i * height + 2;
    svg.append(text(left - 10, y + 15, pipeName(row.pipe), { 'text-anchor': 'end' }));
    let x = left;
    for (const cause of Object.keys(CAUSES)) {
      const cycles = row.cycles[cause] || 0;
      const part = cycles / total * (width - left - 60);
      if (part <= 0) continue;
      const fill = cause === 'busy' ? pipeColour(row.pipe) : `var(--${cause})`;
      svg.append(element('rect', { x, y: y + 1, width: part, height: height - 6, fill, tip: [
        `${pipeName(row.pipe)}: ${CAUSES[cause]}`, `${percent(cycles / total, 1)} of the run, ${cyclesText(cycles)} a core`,
        row.role] }));
      x += part;
    }
    svg.append(text(width - 4, y + 15, percent(row.cycles.busy / total), { 'text-anchor': 'end' }));
  });
  return svg;
}

// Small areas, one a pipe, over the kernel's time.
function loadAreas(pipes, kernelCycles) {
  const grid = element('div', { style: 'display:grid;grid-template-columns:repeat(auto-fill,minmax(270px,1fr));gap:10px 18px' });
  for (const [pipe, shares] of Object.entries(pipes)) {
    const width = 290;
    const height = 56;
    const x = (i) => i / shares.length * width;
    const points = shares.map((share, i) => `L${x(i).toFixed(1)} ${(height - share * height).toFixed(1)}L${
      x(i + 1).toFixed(1)} ${(height - share * height).toFixed(1)}`).join('');
    const mean = shares.reduce((sum, share) => sum + share, 0) / shares.length;
    const svg = element('svg', { viewBox: `0 0 ${width} ${height + 22}` },
      text(0, 13, pipeName(pipe)),
      text(width, 13, `mean ${percent(mean)}`, { 'text-anchor': 'end', class: 'quiet' }),
      element('g', { transform: 'translate(0 20)' },
        element('rect', { x: 0, y: 0, width, height, fill: 'var(--track)' }),
        element('path', { d: `M0 ${height}${points}L${width} ${height}Z`, fill: pipeColour(pipe) })));
    svg.addEventListener('mousemove', (event) => {
      const box = svg.getBoundingClientRect();
      const bin = Math.max(0, Math.min(shares.length - 1, Math.floor((event.clientX - box.left) / box.width * shares.length)));
      showTip(event.clientX, event.clientY, [`${pipeName(pipe)}: ${percent(shares[bin])} of the cores busy`,
        `at ${usText(kernelCycles * (bin + 0.5) / shares.length)}`]);
    });
    svg.addEventListener('mouseleave', hideTip);
    grid.append(svg);
  }
  return grid;
}

// Both roofs over operations per byte, logarithmic on both axes.
function rooflineChart(peak, points) {
  const [width, height, left, right, bottom, top] = [580, 330, 52, 26, 40, 14];
  const xs = [1, 10000];
  const most = 10 ** Math.ceil(Math.log10(peak.tflops * 1.05));
  const ys = [most / 10000, most];
  const x = (value) => left + Math.log(value / xs[0]) / Math.log(xs[1] / xs[0]) * (width - left - right);
  const y = (value) => height - bottom - Math.log(value / ys[0]) / Math.log(ys[1] / ys[0]) * (height - bottom - top);
  const svg = element('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img' });
  const line = (x1, y1, x2, y2, stroke, extra = {}) => svg.append(element('line', { x1, y1, x2, y2, stroke, ...extra }));
  for (let value = xs[0]; value <= xs[1]; value *= 10) {
    line(x(value), top, x(value), height - bottom, 'var(--grid)');
    svg.append(text(x(value), height - bottom + 16, round(value), { 'text-anchor': 'middle', class: 'quiet' }));
  }
  for (let value = ys[0]; value <= ys[1] * 1.01; value *= 10) {
    line(left, y(value), width - right, y(value), 'var(--grid)');
    svg.append(text(left - 6, y(value) + 4, value < 1 ? value.toPrecision(1) : round(value), { 'text-anchor': 'end', class: 'quiet' }));
  }
  svg.append(text((left + width) / 2, height - 6, 'useful operations per byte moved', { 'text-anchor': 'middle', class: 'quiet' }));
  svg.append(text(left + 4, top + 2, 'TFLOPS', { class: 'quiet' }));
  for (const [name, gbps, dash] of [['L2', peak.l2_gbps, ''], ['HBM', peak.hbm_gbps, '6 4']]) {
    if (!gbps) continue;
    const ridge = peak.tflops * 1000 / gbps;
    const start = Math.max(xs[0], ys[0] * 1000 / gbps);
    const stroke = name === 'L2' ? 'var(--MTE2)' : 'var(--MTE3)';
    line(x(start), y(start * gbps / 1000), x(ridge), y(peak.tflops), stroke, { 'stroke-width': 2, 'stroke-dasharray': dash });
    const at = start * 1.5;
    const slope = Math.atan2(y(peak.tflops) - y(peak.tflops / 10), x(ridge) - x(ridge / 10)) * 180 / Math.PI;
    const [tx, ty] = [x(at), y(at * gbps / 1000) + (name === 'L2' ? -8 : 16)];
    svg.append(text(tx, ty, `${name} ${round(gbps)} GB/s`, { fill: stroke, style: `fill:${stroke}`, transform: `rotate(${slope} ${tx} ${ty})` }));
  }
  const ridge = Math.min(...[peak.l2_gbps, peak.hbm_gbps].filter(Boolean).map((gbps) => peak.tflops * 1000 / gbps));
  line(x(Math.max(xs[0], Number.isFinite(ridge) ? ridge : xs[0])), y(peak.tflops), width - right, y(peak.tflops), 'var(--M)', { 'stroke-width': 2 });
  svg.append(text(width - right, y(peak.tflops) - 7, `cube peak ${round(peak.tflops)} TFLOPS`, { 'text-anchor': 'end', style: 'fill:var(--M)' }));
  for (const point of points) {
    const [px, py] = [x(Math.min(xs[1], Math.max(xs[0], point.intensity))), y(Math.max(ys[0], point.tflops))];
    line(px, py, px, y(Math.min(peak.tflops, point.intensity * point.gbps / 1000)), point.colour, { 'stroke-dasharray': '2 3' });
    svg.append(element('circle', { cx: px, cy: py, r: 6, fill: point.colour, stroke: 'var(--card)', 'stroke-width': 2, tip: point.tip }));
    svg.append(text(px, py + 20, point.name, { 'text-anchor': 'middle' }));
  }
  return svg;
}

// One bar a memory, its buffers in address order; slots are separated by thin lines, what is free stays empty.
function memoryBars(memories) {
  const left = 128;
  const width = 1180;
  const height = 44;
  const fills = ['--MTE2', '--V', '--FIX', '--MTE3', '--MTE1', '--M', '--S', '--arrow'];
  const svg = element('svg', { viewBox: `0 0 ${width} ${memories.length * height + 2}`, role: 'img' });
  memories.forEach((memory, i) => {
    const y = i * height + 2;
    const scale = (width - left - 2) / memory.limit_bytes;
    svg.append(text(left - 10, y + 15, memory.name === 'workspace' ? 'GM workspace' : memory.name, { 'text-anchor': 'end' }));
    const share = memory.unlimited ? 'per core group' : `${percent(memory.used_bytes / memory.limit_bytes)} used`;
    svg.append(text(left - 10, y + 30, share, { 'text-anchor': 'end', class: 'quiet' }));
    svg.append(element('rect', { x: left, y, width: width - left - 2, height: 32, fill: 'var(--track)', stroke: 'var(--line)',
      tip: [`${memory.name}: free`, `${bytesText(memory.limit_bytes - memory.used_bytes)} of ${bytesText(memory.limit_bytes)}`] }));
    memory.buffers.forEach((buffer, k) => {
      const x = left + buffer.offset_bytes * scale;
      const slot = buffer.slot_bytes * scale;
      const lines = [`${buffer.name} in ${memory.name}`, `${buffer.slots} × ${bytesText(buffer.slot_bytes)} = ${
        bytesText(buffer.slots * buffer.slot_bytes)}`, `bytes ${round(buffer.offset_bytes)} to ${round(buffer.end_bytes)}`];
      for (let s = 0; s < buffer.slots; s += 1) {
        svg.append(element('rect', { x: x + s * slot, y: y + 1, width: Math.max(0.8, slot - 0.8), height: 30,
          fill: `var(${fills[k % fills.length]})`, tip: lines }));
      }
      const all = slot * buffer.slots;
      const label = `${buffer.name}  ${bytesText(buffer.slots * buffer.slot_bytes)}`;
      if (all > label.length * 7) svg.append(text(x + 6, y + 20, label, { style: 'fill:var(--on-fill);pointer-events:none' }));
      else if (all > buffer.name.length * 7.5) svg.append(text(x + 5, y + 20, buffer.name, { style: 'fill:var(--on-fill);pointer-events:none' }));
    });
    const free = memory.limit_bytes - memory.end_bytes;
    if (free * scale > 90) svg.append(text(left + memory.end_bytes * scale + 8, y + 20, `free  ${bytesText(free)}`, { class: 'quiet' }));
  });
  return svg;
}

// Columns from zero; the highest stands out where it is above the rest.
function columnChart(values, tipOf) {
  const [width, height] = [560, 90];
  const most = Math.max(...values, 1);
  const step = width / values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return element('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img' }, ...values.map((value, i) => element('rect', {
    x: i * step + step * 0.1, width: step * 0.8, y: height - value / most * (height - 4), height: value / most * (height - 4),
    fill: value === most && value > 1.02 * mean ? 'var(--M)' : 'var(--busy)', tip: tipOf(i) })));
}
