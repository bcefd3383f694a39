// The connection to /debug/events. The browser's EventSource reconnects by itself after a network error; after an HTTP
// error it gives up, and we go on with growing pauses.

const kinds = ["transition", "decision", "failure", "deadletter", "notice", "actors", "gap", "dropped"];

export class Stream {
  #source;
  #lastID = "";
  #pause = 1000;
  #timer = 0;

  // on(kind, data, number) gets every event, onState("connecting" | "live" | "lost", retryAt) every change of the connection.
  constructor(on, onState) {
    this.on = on;
    this.onState = onState;
    this.#open();
    // A browser that comes back to the network need not wait for the pause to end.
    addEventListener("online", () => this.#timer && this.#open());
  }

  #open() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#source?.close();
    this.onState("connecting");
    const query = new URLSearchParams({ actors: "true", backlog: "300" });
    if (this.#lastID) query.set("lastEventId", this.#lastID);
    const source = new EventSource(`/debug/events?${query}`);
    this.#source = source;
    source.onopen = () => {
      this.#pause = 1000;
      this.onState("live");
    };
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) this.#retry();
      else this.onState("connecting");
    };
    for (const kind of kinds) {
      source.addEventListener(kind, (e) => {
        if (e.lastEventId) this.#lastID = e.lastEventId;
        this.on(kind, JSON.parse(e.data), Number(e.lastEventId.split("-")[1]));
      });
    }
  }

  #retry() {
    this.#timer = setTimeout(() => this.#open(), this.#pause);
    this.onState("lost", Date.now() + this.#pause);
    this.#pause = Math.min(this.#pause * 2, 15000);
  }
}
