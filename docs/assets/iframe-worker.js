/* Search from file://: browsers refuse a Worker there, so its script runs in a hidden frame of this page instead. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const script = new URL(url, document.baseURI).href;
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.documentElement.append(frame);
      const inside = frame.contentWindow;
      const load = (source) =>
        new Promise((resolve, reject) => {
          const element = frame.contentDocument.createElement("script");
          Object.assign(element, { src: new URL(source, script).href, onload: resolve, onerror: reject });
          frame.contentDocument.body.append(element);
        });
      inside.importScripts = (...sources) =>
        sources.reduce((before, source) => before.then(() => load(source)), Promise.resolve());
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      this.ready = load(script);
      this.tell = (data) => inside.dispatchEvent(new inside.MessageEvent("message", { data }));
    }
    postMessage(data) {
      this.ready.then(() => this.tell(data));
    }
    terminate() {}
  };
}
