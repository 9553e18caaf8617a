// The sections of the page, each a function that fills its body.

function fillHeader() {
  const { shape, summary, soc } = data;
  const sizes = ['b', 's_q', 's_kv', 'h_q', 'h_kv', 'd'].map((key) => `${key}=${shape[key]}`).join('  ');
  document.getElementById('title').textContent = `${shape.name || 'attention'} on ${soc}`;
  document.getElementById('subtitle').textContent =
    `${sizes}  ${shape.dtype}  ${shape.layout}  ${shape.causal ? 'causal' : 'not causal'}`;
  const busiest = data.pipes.reduce((a, b) => (a.cycles.busy >= b.cycles.busy ? a : b));
  const figures = [
    [`${round(summary.time_us, 1)} µs`, `simulated time, ${round(summary.cycles)} cycles`],
    [round(summary.tflops, 1), 'TFLOPS, simulated'],
    [percent(summary.cube_utilisation, 1), `of the cube peak, ${round(data.peak.tflops)} TFLOPS`],
    [percent(summary.efficiency, 1), 'of the modelled limit'],
    [pipeName(busiest.pipe), `busiest pipe, ${percent(busiest.cycles.busy / summary.kernel_cycles)} of the kernel`],
    [round(summary.hazards), 'hazards', summary.hazards > 0 ? 'bad' : 'good'],
  ];
  document.getElementById('figures').append(...figures.map(([value, name, mood]) =>
    element('div', { class: `figure ${mood || ''}` }, element('b', {}, value), element('span', {}, name))));
}

function fillAdvice() {
  const now = data.modelled.cycles;
  for (const piece of data.advice) {
    const trials = piece.trials.map((trial) => {
      const what = Object.keys(trial.values).map((field) => `${field} ${trial.now[field]} → ${trial.values[field]}`).join(', ');
      if (trial.refused) {
        return element('span', { class: 'trial refused', tip: [`${what}: refused by the tiler`, trial.refused] }, `${what}: does not fit`);
      }
      const change = trial.cycles / now - 1;
      const effect = Math.abs(change) < 0.005 ? 'no change' : `${change > 0 ? '+' : '−'}${percent(Math.abs(change), 1)} time`;
      return element('span', { class: `trial ${change < -0.005 ? 'good' : ''}`, tip: [what, `the tiler's cost model: ${
        cyclesText(trial.cycles)} instead of ${cyclesText(now)}`, 'modelled, not simulated'] }, `${what}: ${effect}`);
    });
    body('advice').append(element('div', { class: 'advice' },
      element('div', { class: 'share' }, !piece.first ? '' : piece.share === 0 ? '!' : percent(piece.share)),
      element('div', {}, element('b', {}, piece.title), element('div', { class: 'quiet' }, piece.detail),
        piece.line ? element('code', {}, piece.line) : null,
        trials.length ? element('div', { class: 'trials' }, element('span', { class: 'quiet' }, 'try'), ...trials) : null)));
  }
  body('advice').append(element('p', { class: 'quiet' },
    'The share is the part of the run’s time that the advice is about. Effects of tiling fields are the tiler’s cost model, neither simulated nor measured.'));
}

function fillTimeline() {
  const events = new Events(data.timeline);
  const canvas = element('canvas', { tabindex: '0', 'aria-label': 'timeline of one core group' });
  const frame = element('div', {}, canvas);
  const picked = element('div', { id: 'picked' });
  const view = new TimelineView(events, canvas, picked);
  const button = (label, act) => {
    const node = element('button', {}, label);
    node.addEventListener('click', act);
    return node;
  };
  const box = (label, key) => {
    const input = element('input', { type: 'checkbox', checked: '' });
    input.addEventListener('change', () => { view[key] = input.checked; view.draw(); });
    return element('label', {}, input, label);
  };
  const omitted = data.timeline.omitted_events;
  const note = omitted ? ` The first ${usText(data.timeline.until_cycles)}; ${round(omitted)} later events are left out.` : '';
  body('timeline').append(
    element('div', { class: 'tools' }, button('whole run', () => view.show(...view.full)), button('zoom in', () => view.zoom(0.5)),
      button('zoom out', () => view.zoom(2)), box('flags', 'showArrows'), box('stalls', 'showStalls'),
      element('span', {}, `Core group ${data.timeline.group}. Wheel zooms, dragging pans, a click keeps an event and its flags.${note}`)),
    frame,
    legend([...new Set(events.tracks.map((track) => track.pipe))].map((pipe) => [pipe, `var(--${pipe})`])
      .concat(['flag', 'cross_core', 'barrier', 'issue'].map((cause) => [`stall: ${CAUSES[cause]}`, `var(--${cause})`]))),
    picked);
  picked.append(element('div', { class: 'quiet' }, 'Arrows are flags that held an instruction up: pink between cores, thin within one. Pick an event to see all of its flags.'));
  view.openingView();
  if (data.hazards.length && events.hazardEvents.size) {
    const first = events.hazardEvents.keys().next().value;
    view.show(events.start(first) - 1500, events.end(first) + 1500);
  }
  return view;
}

function fillPipes() {
  const total = data.summary.cycles;
  body('pipes').append(pipeBars(data.pipes, total),
    legend([['busy (in the colour of the pipe)', 'var(--busy)'], ...Object.entries(CAUSES).slice(1).map(([cause, name]) => [name, `var(--${cause})`])]),
    element('p', { class: 'quiet' }, `Mean over all cores; a whole bar is the run of ${round(total)} cycles. The number is the busy share.`));
}

function fillLoad() {
  body('load').append(loadAreas(data.utilisation.pipes, data.summary.kernel_cycles),
    element('p', { class: 'quiet' }, `Share of all cores that are busy, from the kernel’s start to its end at ${usText(data.summary.kernel_cycles)} (without launch).`));
}

function fillRoofline() {
  const { roofline, peak } = data;
  const points = [['at L2', roofline.l2_flops_per_byte, roofline.l2_bytes, peak.l2_gbps, 'var(--MTE2)'],
    ['at HBM', roofline.hbm_flops_per_byte, roofline.hbm_bytes, peak.hbm_gbps, 'var(--MTE3)']].filter((row) => row[3]);
  body('roofline').append(rooflineChart(peak, points.map(([name, intensity, bytes, gbps, paint]) => {
    const roof = Math.min(peak.tflops, intensity * gbps / 1000);
    return { name, intensity, gbps, tflops: roofline.tflops, colour: paint, tip: [`this run ${name}, simulated`,
      `${round(roofline.tflops, 1)} TFLOPS at ${round(intensity, 1)} operations a byte (${bytesText(bytes)})`,
      `${percent(roofline.tflops / roof)} of what this roof allows, ${round(roof, 1)} TFLOPS`] };
  })), element('p', { class: 'quiet' }, 'One run, two points: by the bytes that the cores read through L2, and by those that must come from the HBM (each operand once). A dotted line ends at the roof above its point.'));
}

function fillGm() {
  const most = Math.max(...data.gm.map((row) => row.bytes_read + row.bytes_written), 1);
  const bar = (row) => element('div', { style: 'display:flex;height:12px;min-width:90px;background:var(--track)' },
    element('div', { style: `width:${100 * row.bytes_read / most}%;background:var(--MTE2)` }),
    element('div', { style: `width:${100 * row.bytes_written / most}%;background:var(--FIX)` }));
  const rows = data.gm.filter((row) => row.bytes_read + row.bytes_written > 0).map((row) => element('tr', {},
    element('td', {}, row.name), element('td', { style: 'width:30%' }, bar(row)),
    element('td', { class: 'number' }, bytesText(row.bytes_read)), element('td', { class: 'number' }, bytesText(row.bytes_written)),
    element('td', { class: 'number' }, bytesText(row.bytes)),
    element('td', { class: 'number' }, row.bytes ? `${round((row.bytes_read + row.bytes_written) / row.bytes, 1)}×` : '')));
  const sum = (key) => data.gm.reduce((total, row) => total + row[key], 0);
  rows.push(element('tr', {}, element('td', {}, 'all'), element('td', {}), element('td', { class: 'number' }, bytesText(sum('bytes_read'))),
    element('td', { class: 'number' }, bytesText(sum('bytes_written'))), element('td', { class: 'number' }, bytesText(sum('bytes'))), element('td', {})));
  const head = ['tensor', '', 'read', 'written', 'size', 'moved'].map((name, i) => element('th', i > 1 ? { class: 'number' } : {}, name));
  body('gm').append(element('div', { class: 'scroll' }, element('table', {}, element('tr', {}, ...head), ...rows)),
    legend([['read', 'var(--MTE2)'], ['written', 'var(--FIX)']]),
    element('p', { class: 'quiet' }, `${bytesText(data.summary.l2_hit_bytes)} of the reads hit L2 (simulated). “moved” is traffic over size.`));
}

function fillMemory() {
  body('memory').append(memoryBars(data.memories), element('p', { class: 'quiet' },
    'Buffers in address order; thin lines separate the slots of a ring. L1 and L0 belong to the cube core, UB to each of the two vector cores.'));
}

function fillStalls() {
  const rows = data.stalls.filter((row) => row.cause !== 'start' && row.cause !== 'end').slice(0, 12).map((row) => element('tr', {},
    element('td', {}, element('i', { style: `display:inline-block;width:10px;height:10px;border-radius:2px;background:var(--${row.cause})` })),
    element('td', { style: 'white-space:nowrap' }, pipeName(row.pipe)),
    element('td', {}, row.text, element('br'), element('code', { class: 'quiet' }, row.line.replace('op_kernel/', ''))),
    element('td', { class: 'number' }, percent(row.cycles / data.summary.cycles, 1))));
  const head = ['', 'pipe', 'cause and kernel line', 'of the run'].map((name, i) => element('th', i > 2 ? { class: 'number' } : {}, name));
  body('stalls').append(element('table', {}, element('tr', {}, ...head), ...rows));
}

function fillGroups() {
  const finish = data.groups.map((row) => row.finish_cycles);
  const mean = finish.reduce((sum, value) => sum + value, 0) / finish.length;
  const shown = Object.entries(data.tiling).filter(([key]) => !key.startsWith('workspace'));
  const half = Math.ceil(shown.length / 2);
  const rows = shown.slice(0, half).map((left, i) => element('tr', {}, ...[left, shown[half + i]].flatMap((pair) => [
    element('td', { class: 'quiet' }, pair ? pair[0] : ''),
    element('td', { class: 'number', style: 'padding-right:22px' }, pair ? String(Number(Number(pair[1]).toPrecision(6))) : '')])));
  body('groups').append(columnChart(finish, (i) => [`core group ${i}`, `finished after ${usText(finish[i])}`]),
    element('p', { class: 'quiet' }, `When each of the ${finish.length} core groups has finished; the last needs ${
      percent(Math.max(...finish) / Math.max(mean, 1) - 1, 1)} longer than the mean.`),
    element('h2', { style: 'margin-top:14px' }, 'Tiling'), element('table', {}, ...rows));
}

function fillHazards() {
  if (!data.hazards.length) {
    body('hazards').append(element('p', { class: 'quiet' }, 'None found: every access is ordered by a flag, a barrier or a counter.'));
    return;
  }
  document.getElementById('advice').after(document.getElementById('hazards'));
  body('hazards').append(...data.hazards.slice(0, 20).map((hazard) => element('pre', { class: 'mono' }, `group ${hazard.group}: ${hazard.text}`)));
  if (data.hazards.length > 20) body('hazards').append(element('p', { class: 'quiet' }, `and ${data.hazards.length - 20} more in the JSON`));
}
