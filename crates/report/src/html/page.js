"use strict";
// Puts each fragment in the place of the one before. All that it says is made by the program; nothing is decided here.
(() => {
  const main = document.getElementById("main");
  const link = document.getElementById("link");
  const spoken = document.getElementById("spoken");
  const read = document.getElementById("read");
  let since = null;

  function say(text, lost) {
    link.classList.toggle("lost", lost);
    if (link.textContent !== text) link.textContent = text;
  }

  // What hasn't changed stays the same node: it keeps the focus, what is selected in it, and where it is scrolled to.
  function morph(old, fresh) {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || (old.id || "") !== (fresh.id || "")) {
      old.replaceWith(fresh);
      return;
    }
    if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const name of old.getAttributeNames()) {
      // What the reader has unfolded stays so.
      if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    }
    children(old, fresh);
  }

  function children(old, fresh) {
    let place = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      if (child.id) {
        const same = [...old.children].find((candidate) => candidate.id === child.id);
        if (same && same !== place) old.insertBefore(same, place);
        if (same) place = same;
      }
      if (!place || (place.id || "") !== (child.id || "")) {
        old.insertBefore(child, place);
        continue;
      }
      const next = place.nextSibling;
      morph(place, child);
      place = next;
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
  }

  const source = new EventSource(main.dataset.events);
  source.addEventListener("fragment", (event) => {
    const { title, html, spoken: words, at, atText } = JSON.parse(event.data);
    // Absent where it is as it was.
    if (html !== undefined) {
      const fresh = document.createElement("main");
      fresh.innerHTML = html;
      children(main, fresh);
      document.title = title;
    }
    read.dateTime = at;
    read.textContent = atText;
    if (spoken.textContent !== words) spoken.textContent = words;
    since = null;
    say("Up to date", false);
  });
  source.addEventListener("lost", (event) => {
    since = null;
    say(JSON.parse(event.data).text, true);
  });
  source.addEventListener("error", () => {
    since = since || new Date();
    const at = since.toISOString().slice(11, 19) + " UTC";
    say(
      source.readyState === EventSource.CLOSED
        ? `The program that serves this page has refused it since ${at}, or was started again. Open the address that it prints. What stands below is what was read last.`
        : `The program that serves this page has not answered since ${at}: it has ended, or this machine slept. What stands below is what was read last. It is tried again.`,
      true,
    );
  });
})();
