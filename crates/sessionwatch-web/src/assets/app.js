// Keeps open pages up to date: when something happened, the page is asked for anew, and what it shows is put in place.
"use strict";
(() => {
  const main = document.getElementById("main");
  const state = document.getElementById("live");
  if (!main || main.dataset.live !== "yes" || !window.EventSource) return;
  let asked = false;
  let again = false;
  const busy = () => {
    const at = document.activeElement;
    return at && at.closest && at.closest("form") && main.contains(at) && at.tagName !== "BUTTON";
  };
  const renew = async () => {
    if (busy()) return;
    // What happens while the page is on its way may not be on it.
    again = asked;
    if (asked) return;
    asked = true;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const open = [...main.querySelectorAll("details[open] > summary")].map((summary) => summary.textContent);
      const next = page.getElementById("main");
      main.replaceChildren(...next.childNodes);
      for (const summary of main.querySelectorAll("details > summary")) {
        if (open.includes(summary.textContent)) summary.parentElement.open = true;
      }
      state.textContent = "Up to date.";
    } catch {
      state.textContent = "This page is not up to date: load it again.";
    } finally {
      asked = false;
      if (again) { again = false; renew(); }
    }
  };
  const events = new EventSource("/events");
  for (const kind of ["run_finished", "logs_evaluated", "target_changed", "delivered"]) events.addEventListener(kind, renew);
  // Between the page and this, something may have happened.
  events.addEventListener("open", renew);
  events.addEventListener("error", () => { state.textContent = "The connection was lost; what is shown may be old."; });
})();
