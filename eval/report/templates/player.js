"use strict";
// Plays videos in step, with curves of their surprise and one cursor for all. Time is counted in frames.
const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 210, LEFT = 46, RIGHT = 12, TOP = 34, BOTTOM = 26;

function addShape(name, attributes, parent, text) {
  const shape = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
  if (text !== undefined) shape.textContent = text;
  parent.append(shape);
  return shape;
}

function bytes(base64) { return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)); }

function tickStep(span, most) {  // 1, 2 or 5 times a power of ten, so that there are at most `most` ticks
  const rough = span / most, power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
}

class Player {
  constructor(root) {
    this.root = root;
    this.data = JSON.parse(root.querySelector("script").textContent);
    this.duration = this.data.frames / this.data.fps;
    this.frame = 0;
    this.playing = false;
    const find = (selector) => root.querySelector(selector);
    [this.plot, this.cursor, this.clock, this.button, this.speed, this.which, this.heatOn, this.heatScale] =
      [".plot", ".cursor", ".clock", ".play", ".speed", "select.curve", ".heat-on", ".heat-scale"].map(find);
    for (const curve of this.data.curves) curve.heats = curve.heats.map((heat) => heat && { ...heat, levels: bytes(heat.levels) });
    const count = {};  // of each kind
    this.items = [...root.querySelectorAll("figure[data-video]")].map((figure, index) => {
      const { kind, mp4, captions } = this.data.videos[index];
      count[kind] = (count[kind] ?? -1) + 1;
      const style = kind === "unlabelled" ? "style-unlabelled" : `style-${kind}-${count[kind] % 2}`;
      figure.querySelector(".sample line")?.setAttribute("class", style);
      return { figure, style, mp4, captions, video: figure.querySelector("video"), canvas: figure.querySelector("canvas"), output: figure.querySelector("output") };
    });
    this.videos = this.items.map((item) => item.video).filter(Boolean);
    this.listen();
    this.drawCurves();
    this.seek(this.data.start);
    this.moved = false;
  }

  listen() {
    this.button.addEventListener("click", () => this.toggle());
    this.cursor.addEventListener("input", () => { this.pause(); this.seek(Number(this.cursor.value)); });
    this.which?.addEventListener("change", () => this.drawCurves());
    this.heatOn?.addEventListener("change", () => this.mark());
    this.speed.addEventListener("change", () => { for (const video of this.videos) video.playbackRate = Number(this.speed.value); this.restart(); });
    const drag = (event) => {
      if (event.buttons !== 1) return;
      if (event.type === "pointerdown") this.plot.setPointerCapture(event.pointerId);
      const box = this.plot.getBoundingClientRect();
      this.pause();
      this.seek(Math.round((event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT) * this.duration * this.data.fps));
    };
    this.plot.addEventListener("pointerdown", drag);
    this.plot.addEventListener("pointermove", drag);
    this.items.forEach((item, index) => {
      item.figure.addEventListener("pointerenter", () => this.emphasise(index));
      item.figure.addEventListener("pointerleave", () => this.emphasise(null));
    });
    this.root.addEventListener("keydown", (event) => {
      if (event.target.matches("select")) return;
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) { event.preventDefault(); this.pause(); this.seek(this.frame + step); }
      else if (event.key === " " && !event.target.matches("button, input[type=checkbox]")) { event.preventDefault(); this.toggle(); }
    });
    new ResizeObserver(() => this.drawCurves()).observe(this.plot);
  }

  // Browsers limit the number of open videos: videos are opened near the visible part of the page and closed far from it.
  open() {
    if (this.opened) return;
    this.opened = true;
    for (const item of this.items) {
      if (!item.video) continue;
      item.url = URL.createObjectURL(new Blob([bytes(item.mp4)], { type: "video/mp4" }));
      item.video.addEventListener("loadedmetadata", () => this.seekVideo(item.video), { once: true });
      item.video.src = item.url;
    }
  }

  close() {
    if (!this.opened) return;
    this.opened = false;
    this.pause();
    for (const item of this.items) {
      if (!item.video) continue;
      item.video.removeAttribute("src");
      item.video.load();
      URL.revokeObjectURL(item.url);
    }
  }

  x(time) { return LEFT + time / this.duration * (this.width - LEFT - RIGHT); }

  get curve() { return this.data.curves[this.which?.value ?? 0] ?? { lines: [], levels: [], heats: [] }; }

  drawCurves() {
    const width = this.plot.clientWidth;
    if (!width) return;
    this.width = width;
    this.plot.replaceChildren();
    const { lines, levels, heats, peak } = this.curve;
    if (this.heatScale) {
      this.heatScale.hidden = !heats.some(Boolean);
      this.heatScale.querySelector("output").textContent = Number(peak?.toPrecision(2));
    }
    const svg = addShape("svg", { height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": "surprise over time" }, this.plot);
    const heights = [...lines.flatMap(([, values]) => values), ...levels.map(([value]) => value)];
    const top = heights.reduce((most, value) => Math.max(most, value ?? 0), 1e-9) * 1.05;
    const floor = HEIGHT - BOTTOM;
    this.y = (value) => floor - value / top * (floor - TOP);
    if (this.data.occlusion) {
      const [from, to] = this.data.occlusion.map((time) => this.x(time));
      addShape("rect", { class: "occlusion", x: from, y: TOP, width: to - from, height: floor - TOP }, svg);
      addShape("text", { x: from + 4, y: TOP + 13 }, svg, "occluded");
    }
    const across = tickStep(this.duration, Math.max(2, width / 90)), up = tickStep(top, 4);
    for (let value = 0; value <= top; value += up) {
      addShape("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: this.y(value), y2: this.y(value) }, svg);
      addShape("text", { x: LEFT - 7, y: this.y(value) + 4, "text-anchor": "end" }, svg, Number(value.toPrecision(3)));
    }
    for (let index = 0; index * across <= this.duration + 1e-9; index++) {
      const time = Number((index * across).toPrecision(3));
      addShape("text", { x: this.x(time), y: HEIGHT - 8, "text-anchor": "middle" }, svg, `${time} s`);
    }
    for (const [value] of levels) addShape("line", { class: "mark", x1: LEFT, x2: width - RIGHT, y1: this.y(value), y2: this.y(value) }, svg);
    this.data.events.forEach(([time, words], row) => {
      const left = this.x(time) + 6 * words.length + 4 > width;
      addShape("line", { class: "mark", x1: this.x(time), x2: this.x(time), y1: 4 + 14 * row, y2: floor }, svg);
      addShape("text", { x: this.x(time) + (left ? -4 : 4), y: 12 + 14 * row, "text-anchor": left ? "end" : "start" }, svg, words);
    });
    this.lines = lines.map(([times, values], line) => {
      const points = [];
      let pen = "M";
      times.forEach((time, index) => {
        if (values[index] === null) { pen = "M"; return; }
        points.push(`${pen}${this.x(time).toFixed(1)},${this.y(values[index]).toFixed(1)}`);
        pen = "L";
      });
      const style = this.items[line].style;
      return { path: addShape("path", { class: `curve-line ${style}`, d: points.join("") }, svg), dot: addShape("circle", { class: "at", r: 4 }, svg), times, values, style };
    });
    levels.forEach(([value, words], index) => {  // above the curve; of two that would overlap only the higher one
      const crowded = index + 1 < levels.length && this.y(value) - this.y(levels[index + 1][0]) < 13;
      if (!crowded) addShape("text", { x: width - RIGHT, y: this.y(value) - 4, "text-anchor": "end" }, svg, words);
    });
    this.now = addShape("line", { class: "now", y1: TOP - 4, y2: floor }, svg);
    if (this.data.contexts.length) {
      this.context = addShape("g", { class: "context" }, svg);
      addShape("line", { y1: floor + 3, y2: floor + 3 }, this.context);
      addShape("text", { y: floor - 4 }, this.context, "context");
    }
    for (const line of this.lines) {
      svg.append(line.dot);
      line.dot.style.fill = getComputedStyle(line.path).stroke;
    }
    this.mark();
  }

  emphasise(chosen) {
    if (chosen >= this.lines?.length) return;
    this.lines?.forEach(({ path, dot }, index) => { for (const part of [path, dot]) part.classList.toggle("dimmed", chosen !== null && index !== chosen); });
  }

  seekVideo(video) {  // the middle of the frame, so that rounding cannot show a neighbouring frame
    video.currentTime = Math.min((this.frame + 0.5) / this.data.fps, Math.max(0, (video.duration || this.duration) - 0.001));
  }

  seek(frame) {
    this.frame = Math.min(Math.max(Math.round(frame), 0), this.data.frames - 1);
    this.moved = true;
    for (const video of this.videos) if (video.readyState > 0) this.seekVideo(video);
    this.mark();
  }

  mark() {  // update everything that shows the current frame, except the videos
    const time = this.frame / this.data.fps;
    this.cursor.value = this.frame;
    this.clock.textContent = `${time.toFixed(2)} s, frame ${this.frame}`;
    if (this.now) for (const end of ["x1", "x2"]) this.now.setAttribute(end, this.x(time));
    for (const { captions, output } of this.items) if (captions.length) output.textContent = captions[this.at(captions.map(([from]) => from))]?.[1] ?? "";
    const context = this.data.contexts[this.at(this.data.contexts.map(([from]) => from))];
    this.context?.setAttribute("visibility", context ? "visible" : "hidden");
    if (context && this.context) {
      const [bar, word] = this.context.children, [from, to] = context.slice(1).map((end) => this.x(Math.max(0, end)));
      for (const [part, name, x] of [[bar, "x1", from], [bar, "x2", to], [word, "x", from + 4]]) part.setAttribute(name, x);
    }
    this.lines?.forEach(({ dot, times, values }, index) => {
      const at = this.at(times), value = at < 0 || time > times[times.length - 1] + 1.5 / this.data.fps ? null : values[at];
      dot.setAttribute("visibility", value === null ? "hidden" : "visible");
      this.items[index].output.textContent = value === null ? "" : value < 0.1 ? value.toFixed(3) : value.toPrecision(3);
      if (value === null) return;
      dot.setAttribute("cx", this.x(times[at]));
      dot.setAttribute("cy", this.y(value));
    });
    this.items.forEach(({ canvas }, index) => { if (canvas) this.paint(canvas, this.curve.heats[index]); });
  }

  at(times) { return latest(times, (this.frame + 0.5) / this.data.fps); }  // index of the current time

  paint(canvas, heat) {
    const { grid_size: size = 1, times = [], levels = [] } = heat ?? {}, at = this.at(times);
    if (canvas.width !== size) canvas.width = canvas.height = size;
    const pen = canvas.getContext("2d"), image = pen.createImageData(size, size);
    if (at >= 0 && this.heatOn.checked) {
      for (let token = 0; token < size * size; token++) {
        const level = Math.max(0, levels[at * size * size + token] - 1) / 254;
        image.data.set([255, 220 - 150 * level, 60 * (1 - level), 190 * level], 4 * token);
      }
    }
    pen.putImageData(image, 0, 0);
  }

  toggle() { if (this.playing) this.pause(); else this.play(); }

  play() {
    this.open();
    this.playing = true;
    this.button.textContent = "pause";
    this.button.setAttribute("aria-pressed", "true");
    if (!this.moved || this.frame >= this.data.frames - 1) this.seek(0);
    this.restart();
    const tick = () => {
      if (!this.playing) return;
      this.follow();
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  restart() {  // restart the clock and all videos from the current frame
    this.began = performance.now() - this.frame / this.data.fps / Number(this.speed.value) * 1000;
    if (!this.playing) return;
    for (const video of this.videos) {
      video.playbackRate = Number(this.speed.value);
      if (video.readyState > 0) video.currentTime = this.frame / this.data.fps;
      video.play().catch(() => {});  // the video was closed or paused before it began
    }
  }

  follow() {  // the first video is the clock and the others follow it; without videos, an internal clock
    const lead = this.videos.find((video) => video.readyState >= 2);
    const time = lead && !lead.ended ? lead.currentTime : (performance.now() - this.began) / 1000 * Number(this.speed.value);
    if (lead ? lead.ended : time >= this.duration) { this.frame = 0; this.restart(); this.mark(); return; }
    for (const video of this.videos) {
      if (video !== lead && video.readyState >= 2 && Math.abs(video.currentTime - time) > 1 / this.data.fps) video.currentTime = time;
    }
    this.frame = Math.min(Math.floor(time * this.data.fps + 1e-3), this.data.frames - 1);
    this.mark();
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    this.button.textContent = "play";
    this.button.setAttribute("aria-pressed", "false");
    for (const video of this.videos) video.pause();
    this.seek(this.frame);
  }
}

function latest(times, until) {  // index of the last time that is not later; -1 if there is none
  let at = -1;
  while (at + 1 < times.length && times[at + 1] <= until) at++;
  return at;
}

for (const button of document.querySelectorAll(".chooser button")) {
  button.addEventListener("click", () => {
    for (const other of document.querySelectorAll(".chooser button")) {
      const on = other === button;
      other.setAttribute("aria-pressed", on);
      document.getElementById(`group-${other.dataset.group}`).hidden = !on;
    }
  });
}
const players = new Map([...document.querySelectorAll(".player")].map((root) => [root, new Player(root)]));
const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) players.get(target)[isIntersecting ? "open" : "close"]();
}, { rootMargin: "800px 0px" });
for (const root of players.keys()) near.observe(root);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { for (const player of players.values()) player.drawCurves(); });
