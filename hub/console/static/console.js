// Small comforts; every page works without them. No text from outside is ever used as markup.
"use strict";

const minute = 60, hour = 3600, day = 86400;

function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < minute) return `${s} s`;
  if (s < hour) return `${Math.floor(s / minute)} min ${s % minute} s`;
  if (s < day) return `${Math.floor(s / hour)} h ${Math.floor((s % hour) / minute)} min`;
  return `${Math.floor(s / day)} d ${Math.floor((s % day) / hour)} h`;
}

function coarse(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 10) return "now";
  if (s < minute) return `${s - (s % 5)} s ago`;
  if (s < hour) return `${Math.floor(s / minute)} min ago`;
  if (s < day) return `${Math.floor(s / hour)} h ago`;
  return `${Math.floor(s / day)} d ago`;
}

function write(element, text) {
  if (element.dataset.shown === text) return;
  element.dataset.shown = text;
  element.querySelector(".rel")?.remove();
  const relative = document.createElement("span");
  relative.className = "rel";
  relative.textContent = text;
  element.append(" ", relative);
}

function clocks() {
  const now = Date.now();
  for (const element of document.querySelectorAll("time[data-ago]")) {
    write(element, coarse((now - Date.parse(element.dateTime)) / 1000));
  }
  for (const element of document.querySelectorAll("time[data-until]")) {
    const left = (Date.parse(element.dateTime) - now) / 1000;
    write(element, left > 0 ? `${span(left)} left` : "over");
    element.classList.toggle("soon", left < 5 * minute);
  }
}

// "/" goes to the search, j and k walk through the list; never while something is being typed.
function keys(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.closest("input, textarea, select, [contenteditable]")) return;
  if (event.key === "/") {
    const search = document.querySelector("[data-slash]");
    if (search) { event.preventDefault(); search.focus(); search.select(); }
  } else if (event.key === "j" || event.key === "k") {
    const items = [...document.querySelectorAll("[data-item]")];
    const at = items.indexOf(document.activeElement);
    const next = items[at < 0 ? 0 : at + (event.key === "j" ? 1 : -1)];
    if (next) { event.preventDefault(); next.focus(); }
  }
}

async function copy(event) {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = document.getElementById(button.dataset.copy).textContent;
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
    button.textContent = "Selected: press Ctrl+C";
  }
  setTimeout(() => { button.textContent = before; }, 2000);
}

function lost(yes) {
  const banner = document.getElementById("lost");
  if (!banner || banner.hidden === !yes) return;
  document.getElementById("lost-since").textContent = new Date().toISOString().slice(11, 19) + "Z";
  banner.hidden = !yes;
}

// One answer is sent once, however often the button is pressed.
function once(event) {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) { event.preventDefault(); return; }
  form.dataset.sent = "yes";
}

// A tab in the background says how many incidents wait for a person.
function title() {
  const needs = Number(document.querySelector("[data-needs]")?.dataset.needs ?? 0);
  document.title = (needs ? `(${needs}) ` : "") + document.title.replace(/^\(\d+\) /, "");
}

function settle() { clocks(); title(); }

document.addEventListener("keydown", keys);
document.addEventListener("click", copy);
document.addEventListener("submit", once);
document.addEventListener("htmx:afterSettle", settle);
document.addEventListener("htmx:oobAfterSwap", settle);
document.addEventListener("htmx:sendError", () => lost(true));
document.addEventListener("htmx:timeout", () => lost(true));
document.addEventListener("htmx:responseError", () => lost(true));
document.addEventListener("htmx:beforeOnLoad", (event) => {
  if (event.detail.xhr.status < 400) lost(false);
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});
setInterval(clocks, 1000);
settle();
