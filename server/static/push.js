// Subscribes this browser to push messages and hands the subscription to the form; without it the form stays hidden.
"use strict";

const push = document.getElementById("push");
if (push && "serviceWorker" in navigator && "PushManager" in window && "Notification" in window) {
  push.hidden = false;
  const form = push.querySelector("form");
  const show = (name) => { document.getElementById(name).hidden = false; };
  const subscribe = async () => {
    if (await Notification.requestPermission() !== "granted") return show("push-denied");
    try {
      await navigator.serviceWorker.register("/push-worker.js");
      const worker = await navigator.serviceWorker.ready;
      const subscription = await worker.pushManager.subscribe({
        userVisibleOnly: true, applicationServerKey: push.dataset.key,
      });
      form.elements.address.value = JSON.stringify(subscription);
      form.submit();
    } catch (error) {
      show("push-failed");
    }
  };
  form.addEventListener("submit", (event) => { event.preventDefault(); subscribe(); });
}
