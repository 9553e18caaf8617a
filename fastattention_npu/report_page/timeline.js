// The timeline on a canvas: wheel zooms around the pointer, dragging pans, a click keeps an event and its flags.

const ROW = 21;
const GAP = 9;
const LEFT = 92;
const AXIS = 22;
const STRIP = 30;
const MAX_ARROWS = 300;
// A flag that was set no earlier than this before its waiter went on is what held it up; between cores it travels.
const HELD_UP_CYCLES = 40;
const CROSS_HELD_UP_CYCLES = 500;

class TimelineView {
  constructor(events, canvas, picked) {
    Object.assign(this, { events, canvas, picked, selected: -1, showArrows: true, showStalls: true });
    this.full = [0, Math.max(events.until_cycles, 1)];
    this.rowTop = [];
    let top = AXIS + STRIP;
    events.tracks.forEach((track, i) => {
      if (i > 0 && events.tracks[i - 1].core !== track.core) top += GAP;
      this.rowTop.push(top);
      top += ROW;
    });
    this.height = top + 4;
    this.view = [...this.full];
    this.listen();
    redrawOnTheme.push(() => this.draw());
    new ResizeObserver(() => this.draw()).observe(canvas.parentElement);
  }

  // A window that shows single instructions, away from the ramp at the start.
  openingView() {
    const length = Math.min(this.full[1], Math.max(4000, this.full[1] * 0.06));
    const start = Math.min(this.full[1] - length, this.full[1] * 0.3);
    this.show(start, start + length);
  }

  show(start, end) {
    const least = 20;
    const length = Math.min(Math.max(end - start, least), this.full[1]);
    const from = Math.max(0, Math.min(start, this.full[1] - length));
    this.view = [from, from + length];
    this.draw();
  }

  x(time) { return LEFT + (time - this.view[0]) / (this.view[1] - this.view[0]) * (this.width - LEFT); }
  time(x) { return this.view[0] + (x - LEFT) / (this.width - LEFT) * (this.view[1] - this.view[0]); }

  zoom(factor, x = (LEFT + this.width) / 2) {
    const at = this.time(x);
    this.show(at - (at - this.view[0]) * factor, at + (this.view[1] - at) * factor);
  }

  pan(share) {
    const by = share * (this.view[1] - this.view[0]);
    this.show(this.view[0] + by, this.view[1] + by);
  }

  draw() {
    const ratio = window.devicePixelRatio || 1;
    this.width = this.canvas.parentElement.clientWidth;
    if (this.width < 200) return;
    this.canvas.width = this.width * ratio;
    this.canvas.height = this.height * ratio;
    this.canvas.style.height = `${this.height}px`;
    const pen = this.canvas.getContext('2d');
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.font = '12px system-ui, "DejaVu Sans", sans-serif';
    pen.textBaseline = 'middle';
    this.ink = { text: colour('ink'), quiet: colour('quiet'), grid: colour('grid'), track: colour('track'),
      bad: colour('bad'), card: colour('card'), accent: colour('accent'), arrow: colour('arrow'), onFill: colour('on-fill') };
    this.fills = {};
    for (const name of [...this.events.kinds, ...this.events.tracks.map((t) => t.pipe)]) this.fills[name] = colour(name);
    pen.clearRect(0, 0, this.width, this.height);
    this.drawOverview(pen);
    this.drawAxis(pen);
    this.events.tracks.forEach((track, row) => this.drawTrack(pen, track, row));
    pen.save();
    pen.beginPath();
    pen.rect(LEFT, AXIS + STRIP, this.width - LEFT, this.height);
    pen.clip();
    this.drawArrows(pen);
    this.drawMarks(pen);
    pen.restore();
  }

  // The whole run in one line: the cube's and the vector unit's work, and the part that is shown below.
  drawOverview(pen) {
    const scale = (this.width - LEFT) / this.full[1];
    pen.fillStyle = this.ink.quiet;
    pen.fillText('whole run', 4, 10);
    for (const [pipe, top] of [['M', 2], ['V', 11]]) {
      const row = this.events.tracks.findIndex((track) => track.pipe === pipe);
      pen.fillStyle = this.ink.track;
      pen.fillRect(LEFT, top, this.width - LEFT, 8);
      if (row < 0) continue;
      pen.fillStyle = this.fills[pipe];
      this.fillMerged(pen, this.events.byTrack[row].work, (t) => LEFT + t * scale, top, 8, this.full);
    }
    const left = LEFT + this.view[0] * scale;
    const width = Math.max(3, (this.view[1] - this.view[0]) * scale);
    pen.strokeStyle = this.ink.accent;
    pen.lineWidth = 1.5;
    pen.strokeRect(left, 0.75, width, 20);
    pen.lineWidth = 1;
  }

  drawAxis(pen) {
    const span = this.view[1] - this.view[0];
    const wish = span / Math.max(2, (this.width - LEFT) / 110);
    const power = 10 ** Math.floor(Math.log10(wish));
    const step = power * ([1, 2, 5, 10].find((x) => x * power >= wish));
    pen.fillStyle = this.ink.quiet;
    pen.fillText('cycles', 4, STRIP + 8);
    for (let at = Math.ceil(this.view[0] / step) * step; at <= this.view[1]; at += step) {
      const x = Math.round(this.x(at)) + 0.5;
      pen.strokeStyle = this.ink.grid;
      pen.beginPath();
      pen.moveTo(x, STRIP + 16);
      pen.lineTo(x, this.height);
      pen.stroke();
      const text = round(at);
      pen.fillText(text, Math.min(x + 3, this.width - pen.measureText(text).width - 2), STRIP + 8);
    }
  }

  drawTrack(pen, track, row) {
    const top = this.rowTop[row];
    const first = row === 0 || this.events.tracks[row - 1].core !== track.core;
    pen.fillStyle = this.ink.text;
    if (first) pen.fillText(track.core, 4, top + ROW / 2);
    pen.fillStyle = this.ink.quiet;
    pen.fillText(track.pipe, 48, top + ROW / 2);
    pen.fillStyle = this.ink.track;
    pen.fillRect(LEFT, top + 1, this.width - LEFT, ROW - 2);
    const lists = this.events.byTrack[row];
    const x = (time) => this.x(time);
    if (this.showStalls) {
      for (const cause of ['flag', 'cross_core', 'barrier', 'issue']) {
        pen.fillStyle = this.fills[cause];
        const own = lists.stalls.filter((i) => this.events.kindOf(i) === cause);
        this.fillMerged(pen, own, x, top + ROW / 2 - 2, 4, this.view);
      }
    }
    pen.fillStyle = this.fills[track.pipe];
    this.fillMerged(pen, lists.work, x, top + 2, ROW - 4, this.view, track.pipe === 'S' ? 2 : 0);
    this.labelEvents(pen, lists.work, top);
  }

  // Rectangles of the events in view; those nearer than a pixel become one, so that any zoom costs the same.
  fillMerged(pen, list, x, top, height, view, least = 0) {
    let left = -1;
    let right = -1;
    for (let k = this.events.firstEndingAfter(list, view[0]); k < list.length; k += 1) {
      const start = this.events.start(list[k]);
      if (start > view[1]) break;
      const from = Math.max(LEFT, x(start));
      const to = Math.max(from + least, Math.min(this.width, x(this.events.end(list[k]))));
      const separate = from - right > 0.6 || to - from > 3;
      if (separate) {
        if (right > left) pen.fillRect(left, top, Math.max(0.6, right - left - (right - left > 3 ? 0.7 : 0)), height);
        left = from;
      }
      right = Math.max(to, separate ? 0 : right);
    }
    if (right > left) pen.fillRect(left, top, Math.max(0.6, right - left), height);
  }

  labelEvents(pen, list, top) {
    pen.fillStyle = this.ink.onFill;
    for (let k = this.events.firstEndingAfter(list, this.view[0]); k < list.length; k += 1) {
      const from = Math.max(LEFT, this.x(this.events.start(list[k])));
      if (from > this.width) break;
      const room = Math.min(this.width, this.x(this.events.end(list[k]))) - from - 8;
      if (room < 26) continue;
      const tensor = this.events.columns.tensor[list[k]];
      const short = tensor > 0 ? this.events.tensors[tensor - 1].replace('workspace ', '') : '';
      const name = short ? `${short} · ${this.events.label(list[k])}` : this.events.label(list[k]);
      let text = name;
      while (text.length > 1 && pen.measureText(text).width > room) text = text.slice(0, -1);
      if (text.length < name.length && short) text = pen.measureText(short).width < room ? short : '';
      if (text.length === name.length || text === short || text.length > 3) pen.fillText(text, from + 4, top + ROW / 2 + 0.5);
    }
  }

  arrowEnds(k) {
    const { from, to, cross } = this.events.arrows;
    const wait = this.events.kindOf(to[k]) === 'cross_wait';
    const units = cross[k] === 2; // followed before the event ends
    const start = units ? this.events.start(from[k]) : this.events.end(from[k]);
    const end = wait ? this.events.end(to[k]) : this.events.start(to[k]);
    return { x0: this.x(start), x1: this.x(end), late: end - start,
      y0: this.rowTop[this.events.columns.track[from[k]]] + ROW / 2,
      y1: this.rowTop[this.events.columns.track[to[k]]] + ROW / 2, cross: cross[k] === 1 };
  }

  drawArrows(pen) {
    if (this.selected >= 0) {
      for (const k of this.events.arrowsOf.get(this.selected) || []) this.drawArrow(pen, this.arrowEnds(k), 1.6, 1);
    }
    if (!this.showArrows) return;
    const visible = [];
    for (let k = 0; k < this.events.arrows.from.length; k += 1) {
      const ends = this.arrowEnds(k);
      if (ends.late > (ends.cross ? CROSS_HELD_UP_CYCLES : HELD_UP_CYCLES)) continue;
      if (Math.max(ends.x0, ends.x1) > LEFT && Math.min(ends.x0, ends.x1) < this.width) visible.push(ends);
    }
    const crossing = visible.filter((ends) => ends.cross);
    const shown = visible.length <= MAX_ARROWS ? visible : crossing.length <= MAX_ARROWS ? crossing : [];
    const heads = shown.length < 120;
    for (const ends of shown) this.drawArrow(pen, ends, 1, ends.cross ? 0.9 : 0.55, heads || ends.cross);
  }

  drawArrow(pen, { x0, x1, y0, y1, cross }, width, alpha, head = true) {
    pen.globalAlpha = alpha;
    pen.strokeStyle = cross ? this.ink.arrow : this.ink.text;
    pen.fillStyle = pen.strokeStyle;
    pen.lineWidth = width;
    const bend = Math.min(60, Math.max(6, Math.abs(x1 - x0) / 2));
    pen.beginPath();
    pen.moveTo(x0, y0);
    pen.bezierCurveTo(x0 + bend, y0, x1 - bend, y1, x1, y1);
    pen.stroke();
    if (head) {
      pen.beginPath();
      pen.moveTo(x1, y1);
      pen.lineTo(x1 - 5, y1 - 3);
      pen.lineTo(x1 - 5, y1 + 3);
      pen.fill();
    }
    pen.globalAlpha = 1;
    pen.lineWidth = 1;
  }

  drawMarks(pen) {
    const frame = (i, paint, width) => {
      pen.strokeStyle = paint;
      pen.lineWidth = width;
      const left = this.x(this.events.start(i));
      pen.strokeRect(left - 1, this.rowTop[this.events.columns.track[i]] + 1,
        Math.max(3, this.x(this.events.end(i)) - left + 2), ROW - 2);
    };
    for (const i of this.events.hazardEvents.keys()) frame(i, this.ink.bad, 2.5);
    if (this.selected >= 0) frame(this.selected, this.ink.text, 1.5);
  }

  eventAt(x, y) {
    const row = this.rowTop.findIndex((top) => y >= top && y < top + ROW);
    if (row < 0 || x < LEFT) return -1;
    return this.events.at(row, this.time(x), 2 * (this.view[1] - this.view[0]) / (this.width - LEFT));
  }

  pick(i) {
    this.selected = i;
    this.picked.replaceChildren(...(i < 0 ? [] : this.events.describe(i).map((line, k) =>
      element('div', k === 0 ? { style: 'font-weight:600' } : { class: 'quiet' }, line))));
    this.draw();
  }

  listen() {
    const place = (event) => {
      const box = this.canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    let drag = null;
    this.canvas.addEventListener('wheel', (event) => {
      event.preventDefault();
      if (event.shiftKey) this.pan(Math.sign(event.deltaY) * 0.1);
      else this.zoom(event.deltaY > 0 ? 1.25 : 0.8, Math.max(LEFT, place(event)[0]));
    }, { passive: false });
    this.canvas.addEventListener('pointerdown', (event) => {
      const [x, y] = place(event);
      this.canvas.setPointerCapture(event.pointerId);
      drag = { x, view: [...this.view], moved: false, overview: y < STRIP - 6 };
      if (drag.overview) this.centreOn(x);
    });
    this.canvas.addEventListener('pointermove', (event) => {
      const [x, y] = place(event);
      if (drag === null) {
        const found = this.eventAt(x, y);
        if (found >= 0) showTip(event.clientX, event.clientY, this.events.describe(found)); else hideTip();
        return;
      }
      drag.moved = drag.moved || Math.abs(x - drag.x) > 3;
      if (drag.overview) this.centreOn(x);
      else if (drag.moved) {
        const by = (drag.x - x) / (this.width - LEFT) * (drag.view[1] - drag.view[0]);
        this.show(drag.view[0] + by, drag.view[1] + by);
      }
    });
    this.canvas.addEventListener('pointerup', (event) => {
      if (drag !== null && !drag.moved && !drag.overview) this.pick(this.eventAt(...place(event)));
      drag = null;
    });
    this.canvas.addEventListener('pointerleave', hideTip);
    this.canvas.addEventListener('dblclick', () => this.show(...this.full));
    this.canvas.addEventListener('keydown', (event) => {
      const act = { ArrowLeft: () => this.pan(-0.2), ArrowRight: () => this.pan(0.2), '+': () => this.zoom(0.7),
        '=': () => this.zoom(0.7), '-': () => this.zoom(1.4), Home: () => this.show(...this.full) }[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
  }

  centreOn(x) {
    const centre = (x - LEFT) / (this.width - LEFT) * this.full[1];
    const half = (this.view[1] - this.view[0]) / 2;
    this.show(centre - half, centre + half);
  }
}
