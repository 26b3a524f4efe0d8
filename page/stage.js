// The photo with her skeleton over it: it plays, and its joints are dragged. What was dragged goes to the
// server as a "move" event; the server answers with the whole track.
const limbs = props.limbs, colors = props.colors, names = props.names;
const photo = new Image();
let track = null, frame = 0, playing = true, dragged = null, place = null, started = 0;

const find = (selector) => element.querySelector(selector);
const canvas = () => find('canvas');
const scale = () => canvas().width / track.width;
const joints = () => track.joints[frame] || [];
const css = (color) => `rgb(${color.join(',')})`;

function draw() {
  const board = canvas();
  if (!board) return;
  const pen = board.getContext('2d');
  if (!track) {
    board.width = 256;
    board.height = 512;
    pen.fillStyle = '#bbb';
    pen.fillRect(0, 0, 256, 512);
    pen.fillStyle = '#333';
    pen.font = '15px system-ui, sans-serif';
    pen.textAlign = 'center';
    pen.fillText('She will be shown here', 128, 250);
    return;
  }
  const zoom = Math.max(1, Math.round(768 / track.height));
  if (board.width !== track.width * zoom || board.height !== track.height * zoom) {
    board.width = track.width * zoom;
    board.height = track.height * zoom;
  }
  pen.fillStyle = '#888';
  pen.fillRect(0, 0, board.width, board.height);
  if (photo.complete && photo.naturalWidth) pen.drawImage(photo, 0, 0, board.width, board.height);
  const points = joints().map((joint, index) => index === dragged && place ? [...place, 1] : joint);
  const at = (joint) => [(joint[0] + 0.5) * zoom, (joint[1] + 0.5) * zoom];
  const width = board.height / 130;
  pen.lineWidth = width;
  pen.lineCap = 'round';
  limbs.forEach(([a, b], index) => {
    if (!points[a] || !points[b] || points[a][2] <= 0 || points[b][2] <= 0) return;
    pen.strokeStyle = css(colors[index].map((value) => value * 0.75));
    pen.beginPath();
    pen.moveTo(...at(points[a]));
    pen.lineTo(...at(points[b]));
    pen.stroke();
  });
  points.forEach((joint, index) => {
    if (joint[2] <= 0) return;
    pen.fillStyle = css(colors[index]);
    pen.beginPath();
    pen.arc(...at(joint), index === chosen() ? 2 * width : 1.3 * width, 0, 2 * Math.PI);
    pen.fill();
    if (index === chosen()) { pen.lineWidth = 2; pen.strokeStyle = 'white'; pen.stroke(); pen.lineWidth = width; }
  });
  find('.frame').value = frame;
  const edited = track.keys.includes(frame) ? ', edited' : '';
  find('.where').textContent = track.joints.length > 1
    ? `${(frame / track.fps).toFixed(2)} s, frame ${frame}${edited}` : '';
  find('.play').textContent = playing ? 'Pause' : 'Play';
}

function chosen() { return Number(find('.joints')?.value ?? 4); }

function show() {
  track = props.value || null;
  const select = find('.joints');
  if (select && !select.options.length)
    names.forEach((name, index) => select.add(new Option(name.replaceAll('_', ' '), index, index === 4, index === 4)));
  const several = track && track.joints.length > 1;
  find('.bar').style.visibility = several ? 'visible' : 'hidden';
  find('.joint').style.visibility = several ? 'visible' : 'hidden';
  if (track) {
    find('.frame').max = Math.max(0, track.joints.length - 1);
    if (frame >= track.joints.length) frame = 0;
    if (track.play) { playing = true; frame = 0; }
    if (photo.src !== track.photo) { photo.onload = draw; photo.src = track.photo; }
  }
  place = dragged = null;
  started = performance.now() - 1000 * frame / (track ? track.fps : 1);
  bind();
  draw();
}

function where(event) {
  const box = canvas().getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * track.width - 0.5,
          (event.clientY - box.top) / box.height * track.height - 0.5];
}

function grab(event) {
  if (!track || track.joints.length < 2) return;
  const [x, y] = where(event);
  const reach = track.height / 16;
  let nearest = null, least = reach;
  joints().forEach((joint, index) => {
    const distance = Math.hypot(joint[0] - x, joint[1] - y);
    if (joint[2] > 0 && distance < least) { least = distance; nearest = index; }
  });
  pause();
  if (nearest === null) { draw(); return; }
  dragged = nearest;
  find('.joints').value = nearest;
  place = [x, y];
  canvas().setPointerCapture(event.pointerId);
  canvas().focus();
  event.preventDefault();
  draw();
}

function drop() {
  if (dragged === null) return;
  const joint = joints()[dragged];
  const far = Math.hypot(joint[0] - place[0], joint[1] - place[1]) > 0.25;
  if (far) send(dragged, place); else { dragged = place = null; draw(); }
}

function send(joint, [x, y]) { trigger('move', {frame, joint, x, y}); }

function pause() { playing = false; draw(); }

function go(to) {
  playing = false;
  frame = Math.min(Math.max(to, 0), track.joints.length - 1);
  draw();
}

function key(event) {
  if (!track || track.joints.length < 2) return;
  const step = event.shiftKey ? 5 : 1;
  const ways = {ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step]};
  if (event.key === ' ') toggle();
  else if (event.key === ',' || event.key === '.') go(frame + (event.key === ',' ? -1 : 1));
  else if (ways[event.key]) {
    const joint = joints()[chosen()];
    pause();
    send(chosen(), [joint[0] + ways[event.key][0], joint[1] + ways[event.key][1]]);
  } else return;
  event.preventDefault();
}

function toggle() {
  playing = !playing;
  started = performance.now() - 1000 * frame / track.fps;
  draw();
}

function bind() {
  const board = canvas();
  if (!board || board.dataset.bound) return;
  board.dataset.bound = 'yes';
  board.addEventListener('pointerdown', grab);
  board.addEventListener('pointermove', (event) => { if (dragged !== null) { place = where(event); draw(); } });
  board.addEventListener('pointerup', drop);
  board.addEventListener('pointercancel', () => { dragged = place = null; draw(); });
  board.addEventListener('keydown', key);
  find('.play').addEventListener('click', () => { if (track) toggle(); });
  find('.frame').addEventListener('input', (event) => go(Number(event.target.value)));
  find('.joints').addEventListener('change', draw);
  // Where a joint is on the screen, for whoever drives the page.
  board.pointOf = (index) => {
    const box = board.getBoundingClientRect();
    const [x, y] = joints()[index];
    return [box.left + (x + 0.5) / track.width * box.width, box.top + (y + 0.5) / track.height * box.height];
  };
}

function tick(now) {
  if (!element.isConnected) return;
  if (track && playing && dragged === null && track.joints.length > 1) {
    const next = Math.floor((now - started) / 1000 * track.fps) % track.joints.length;
    if (next !== frame) { frame = next; draw(); }
  }
  requestAnimationFrame(tick);
}

watch('value', show);
show();
requestAnimationFrame(tick);
