'use strict';
const data = JSON.parse(document.getElementById('document').textContent);
const pictures = JSON.parse(document.getElementById('pictures').textContent);
const page = document.getElementById('page');
const COLOURS = { input: 'var(--input)', forget: 'var(--forget)', output: 'var(--output)',
  reset: 'var(--input)', update: 'var(--forget)' };
const TRACK_COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#222222'];

// Elements: text is always text, never markup.
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

function draw(name, attributes = {}, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

const number = (value, digits = 3) => (value === null || value === undefined ? '–' : value.toFixed(digits));
const signed = (value) => (value > 0 ? '+' : '') + value.toFixed(3);
const figure = (source, caption, kind = '') =>
  make('figure', { class: kind }, make('img', { src: source, alt: caption }), make('figcaption', {}, caption));

function table(header, rows) {
  const cells = (tag, values) => make('tr', {}, ...values.map((value) => make(tag, {}, value)));
  return make('div', { class: 'wide' },
    make('table', {}, cells('th', header), ...rows.map((row) => cells('td', row))));
}

// A chart with a frame, an axis of frames below and one of values to the left; ``fill`` draws into it.
function chart(frames, low, high, label, fill) {
  const [width, height, left, bottom] = [520, 190, 46, 26];
  const svg = draw('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label });
  const first = frames[0], last = frames[frames.length - 1];
  const x = (frame) => left + (width - left - 12) * (last > first ? (frame - first) / (last - first) : 0.5);
  const y = (value) => 8 + (height - 8 - bottom) * (1 - (value - low) / (high - low || 1));
  for (const value of low < 0 && high > 0 ? [low, 0, high] : [low, (low + high) / 2, high]) {
    svg.append(draw('line', { x1: left, x2: width - 8, y1: y(value), y2: y(value), stroke: '#e4e4e4' }),
      draw('text', { x: left - 4, y: y(value) + 4, 'text-anchor': 'end' },
        value.toFixed(Math.abs(high - low) < 0.1 ? 3 : 2)));
  }
  const places = frames.length > 1 ? [0, Math.floor((frames.length - 1) / 2), frames.length - 1] : [0];
  for (const place of places) {
    svg.append(draw('text', { x: x(frames[place]), y: height - 8, 'text-anchor': 'middle' }, frames[place]));
  }
  fill(svg, x, y);
  return svg;
}

function gatesChart(gates) {
  const key = make('p');
  const svg = chart(gates.frames, 0, 1, 'gates over frames', (target, x, y) => {
    for (const [name, values] of Object.entries(gates.open)) {
      const at = (column) => values.map((value, t) => `${x(gates.frames[t])},${y(value[column])}`);
      target.append(
        draw('polygon', { points: [...at(1), ...at(2).reverse()].join(' '), fill: COLOURS[name], opacity: 0.12 }),
        draw('polyline', { points: at(0).join(' '), fill: 'none', stroke: COLOURS[name], 'stroke-width': 2 }));
      key.append(make('span', { class: 'key', style: `background: ${COLOURS[name]}` }), `${name} gate`);
    }
  });
  return make('div', {}, make('h3', {}, 'Gates over time'),
    make('p', {}, 'Mean over the channels, and where 80 % of them are; 0 is closed, 1 is open.'), svg, key);
}

function evidenceChart(evidence, of) {
  const frames = evidence.frames.slice(0, -1);
  if (!frames.length) return make('div', {}, make('h3', {}, 'Frames before'), make('p', {}, 'There are none.'));
  const all = [...evidence.of_update, ...evidence.drop, 0];
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const width = Math.max(2, Math.min(10, 400 / frames.length / 2));
  const svg = chart(frames, low, high, 'what each frame was worth', (target, x, y) => {
    frames.forEach((frame, t) => {
      [[evidence.of_update[t], 'var(--input)', -width], [evidence.drop[t], 'var(--drop)', 0]].forEach(
        ([value, fill, shift]) => target.append(draw('rect', { x: x(frame) + shift, width: width - 0.5, fill,
          y: Math.min(y(value), y(0)), height: Math.max(Math.abs(y(value) - y(0)), 0.5) })));
    });
    target.append(draw('line', { x1: 46, x2: 512, y1: y(0), y2: y(0), stroke: '#888' }));
  });
  return make('div', {}, make('h3', {}, 'What each frame before was worth'),
    make('p', {}, `To the ${of}. Rank correlation of the two: ${number(evidence.rank_correlation, 2)} ` +
      `(of plain gradient × input: ${number(evidence.rank_correlation_of_input, 2)}). ` +
      `The last ${evidence.reach_frames} of ${evidence.frames.length} frames are enough to come within .01 of the answer.`),
    svg, make('p', {}, make('span', { class: 'key', style: 'background: var(--input)' }), 'gradient × presence',
      make('span', { class: 'key', style: 'background: var(--drop)' }), 'drop when the memory is not shown the frame'));
}

function changedTable(box) {
  const names = { with_memory: 'with memory', begun_at_window: `begun ${data.window_frames} frames before`,
    without_maps: 'ConvLSTM empty, averages kept', without: 'this frame alone' };
  const rows = Object.entries(names).map(([key, name]) =>
    [name, number(box.changed[key].objectness), number(box.changed[key].class_probability)]);
  return make('div', {}, make('h3', {}, 'What the memory changed'),
    make('p', {}, 'What the network says at the cell of this box, before tracks speak for it.'),
    table(['', 'objectness', `${box.label}`], rows));
}

// Who said what of the class: the cell, the memory of the track, the looks from near, and what came of it.
function namedPart(box, crops) {
  const one = box.named;
  const names = [...data.classes, ...(one.looks ? ['nothing'] : [])];
  const row = (who, said) => [who, ...names.map((name) => number(said[name]))];
  const rows = [row('its cell, this frame', one.cell)];
  if (one.memory) rows.push(row('its track’s memory', one.memory));
  if (one.looks) rows.push(row(`looks from near (${one.looked})`, one.looks));
  rows.push(row('shown', one.shown));
  const second = one.rival ? `Second is ${one.rival}, by ${number(one.lead)}. ` : '';
  const looked = !one.looks ? 'No look from near was taken. '
    : (one.by_looks ? `Its class came from the second look: without it the box would be ${one.without_looks}. `
      : `Without the ${one.looked} looks from near it would be ${one.without_looks} too. `)
      + `They multiplied its score with ${number(one.score_factor, 2)}.`;
  const part = make('div', { class: 'named' }, make('h3', {}, 'What named it'), make('p', {}, second + looked),
    table(['', ...names], rows));
  if (crops.length) {
    part.append(make('p', {}, 'What the newest looks saw, and took it for.'),
      make('div', { class: 'looks' }, ...crops.map((crop, t) => {
        const look = box.looks[t];
        const best = names.reduce((a, b) => (look[b] > look[a] ? b : a));
        return figure(crop, `${look.frame}: ${best} ${number(look[best], 2)}`);
      })));
  }
  return part;
}

function vectorPart(title, note, one) {
  const said = `${one.label} ${number(one.probability)} with its memory, ` +
    `${number(one.last_frame_alone)} from its last frame alone.`;
  return [make('h2', {}, title), make('p', {}, `${note} ${said}`),
    make('div', { class: 'two' }, gatesChart(one.gates), evidenceChart(one.evidence, `class ${one.label}`))];
}

function show(panel, place) {
  const box = data.boxes[place], shown = pictures[place];
  const track = data.tracks.find((one) => one.track_id === box.track_id);
  const strides = box.maps.map((map) => map.stride);
  const share = (name, t) => `stride ${strides[t]}, ${Math.round(100 * box.maps[t][name])} % in the box`;
  const why = data.why === 'object' ? 'score of an object' : `class ${box.label}`;
  panel.replaceChildren(
    make('h2', {}, `Frame ${box.frame}: ${box.label} ${number(box.score, 2)}` +
      (box.track_id >= 0 ? `, track ${box.track_id} (${box.track_label})` : ', no track yet')),
    make('div', { class: 'two' }, figure(shown.frame, `${box.time_s.toFixed(2)} s`), changedTable(box)),
    namedPart(box, shown.looks),
    make('h3', {}, 'Where it looked: which places'),
    make('p', {}, 'Gradient × activation of the encoder’s maps, place by place, around the box.'),
    make('div', { class: 'crops' }, figure(shown.crop, 'the frame'),
      ...shown.local.map((one, t) => figure(one, share('local_in_box', t)))),
    make('h3', {}, 'Where it looked: which kind of place (Grad-CAM)'),
    make('p', {}, 'Channels weighted by their mean gradient: what looks alike lights up, wherever it is.'),
    make('div', { class: 'crops' }, figure(shown.crop, 'the frame'),
      ...shown.grad_cam.map((one, t) => figure(one, share('grad_cam_in_box', t)))));
  if (box.evidence) {
    const worth = [...box.evidence.of_update, null];
    panel.append(make('h3', {}, 'What it remembered'),
      make('div', { class: 'two' }, gatesChart(box.gates), evidenceChart(box.evidence, why)),
      make('p', {}, 'The frames, and where in them the memory took it from; blue spoke for it, orange against.'),
      make('div', { class: 'frames' }, ...shown.window.map((one, t) => figure(one,
        worth[t] === null ? `${box.evidence.frames[t]}` : `${box.evidence.frames[t]}: ${signed(worth[t])}`,
        worth[t] === null ? '' : worth[t] > 0 ? 'for' : 'against'))));
  } else panel.append(make('p', {}, 'This model has no memory of maps.'));
  if (track) panel.append(...vectorPart(`Track ${track.track_id}`, 'What its own LSTM made of its boxes.', track));
}

function timeline(choose) {
  const ids = [...new Set(data.all_boxes.map((row) => row[2]))].sort((a, b) => a - b);
  const order = [...ids.filter((id) => id >= 0), ...ids.filter((id) => id < 0)];
  const [width, left, line] = [1120, 150, 22];
  const height = order.length * line + 26;
  const x = (frame) => left + (width - left - 16) * (data.frames > 1 ? frame / (data.frames - 1) : 0.5);
  const svg = draw('svg', { viewBox: `0 0 ${width} ${height}`, class: 'timeline' });
  order.forEach((id, row) => {
    const named = data.all_tracks.find((one) => one.track_id === id);
    const middle = row * line + line / 2;
    svg.append(draw('text', { x: 0, y: middle + 4 }, id < 0 ? 'no track' : `${id} ${named ? named.label : ''}`));
    const ticks = data.all_boxes.filter((one) => one[2] === id)
      .map((one) => `M${x(one[0]).toFixed(1)} ${middle - 6 * one[4]}v${(12 * one[4]).toFixed(1)}`).join('');
    svg.append(draw('path', { d: ticks, 'stroke-width': Math.max(1, 960 / data.frames), opacity: 0.55,
      stroke: id < 0 ? '#999' : TRACK_COLOURS[(id - 1) % TRACK_COLOURS.length] }));
  });
  const buttons = data.boxes.map((box, place) => {
    const label = `${box.label} ${number(box.score, 2)} in frame ${box.frame}`;
    const button = draw('g', { role: 'button', tabindex: 0, 'aria-label': label },
      draw('title', {}, label),
      draw('circle', { cx: x(box.frame), cy: order.indexOf(box.track_id) * line + line / 2, r: 7 }));
    button.addEventListener('click', () => choose(place));
    button.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); choose(place); }
    });
    return button;
  });
  svg.append(...buttons);
  const anchors = [[0, 'start'], [Math.floor((data.frames - 1) / 2), 'middle'], [data.frames - 1, 'end']];
  for (const [frame, anchor] of anchors) {
    svg.append(draw('text', { x: x(frame), y: height - 6, 'text-anchor': anchor }, `frame ${frame}`));
  }
  return [svg, buttons];
}

function start() {
  const panel = make('section', { 'aria-live': 'polite', id: 'box' });
  const [svg, buttons] = timeline((place) => {
    buttons.forEach((button, other) => button.setAttribute('aria-pressed', other === place));
    show(panel, place);
  });
  const shares = data.all_tracks.map((track) => [`${track.track_id} ${track.label}`, number(track.score, 2),
    `${track.first_frame} to ${track.last_frame}`, track.detections,
    track.share_of_sequence === null ? '–' : `${Math.round(100 * track.share_of_sequence)} %`]);
  page.append(
    make('h1', {}, data.source),
    make('p', {}, `Model ${data.model}, ${data.frames} frames, why ${data.why === 'object'
      ? 'there is an object' : 'it is of its class'}. Choose a box on the timeline.`),
    make('div', { class: 'wide' }, svg), panel,
    make('h2', {}, `The sequence: ${data.sequence.label || 'no class'} ${number(data.sequence.score, 2)}`),
    make('p', {}, 'Its class is what its tracks say; before the first track, what its own memory says.'),
    table(['track', 'score', 'frames', 'boxes', 'share of the class'], shares));
  if (data.sequence.memory) {
    page.append(...vectorPart('The memory of the sequence', 'What its LSTM made of the frames.', data.sequence.memory));
  }
  page.append(make('h2', {}, 'Video'),
    make('p', {}, 'Left: what was found. Right: where the surest of the explained boxes was seen.'),
    make('video', { src: 'explain.mp4', controls: '', muted: '', loop: '', preload: 'metadata' }));
  const surest = data.boxes.reduce((best, box, place) => (box.score > data.boxes[best].score ? place : best), 0);
  buttons[surest].dispatchEvent(new MouseEvent('click'));
}

start();
