// The list updates itself and a chosen photo is previewed; without this script everything still works.
"use strict";

const list = document.getElementById("alerts");
if (list && "EventSource" in window) {
  const live = document.getElementById("live");
  const refresh = async () => {
    const answer = await fetch(list.dataset.partial, { credentials: "same-origin" });
    if (answer.redirected || answer.status === 401) {
      location.assign("/login");
    } else if (answer.ok) {
      list.innerHTML = await answer.text();
    }
  };
  const stream = new EventSource("/api/v1/stream");
  stream.onopen = () => { live.hidden = false; refresh(); };
  stream.onerror = () => { live.hidden = true; };
  stream.addEventListener("alert", refresh);
  addEventListener("pagehide", () => stream.close());
}

const photo = document.getElementById("photo");
if (photo) {
  photo.addEventListener("change", () => {
    const preview = document.getElementById("preview");
    preview.hidden = photo.files.length === 0;
    if (preview.hidden) return;
    preview.src = URL.createObjectURL(photo.files[0]);
    // a phone says when it made the file; in the site's time, as the form takes it
    const time = document.getElementById("taken_at");
    const parts = new Intl.DateTimeFormat("sv-SE", { timeZone: time.dataset.zone, dateStyle: "short", timeStyle: "short" });
    time.value = parts.format(new Date(photo.files[0].lastModified)).replace(" ", "T");
  });
}

const menu = document.getElementById("menu");
if (menu) {  // closes like any menu: at a press elsewhere, or by Escape
  addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}
