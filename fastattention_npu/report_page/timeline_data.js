// The events of one core group, decoded from base64 columns; per track in order of time.

const ARRAYS = { f4: Float32Array, u4: Uint32Array, u2: Uint16Array, u1: Uint8Array };

function decodeColumn(entry) {
  const text = atob(entry.base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
  return new ARRAYS[entry.type](bytes.buffer);
}

class Events {
  constructor(timeline) {
    Object.assign(this, timeline);
    this.columns = {};
    for (const [name, entry] of Object.entries(timeline.events)) this.columns[name] = decodeColumn(entry);
    this.arrows = {};
    for (const [name, entry] of Object.entries(timeline.arrows)) this.arrows[name] = decodeColumn(entry);
    this.count = this.columns.start.length;
    this.byTrack = this.tracks.map(() => ({ work: [], stalls: [] }));
    const { track, kind, start } = this.columns;
    for (let i = 0; i < this.count; i += 1) {
      if (this.kinds[kind[i]] === 'start' || this.kinds[kind[i]] === 'end') continue;
      this.byTrack[track[i]][kind[i] < 2 ? 'work' : 'stalls'].push(i);
    }
    for (const lists of this.byTrack) {
      for (const list of Object.values(lists)) list.sort((a, b) => start[a] - start[b]);
    }
    this.arrowsOf = new Map();
    for (let k = 0; k < this.arrows.from.length; k += 1) {
      for (const event of [this.arrows.from[k], this.arrows.to[k]]) {
        if (!this.arrowsOf.has(event)) this.arrowsOf.set(event, []);
        this.arrowsOf.get(event).push(k);
      }
    }
    this.hazardEvents = new Map();
    for (const hazard of data.hazards) {
      for (const event of [hazard.later_event, hazard.earlier_event]) {
        if (event >= 0) this.hazardEvents.set(event, hazard.text);
      }
    }
  }

  kindOf(i) { return this.kinds[this.columns.kind[i]]; }
  start(i) { return this.columns.start[i]; }
  end(i) { return this.columns.end[i]; }
  label(i) { return this.labels[this.columns.label[i]]; }
  trackName(i) {
    const track = this.tracks[this.columns.track[i]];
    return `${track.core} ${track.pipe}`;
  }

  // First position in a track's list whose event ends at or after the time: events of a list do not overlap.
  firstEndingAfter(list, time) {
    let low = 0;
    let high = list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.columns.end[list[middle]] < time) low = middle + 1; else high = middle;
    }
    return low;
  }

  at(track, time, slack) {
    for (const list of [this.byTrack[track].work, this.byTrack[track].stalls]) {
      const k = this.firstEndingAfter(list, time - slack);
      if (k < list.length && this.columns.start[list[k]] <= time + slack) return list[k];
    }
    return -1;
  }

  describe(i) {
    const cycles = this.end(i) - this.start(i);
    const lines = [this.label(i), `${this.trackName(i)}: ${cyclesText(cycles)}, ${usText(cycles)}`,
      `from ${usText(this.start(i))} to ${usText(this.end(i))} after the kernel's start`];
    const line = this.lines[this.columns.line[i]];
    if (line) lines.push(line);
    if (this.columns.tensor[i] > 0) {
      lines.push(`GM: ${this.tensors[this.columns.tensor[i] - 1]}, ${bytesText(this.columns.gm_bytes[i])}`);
    }
    if (this.hazardEvents.has(i)) lines.push(`HAZARD: ${this.hazardEvents.get(i)}`);
    return lines;
  }
}
