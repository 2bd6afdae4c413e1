// Times in the reader's zone; what the server wrote stays as the title. Everything else works without script.
"use strict";
for (const time of document.querySelectorAll("time[datetime]")) {
  const date = new Date(time.dateTime);
  if (Number.isNaN(date.getTime())) continue;
  const today = date.toDateString() === new Date().toDateString();
  const style = today ? { hour: "2-digit", minute: "2-digit", second: "2-digit" } : { dateStyle: "medium", timeStyle: "short" };
  time.title = date.toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" });
  time.textContent = (today ? "Today, " : "") + new Intl.DateTimeFormat(undefined, style).format(date);
}
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
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});
