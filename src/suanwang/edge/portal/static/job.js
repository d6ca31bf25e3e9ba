/* The log pane: follows a task's output as it comes; text only, whatever a program prints. */
"use strict";

(() => {
  const pane = document.querySelector("[data-log]");
  if (!pane) return;
  const section = document.getElementById("logs");
  const pick = (name) => section.querySelector(`[data-log-${name}]`);
  const [task, attempt, stream, pause, download] = ["task", "attempt", "stream", "pause", "download"].map(pick);
  const LIMIT = 400000, WAIT_S = 25;
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

  function address(more) {
    const query = new URLSearchParams({ stream: stream.value, ...more });
    if (task) query.set("task", task.value || "0");
    return `/v1/jobs/${encodeURIComponent(section.dataset.job)}/logs?${query}`;
  }

  const wait = (ms) => new Promise((done) => setTimeout(done, ms));

  /* Reads on from the byte where it was, whatever breaks in between: nothing is lost, no line comes twice. */
  async function read() {
    reading?.abort();
    const mine = (reading = new AbortController());
    const chosen = attempt.value;
    pane.textContent = ""; held = ""; cut = false; delete pane.dataset.told;
    download.href = address({ follow: "true", ...(chosen && { attempt: chosen }) });
    let at = chosen, offset = 0, pause = 1000, decoder = new TextDecoder();
    while (reading === mine) {
      try {
        const more = { offset, wait: WAIT_S, ...(at && { attempt: at }) };
        const answer = await fetch(address(more), { signal: mine.signal, credentials: "same-origin" });
        if ([401, 403, 404].includes(answer.status)) return;
        if (!answer.ok) throw new Error(answer.status);
        const bytes = await answer.arrayBuffer();
        if (reading !== mine) return;
        write(decoder.decode(bytes, { stream: true }));
        at = answer.headers.get("Attempt"); offset = Number(answer.headers.get("Next-Offset")); pause = 1000;
        const state = answer.headers.get("Output");
        if (state === "final" || (state === "over" && chosen)) return;
        if (state === "over") { at = Number(at) + 1; offset = 0; decoder = new TextDecoder(); }
      } catch (error) {
        if (error.name === "AbortError") return;
        await wait(pause);
        pause = Math.min(pause * 2, 15000);
      }
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
