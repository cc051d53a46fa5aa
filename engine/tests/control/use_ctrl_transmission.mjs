// A session of npm's @ctrl/transmission with a daemon.

import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, port, torrent, dir, target] = process.argv.slice(2);
const require = createRequire(join(modules, 'x.js'));
let loaded;
try {
  loaded = require('@ctrl/transmission');
} catch {
  loaded = await import(pathToFileURL(join(modules, 'node_modules/@ctrl/transmission/dist/src/index.js')).href);
}
const client = new loaded.Transmission({ baseUrl: `http://127.0.0.1:${port}/` });

async function until(what, condition) {
  for (let round = 0; round < 600; round++) {
    const found = await condition();
    if (found) return found;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`waited in vain for ${what}`);
}

const session = await client.getSession();
assert.equal(session.arguments['rpc-version'], 17);
const added = await client.addTorrent(readFileSync(torrent), { 'download-dir': dir });
const { id, hashString } = added.arguments['torrent-added'];
await until('seeding', async () => (await client.getTorrent(hashString)).state === 'seeding');
const all = await client.getAllData();
assert.equal(all.torrents.length, 1);
assert.equal(all.torrents[0].progress, 1);
assert.equal(all.torrents[0].savePath, dir);
await client.setTorrent(hashString, { labels: ['a'] });
assert.deepEqual((await client.getTorrent(hashString)).label, 'a');
await client.pauseTorrent(hashString);
await until('paused', async () => (await client.getTorrent(hashString)).state === 'paused');
await client.resumeTorrent(hashString);
await client.queueUp(hashString);
await client.verifyTorrent(hashString);
await until('seeding again', async () => (await client.getTorrent(hashString)).state === 'seeding');
await client.moveTorrent(hashString, target);
await until('moved', async () => (await client.getTorrent(hashString)).savePath === target);
assert.ok((await client.freeSpace(target)).arguments['size-bytes'] > 0);
await until('seeding there', async () => (await client.getTorrent(hashString)).state === 'seeding');
await client.removeTorrent(hashString, true);
assert.equal((await client.getAllData()).torrents.length, 0);
assert.ok(id > 0);
console.log('done');
