// Times in the reader's zone; what the server wrote stays as the title. Everything else works without script.
"use strict";
// Made once: a list has hundreds of times, and each of these takes longer to make than to use.
const formats = {
  today: new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit", second: "2-digit" }),
  earlier: new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }),
};
function showTimes(root) {
  const now = new Date().toDateString();
  for (const time of root.querySelectorAll("time[datetime]")) {
    const date = new Date(time.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    const today = date.toDateString() === now;
    time.title = time.textContent;
    time.textContent = today ? `Today, ${formats.today.format(date)}` : formats.earlier.format(date);
  }
}
showTimes(document);
for (const menu of document.querySelectorAll("details.menu")) {
  document.addEventListener("click", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}
for (const field of document.querySelectorAll(".copy > input")) {
  field.addEventListener("focus", () => field.select());
  if (field.autofocus) field.select();
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    field.select();
    // Without TLS there is no clipboard; what is selected is copied by hand then.
    await navigator.clipboard?.writeText(field.value).then(() => { button.textContent = "Copied"; }, () => {});
  });
  field.after(button);
}
for (const form of document.querySelectorAll("form[method=post]")) {
  // A second click sends nothing twice.
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "1";
  });
}
for (const day of document.querySelectorAll("fieldset input[type=date]")) {
  // Who types a last day means it, also where the day is not whole yet.
  const choose = () => { day.closest("fieldset").querySelector("input[type=radio][value=date]").checked = true; };
  day.addEventListener("input", choose);
  day.addEventListener("keydown", (event) => { if (/^\d$/.test(event.key)) choose(); });
}
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

// What happens while the activity is looked at waits behind a button, so that nothing moves by itself.
const news = document.getElementById("news");
if (news) {
  const known = { change: news.dataset.change, refusal: news.dataset.refusal };
  const button = news.querySelector("a");
  const list = document.querySelector("tbody");
  let waiting = [];
  let isMore = false;
  const ask = async () => {
    if (document.hidden) return true;
    const address = new URL(news.dataset.address, location.href);
    for (const name in known) address.searchParams.set(name, known[name]);
    const answer = await fetch(address, { redirect: "manual" });
    if (answer.status === 204 || answer.status >= 500) return true;
    // Whoever is signed out learns of it at the next click.
    if (answer.status !== 200) return false;
    const body = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("tbody");
    Object.assign(known, { change: body.dataset.change, refusal: body.dataset.refusal });
    isMore = "more" in body.dataset;
    waiting = [...body.rows, ...waiting];
    button.textContent = `${waiting.length}${isMore ? " and more" : ""} new ${waiting.length === 1 ? "entry" : "entries"}`;
    button.hidden = false;
    return !isMore;
  };
  const watch = async () => {
    let goesOn = true;
    try { goesOn = await ask(); } catch { /* The server is away; it is asked again. */ }
    if (goesOn) setTimeout(watch, 3000);
  };
  setTimeout(watch, 3000);
  button.addEventListener("click", (event) => {
    // Without a list, or with more than it would hold, the page is read again.
    if (!list || isMore || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    for (const row of waiting) { showTimes(row); row.classList.add("new"); }
    list.prepend(...waiting);
    waiting = [];
    button.hidden = true;
    document.getElementById("main").focus({ preventScroll: true });
  });
}
