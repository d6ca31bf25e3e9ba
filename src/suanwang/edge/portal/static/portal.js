/* What every page needs: keys, dialogs, copying, live refresh. No inline script anywhere. */
"use strict";

const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

function toast(text) {
  const box = $("#toast");
  if (!box) return;
  box.textContent = text;
  box.hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => { box.hidden = true; }, 4000);
}

/* --- htmx: the session's CSRF token goes with every call; failures are told --- */
document.addEventListener("htmx:configRequest", (event) => {
  const token = $('meta[name="csrf-token"]');
  if (token && token.content) event.detail.headers["X-CSRF-Token"] = token.content;
});
document.addEventListener("htmx:responseError", (event) => {
  const reason = event.detail.xhr.getResponseHeader("X-Reason") || "";
  toast(`${$("#toast")?.dataset.failed || ""} ${reason}`);
});

/* --- what the reader opened or focused stays so when a live part is renewed --- */
let kept = { open: {}, focus: "" };
document.addEventListener("htmx:beforeSwap", (event) => {
  const target = event.detail.target;
  kept = { open: {}, focus: target.contains(document.activeElement) ? document.activeElement.id : "" };
  $$("details[id]", target).forEach((one) => { kept.open[one.id] = one.open; });
});
document.addEventListener("htmx:afterSwap", (event) => {
  $$("details[id]", event.detail.target).forEach((one) => {
    if (one.id in kept.open) one.open = kept.open[one.id];
  });
  makeRows(event.detail.target);
  if (kept.focus) document.getElementById(kept.focus)?.focus({ preventScroll: true });
});

/* --- live parts: server-sent events say "look again"; polling where they do not arrive --- */
function follow(part) {
  let stream = null, poll = null, pending = null, over = part.dataset.over === "true";
  const refresh = () => {
    if (pending) return;
    pending = setTimeout(() => { pending = null; htmx.trigger(part, "refresh"); }, 150);
  };
  const pollInstead = () => { poll = poll || setInterval(refresh, 5000); };
  const stop = () => { stream?.close(); stream = null; clearInterval(poll); poll = null; };
  const start = () => {
    if (over || stream) return;
    stream = new EventSource(part.dataset.live);
    stream.addEventListener(part.dataset.event || "changed", (event) => {
      clearInterval(poll); poll = null;
      if (part.dataset.event === "job") {
        const job = JSON.parse(event.data);
        over = Boolean(job.ended_at);
        document.dispatchEvent(new CustomEvent("job", { detail: job }));
        if (over) { stop(); setTimeout(refresh, 1500); $$('[data-dialog="cancel"]').forEach((b) => { b.disabled = true; }); }
      }
      refresh();
    });
    stream.onerror = () => { if (!over) pollInstead(); };
  };
  document.addEventListener("visibilitychange", () => { if (document.hidden) stop(); else if (!over) { start(); refresh(); } });
  window.addEventListener("pagehide", stop);
  start();
}

/* --- tables: rows take the focus, Enter opens --- */
function makeRows(within) {
  $$("table[data-rows] tbody tr", within).forEach((row) => { if (row.dataset.href) row.tabIndex = -1; });
}
function rows() { return $$("table[data-rows] tbody tr[data-href]").filter((row) => row.offsetParent); }
function move(step) {
  const all = rows();
  if (!all.length) return;
  const at = all.findIndex((row) => row.contains(document.activeElement));
  const to = all[Math.max(0, Math.min(all.length - 1, at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step))];
  to.focus();
  to.scrollIntoView({ block: "nearest" });
}
document.addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-href]");
  if (row && !event.target.closest("a,button,input,select,label,form,details") && !String(getSelection())) location.href = row.dataset.href;
});

/* --- keys --- */
let went = 0;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input,textarea,select,[contenteditable]");
  if (event.key === "Escape" && typing) { event.target.blur(); return; }
  if (event.key === "Escape") $$("details.menu[open]").forEach((menu) => { menu.open = false; $("summary", menu).focus(); });
  if (typing || $("dialog[open]")) return;
  if (performance.now() - went < 1200 && went) {
    went = 0;
    const link = $(`.side a[data-key="${CSS.escape(event.key)}"]`);
    if (link) { event.preventDefault(); location.href = link.href; }
    return;
  }
  const row = document.activeElement.closest?.("tr[data-href]");
  switch (event.key) {
    case "/": event.preventDefault(); $("#search")?.focus(); break;
    case "?": event.preventDefault(); $("#help")?.showModal(); break;
    case "g": went = performance.now(); break;
    case "j": move(1); break;
    case "k": move(-1); break;
    case "Enter": if (row && document.activeElement === row) location.href = row.dataset.href; break;
  }
});

/* --- how long until an instant by the platform's clock; when it has come, the page is looked at again, once --- */
const skew = Number($("meta[name=now]").content) - Date.now();

function countDown(part) {
  const until = Number(part.dataset.until);
  const two = (number) => String(number).padStart(2, "0");
  let counted = false;
  const tick = () => {
    const left = Math.ceil((until - Date.now() - skew) / 1000);
    if (left > 0) {
      counted = true;
      part.textContent = [left / 3600, (left / 60) % 60, left % 60].map((one) => two(Math.floor(one))).join(":");
      setTimeout(tick, 1000);
      return;
    }
    part.textContent = part.dataset.overText;
    if (counted) setTimeout(() => { if (!$("dialog[open]")) location.reload(); }, 7000);
  };
  tick();
}

/* --- small things --- */
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.set) document.getElementById(button.dataset.set).value = button.dataset.value;
  if (button.dataset.dialog) document.getElementById(button.dataset.dialog)?.showModal();
  if ("close" in button.dataset) button.closest("dialog")?.close();
  if ("print" in button.dataset) window.print();
  if ("help" in button.dataset) $("#help")?.showModal();
  if ("copy" in button.dataset) {
    const text = $("code", button.parentElement).textContent;
    try { await navigator.clipboard.writeText(text); } catch {
      const area = document.createElement("textarea");
      area.value = text; document.body.append(area); area.select(); document.execCommand("copy"); area.remove();
    }
    toast(button.dataset.copied);
  }
});
document.addEventListener("click", (event) => {
  $$("details.menu[open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
});
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-filter]");
  if (form && event.target.matches("select,input[type=month],input[type=checkbox]")) form.requestSubmit();
});

document.addEventListener("DOMContentLoaded", () => {
  makeRows(document);
  $(".side a[aria-current]")?.scrollIntoView({ block: "nearest" });
  $$("[data-live]").forEach(follow);
  $$("[data-until]").forEach(countDown);
  $$("dialog[data-open]").forEach((dialog) => dialog.showModal());
  $$("form[data-action]").forEach((form) => {
    const chosen = form.elements.namedItem(form.dataset.target);
    const aim = () => { form.action = form.dataset.action.replace("*", encodeURIComponent(chosen.value)); };
    chosen.addEventListener("change", aim);
    aim();
  });
});
