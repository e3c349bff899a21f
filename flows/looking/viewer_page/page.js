"use strict";
const clips = JSON.parse(document.getElementById("data").textContent);
const get = id => document.getElementById(id);

function bytes(text) {
  const raw = atob(text), array = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) array[i] = raw.charCodeAt(i);
  return array.buffer;
}

// One clock for everything: the sound's own time where there is a sound, so that pictures can not run away from it.
class Clock {
  constructor(sound, seconds) {
    this.seconds = seconds;
    this.at = 0;
    this.started = null;
    this.rate = 1;
    if (sound) {
      this.audio = new Audio(URL.createObjectURL(new Blob([bytes(sound)], { type: "audio/wav" })));
      this.audio.preservesPitch = true;
    }
  }
  get playing() { return this.audio ? !this.audio.paused && !this.audio.ended : this.started !== null; }
  get time() {
    if (this.audio) return this.audio.currentTime;
    if (this.started === null) return this.at;
    const now = this.at + (performance.now() - this.started) / 1000 * this.rate;
    if (now >= this.seconds) { this.at = this.seconds; this.started = null; return this.at; }
    return now;
  }
  seek(time) {
    const wanted = Math.min(Math.max(0, time), this.seconds);
    if (this.audio) this.audio.currentTime = wanted;
    else { this.at = wanted; if (this.started !== null) this.started = performance.now(); }
  }
  play() {
    if (this.time >= this.seconds - 0.02) this.seek(0);
    if (this.audio) return this.audio.play();
    this.started = performance.now();
  }
  pause() {
    if (this.audio) return this.audio.pause();
    this.at = this.time;
    this.started = null;
  }
  speed(rate) {
    if (this.audio) { this.audio.playbackRate = rate; return; }
    const time = this.time;
    this.rate = rate;
    this.seek(time);
  }
}

const VERTEX = `#version 300 es
uniform mat4 view; uniform mat4 lens;
in vec3 place; in vec3 normal; in vec3 colour;
out vec3 n; out vec3 c; out vec3 p;
void main() { vec4 seen = view * vec4(place, 1.0); n = mat3(view) * normal; c = colour; p = seen.xyz; gl_Position = lens * seen; }`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec3 n; in vec3 c; in vec3 p; out vec4 seen;
void main() {
  vec3 m = normalize(n); if (dot(m, p) > 0.0) m = -m;
  float front = max(dot(m, normalize(-p)), 0.0), above = 0.5 + 0.5 * m.y;
  float shine = pow(max(dot(reflect(normalize(p), m), normalize(vec3(0.3, 0.5, 0.8))), 0.0), 14.0);
  seen = vec4(c * (0.22 + 0.60 * front + 0.22 * above) + 0.07 * shine, 1.0);
}`;

class Head {
  constructor(canvas, clip) {
    this.canvas = canvas;
    this.clip = clip;
    this.count = clip.vertices;
    this.mean = new Float32Array(bytes(clip.mean));
    this.directions = new Int16Array(bytes(clip.directions));
    this.course = new Float32Array(bytes(clip.course));
    this.pose = new Float32Array(bytes(clip.pose));
    this.faces = new Uint32Array(bytes(clip.faces));
    this.places = new Float32Array(3 * this.count);
    this.normals = new Float32Array(3 * this.count);
    this.turn = [0, 0];
    this.away = 1;
    this.shown = "";
    this.gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
    if (this.gl) this.prepare(new Uint8Array(bytes(clip.colours)));
    this.listen();
  }
  prepare(colours) {
    const gl = this.gl, program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program);
    this.uniforms = { view: gl.getUniformLocation(program, "view"), lens: gl.getUniformLocation(program, "lens") };
    this.buffers = {};
    for (const [name, width, kind] of [["place", 3, gl.FLOAT], ["normal", 3, gl.FLOAT], ["colour", 3, gl.UNSIGNED_BYTE]]) {
      this.buffers[name] = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
      if (name === "colour") gl.bufferData(gl.ARRAY_BUFFER, colours, gl.STATIC_DRAW);
      const where = gl.getAttribLocation(program, name);
      gl.enableVertexAttribArray(where);
      gl.vertexAttribPointer(where, width, kind, name === "colour", 0, 0);
    }
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, this.faces, gl.STATIC_DRAW);
    gl.enable(gl.DEPTH_TEST);
    gl.clearColor(0.14, 0.15, 0.17, 1);
  }
  listen() {
    const canvas = this.canvas;
    canvas.addEventListener("pointerdown", event => { canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointermove", event => {
      if (!event.buttons) return;
      this.turn[0] += event.movementX / 120;
      this.turn[1] = Math.min(1.4, Math.max(-1.4, this.turn[1] + event.movementY / 120));
    });
    canvas.addEventListener("wheel", event => {
      event.preventDefault();
      this.away = Math.min(3, Math.max(0.4, this.away * Math.exp(event.deltaY / 800)));
    }, { passive: false });
    canvas.addEventListener("dblclick", () => { this.turn = [0, 0]; this.away = 1; });
  }
  move(frame, posed) {
    const { places, mean, directions, course } = this, many = this.clip.modes, size = 3 * this.count;
    places.set(mean);
    for (let k = 0; k < many; k++) {
      const weight = course[frame * many + k], from = k * size;
      if (weight !== 0) for (let i = 0; i < size; i++) places[i] += weight * directions[from + i];
    }
    if (posed) {
      const m = this.pose.subarray(12 * frame, 12 * frame + 12);
      for (let i = 0; i < size; i += 3) {
        const x = places[i], y = places[i + 1], z = places[i + 2];
        for (let r = 0; r < 3; r++) places[i + r] = m[4 * r] * x + m[4 * r + 1] * y + m[4 * r + 2] * z + m[4 * r + 3];
      }
    }
    this.shade();
  }
  shade() {
    const { places: p, normals: n, faces: f } = this;
    n.fill(0);
    for (let i = 0; i < f.length; i += 3) {
      const a = 3 * f[i], b = 3 * f[i + 1], c = 3 * f[i + 2];
      const ux = p[b] - p[a], uy = p[b + 1] - p[a + 1], uz = p[b + 2] - p[a + 2];
      const vx = p[c] - p[a], vy = p[c + 1] - p[a + 1], vz = p[c + 2] - p[a + 2];
      const x = uy * vz - uz * vy, y = uz * vx - ux * vz, z = ux * vy - uy * vx;
      for (const at of [a, b, c]) { n[at] += x; n[at + 1] += y; n[at + 2] += z; }
    }
  }
  draw(frame, posed) {
    const gl = this.gl, canvas = this.canvas, side = Math.round(canvas.clientWidth * devicePixelRatio) || 1;
    const wanted = [frame, posed, this.turn, this.away, side].join();
    if (!gl || wanted === this.shown) return;
    this.shown = wanted;
    canvas.width = canvas.height = side;
    gl.viewport(0, 0, side, side);
    this.move(frame, posed);
    for (const [name, array] of [["place", this.places], ["normal", this.normals]]) {
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
      gl.bufferData(gl.ARRAY_BUFFER, array, gl.DYNAMIC_DRAW);
    }
    const [cy, sy, cx, sx] = [Math.cos(this.turn[0]), Math.sin(this.turn[0]), Math.cos(this.turn[1]), Math.sin(this.turn[1])];
    const [mx, my, mz] = this.clip.middle, far = this.away * this.clip.distance;
    const r = [[cy, 0, sy], [sx * sy, cx, -sx * cy], [-cx * sy, sx, cx * cy]];
    const t = r.map(row => -(row[0] * mx + row[1] * my + row[2] * mz));
    gl.uniformMatrix4fv(this.uniforms.view, false, [
      r[0][0], r[1][0], r[2][0], 0, r[0][1], r[1][1], r[2][1], 0, r[0][2], r[1][2], r[2][2], 0, t[0], t[1], t[2] - far, 1]);
    const near = 0.02, end = 10, focal = 2 * this.clip.distance / this.clip.across;
    gl.uniformMatrix4fv(this.uniforms.lens, false, [focal, 0, 0, 0, 0, focal, 0, 0,
      0, 0, (near + end) / (near - end), -1, 0, 0, 2 * near * end / (near - end), 0]);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.drawElements(gl.TRIANGLES, this.faces.length, gl.UNSIGNED_INT, 0);
  }
}

class Film {
  constructor(canvas, pictures) {
    this.canvas = canvas;
    this.shown = -1;
    this.images = pictures.map(picture => {
      const image = new Image();
      image.src = "data:image/jpeg;base64," + picture;
      return image;
    });
  }
  draw(frame) {
    const image = this.images[Math.min(frame, this.images.length - 1)];
    if (this.shown === frame || !image.complete) return;
    this.shown = frame;
    this.canvas.width = image.naturalWidth;
    this.canvas.height = image.naturalHeight;
    this.canvas.getContext("2d").drawImage(image, 0, 0);
  }
}

const COLOURS = ["#0b84f3", "#e4572e", "#2a9d4a", "#9b5de5", "#c98b00", "#00a6a6"];

class Curves {
  constructor(canvas, clip, seek) {
    this.canvas = canvas;
    this.clip = clip;
    this.names = clip.curves;
    this.values = this.names.map(name => new Float32Array(bytes(clip.values[name])));
    canvas.addEventListener("click", event => seek(event.offsetX / canvas.clientWidth * clip.frames));
  }
  draw(frame) {
    const canvas = this.canvas, width = Math.round(canvas.clientWidth * devicePixelRatio) || 1;
    const height = Math.round(130 * devicePixelRatio), wanted = [frame, width].join();
    if (wanted === this.shown) return;
    this.shown = wanted;
    canvas.width = width;
    canvas.height = height;
    const pen = canvas.getContext("2d"), frames = this.clip.frames, top = 18 * devicePixelRatio;
    const x = k => (k + 0.5) / frames * width;
    pen.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
    let legend = 0;
    this.values.forEach((values, k) => {
      const most = Math.max(this.clip.largest[this.names[k]], 1e-9);
      pen.strokeStyle = pen.fillStyle = COLOURS[k % COLOURS.length];
      pen.lineWidth = 1.5 * devicePixelRatio;
      pen.beginPath();
      values.forEach((value, i) => pen.lineTo(x(i), height - 2 - value / most * (height - top - 4)));
      pen.stroke();
      pen.fillText(this.names[k], legend, 12 * devicePixelRatio);
      legend += pen.measureText(this.names[k]).width + 12 * devicePixelRatio;
    });
    pen.strokeStyle = getComputedStyle(canvas).color;
    pen.lineWidth = devicePixelRatio;
    pen.beginPath();
    pen.moveTo(x(frame), top);
    pen.lineTo(x(frame), height);
    pen.stroke();
  }
}

class Weights {
  constructor(box, clip) {
    this.rows = Object.entries(clip.values).map(([name, values]) => {
      const row = box.appendChild(document.createElement("div"));
      row.append(document.createElement("span"), document.createElement("span"), document.createElement("i"));
      row.children[0].textContent = name;
      return [row, new Float32Array(bytes(values)), Math.max(clip.largest[name], 1e-9)];
    });
  }
  draw(frame) {
    if (this.shown === frame) return;
    this.shown = frame;
    for (const [row, values, most] of this.rows) {
      row.children[1].textContent = values[frame].toFixed(2);
      row.children[2].style.width = `${100 * Math.max(0, values[frame]) / most}%`;
    }
  }
}

const longest = clips.reduce((a, b) => (b.frames / b.fps > a.frames / a.fps ? b : a));
const sounding = clips.filter(clip => clip.sound);
const heard = sounding.length ? sounding.reduce((a, b) => (b.frames / b.fps > a.frames / a.fps ? b : a)) : longest;
const clock = new Clock(heard.sound, heard.frames / heard.fps);
const frames = Math.round(clock.seconds * longest.fps);
const seek = frame => { clock.pause(); clock.seek((Math.min(Math.max(0, Math.floor(frame)), frames - 1) + 0.5) / longest.fps); };

const panels = clips.map(clip => {
  const section = get("heads").appendChild(document.createElement("section"));
  section.appendChild(document.createElement("h2")).textContent = clip.title;
  const views = section.appendChild(document.createElement("div"));
  views.className = "views";
  const make = (kind, parent, label) => {
    const canvas = parent.appendChild(document.createElement("canvas"));
    canvas.className = kind;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", label);
    return canvas;
  };
  const parts = [];
  if (clip.pictures.length) parts.push(new Film(make("film", views, "Video"), clip.pictures));
  const head = new Head(make("head", views, "Head; drag to turn, wheel to come nearer, double click to go back"), clip);
  if (!head.gl) {
    const note = section.appendChild(document.createElement("p"));
    note.className = "soft";
    note.textContent = "This browser has no WebGL 2: the head can not be shown.";
  }
  parts.push(head);
  if (clip.curves.length) parts.push(new Curves(make("curves", section, "Curves over time; click to go there"), clip, seek));
  const box = section.appendChild(document.createElement("div"));
  box.className = "weights";
  parts.push(new Weights(box, clip));
  return { clip, parts, section };
});

const place = get("place");
place.max = frames - 1;
get("play").addEventListener("click", () => (clock.playing ? clock.pause() : clock.play()));
get("back").addEventListener("click", () => seek(Number(place.value) - 1));
get("on").addEventListener("click", () => seek(Number(place.value) + 1));
get("speed").addEventListener("change", event => clock.speed(Number(event.target.value)));
place.addEventListener("input", () => seek(Number(place.value)));
document.addEventListener("keydown", event => {
  if (event.target.matches("select, input")) return;
  if (event.key === " ") { event.preventDefault(); get("play").click(); }
  if (event.key === "ArrowLeft") get("back").click();
  if (event.key === "ArrowRight") get("on").click();
});

function show() {
  const time = clock.time;
  for (const { clip, parts, section } of panels) {
    const frame = Math.min(clip.frames - 1, Math.floor(time * clip.fps + 1e-3));
    for (const part of parts) part.draw(frame, get("posed").checked);
    section.dataset.frame = frame;
  }
  if (document.activeElement !== place || clock.playing) place.value = Math.floor(time * longest.fps + 1e-3);
  get("play").textContent = clock.playing ? "Pause" : "Play";
  get("time").textContent = `${time.toFixed(2)} s, frame ${Math.min(frames - 1, Math.floor(time * longest.fps + 1e-3))} of ${frames}`;
  requestAnimationFrame(show);
}
show();
