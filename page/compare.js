// Two videos side by side that play in step: the first one leads, the second follows.
const find = (selector) => element.querySelector(selector);
let playing = false;

function show() {
  const value = props.value || {};
  const videos = [find('.first'), find('.second')];
  videos.forEach((video, index) => {
    const source = value[index ? 'second' : 'first'] || '';
    if ((video.getAttribute('src') || '') !== source) {
      if (source) video.setAttribute('src', source); else video.removeAttribute('src');
      video.load();
    }
  });
  find('.pair').style.display = value.first && value.second ? '' : 'none';
  const button = find('.both');
  if (!button.dataset.bound) {
    button.dataset.bound = 'yes';
    button.addEventListener('click', () => {
      playing = !playing;
      videos.forEach((video) => playing ? video.play() : video.pause());
      button.textContent = playing ? 'Pause both' : 'Play both';
    });
    find('.time').addEventListener('input', (event) => {
      const length = Math.min(...videos.map((video) => video.duration || 0));
      videos.forEach((video) => { video.currentTime = length * event.target.value / 1000; });
    });
  }
}

function tick() {
  if (!element.isConnected) return;
  const first = find('.first'), second = find('.second');
  if (first && second && playing) {
    const length = Math.min(first.duration || 0, second.duration || 0);
    if (length && first.currentTime >= length - 0.03) first.currentTime = 0;
    if (Math.abs(first.currentTime - second.currentTime) > 0.06) second.currentTime = first.currentTime;
    if (length) find('.time').value = 1000 * first.currentTime / length;
    [first, second].forEach((video) => { if (video.paused && !video.seeking) video.play().catch(() => {}); });
  }
  requestAnimationFrame(tick);
}

watch('value', show);
show();
requestAnimationFrame(tick);
