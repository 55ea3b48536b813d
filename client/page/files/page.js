// Answers a form without reloading the page. Everything works without this, too.
"use strict";

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.hasAttribute("data-live")) return;
  event.preventDefault();
  const fields = new URLSearchParams(new FormData(form, event.submitter));
  const open = [...document.querySelectorAll("main details")].map((each) => each.open);
  const buttons = form.querySelectorAll("button");
  buttons.forEach((each) => { each.disabled = true; });
  try {
    const answer = await fetch(form.getAttribute("action"), { method: "POST", body: fields });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("main");
    if (!fresh) throw new Error("no page");
    document.getElementById("main").replaceWith(fresh);
    if (form.getAttribute("action") === "pause") {
      document.querySelectorAll("main details").forEach((each, place) => { each.open = open[place]; });
      document.querySelector(".switch").focus();
    } else {
      announce();
    }
  } catch {
    buttons.forEach((each) => { each.disabled = false; });
    form.removeAttribute("data-live");  // as if there were no script
    form.requestSubmit(event.submitter);
  }
});

// What a live region held when it was put in is not read out: put it in once more.
function announce() {
  const banner = document.getElementById("banner");
  if (!banner) return;
  const said = [...banner.childNodes];
  banner.replaceChildren();
  requestAnimationFrame(() => {
    banner.replaceChildren(...said);
    banner.focus();
    banner.scrollIntoView({ block: "nearest" });
  });
}
