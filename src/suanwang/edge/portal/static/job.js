/* The log pane: follows a task's output as it comes; text only, whatever a program prints. */
"use strict";

(() => {
  const pane = document.querySelector("[data-log]");
  if (!pane) return;
  const section = document.getElementById("logs");
  const pick = (name) => section.querySelector(`[data-log-${name}]`);
  const [task, attempt, stream, pause, download] = ["task", "attempt", "stream", "pause", "download"].map(pick);
  const LIMIT = 400000;
  const ESCAPES = /\u001b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\))/g;
  let paused = false, held = "", reading = null, cut = false;

  const atEnd = () => pane.scrollHeight - pane.scrollTop - pane.clientHeight < 30;

  function write(text) {
    if (!text) return;
    if (paused) { held = (held + text).slice(-LIMIT); return; }
    const follow = atEnd();
    pane.append(document.createTextNode(text.replace(ESCAPES, "")));
    let size = pane.textContent.length;
    while (size > LIMIT && pane.childNodes.length > 1) {
      size -= pane.firstChild.textContent.length;
      pane.firstChild.remove();
      cut = true;
    }
    if (cut && !pane.dataset.told) {
      pane.dataset.told = "1";
      pane.prepend(document.createTextNode(`${pane.dataset.cut}\n`));
    }
    if (follow) pane.scrollTop = pane.scrollHeight;
  }

  function address(follow) {
    const query = new URLSearchParams({ stream: stream.value });
    if (task) query.set("task", task.value || "0");
    if (attempt.value) query.set("attempt", attempt.value);
    if (follow) query.set("follow", "true");
    return `/v1/jobs/${encodeURIComponent(section.dataset.job)}/logs?${query}`;
  }

  async function read() {
    reading?.abort();
    const mine = (reading = new AbortController());
    pane.textContent = ""; held = ""; cut = false; delete pane.dataset.told;
    download.href = address(true);
    try {
      const answer = await fetch(address(true), { signal: mine.signal, credentials: "same-origin" });
      if (!answer.ok) return;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        write(value);
      }
    } catch (error) {
      if (error.name !== "AbortError") setTimeout(() => { if (reading === mine) read(); }, 3000);
    }
  }

  [task, attempt, stream].forEach((control) => control?.addEventListener("change", read));
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? pause.dataset.on : pause.dataset.off;
    if (!paused) { const text = held; held = ""; write(text); pane.scrollTop = pane.scrollHeight; }
  });
  window.addEventListener("pagehide", () => reading?.abort());
  read();
})();
