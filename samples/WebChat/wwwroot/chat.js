import { show } from "./markdown.js";

const $ = id => document.getElementById(id);
const [form, question, send, stop, list, scroller, welcome, status] = ["form", "question", "send", "stop", "messages", "scroller", "welcome", "status"].map($);

const conversation = []; // { role, text }: all that the server knows of it comes from here
let running = null; // the AbortController of the answer that streams in
restore();

form.addEventListener("submit", event => {
  event.preventDefault();
  ask(question.value.trim());
});
question.addEventListener("keydown", event => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit();
  }
});
question.addEventListener("input", fit);
stop.addEventListener("click", () => running?.abort());
document.addEventListener("keydown", event => {
  if (event.key === "Escape") running?.abort();
});
$("new").addEventListener("click", () => {
  running?.abort();
  running = null;
  setBusy(false);
  conversation.length = 0;
  keep();
  list.replaceChildren();
  welcome.hidden = false;
  question.focus();
});
for (const suggestion of welcome.querySelectorAll("button")) {
  suggestion.addEventListener("click", event => {
    ask(suggestion.textContent);
    takeFocus(event);
  });
}
fetch("api/model").then(response => response.json()).then(({ model }) => { $("model").textContent = model; }).catch(() => {});

/** Sends a message and shows the answer as it comes. */
async function ask(text) {
  if (!text || running) return;
  const own = running = new AbortController();
  setBusy(true);
  welcome.hidden = true;
  question.value = "";
  fit();
  const line = { role: "user", text };
  conversation.push(line);
  keep();
  const asked = addMessage("user", text);
  const answer = addMessage("assistant", "");
  answer.item.classList.add("waiting");
  answer.body.setAttribute("aria-busy", "true");
  const turn = await read(own.signal, piece => {
    answer.item.classList.remove("waiting");
    answer.draw(piece);
  });
  answer.item.classList.remove("waiting");
  answer.flush();
  answer.body.removeAttribute("aria-busy");
  if (running === own) {
    running = null;
    setBusy(false);
  }
  if (!conversation.includes(line)) return; // a new chat was begun meanwhile
  if (turn.text) {
    conversation.push({ role: "assistant", text: turn.text });
    answer.note(turn.error ?? summary(turn), turn.error && "error");
  } else {
    // Nothing was said: the question is taken back, to be sent again or changed.
    conversation.pop();
    answer.note(turn.error ?? (turn.stopped ? "Stopped." : "The model had nothing to say."), turn.error && "error");
    if (turn.error) answer.retry(turn.retryAfter, event => {
      asked.item.remove();
      answer.item.remove();
      ask(text);
      takeFocus(event);
    });
  }
  keep();
  status.textContent = turn.error ?? (turn.stopped ? "Stopped." : "The answer is complete.");
}

/** The tab keeps its conversation, so that loading the page again does not lose it. */
function keep() {
  try {
    sessionStorage.setItem("conversation", JSON.stringify(conversation));
  } catch {
    // No storage, or no room in it: the page works without.
  }
}

/** Shows what the tab kept. A question whose answer was cut off by loading the page again goes back to the box. */
function restore() {
  try {
    conversation.push(...JSON.parse(sessionStorage.getItem("conversation")) ?? []);
  } catch {
    return;
  }
  if (conversation.at(-1)?.role === "user") question.value = conversation.pop().text;
  welcome.hidden = conversation.length > 0;
  for (const { role, text } of conversation) {
    const message = addMessage(role, text);
    if (role === "assistant") show(message.body, text);
  }
  scroller.scrollTop = scroller.scrollHeight;
  fit();
}

/** Reads one answer: { text, stopped, error, retryAfter, usage, firstAfter, seconds }. */
async function read(signal, onText) {
  const turn = { text: "" };
  const start = performance.now();
  try {
    const response = await fetch("api/chat", {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
      body: JSON.stringify({ messages: conversation }),
      signal,
    });
    if (!response.ok) return { ...turn, ...await refusal(response) };
    for await (const { type, data } of events(response.body)) {
      if (type === "text") {
        turn.firstAfter ??= (performance.now() - start) / 1000;
        turn.text += data.text;
        onText(turn.text);
      } else if (type === "done") turn.usage = data;
      else if (type === "error") turn.error = data.error;
    }
    if (!turn.usage && !turn.error) turn.error = "The connection ended before the answer did.";
  } catch (error) {
    if (signal.aborted) turn.stopped = true;
    else turn.error = "The server cannot be reached.";
  }
  turn.seconds = (performance.now() - start) / 1000;
  return turn;
}

/** What the server says where it does not answer: problem details, and when to come back. */
async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  return { error: problem.detail ?? `The server answered ${response.status}.`, retryAfter: Number(response.headers.get("Retry-After")) || 0 };
}

/** The server-sent events of a stream. EventSource cannot send a body, so this reads them itself. */
async function* events(stream) {
  let rest = "";
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  for (let chunk; !(chunk = await reader.read()).done;) {
    const parts = (rest + chunk.value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const fields = part.split("\n").map(line => line.match(/^(\w+): ?(.*)$/)).filter(Boolean);
      const values = name => fields.filter(field => field[1] === name).map(field => field[2]);
      yield { type: values("event")[0] ?? "message", data: JSON.parse(values("data").join("\n")) };
    }
  }
}

function addMessage(role, text) {
  const item = document.createElement("li");
  item.className = role;
  const who = document.createElement("span");
  who.className = "unseen";
  who.textContent = role === "user" ? "You: " : "Model: ";
  const body = document.createElement("div");
  body.className = "body";
  item.append(who, body);
  list.append(item);
  if (role === "user") body.textContent = text;
  scroller.scrollTop = scroller.scrollHeight;

  let latest = null;
  const flush = () => {
    if (latest === null) return;
    following(() => show(body, latest));
    latest = null;
  };
  return {
    item,
    body,
    /** Draws at most once a frame, however fast pieces come; in a tab that is not seen there are no frames, so a timer helps out. */
    draw(whole) {
      if (latest === null) {
        requestAnimationFrame(flush);
        setTimeout(flush, 100);
      }
      latest = whole;
    },
    flush,
    note(message, kind) {
      const note = document.createElement("p");
      note.className = `note ${kind ?? ""}`;
      note.textContent = message;
      following(() => item.append(note));
    },
    retry(seconds, again) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "retry";
      button.onclick = again;
      following(() => item.append(button));
      const count = left => {
        button.disabled = left > 0;
        button.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
        if (left > 0) setTimeout(count, 1000, left - 1);
      };
      count(seconds);
    },
  };
}

/** Adds to the conversation, and stays at its end where the reader is there; whoever scrolled up to read stays where he is. */
function following(add) {
  const follows = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80;
  add();
  if (follows) scroller.scrollTop = scroller.scrollHeight;
}

/** One line of numbers under an answer. */
function summary({ stopped, usage, firstAfter, seconds }) {
  if (stopped) return "Stopped.";
  const rate = usage.outputTokens > 1 ? ` · ${((usage.outputTokens - 1) / Math.max(seconds - firstAfter, 0.001)).toFixed(1)} tokens/s` : "";
  const cut = usage.finish === "length" ? "Cut: no room for more. " : "";
  return `${cut}${usage.inputTokens} tokens read (${usage.cachedTokens} from cache), ${usage.outputTokens} written${rate} · first after ${firstAfter.toFixed(2)} s`;
}

function setBusy(busy) {
  const focused = [stop, send].includes(document.activeElement);
  stop.hidden = !busy;
  send.hidden = busy;
  if (focused) question.focus(); // whoever uses the keyboard is not sent back to the beginning of the page
  if (busy) status.textContent = "The model answers.";
}

/** After a button that is gone was used with the keyboard. A tap moves no focus: that would open the keyboard of a phone. */
function takeFocus(event) {
  if (event.detail === 0) question.focus();
}

/** The box grows with its text. */
function fit() {
  question.style.height = "auto";
  question.style.height = `${question.scrollHeight}px`;
}
