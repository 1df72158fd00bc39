import { show } from "./markdown.js";

const $ = id => document.getElementById(id);
const [form, question, send, stop, list, scroller, welcome, status, access, key, models] = ["form", "question", "send", "stop", "messages", "scroller", "welcome", "status", "access", "key", "models"].map($);

const conversation = []; // { role, text }: all that the server knows of it comes from here
const memory = {};
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
access.addEventListener("submit", event => {
  event.preventDefault();
  remember("key", key.value.trim());
  key.value = "";
  findModels();
  question.focus();
});
findModels();

/** Asks the server's API, with the key that was given. */
function askServer(path, options = {}) {
  const known = recall("key");
  return fetch(`v1/${path}`, { ...options, headers: { ...options.headers, ...known ? { Authorization: `Bearer ${known}` } : {} } });
}

/** Shows the model, or lets one be chosen where there are several. */
async function findModels() {
  try {
    const response = await askServer("models");
    access.hidden = response.status !== 401;
    if (!response.ok) return;
    const names = (await response.json()).data.map(model => model.id);
    models.replaceChildren(...names.map(name => new Option(name)));
    models.hidden = names.length < 2;
    $("model").textContent = names.length === 1 ? names[0] : "";
  } catch {
    // A question will say what is wrong.
  }
}

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
    if (turn.error && turn.isFinal) {
      // The same again would be refused again: the question goes back to the box, to be changed.
      asked.item.remove();
      question.value ||= text;
      fit();
    } else if (turn.error) {
      answer.retry(turn.retryAfter, event => {
        asked.item.remove();
        answer.item.remove();
        ask(text);
        takeFocus(event);
      });
    }
  }
  keep();
  status.textContent = turn.error ?? (turn.stopped ? "Stopped." : "The answer is complete.");
}

/** The tab keeps its conversation, so that loading the page again does not lose it. */
function keep() {
  remember("conversation", JSON.stringify(conversation));
}

/** What the tab keeps. Without storage, or without room in it, the page works with what it has in memory. */
function remember(name, value) {
  memory[name] = value;
  try {
    sessionStorage.setItem(name, value);
  } catch {
    // In memory it is.
  }
}

function recall(name) {
  try {
    return memory[name] ?? sessionStorage.getItem(name);
  } catch {
    return memory[name] ?? null;
  }
}

/** Shows what the tab kept. A question whose answer was cut off by loading the page again goes back to the box. */
function restore() {
  try {
    conversation.push(...JSON.parse(recall("conversation")) ?? []);
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

/** Reads one answer: { text, stopped, error, isFinal (asking again cannot help), retryAfter, usage, finish, firstAfter, seconds }. */
async function read(signal, onText) {
  const turn = { text: "" };
  const start = performance.now();
  try {
    const response = await askServer("chat/completions", {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
      body: JSON.stringify({
        model: models.value,
        messages: conversation.map(({ role, text }) => ({ role, content: text })),
        stream: true,
        stream_options: { include_usage: true },
      }),
      signal,
    });
    if (!response.ok) return { ...turn, ...await refusal(response) };
    for await (const data of events(response.body)) {
      const piece = data.choices?.[0]?.delta?.content;
      if (piece) {
        turn.firstAfter ??= (performance.now() - start) / 1000;
        turn.text += piece;
        onText(turn.text);
      }
      turn.finish = data.choices?.[0]?.finish_reason ?? turn.finish;
      turn.usage = data.usage ?? turn.usage;
      if (data.error) {
        turn.error = inWords(data.error);
        turn.isFinal = data.error.type === "invalid_request_error";
      }
    }
    if (!turn.finish && !turn.error) turn.error = "The connection ended before the answer did.";
  } catch (error) {
    if (signal.aborted) turn.stopped = true;
    else turn.error = "The server cannot be reached.";
  }
  turn.seconds = (performance.now() - start) / 1000;
  return turn;
}

/** What the server says where it does not answer, and when to come back. */
async function refusal(response) {
  if (response.status === 401) findModels();
  const body = await response.json().catch(() => ({}));
  const isFinal = response.status < 500 && ![401, 408, 429].includes(response.status);
  return { error: inWords(body.error) ?? `The server answered ${response.status}.`, isFinal, retryAfter: Number(response.headers.get("Retry-After")) || 0 };
}

/** What an error means to whoever reads this page. */
function inWords(error) {
  return error?.code === "context_length_exceeded" ? "The conversation is longer than the model can read. Start a new chat, or shorten your message." : error?.message;
}

/** The data of the server-sent events of a stream. EventSource cannot send a body, so this reads them itself. */
async function* events(stream) {
  let rest = "";
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  for (let chunk; !(chunk = await reader.read()).done;) {
    const parts = (rest + chunk.value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter(line => line.startsWith("data:")).map(line => line.slice(5).trimStart()).join("\n");
      if (data && data !== "[DONE]") yield JSON.parse(data);
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
function summary({ stopped, finish, usage, firstAfter, seconds }) {
  if (stopped) return "Stopped.";
  const cut = finish === "length" ? "Cut: no room for more. " : "";
  if (!usage) return `${cut}First after ${firstAfter.toFixed(2)} s`;
  const rate = speed(usage.completion_tokens - 1, seconds - firstAfter);
  const cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
  return `${cut}${usage.prompt_tokens} tokens read (${cached} from cache), ${usage.completion_tokens} written${rate} · first after ${firstAfter.toFixed(2)} s`;
}

/** Tokens a second; nothing where they came in one piece, which tells nothing of how fast they were written. */
function speed(tokens, seconds) {
  if (tokens < 1 || seconds < 0.05) return "";
  const rate = tokens / seconds;
  return ` · ${rate.toFixed(rate < 100 ? 1 : 0)} tokens/s`;
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
  following(() => {
    question.style.height = "auto";
    question.style.height = `${question.scrollHeight}px`;
  });
}
