// The page of fernchat. The program at the other end of the WebSocket says what to show; src/window/pages.rs has the table of messages.
// What others said is only ever set as text, so nothing of it becomes a part of this page.
"use strict";

const $ = (id) => document.getElementById(id);
const MAX_SHOWN = 2000;     // lines that stay on the page
const MAX_LENGTH = 4 << 20; // and characters in them
const MAX_KEY = 1024;       // bytes in a key file
let socket, room = null, isConnected = false;
let day = "", nUnread = 0, shownLength = 0, isAtEnd = true;
let admin = "", here = [], waiting = [];      // who is here, and who asks to join
let due, dueAt = Infinity;  // when the next list is asked for

// ---- the connection to the program ----

function connect() {
  socket = new WebSocket(`ws://${location.host}${location.pathname}socket`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => { $("gone").hidden = true; isConnected = true; };
  socket.onmessage = (event) => {
    const [kind, ...fields] = event.data.split("\n");
    if (Object.hasOwn(shows, kind)) shows[kind](...fields);
  };
  socket.onclose = () => {
    $("gone").hidden = false;
    // One more try, and then no other: what listens there later may be another program.
    if (isConnected) setTimeout(connect, 1000);
    isConnected = false;
  };
}

function tell(kind, ...fields) {
  if (socket.readyState !== WebSocket.OPEN) return false;
  socket.send([kind, ...fields].join("\n"));
  return true;
}

// ---- what the program says ----

const shows = {
  reset() {
    room = null;
    day = "";
    shownLength = 0;
    for (const id of ["log", "people", "requests", "transfers"]) $(id).replaceChildren();
    admin = "";
    here = waiting = [];
    $("asking").hidden = $("moving").hidden = true;
    $("state").className = $("state").textContent = "";
    place();
  },
  form(...values) {
    for (const [field, value] of values.map(cut)) {
      const [form, name] = field.split(".");
      const input = document.querySelector(`#${form} [name="${name}"]`);
      if (input && !input.value) input.value = value;
      if (value && ["secret", "roomkey"].includes(name)) document.querySelector("#chat details").open = true;
    }
    [itsServer, rememberedSecret] = ["server", "secret"].map((name) => $("chat").elements[name].value);
    const tab = values.find((value) => value.startsWith("tab="));
    if (tab) choose($(`tab-${cut(tab)[1]}`));
    free($("chat"));
    free($("relay"));
    $("joining").hidden = true;
    place();
    tell("find");
  },
  unfound: (why) => { $("n-found").textContent = `Servers on this network cannot be found: ${why}.`; },
  // A server's line: what it is, where it is, and the name that it says.
  found(...lines) {
    $("found").hidden = false;
    $("n-found").textContent = lines.length ? "Found on this network:" : "No server was found on this network.";
    fill($("servers"), lines, (line) => {
      const [, kind, host, port, name] = /^(.*?) {2,}(\S+) (\d+) +(.*)$/.exec(line);
      const item = button(`${kind} `, () => {
        const form = kind === "relay" ? "relay" : "chat";
        choose($(`tab-${form}`));
        $(form).elements.server.value = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
        fitSecret();
        $(form).elements.name.focus();
      });
      item.append(make("bdi", "", name), ` at ${host} ${port}`);
      return [item];
    });
  },
  error(field, text) {
    const form = document.querySelector("#start form:not([hidden])");
    const chosen = form.querySelector(`[data-field="${field}"]`);
    const input = chosen?.files.length ? chosen : form.querySelector(`[name="${field}"]`) ?? form.querySelector("input");
    free(form);
    for (let box = input.parentElement; box !== form; box = box.parentElement) if (box.tagName === "DETAILS") box.open = true;
    const error = make("p", "error", text);
    error.id = `${form.id}-error`;
    error.setAttribute("role", "alert");
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-describedby", error.id);
    input.after(error);
    input.focus();
  },
  made(path) {
    free($("relay"));
    $("made").textContent = `The key is in ${path}. Hand it over by other means than the network.`;
  },
  room(name, me, ...commands) {
    const isRelay = !commands.includes("/online");
    room = { name: isRelay ? `Private room at ${name}` : name, me, commands };
    $("title").textContent = room.name;
    // What was chosen has been used.
    for (const input of document.querySelectorAll("#start [type=file]")) input.value = "";
    $("attach").hidden = !commands.includes("/file");
    place();
    if (!commands.includes("/online")) shows.online("", me);
    $("text").focus();
  },
  state(stage, seconds) {
    const words = {
      connecting: "Connecting", waiting: "Waiting for the admin to approve you", connected: "Connected",
      lost: "Connection lost, trying again", ended: "The conversation is over",
    };
    $("state").className = stage;
    $("joining").hidden = stage !== "connecting";
    $("joining").scrollIntoView({ block: "nearest" });
    askSoon(0);
    $("state").textContent = words[stage] + (seconds > 0 ? ` in ${seconds} s` : "");
  },
  online(known, ...names) {
    admin = known;
    here = names;
    if (admin === room?.me) setTimeout(tell, 0, "ask", "/requests");
    fill($("people"), names, (name) => {
      const item = button("", () => openMenu(item, name));
      item.append(make("bdi", "", name));
      if (name === admin) item.append(" (admin)");
      if (name === room?.me) item.append(" (you)");
      item.disabled = name === room?.me || !actions(name).length;
      item.setAttribute("aria-haspopup", "menu");
      return [item];
    });
    shows.requests(admin, ...waiting.filter((name) => !names.includes(name)));
  },
  requested: (name) => shows.requests(admin, ...waiting.filter((other) => other !== name), name),
  requests(_, ...names) {
    waiting = names;
    const can = room?.commands.includes("/approve") && ["", room.me].includes(admin);
    $("asking").hidden = !names.length;
    fill($("requests"), names, (name) => {
      const row = make("div", "row", "");
      row.append(make("bdi", "", name));
      const answer = (command) => () => {
        tell("say", `${command} ${name}`);
        shows.requests(admin, ...waiting.filter((other) => other !== name));
      };
      if (can) row.append(button("Approve", answer("/approve"), name, "main"), button("Deny", answer("/deny"), name));
      return [row];
    });
  },
  line(at, name, mark, how, text) {
    const item = entry(at, how);
    const box = make("span", "", "");
    if (how === "private") box.append(make("span", "mark", "to you"));
    if (mark) box.append(make("span", "mark", mark));
    box.append(make("bdi", "name", name));
    const said = make("span", "text", text);
    said.dir = "auto";
    box.append(said);
    item.append(box);
    add(item);
    if (!here.includes(name)) heard(name);
    if (document.hidden && !/own|earlier/.test(how)) {
      if (!nUnread) markUnread(item);
      count();
      if (/loud|private/.test(how)) notify(name, text);
    }
  },
  notice(at, mark, text, ...parts) {
    const item = entry(at, "notice");
    const box = make("div", "", "");
    if (mark) box.append(make("span", "mark", mark));
    box.append(make("span", "text", text));
    if (parts.length) {
      const row = make("div", "row", "");
      row.append(...parts);
      box.append(row);
      if (document.hidden) count();
    }
    item.append(box);
    add(item);
    askSoon();
  },
  offer(at, name, text) {
    const answer = (command) => (event) => {
      tell("say", `${command} ${name}`);
      event.target.parentElement.remove();
      $("text").focus();
    };
    shows.notice(at, "", text, button("Accept", answer("/accept"), name, "main"), button("Decline", answer("/decline"), name));
  },
  file(at, number, name, mark, text) {
    const save = make("a", "", "Save as");
    save.href = `file/${Number(number)}`;
    save.download = name;
    save.setAttribute("aria-label", `Save ${name} as`);
    shows.notice(at, mark, text, button("Open folder", () => tell("open", number)), save);
  },
  transfer(title, done, all, text) {
    let item = [...$("transfers").children].find((item) => item.dataset.name === title);
    if (!item) {
      item = make("li", "", "");
      item.dataset.name = title;
      item.append(make("span", "", ""), make("progress", "", ""), button("Stop", () => tell("stop"), title));
      $("transfers").append(item);
    }
    item.children[0].textContent = text;
    item.children[1].max = Number(all);
    item.children[1].value = Number(done);
    clearTimeout(item.timer);
    // What makes no progress any more is over: the program says how, as a line.
    item.timer = setTimeout(() => { item.remove(); $("moving").hidden = !$("transfers").children.length; }, done === all ? 500 : 5000);
    $("moving").hidden = false;
  },
};

function place() {
  $("room").hidden = room === null;
  $("start").hidden = room !== null;
  count(0);
}

// ---- lines ----

function make(tag, kind, text) {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  element.textContent = text;
  return element;
}

// A button that says what it is for to those who do not see what it stands beside.
function button(word, act, name = "", kind = "") {
  const element = make("button", kind, word);
  if (name) element.setAttribute("aria-label", `${word} ${name}`);
  element.onclick = act;
  return element;
}

// A line's place: its time, and before it the date if that is another than the last line's.
function entry(at, how) {
  const time = new Date(at * 1000);
  const words = time.toLocaleDateString(undefined, { weekday: "long", year: "numeric", month: "long", day: "numeric" });
  if (words !== day) {
    day = words;
    add(make("li", "day", words));
  }
  const item = make("li", how, "");
  item.append(make("time", "", time.toTimeString().slice(0, 5)));
  return item;
}

function add(item) {
  $("log").append(item);
  shownLength += item.textContent.length;
  while ($("log").children.length > MAX_SHOWN || shownLength > MAX_LENGTH) {
    shownLength -= $("log").firstElementChild.textContent.length;
    $("log").firstElementChild.remove();
  }
  if (isAtEnd || item.classList.contains("own")) toEnd();
  else $("down").hidden = false;
}

// The first line that came while the page was hidden stands below a mark.
function markUnread(item) {
  $("log").querySelector(".unread")?.classList.remove("unread");
  item.classList.add("unread");
}

function toEnd() {
  $("log").scrollTop = $("log").scrollHeight;
}

const cut = (text) => [text.slice(0, text.indexOf("=")), text.slice(text.indexOf("=") + 1)];

function count(n = nUnread + 1) {
  nUnread = n;
  const name = room ? `${room.name} – fernchat` : "fernchat";
  document.title = n ? `(${n}) ${name}` : name;
}

function notify(name, text) {
  if (window.Notification?.permission !== "granted") return;
  const notification = new Notification(name, { body: text.slice(0, 200), tag: "fernchat" });
  notification.onclick = () => { window.focus(); notification.close(); };
}

// Fills a list, and keeps the focus where it was. What stays the same is not touched: somebody may be about to click it.
function fill(list, names, content) {
  const focused = list.contains(document.activeElement) ? document.activeElement.closest("li").dataset.name : null;
  const items = names.map((name) => {
    const item = document.createElement("li");
    item.dataset.name = name;
    item.append(...content(name));
    return item;
  });
  if (items.length === list.children.length && items.every((item, at) => item.isEqualNode(list.children[at]))) return;
  list.replaceChildren(...items);
  if (focused !== null) ([...list.children].find((item) => item.dataset.name === focused) ?? list.firstElementChild)?.querySelector("button")?.focus();
}

// Somebody speaks who is not in the list. At a relay nobody else knows who is there.
function heard(name) {
  if (room?.commands.includes("/online")) askSoon();
  else shows.online("", ...here, name);
}

// What happened may have changed who is here. Nobody says who leaves, so the page also asks now and then. What happens next puts nothing off.
function askSoon(after = 1000) {
  if (Date.now() + after >= dueAt) return;
  dueAt = Date.now() + after;
  clearTimeout(due);
  due = setTimeout(() => {
    dueAt = Infinity;
    if (room?.commands.includes("/online") && !document.hidden) tell("ask", "/online");
    askSoon(20000);
  }, after);
}

// ---- the menu of a member ----

function actions(name) {
  const has = (command) => room?.commands.includes(command);
  const isAdmin = admin === room?.me;
  return [
    has("/msg") && ["Message privately", () => begin(`/msg ${name} `)],
    // A client that can decline files can also send one to one person.
    has("/accept") && ["Send a file", () => pick(name)],
    has("/whois") && ["Who is this?", () => tell("say", `/whois ${name}`)],
    isAdmin && has("/transfer") && ["Hand the admin's role over", () => ask(`Make ${name} the admin in your place?`, `/transfer ${name}`)],
    isAdmin && has("/kick") && ["Put out", () => ask(`Put ${name} out of the group?`, `/kick ${name}`)],
  ].filter(Boolean);
}

function openMenu(opener, name) {
  const menu = $("menu");
  menu.setAttribute("aria-label", name);
  menu.replaceChildren(...actions(name).map(([words, act]) => {
    const item = button(words, () => { menu.hidePopover(); act(); });
    item.setAttribute("role", "menuitem");
    return item;
  }));
  menu.showPopover();
  const at = opener.getBoundingClientRect();
  menu.style.top = `${Math.min(at.bottom, innerHeight - menu.offsetHeight - 8)}px`;
  menu.style.left = `${Math.max(8, Math.min(at.left, innerWidth - menu.offsetWidth - 8))}px`;
  menu.onkeydown = (event) => { if (event.key === "Escape" || event.key === "Tab") { menu.hidePopover(); opener.focus(); } };
  menu.firstElementChild.focus();
}

function ask(question, command) {
  const dialog = $("sure");
  $("question").textContent = question;
  dialog.returnValue = "no";
  dialog.onclose = () => { if (dialog.returnValue === "yes") tell("say", command); };
  dialog.showModal();
}

function begin(text) {
  $("side").classList.remove("open");
  $("text").value = text;
  $("text").focus();
}

// Arrow keys go through lists, tabs and menus.
document.addEventListener("keydown", (event) => {
  const list = event.target.closest?.("ul, #menu, [role=tablist]");
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  if (list && (step || event.key === "Home" || event.key === "End")) {
    const items = [...list.querySelectorAll("button:not(:disabled)")];
    const at = step ? (items.indexOf(event.target) + step + items.length) % items.length : event.key === "Home" ? 0 : items.length - 1;
    items[at]?.focus();
    if (list.role === "tablist") choose(items[at]);
    event.preventDefault();
  } else if (event.key === "Escape" && $("side").classList.contains("open")) {
    toggle(false);
  }
});

function toggle(isOpen) {
  $("side").classList.toggle("open", isOpen);
  $("toggle").setAttribute("aria-expanded", isOpen);
  if (!isOpen) $("toggle").focus();
}

// ---- the form at the start ----

function choose(tab) {
  for (const other of document.querySelectorAll("[role=tab]")) {
    other.setAttribute("aria-selected", other === tab);
    other.tabIndex = other === tab ? 0 : -1;
    $(other.getAttribute("aria-controls")).hidden = other !== tab;
  }
}

// A secret is that of one server.
let rememberedSecret = "", itsServer = "";

function fitSecret() {
  const { server, secret } = $("chat").elements;
  const isThere = server.value.trim() === itsServer;
  if (isThere && !secret.value) secret.value = rememberedSecret;
  else if (!isThere && secret.value === rememberedSecret) secret.value = "";
}

function free(form) {
  $("made").textContent = "";
  for (const button of form.querySelectorAll("button")) button.disabled = false;
  for (const error of form.querySelectorAll(".error")) error.remove();
  for (const input of form.querySelectorAll("[aria-invalid]")) {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
  }
}

function submit(form, ...message) {
  free(form);
  if (tell(...message)) for (const button of form.querySelectorAll("button")) button.disabled = true;
}

// What is in a key file, in one line. Windows also writes UTF-16.
async function read(file) {
  if (file.size > MAX_KEY) throw new Error(`it is longer than ${MAX_KEY} bytes`);
  const bytes = new Uint8Array(await file.arrayBuffer());
  const kind = { 0xfeff: "utf-16be", 0xfffe: "utf-16le" }[bytes[0] * 256 + bytes[1]] ?? "utf-8";
  return new TextDecoder(kind).decode(bytes).replaceAll("\n", "\r");
}

for (const tab of ["chat", "relay"]) {
  $(tab).onsubmit = async (event) => {
    event.preventDefault();
    const inputs = [...document.querySelectorAll("#start [name]")];
    const values = inputs.map((input) => `${input.form.id}.${input.name}=${input.value.trim()}`);
    for (const { files: [file], dataset: { field } } of $(tab).querySelectorAll("[type=file]")) {
      try {
        if (file) values.push(`${tab}.${field}.content=${await read(file)}`);
      } catch (error) {
        return shows.error(field, `the file you chose cannot be used: ${error.message}`);
      }
    }
    submit($(tab), "join", `tab=${tab}`, ...values);
  };
  $(tab).oninput = (event) => { if (event.target.hasAttribute("aria-invalid")) free($(tab)); };
  $(`tab-${tab}`).onclick = (event) => choose(event.currentTarget);
}
$("chat").elements.server.oninput = fitSecret;
$("cancel").onclick = $("leave").onclick = () => tell("leave");
$("find").onclick = () => { if (tell("find")) $("n-found").textContent = "Looking for two seconds."; };
$("make").onclick = () => submit($("relay"), "key", $("relay").elements.key.value.trim());

// ---- writing ----

const typed = [];           // what was sent from this page
let atTyped = 0;

function send() {
  const text = $("text").value;
  if (text.trim() === "/clear") $("log").replaceChildren();
  else if (!text.trim() || !tell("say", ...text.trimEnd().split(/\r?\n/))) return;
  typed.push(text);
  atTyped = typed.length;
  $("text").value = "";
  $("text").focus();
}

$("write").onsubmit = (event) => { event.preventDefault(); send(); };
$("text").onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
  // The arrow keys bring back what was sent, if they do not move within the text.
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (step && !$("text").value.includes("\n") && typed[atTyped + step] !== undefined) {
    event.preventDefault();
    atTyped += step;
    $("text").value = typed[atTyped];
  }
};
$("log").onscroll = () => {
  isAtEnd = $("log").scrollHeight - $("log").scrollTop - $("log").clientHeight < 60;
  if (isAtEnd) $("down").hidden = true;
};
new ResizeObserver(() => { if (isAtEnd) toEnd(); }).observe($("log"));
$("down").onclick = () => { toEnd(); $("text").focus(); };
$("toggle").onclick = () => toggle(!$("side").classList.contains("open"));
$("notify").hidden = window.Notification?.permission !== "default";
$("notify").onclick = () => Notification.requestPermission().then(() => { $("notify").hidden = true; });
document.addEventListener("visibilitychange", () => { if (!document.hidden) { count(0); askSoon(); } });

// ---- files ----

let sharing = Promise.resolve();
let receiver = "";          // the one person whom the chosen files are for

function pick(name) {
  receiver = name;
  $("files").value = "";
  $("files").click();
}

// One after the other. What goes wrong over there, the program says.
function share(files, to) {
  for (const file of files) sharing = sharing.then(() => upload(file, to)).catch(() => {});
}

async function upload(file, to) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    return shows.notice(Date.now() / 1000, "", `${file.name} was not shared: it cannot be read; a folder cannot be shared.`);
  }
  await fetch("upload", { method: "POST", body: new Blob([to && `@${to}`, "\n", file.name.replace(/\n/g, " "), "\n", file]) });
}

$("attach").onclick = () => pick("");
$("files").onchange = () => share([...$("files").files], receiver);
let nDragged = 0;
const hasFiles = (event) => room?.commands.includes("/file") && [...event.dataTransfer.types].includes("Files");
addEventListener("dragenter", (event) => { if (hasFiles(event)) { nDragged += 1; $("drop").hidden = false; } });
addEventListener("dragleave", (event) => { if (hasFiles(event) && --nDragged <= 0) { nDragged = 0; $("drop").hidden = true; } });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  nDragged = 0;
  $("drop").hidden = true;
  if (hasFiles(event)) share([...event.dataTransfer.files], "");
});

connect();
