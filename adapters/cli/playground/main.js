// The page as a whole: loads the client, if the server has one.

// First, so that the client gets the network that can be watched.
import { watch } from './network.js';
import * as connection from './connection.js';
import * as frames from './frames.js';
import * as send from './send.js';
import { find } from './elements.js';

async function start() {
  const about = await (await fetch('playground/about.json')).json();
  find('version').textContent = about.version;
  find('command').textContent = `wwr request ${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ echo hello`;
  if (!about.client) {
    find('no-client').hidden = false;
    find('state').textContent = 'no client';
    return;
  }
  const module = await import('./client/index.js');
  await module.load();
  find('page').hidden = false;
  watch((frame) => frames.show(frame, connection.protocol));
  frames.start();
  send.start(about);
  connection.start(module);
}

start().catch((error) => {
  find('state').textContent = `the page does not work: ${error.message}`;
  find('state').dataset.state = 'gone';
});
