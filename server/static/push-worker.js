// Shows push messages. A newer one on the same fault takes the place of the older (its tag), and a tap opens the alert.
"use strict";

self.addEventListener("push", (event) => {
  const told = event.data ? event.data.json() : {};
  event.waitUntil(self.registration.showNotification(String(told.title || "Brightline"), {
    body: String(told.body || ""), tag: told.tag, renotify: Boolean(told.tag), icon: "/static/icon.svg",
    data: { url: told.url },
  }));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const address = new URL(event.notification.data.url || "/", self.location.origin);
  const target = address.origin === self.location.origin ? address.href : self.location.origin;
  event.waitUntil(self.clients.matchAll({ type: "window" }).then((pages) => {
    const open = pages.find((page) => page.url === target);
    return open ? open.focus() : self.clients.openWindow(target);
  }));
});
