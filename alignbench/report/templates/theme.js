// Before the first paint: the theme that the reader chose for these pages, else the system's.
"use strict";
document.documentElement.classList.add("scripted");
const theme = (() => {
  const names = ["auto", "light", "dark"];
  let now = "auto";
  try { now = localStorage.getItem("alignbench-theme") ?? "auto"; } catch { /* not allowed here */ }
  const set = (name) => {
    now = names.includes(name) ? name : "auto";
    if (now === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = now;
    try { localStorage.setItem("alignbench-theme", now); } catch { /* lasts until the page closes */ }
  };
  set(now);
  return { next: () => set(names[(names.indexOf(now) + 1) % names.length]), now: () => now };
})();
