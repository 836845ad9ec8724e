// Refreshes an open page after live events: fetches the page again and replaces its content.
"use strict";
(() => {
  const main = document.getElementById("main");
  const state = document.getElementById("live");
  if (!main || main.dataset.live !== "yes" || !window.EventSource) return;
  let fetching = false;
  let stale = false;
  const busy = () => {
    const at = document.activeElement;
    return at && at.closest && at.closest("form") && main.contains(at) && at.tagName !== "BUTTON";
  };
  const refresh = async () => {
    if (busy()) return;
    // An event during a fetch may not be on the fetched page, so fetch once more afterwards.
    stale = fetching;
    if (fetching) return;
    fetching = true;
    try {
      const response = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
      if (!response.ok) throw new Error(String(response.status));
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const open = [...main.querySelectorAll("details[open] > summary")].map((summary) => summary.textContent);
      const next = page.getElementById("main");
      main.replaceChildren(...next.childNodes);
      for (const summary of main.querySelectorAll("details > summary")) {
        if (open.includes(summary.textContent)) summary.parentElement.open = true;
      }
      state.textContent = "Up to date.";
    } catch {
      state.textContent = "This page may be out of date. Reload it.";
    } finally {
      fetching = false;
      if (stale) { stale = false; refresh(); }
    }
  };
  const events = new EventSource("/events");
  for (const kind of ["run_finished", "logs_evaluated", "target_changed", "delivered"]) events.addEventListener(kind, refresh);
  // Events between loading the page and opening the stream were missed.
  events.addEventListener("open", refresh);
  events.addEventListener("error", () => { state.textContent = "Connection lost: this page may be out of date."; });
})();
